//! What calls into Windows share: texts in its form, and its way of saying that a call failed.

#![expect(
    unsafe_code,
    reason = "takes over the handles that other calls of the fence return"
)]

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::io::{FromRawHandle as _, OwnedHandle};

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE, RtlNtStatusToDosError};
use windows_sys::core::BOOL;

/// A text as Windows takes it: UTF-16, ended by a NUL.
pub(super) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// The text in a buffer up to its NUL.
pub(super) fn text(buffer: &[u16]) -> String {
    let end = buffer.iter().position(|unit| *unit == 0);
    String::from_utf16_lossy(buffer.get(..end.unwrap_or(buffer.len())).unwrap_or(buffer))
}

/// The error of a call that says `FALSE` when it failed.
pub(super) fn check(result: BOOL) -> io::Result<()> {
    if result == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The error of a call that returns a Windows error code.
pub(super) fn check_code(code: u32) -> io::Result<()> {
    if code == 0 {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(code.cast_signed()))
}

/// The error of a call that returns a status.
pub(super) fn check_status(status: i32) -> io::Result<()> {
    if status >= 0 {
        return Ok(());
    }
    // SAFETY: a table look-up; any number is a status.
    check_code(unsafe { RtlNtStatusToDosError(status) })
}

/// Takes over a handle that a call has just returned, or that call's error.
///
/// # Safety
/// `handle` is what a call that opens or creates something returned, and nobody else closes it.
pub(super) unsafe fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, by the check above, and ours, by this function's contract.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Bytes a call filled in, of a buffer that grows until the answer fits. `call_fn` gets the buffer
/// and gives the size of the answer, or the size it needs.
pub(super) fn growing(
    size: usize,
    size_max: usize,
    mut call_fn: impl FnMut(&mut [u64]) -> Answer,
) -> io::Result<Vec<u64>> {
    let mut size = size;
    loop {
        let mut buffer = vec![0_u64; size.div_ceil(8)];
        match call_fn(&mut buffer) {
            Answer::Filled => return Ok(buffer),
            Answer::TooSmall(wanted) if size < size_max => {
                size = wanted.max(size * 2).min(size_max);
            }
            Answer::TooSmall(_) => return Err(io::ErrorKind::OutOfMemory.into()),
            Answer::Failed(error) => return Err(error),
        }
    }
}

/// What a call made of a buffer.
pub(super) enum Answer {
    /// The answer is in it.
    Filled,
    /// It was too small; the call wants this many bytes, if it knows.
    TooSmall(usize),
    /// The call failed.
    Failed(io::Error),
}
