//! What a console says to the programs on it: Ctrl-C, Ctrl-Break, and that it is being closed.

#![expect(unsafe_code, reason = "a routine that the system calls")]

use std::io;
use std::sync::OnceLock;

use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT,
    SetConsoleCtrlHandler,
};
use windows_sys::core::BOOL;

use super::call::check;

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Ctrl-C or Ctrl-Break: end.
    End,
    /// The console closes, the user logs off or the machine shuts down. When the handler returns,
    /// the process ends.
    Closing,
}

type Handler = Box<dyn Fn(Said) + Send + Sync>;

static HANDLER: OnceLock<Handler> = OnceLock::new();

/// Has `handler_fn` called for all of them, each time on a thread of its own. A process has one
/// handler, for good.
pub fn listen(handler_fn: impl Fn(Said) + Send + Sync + 'static) -> io::Result<()> {
    if HANDLER.set(Box::new(handler_fn)).is_err() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // SAFETY: the routine is a function of this program and so outlives the process.
    check(unsafe { SetConsoleCtrlHandler(Some(routine), 1) })
}

extern "system" fn routine(event: u32) -> BOOL {
    let said = match event {
        CTRL_C_EVENT | CTRL_BREAK_EVENT => Said::End,
        CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT => Said::Closing,
        _ => return 0,
    };
    let Some(handler) = HANDLER.get() else {
        return 0;
    };
    handler(said);
    1
}
