//! Threads and processes that the tests want to exist.

#![expect(unsafe_code, reason = "calls the system")]

use super::wide;
use std::io;
use windows_sys::Win32::System::LibraryLoader::LoadLibraryW;
use windows_sys::Win32::System::Threading::GetCurrentThreadId;

/// The id of this thread.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: has no precondition.
    unsafe { GetCurrentThreadId() }
}

/// Maps a library into this process.
pub(crate) fn load_library(name: &str) -> io::Result<()> {
    let name = wide(name);
    // SAFETY: the name is good for the call.
    if unsafe { LoadLibraryW(name.as_ptr()) }.is_null() {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
