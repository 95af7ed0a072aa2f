//! Commands that are run and can be ended. What a command has started itself goes on.

#![expect(unsafe_code, reason = "a look at the handle of a process")]

use std::os::windows::io::AsRawHandle as _;
use std::os::windows::process::CommandExt as _;
use std::process::{Child, Command};

use windows_sys::Win32::Foundation::WAIT_TIMEOUT;
use windows_sys::Win32::System::Threading::{CREATE_NO_WINDOW, WaitForSingleObject};

/// Has the command run apart from this program: without a window.
pub fn apart(command: &mut Command) {
    command.creation_flags(CREATE_NO_WINDOW);
}

/// Whether it has ended.
pub fn has_ended(child: &Child) -> bool {
    // SAFETY: the handle is open as long as `child` is, and no time is waited.
    let waited = unsafe { WaitForSingleObject(child.as_raw_handle(), 0) };
    waited != WAIT_TIMEOUT
}

/// Kills a command.
pub fn kill_group(child: &mut Child) {
    // One that has ended cannot be killed.
    let _killed = child.kill();
}
