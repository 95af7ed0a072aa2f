//! A start of the driver that failed, as the driver tells of it in the registry: which step, with
//! what status, and what that means. Pure, so that it is tested where there is no registry.

use std::fmt;

use event::control::StartStep;

use super::cause::Cause;

/// The statuses (`ntstatus.h`) that mean something of their own here.
const ACCESS_DENIED: u32 = 0xc000_0022;
const INVALID_PARAMETER: u32 = 0xc000_000d;
const OBJECT_NAME_COLLISION: u32 = 0xc000_0035;
const INSUFFICIENT_RESOURCES: u32 = 0xc000_009a;

/// A start that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartFailure {
    step: StartStep,
    status: u32,
}

/// What stands where the driver tells of a start that failed, and is not the driver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// Its values are of another type.
    #[error("its values cannot be read as REG_DWORDs")]
    Values,
    /// Its step is none.
    #[error("this release has no step {0}")]
    Step(u32),
    /// Its status says that nothing failed.
    #[error("{0:#010x} is the status of no failure")]
    Status(u32),
}

impl StartFailure {
    /// Takes the two numbers, if the driver can have written them.
    pub fn new(step: u32, status: u32) -> Result<Self, Foreign> {
        let failure = Self {
            step: StartStep(step),
            status,
        };
        if failure.words().is_none() {
            return Err(Foreign::Step(step));
        }
        if status.cast_signed() >= 0 {
            return Err(Foreign::Status(status));
        }
        Ok(failure)
    }

    /// What the driver does in the step.
    const fn words(self) -> Option<&'static str> {
        Some(match self.step {
            StartStep::KEEP => "keeping what was set up",
            StartStep::QUEUE => "making the queue",
            StartStep::PROCESS_ROUTINE => "registering for processes",
            StartStep::THREAD_ROUTINE => "registering for threads",
            StartStep::IMAGE_ROUTINE => "registering for images",
            StartStep::DEVICE => "making the device",
            StartStep::SYMBOLIC_LINK => "making the device's link",
            StartStep::UNCONFIRMED => "counting its starts",
            _ => return None,
        })
    }

    /// Why, and what to do.
    pub const fn cause(self) -> Cause {
        let (cause, cure) = match (self.step, self.status) {
            (StartStep::UNCONFIRMED, _) => (
                "it was started twice and no agent recorded for half a minute since, so it may have taken the \
                 machine down; it does not start until somebody says so",
                "look for a crash (`eventvwr`, System, BugCheck), then `systrail driver start`",
            ),
            (StartStep::PROCESS_ROUTINE, ACCESS_DENIED) => (
                "Windows lets only an image with FORCE_INTEGRITY register for processes, which this \
                 systrail.sys lacks",
                "take the systrail.sys of a release, or link it with /integritycheck",
            ),
            (
                StartStep::PROCESS_ROUTINE | StartStep::THREAD_ROUTINE | StartStep::IMAGE_ROUTINE,
                INVALID_PARAMETER | INSUFFICIENT_RESOURCES,
            ) => (
                "Windows has no place left for one more that is told, or no memory",
                "unload other drivers that watch the machine (`fltmc`, `driverquery`), or restart it",
            ),
            (StartStep::QUEUE, INSUFFICIENT_RESOURCES) => (
                "the kernel has no memory for the queue",
                "a smaller one may fit: `systrail driver install --queue-limit 1MiB`",
            ),
            (StartStep::DEVICE | StartStep::SYMBOLIC_LINK, OBJECT_NAME_COLLISION) => (
                "another driver has the name already",
                "find it with `driverquery` and stop it, or restart the machine",
            ),
            (_, INSUFFICIENT_RESOURCES) => (
                "the kernel has no memory for it",
                "end what needs much memory, or restart the machine",
            ),
            _ => (
                "the kernel refuses it",
                "`systrail doctor` tells what stands against drivers here; look the status up in \
                 ntstatus.h",
            ),
        };
        Cause { cause, cure }
    }
}

impl fmt::Display for StartFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cause { cause, cure } = self.cause();
        write!(
            formatter,
            "the driver's start failed at step {} ({}) with status {:#010x}: {cause}; {cure}",
            self.step.0,
            self.words().unwrap_or_default(),
            self.status
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_told_apart_with_its_status() {
        let texts: Vec<String> = (0..=6)
            .map(|step| {
                StartFailure::new(step, INSUFFICIENT_RESOURCES)
                    .unwrap()
                    .to_string()
            })
            .collect();
        for (step, text) in texts.iter().enumerate() {
            assert!(text.contains(&format!("at step {step} (")), "{text}");
            assert!(
                text.contains("0xc000009a") && !text.ends_with('.'),
                "{text}"
            );
            let words = format!("({})", text.split(['(', ')']).nth(1).unwrap());
            let others = texts.iter().filter(|text| text.contains(&words));
            assert_eq!(others.count(), 1, "{words}");
        }
    }

    /// Error 5 was once told as missing administrator rights, whoever asked.
    #[test]
    fn an_image_without_force_integrity_is_told_as_such() {
        let text = StartFailure::new(2, ACCESS_DENIED).unwrap().to_string();
        assert!(text.contains("FORCE_INTEGRITY"), "{text}");
        assert!(!text.contains("administrator"), "{text}");
    }

    #[test]
    fn a_name_that_is_taken_and_a_queue_too_large_have_cures_of_their_own() {
        let cure = |step, status| StartFailure::new(step, status).unwrap().cause().cure;
        assert!(cure(1, INSUFFICIENT_RESOURCES).contains("--queue-limit"));
        assert!(cure(5, OBJECT_NAME_COLLISION).contains("driverquery"));
        assert_ne!(
            cure(5, INSUFFICIENT_RESOURCES),
            cure(5, OBJECT_NAME_COLLISION)
        );
    }

    #[test]
    fn numbers_the_driver_cannot_have_written_are_refused() {
        assert_eq!(StartFailure::new(8, ACCESS_DENIED), Err(Foreign::Step(8)));
        for status in [0, 0x103, 0x7fff_ffff] {
            assert_eq!(StartFailure::new(2, status), Err(Foreign::Status(status)));
        }
        for foreign in [Foreign::Values, Foreign::Step(8), Foreign::Status(0)] {
            assert!(!foreign.to_string().is_empty());
        }
    }
}
