//! How a process ended, as its kernel keeps it.

/// What an exit status says.
pub(super) struct ExitStatus {
    pub(super) exit_code: u32,
    pub(super) signal: Option<u32>,
    pub(super) core_dumped: bool,
}

impl ExitStatus {
    /// As the kernel this runs on keeps it.
    pub(super) const fn of_this_system(status: u32) -> Self {
        if cfg!(windows) {
            Self::of_windows(status)
        } else {
            Self::of_linux(status)
        }
    }

    /// The exit code, which is the NTSTATUS where the system ended the process.
    const fn of_windows(status: u32) -> Self {
        Self {
            exit_code: status,
            signal: None,
            core_dumped: false,
        }
    }

    /// Takes a Linux wait status apart (`waitpid(2)`): the signal in bits 0 to 6, a core dump in
    /// bit 7, the exit code in bits 8 to 15.
    const fn of_linux(status: u32) -> Self {
        match status & 0x7f {
            0 => Self {
                exit_code: (status >> 8) & 0xff,
                signal: None,
                core_dumped: false,
            },
            signal => Self {
                exit_code: 128 + signal,
                signal: Some(signal),
                core_dumped: status & 0x80 != 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use event::{Event, Extension, Flags, Header, Record, process};

    use crate::enrich::{Enricher, Limits};
    use crate::rules::Rules;
    use crate::trail::Body;

    /// A process that was made and deleted again looked like one whose start was lost.
    #[test]
    fn a_process_that_never_ran_has_no_exit_code_and_lost_nothing() {
        let end = |flags| {
            let header = Header {
                process_id: 10,
                time: 2_000,
                start_time: 1_000,
                flags,
                ..Header::default()
            };
            let record = Record {
                header,
                event: Event::ProcessExit(process::Exit {
                    exit_status: 259,
                    parent_process_id: 0,
                }),
                extension: Extension::None,
            };
            let mut enricher = Enricher::new([0; 16], Rules::default(), Limits::default());
            let told = enricher.enrich(&record).unwrap();
            let Body::ProcessExit(exit) = told.body else {
                panic!("{:?}", told.body);
            };
            let reason = |field: &str| {
                let found = told.missing.iter().find(|(name, _)| name == field);
                found.map(|(_, reason)| reason.to_string())
            };
            (
                exit.exit_code.is_some(),
                reason("exit_code"),
                reason("image"),
            )
        };
        let never_ran = Some("never_ran".to_owned());
        let told = end(Flags::ORIGIN_UNAVAILABLE.with(Flags::NEVER_RAN));
        assert_eq!(told, (false, never_ran.clone(), never_ran));
        let (has_code, code, image) = end(Flags::ORIGIN_UNAVAILABLE);
        assert_eq!((has_code, code), (true, None));
        assert_eq!(image.as_deref(), Some("lost"));
    }
}
