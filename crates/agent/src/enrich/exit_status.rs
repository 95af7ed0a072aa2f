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
