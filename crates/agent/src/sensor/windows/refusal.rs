//! Why the driver's device cannot be used, in words, from the number Windows gives.

use std::io;

use event::control::PROTOCOL_VERSION;

use crate::sensor::Error;

/// Windows error codes (`winerror.h`) that mean something of their own here.
mod code {
    pub(super) const INVALID_FUNCTION: i32 = 1;
    pub(super) const FILE_NOT_FOUND: i32 = 2;
    pub(super) const PATH_NOT_FOUND: i32 = 3;
    pub(super) const ACCESS_DENIED: i32 = 5;
    pub(super) const INVALID_HANDLE: i32 = 6;
    pub(super) const BAD_COMMAND: i32 = 22;
    pub(super) const SHARING_VIOLATION: i32 = 32;
    pub(super) const DEV_NOT_EXIST: i32 = 55;
    pub(super) const INVALID_PARAMETER: i32 = 87;
    pub(super) const NO_SUCH_DEVICE: i32 = 433;
    pub(super) const OPERATION_ABORTED: i32 = 995;
    pub(super) const DEVICE_NOT_CONNECTED: i32 = 1167;
    pub(super) const REVISION_MISMATCH: i32 = 1306;
}

/// The device cannot be opened.
pub fn open(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(code::FILE_NOT_FOUND | code::PATH_NOT_FOUND) => unavailable(
            "the driver is not running",
            "run as an administrator, and `systrail run` installs and starts it; \
             `systrail driver status` tells what there is",
        ),
        Some(code::ACCESS_DENIED) => unavailable(
            "only the system and administrators may open the driver",
            "start systrail from a prompt that was opened with \"Run as administrator\"",
        ),
        // The kernel lets nobody in any more, and unloads it when the last is out.
        Some(code::NO_SUCH_DEVICE) => busy(
            "the driver is being stopped, which ends when nobody has it open any more",
            "end the agent that has it open, then start the driver again",
        ),
        Some(code::SHARING_VIOLATION) => busy(
            "another agent reads the driver, and only one can",
            "stop it first: `systrail service stop`, or Ctrl-C where it runs",
        ),
        _ => Error::Io {
            action: r"opening \\.\SysTrail",
            source: error,
        },
    }
}

/// The driver does not shake hands.
pub fn handshake(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(code::REVISION_MISMATCH) => unavailable(
            &format!("the driver does not speak version {PROTOCOL_VERSION} of the protocol"),
            OTHER_DRIVER,
        ),
        Some(code::INVALID_FUNCTION | code::BAD_COMMAND | code::INVALID_PARAMETER) => no_driver(),
        // Wine opens the device all the same, and the first request fails as the open should have.
        Some(code::SHARING_VIOLATION) => open(error),
        _ if error.kind() == io::ErrorKind::InvalidData => no_driver(),
        _ => Error::Io {
            action: "shaking hands with the driver",
            source: error,
        },
    }
}

fn no_driver() -> Error {
    unavailable(
        r"what answers at \\.\SysTrail is no driver of SysTrail, or a much older one",
        OTHER_DRIVER,
    )
}

/// The driver is of another version than this agent.
pub fn version(driver: u32) -> Error {
    unavailable(
        &format!(
            "the driver speaks version {driver} of the protocol, the agent {PROTOCOL_VERSION}"
        ),
        OTHER_DRIVER,
    )
}

const OTHER_DRIVER: &str = "use agent and driver of one release: put systrail.sys beside \
     systrail.exe, then `systrail driver uninstall`, `systrail driver install`";

/// A read fails that nobody took back.
pub fn read(error: io::Error) -> Error {
    let is_gone = matches!(
        error.raw_os_error(),
        Some(
            code::OPERATION_ABORTED
                | code::INVALID_HANDLE
                | code::NO_SUCH_DEVICE
                | code::DEV_NOT_EXIST
                | code::DEVICE_NOT_CONNECTED
        )
    );
    let source = if is_gone {
        io::Error::new(
            io::ErrorKind::BrokenPipe,
            "the driver was stopped; `systrail driver start`, then run again",
        )
    } else {
        error
    };
    Error::Io {
        action: "reading from the driver",
        source,
    }
}

fn busy(cause: &str, cure: &str) -> Error {
    Error::Busy {
        cause: cause.to_owned(),
        cure: cure.to_owned(),
    }
}

fn unavailable(cause: &str, cure: &str) -> Error {
    Error::Unavailable {
        cause: cause.to_owned(),
        cure: cure.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(error: &Error) -> (bool, String) {
        let is_unavailable = matches!(error, Error::Unavailable { .. });
        (is_unavailable, error.to_string())
    }

    #[test]
    fn each_reason_why_the_device_cannot_be_opened_is_told() {
        for (number, words, passes) in [
            (2, "not running", false),
            (5, "administrators", false),
            (32, "another agent", true),
            (433, "being stopped", true),
        ] {
            let error = open(io::Error::from_raw_os_error(number));
            let (is_unavailable, text) = cause(&error);
            assert!(text.contains(words), "{text}");
            assert_eq!(is_unavailable, !passes, "{text}");
            assert_eq!(matches!(error, Error::Busy { .. }), passes, "{text}");
        }
        let (is_unavailable, text) = cause(&open(io::Error::from_raw_os_error(1450)));
        assert!(!is_unavailable && text.contains("opening"), "{text}");
    }

    #[test]
    fn a_driver_of_another_version_is_told_with_both_versions() {
        let (is_unavailable, text) = cause(&version(7));
        assert!(is_unavailable && text.contains("version 7"), "{text}");
        let mismatch = io::Error::from_raw_os_error(code::REVISION_MISMATCH);
        assert!(cause(&handshake(mismatch)).0);
    }

    #[test]
    fn what_does_not_answer_a_handshake_is_told_as_no_driver() {
        let answers = [
            io::Error::from_raw_os_error(code::INVALID_FUNCTION),
            io::Error::from_raw_os_error(code::INVALID_PARAMETER),
            crate::sys::driver::counted::welcome(&[2, 0, 0]).unwrap_err(),
        ];
        for answer in answers {
            let (is_unavailable, text) = cause(&handshake(answer));
            assert!(is_unavailable && text.contains("no driver of"), "{text}");
        }
    }

    #[test]
    fn a_driver_that_is_stopped_meanwhile_is_told_as_such() {
        let aborted = io::Error::from_raw_os_error(code::OPERATION_ABORTED);
        let (is_unavailable, text) = cause(&read(aborted));
        assert!(
            !is_unavailable && text.contains("the driver was stopped"),
            "{text}"
        );
    }
}
