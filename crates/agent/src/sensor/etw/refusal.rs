//! Why the kernel's events cannot be followed, in words, from the number Windows gives.

use std::io;

use crate::quantity;
use crate::sensor::Error;
use crate::sys::trace::{NAME, Owner, Plan, Tracing};

/// Windows error codes (`winerror.h`) that mean something of their own here.
mod code {
    pub(super) const ACCESS_DENIED: i32 = 5;
    pub(super) const NOT_ENOUGH_MEMORY: i32 = 8;
    pub(super) const OUT_OF_MEMORY: i32 = 14;
    pub(super) const CALL_NOT_IMPLEMENTED: i32 = 120;
    pub(super) const ALREADY_EXISTS: i32 = 183;
    pub(super) const NO_SYSTEM_RESOURCES: i32 = 1450;
}

/// The most sessions that Windows has at once.
const SESSIONS_MAX: usize = 64;
/// The most of them that take the kernel's events, without those that Windows keeps for itself.
const SYSTEM_LOGGERS_MAX: usize = 6;
/// Those it keeps for itself.
const RESERVED: [&str; 2] = ["NT Kernel Logger", "Circular Kernel Context Logger"];

const LIST: &str = "`logman query -ets` lists them, and `logman stop NAME -ets` ends one";

/// The session does not start.
pub(super) fn start(error: io::Error, plan: &Plan, tracing: &mut impl Tracing) -> Error {
    match error.raw_os_error() {
        Some(code::ACCESS_DENIED) => unavailable(
            "only administrators may follow the kernel's events",
            "start systrail from a prompt that was opened with \"Run as administrator\"",
        ),
        // Nobody had our name a moment ago.
        Some(code::ALREADY_EXISTS) => match tracing.status() {
            Ok(Some(_)) => unavailable(
                &format!("another program has just started a session named {NAME}"),
                "try again; where another agent records, stop that one first",
            ),
            _ => unavailable(
                &format!(
                    "a session of another name has the GUID {}",
                    plan.owner.guid()
                ),
                &format!("it is no session of SysTrail's: end it; {LIST}"),
            ),
        },
        Some(code::NO_SYSTEM_RESOURCES) => no_resources(tracing),
        Some(code::NOT_ENOUGH_MEMORY | code::OUT_OF_MEMORY) => {
            let size = u64::from(plan.buffer_size) * u64::from(plan.buffer_count);
            unavailable(
                &format!(
                    "the system has no memory for {} of buffers",
                    quantity::show_size(size)
                ),
                "make limits.process_buffer_size and limits.event_buffer_size smaller",
            )
        }
        Some(code::CALL_NOT_IMPLEMENTED) => no_session(),
        _ => Error::Io {
            action: "starting a session of event tracing",
            source: error,
        },
    }
}

/// Windows says the same of both limits, so the sessions are counted.
fn no_resources(tracing: &mut impl Tracing) -> Error {
    let sessions = tracing.sessions().unwrap_or_default();
    let is_reserved = |name: &str| RESERVED.iter().any(|it| name.eq_ignore_ascii_case(it));
    let loggers = sessions
        .iter()
        .filter(|session| session.is_system_logger && !is_reserved(&session.name));
    let names: Vec<&str> = loggers.map(|session| session.name.as_str()).collect();
    if names.len() >= SYSTEM_LOGGERS_MAX {
        return unavailable(
            &format!(
                "all {SYSTEM_LOGGERS_MAX} sessions that may follow the kernel's events beside \
                 Windows' own two are taken: {}",
                names.join(", ")
            ),
            &format!("end one of them; {LIST}"),
        );
    }
    if sessions.len() >= SESSIONS_MAX {
        return unavailable(
            &format!("all {SESSIONS_MAX} sessions of event tracing that Windows has are taken"),
            &format!("end one; {LIST}"),
        );
    }
    unavailable(
        "Windows has no resources for another session of event tracing (1450)",
        &format!("end one of the sessions; {LIST}"),
    )
}

/// Whether a session has our name cannot be asked.
pub(super) fn status(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(code::CALL_NOT_IMPLEMENTED) => no_session(),
        Some(code::ACCESS_DENIED) => unavailable(
            "only administrators may look at sessions of event tracing",
            "start systrail from a prompt that was opened with \"Run as administrator\"",
        ),
        _ => Error::Io {
            action: "asking for sessions of event tracing",
            source: error,
        },
    }
}

/// The start was a success, and there is no session.
pub(super) fn no_session() -> Error {
    unavailable(
        "this system has no event tracing: it says that a session was started, and there is none, or \
         knows no sessions (Wine has none)",
        "run it on Windows",
    )
}

/// Another agent has the session.
pub(super) fn held(owner: Owner) -> Error {
    unavailable(
        &format!(
            "another agent, process {}, follows the kernel's events, and only one can",
            owner.process_id
        ),
        "stop it first: `systrail service stop`, or Ctrl-C where it runs",
    )
}

/// A session that has our name and is no agent's.
pub(super) fn foreign() -> Error {
    unavailable(
        &format!("a session named {NAME} is there that no agent has started"),
        &format!("end it: `logman stop {NAME} -ets`"),
    )
}

/// The session ends again and again.
pub(super) fn ended(code: u32, count: usize) -> Error {
    let text = format!(
        "the session {NAME} was ended from outside {count} times within a minute (last with {code}); \
         find out who does it (Microsoft-Windows-Kernel-EventTracing in the event log), then run again"
    );
    Error::Io {
        action: "following the kernel's events",
        source: io::Error::new(io::ErrorKind::BrokenPipe, text),
    }
}

fn unavailable(cause: &str, cure: &str) -> Error {
    Error::Unavailable {
        cause: cause.to_owned(),
        cure: cure.to_owned(),
    }
}
