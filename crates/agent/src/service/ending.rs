//! How a service of Windows ends, so that the service manager starts it again where that can help and
//! only there. Pure, so that it can be tested where there is no service manager.
//!
//! The service manager knows two ends. To a process that is gone without having said
//! `SERVICE_STOPPED` it applies the recovery actions. To one that has said so it applies them
//! whatever the exit code is, or never: that is what `SERVICE_FAILURE_ACTIONS_FLAG` switches, and it
//! is installed as never. There is no list of codes as systemd's `RestartPreventExitStatus` is one,
//! so the code chooses the end.

/// Wrong configuration, and a machine on which no sensor can run: trying again passes neither.
const NOT_CURED_BY_A_RESTART: [u8; 2] = [2, 4];

/// How a service ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It says that it has stopped, with its exit code, and stays stopped.
    Stopped,
    /// It is gone without a word, as after a crash, and is started again.
    Gone,
}

/// How the service ends that is done with `exit_code`. One that was asked to stop stays stopped,
/// whatever came of it.
pub fn of(exit_code: u8, is_asked_for: bool) -> Ending {
    let is_curable = exit_code != 0 && !NOT_CURED_BY_A_RESTART.contains(&exit_code);
    if is_curable && !is_asked_for {
        Ending::Gone
    } else {
        Ending::Stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The service was started again every minute for ever with a configuration that was wrong.
    #[test]
    fn only_what_a_restart_can_cure_is_restarted() {
        for (exit_code, ending) in [
            (0, Ending::Stopped),
            (1, Ending::Gone),
            (2, Ending::Stopped),
            (3, Ending::Gone),
            (4, Ending::Stopped),
        ] {
            assert_eq!(of(exit_code, false), ending, "exit code {exit_code}");
        }
    }

    /// A stop that ended with an exit code was followed by a start that nobody wanted.
    #[test]
    fn what_was_asked_to_stop_stays_stopped() {
        for exit_code in 0..=4 {
            assert_eq!(of(exit_code, true), Ending::Stopped);
        }
    }

    /// systemd's unit says the same of the same codes.
    #[test]
    fn both_systems_restart_after_the_same_ends() {
        let unit = include_str!("../../assets/systrail.service");
        let [wrong, none] = NOT_CURED_BY_A_RESTART;
        assert!(unit.contains("\nRestart=on-failure\n"));
        assert!(unit.contains(&format!("\nRestartPreventExitStatus={wrong} {none}\n")));
    }
}
