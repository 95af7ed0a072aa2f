//! Why Windows refuses something about a service, in words, from the number it gives. Pure, so that
//! it can be tested where there is no service manager.

use std::io;

/// The cause and the cure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What is in the way.
    pub cause: &'static str,
    /// What to do about it.
    pub cure: &'static str,
}

/// Why Windows says that the driver runs already, and its device is not there.
pub const HELD: Cause = Cause {
    cause: "it did not start before, and Windows holds its image until the System event log has taken \
            the entry that says why",
    cure: "see that the Windows Event Log service runs and read that entry, whose source is SysTrail; \
           then try again, or restart the machine",
};

/// Whether the driver that Windows says runs is one that did not start: `opened` is what came of
/// opening its device.
pub fn is_held<T>(opened: &io::Result<T>) -> bool {
    const FILE_NOT_FOUND: i32 = 2;
    const PATH_NOT_FOUND: i32 = 3;
    let code = opened.as_ref().err().and_then(io::Error::raw_os_error);
    matches!(code, Some(FILE_NOT_FOUND | PATH_NOT_FOUND))
}

/// What a Windows error code (`winerror.h`) means when a service is asked for something; `None` for
/// those that mean nothing of their own here.
pub const fn of(code: i32) -> Option<Cause> {
    let (cause, cure) = match code {
        5 => (
            "only administrators can change services and drivers",
            "start systrail from a prompt that was opened with \"Run as administrator\"",
        ),
        1051 => (
            "a service that runs depends on it",
            "stop that one first: `systrail service stop`",
        ),
        1053 => (
            "it did not answer in time",
            "look into the Application event log, then try again",
        ),
        1055 => (
            "the service manager is busy with another change",
            "try again in a moment",
        ),
        1058 => (
            "the service is disabled",
            "`systrail driver install` or `systrail service install` enables it again",
        ),
        1060 => (
            "it is not installed",
            "install it first: `systrail driver install`, `systrail service install`",
        ),
        1061 => (
            "it is just starting or stopping",
            "try again in a moment; a driver that hangs there goes with the next restart",
        ),
        1063 => (
            "the service manager did not start this process",
            "`systrail service start` has it do so; `systrail run` records without it",
        ),
        1068 => (
            "the driver, which it depends on, does not start",
            "`systrail driver start` says why",
        ),
        1072 => (
            "it is marked for deletion and goes when its last user lets go of it",
            "close what looks at it (services.msc, Task Manager, Event Viewer) and try again, or \
             restart the machine",
        ),
        code => return of_driver_image(code),
    };
    Some(Cause { cause, cure })
}

/// What a code means when a service that may be started does not start. Who may not start it has
/// been told so before.
pub const fn of_start(code: i32) -> Option<Cause> {
    match code {
        5 => Some(Cause {
            cause: "Windows denies access to its file, or to what it does at its start",
            cure: "see that SYSTEM may read the file and that it is a release's; `systrail doctor` \
                   tells what stands against drivers here",
        }),
        code => of(code),
    }
}

/// Why the kernel does not load a driver.
const fn of_driver_image(code: i32) -> Option<Cause> {
    let (cause, cure) = match code {
        2 | 3 => (
            "the driver's file is not where it was installed from",
            "put systrail.sys beside systrail.exe, then `systrail driver install`",
        ),
        31 | 1066 | 1450 => (
            "the driver itself refused to start",
            "the System event log says which step failed, with SysTrail as its source",
        ),
        127 | 182 => (
            "this Windows lacks a function the driver needs",
            "Windows 10 1809 or Server 2019, or newer, has all of them",
        ),
        193 | 216 => (
            "the driver's file is no driver for this machine's processor",
            "take systrail.sys from the release for this machine",
        ),
        577 => (
            "Windows does not accept the driver's signature",
            "use the systrail.sys of a release; on a machine for tests, `bcdedit /set testsigning \
             on`, restart, and sign it with a certificate this machine trusts",
        ),
        1275 => (
            "Windows blocks this driver",
            "`systrail doctor` tells what is on; a newer release may be on no block list",
        ),
        4551 => (
            "a code integrity policy (App Control, memory integrity) does not allow this driver",
            "have whoever keeps the policy add the release's certificate to it",
        ),
        4550 | 4552 | 4553 => (
            "this machine's code integrity policy is broken",
            "the CodeIntegrity event log says how",
        ),
        _ => return None,
    };
    Some(Cause { cause, cure })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_a_driver_says_what_to_do() {
        for (code, words) in [
            (577, "testsigning"),
            (1275, "doctor"),
            (4551, "policy"),
            (5, "administrator"),
            (1072, "services.msc"),
            (2, "systrail.sys"),
        ] {
            let cause = of(code).unwrap();
            assert!(cause.cure.contains(words), "{code}: {}", cause.cure);
            assert!(!cause.cause.ends_with('.') && !cause.cure.ends_with('.'));
        }
        assert_eq!(of(0), None);
    }

    /// A failed start was taken for a driver that runs, and then its device was missing.
    #[test]
    fn a_driver_that_runs_without_a_device_is_one_that_did_not_start() {
        let opened = |code| io::Result::<()>::Err(io::Error::from_raw_os_error(code));
        assert!(is_held(&opened(2)) && is_held(&opened(3)));
        assert!(!is_held(&opened(5)) && !is_held(&opened(32)) && !is_held(&Ok(())));
        assert!(HELD.cause.contains("event log") && HELD.cure.contains("restart"));
    }

    /// Error 5 was once told as missing administrator rights, whoever asked.
    #[test]
    fn a_start_that_is_denied_is_not_blamed_on_rights_that_are_there() {
        assert!(!of_start(5).unwrap().cause.contains("administrators"));
        assert_eq!(of_start(577), of(577));
    }
}
