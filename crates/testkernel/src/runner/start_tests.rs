//! Starts of the driver that fail, each step in turn: nothing is left, and driver and agent both say
//! which step it was.

use crate::agent::{self, said};
use crate::agent_tests::Installed;
use crate::kernel::{DRIVER_PATH, DRIVER_SERVICE, Driver, Kernel};
use crate::sys::registry::{has_key, set_number};
use crate::sys::service::Service;
use crate::{Outcome, Test, ensure};
use event::control::{START_FAILURE, START_STATUS, START_STEP};

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "driver_start_that_fails_anywhere_leaves_nothing",
        run_fn: leaves_nothing,
    },
    Test {
        name: "driver_without_force_integrity_is_refused_at_step_2",
        run_fn: needs_force_integrity,
    },
    Test {
        name: "agent_names_the_step_when_the_driver_does_not_start",
        run_fn: names_the_step,
    },
    Test {
        name: "agent_names_the_step_when_a_run_cannot_start_the_driver",
        run_fn: names_the_step_of_a_run,
    },
    Test {
        name: "agent_blames_the_image_that_lacks_force_integrity",
        run_fn: blames_the_image,
    },
    Test {
        name: "agent_tells_of_a_failed_start_that_others_asked_for",
        run_fn: tells_of_others_starts,
    },
    Test {
        name: "agent_takes_no_foreign_content_for_a_failed_start",
        run_fn: refuses_foreign_content,
    },
];

const ACCESS_DENIED: u32 = 0xc000_0022;
const INSUFFICIENT_RESOURCES: u32 = 0xc000_009a;

/// The calls of a start that can fail, each with the steps that use it, in turn.
const CALLS: &[(&str, &[u32])] = &[
    ("ExAllocatePoolWithTag", &[1, 1, 1, 1, 1, 0]),
    ("PsSetCreateProcessNotifyRoutineEx2", &[2]),
    ("PsSetCreateThreadNotifyRoutineEx", &[3]),
    ("PsSetLoadImageNotifyRoutine", &[4]),
    ("IoCreateDevice", &[5]),
    ("ObOpenObjectByPointer", &[5]),
    ("ZwSetSecurityObject", &[5]),
    ("IoCreateSymbolicLink", &[6]),
];

/// What the agent calls the steps, by number.
const WORDS: [&str; 7] = [
    "keeping what was set up",
    "making the queue",
    "registering for processes",
    "registering for threads",
    "registering for images",
    "making the device",
    "making the device's link",
];

/// Lets each call of a start fail in turn, and gives `start_fn` the step and what fails.
fn at_each_call(kernel: &Kernel, start_fn: impl Fn(u32, &str) -> Outcome) -> Outcome {
    for (function, steps) in CALLS {
        for (nth, step) in (1..).zip(*steps) {
            let what = format!("call {nth} of {function} fails");
            kernel.reset()?;
            kernel.fail(function, nth)?;
            start_fn(*step, &what)?;
            let report = kernel.report()?;
            ensure(report.has_struck, format!("{what}: it never came"))?;
            ensure(
                report.log == [(*step, INSUFFICIENT_RESOURCES)],
                format!("{what}: the event log says {:x?}", report.log),
            )?;
            ensure(
                report.breaches.is_empty(),
                format!("{what}: {}", report.breaches.join("; ")),
            )?;
        }
    }
    Ok(())
}

fn leaves_nothing(kernel: &Kernel) -> Outcome {
    at_each_call(kernel, |_step, what| {
        let driver = Driver::install(DRIVER_PATH)?;
        ensure(driver.start().is_err(), format!("{what}: it started"))?;
        ensure(is_told()?, format!("{what}: the registry does not say so"))
    })?;
    ensure(!is_told()?, "what it told outlives its service")?;
    // And nothing of all that keeps it from starting now.
    let driver = Driver::install(DRIVER_PATH)?;
    driver.start()?;
    driver.stop()?;
    Ok(())
}

/// The seed's first "common issue": without /INTEGRITYCHECK the system denies the process routine.
fn needs_force_integrity(kernel: &Kernel) -> Outcome {
    let driver = Driver::install(&unchecked_image()?)?;
    ensure(driver.start().is_err(), "it started")?;
    let log = kernel.report()?.log;
    ensure(
        log == [(2, ACCESS_DENIED)],
        format!("the event log says {log:x?}"),
    )
}

