//! Threads and processes that the tests want to exist.

#![expect(unsafe_code, reason = "calls the system")]

use super::handle::Handle;
use super::{check, wide};
use std::io;
use std::time::Duration;
use windows_sys::Win32::Foundation::WAIT_OBJECT_0;
use windows_sys::Win32::System::LibraryLoader::LoadLibraryW;
use windows_sys::Win32::System::Threading::{
    GetCurrentThreadId, GetExitCodeProcess, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION,
    PROCESS_SYNCHRONIZE, WaitForSingleObject,
};

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

/// A process of somebody else.
#[derive(Debug)]
pub(crate) struct Process(Handle);

impl Process {
    pub(crate) fn open(process_id: u32) -> io::Result<Self> {
        let access = PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE;
        // SAFETY: takes numbers alone.
        Handle::new(unsafe { OpenProcess(access, 0, process_id) }).map(Self)
    }

    /// Waits until it has ended. Gives its exit code.
    pub(crate) fn wait(&self, time_max: Duration) -> io::Result<u32> {
        let time_max = u32::try_from(time_max.as_millis()).map_err(io::Error::other)?;
        // SAFETY: the process is open.
        let waited = unsafe { WaitForSingleObject(self.0.raw(), time_max) };
        if waited != WAIT_OBJECT_0 {
            return Err(io::Error::other("the process does not end"));
        }
        let mut exit_code = 0;
        // SAFETY: the process is open, and there is room for its code.
        check(unsafe { GetExitCodeProcess(self.0.raw(), &raw mut exit_code) })?;
        Ok(exit_code)
    }
}