/// The driver's image without `FORCE_INTEGRITY`.
fn unchecked_image() -> Result<String, Box<dyn std::error::Error>> {
    const PATH: &str = r"C:\systrail\unchecked\systrail.sys";
    const FLAGS: usize = 24 + 70;
    const FORCE_INTEGRITY: u8 = 0x80;
    let mut image = std::fs::read(DRIVER_PATH)?;
    let header = image.get(0x3c..).and_then(<[u8]>::first_chunk);
    let header = usize::try_from(u32::from_le_bytes(*header.ok_or("no image")?))?;
    *image.get_mut(header + FLAGS).ok_or("no image")? &= !FORCE_INTEGRITY;
    std::fs::create_dir_all(r"C:\systrail\unchecked")?;
    std::fs::write(PATH, image)?;
    Ok(PATH.to_owned())
}

fn names_the_step(kernel: &Kernel) -> Outcome {
    let _installed = Installed::new()?;
    at_each_call(kernel, |step, what| {
        let output = agent::command(&["driver", "start"])?;
        let said = said(&output);
        ensure(!output.status.success(), format!("{what}: it started"))?;
        is_named(step, INSUFFICIENT_RESOURCES, &said)
            .map_err(|error| format!("{what}: {error}"))?;
        ensure(!is_told()?, format!("{what}: what was told is left"))
    })?;
    agent::succeed(&["driver", "start"])?;
    Ok(())
}

fn names_the_step_of_a_run(kernel: &Kernel) -> Outcome {
    let _installed = Installed::new()?;
    kernel.fail("IoCreateDevice", 1)?;
    let output = agent::command(&["run", "--source", "driver", "--no-log", "--no-store"])?;
    let said = said(&output);
    ensure(
        output.status.code() == Some(4),
        format!("it ended with {} and said {said}", output.status),
    )?;
    is_named(5, INSUFFICIENT_RESOURCES, &said)?;
    ensure(!is_told()?, "what was told is left")
}

/// Windows says "access denied" here, which was once taken for missing administrator rights.
fn blames_the_image(_kernel: &Kernel) -> Outcome {
    // The agent would not install it.
    let _driver = Driver::install(&unchecked_image()?)?;
    let output = agent::command(&["driver", "start"])?;
    let said = said(&output);
    is_named(2, ACCESS_DENIED, &said)?;
    ensure(
        said.contains("FORCE_INTEGRITY") && !said.contains("administrator"),
        format!("it says {said}"),
    )
}

fn tells_of_others_starts(kernel: &Kernel) -> Outcome {
    let _installed = Installed::new()?;
    kernel.fail("IoCreateSymbolicLink", 1)?;
    ensure(
        Service::open(DRIVER_SERVICE)?.start().is_err(),
        "it started",
    )?;
    is_named(
        6,
        INSUFFICIENT_RESOURCES,
        &agent::succeed(&["driver", "status"])?,
    )?;
    // The next start is another's, however it ends.
    agent::succeed(&["driver", "start"])?;
    agent::succeed(&["driver", "stop"])?;
    let status = agent::succeed(&["driver", "status"])?;
    ensure(!status.contains("at step"), format!("it says {status}"))
}

fn refuses_foreign_content(_kernel: &Kernel) -> Outcome {
    let _installed = Installed::new()?;
    for (step, status, word) in [(8, ACCESS_DENIED, "no step 8"), (2, 0, "no failure")] {
        set_number(DRIVER_SERVICE, START_FAILURE, START_STATUS, status)?;
        set_number(DRIVER_SERVICE, START_FAILURE, START_STEP, step)?;
        let said = agent::succeed(&["driver", "status"])?;
        ensure(
            said.contains("not the driver's") && said.contains(word),
            format!("it says {said}"),
        )?;
        agent::succeed(&["driver", "start"])?;
        ensure(!is_told()?, "it is still there")?;
        agent::succeed(&["driver", "stop"])?;
    }
    Ok(())
}

/// Whether the registry tells of a failed start.
fn is_told() -> std::io::Result<bool> {
    has_key(DRIVER_SERVICE, START_FAILURE)
}

/// Whether the agent names this step, by number and in words, with this status, and no other.
fn is_named(step: u32, status: u32, said: &str) -> Outcome {
    let words = WORDS
        .get(usize::try_from(step)?)
        .ok_or("there is no such step")?;
    let expected = format!("at step {step} ({words}) with status {status:#010x}");
    ensure(
        said.contains(&expected) && said.matches("at step").count() == 1,
        format!("expected {expected}, it says {said}"),
    )
}
