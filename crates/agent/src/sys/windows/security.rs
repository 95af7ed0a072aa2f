//! Security descriptors of files and directories.

#![expect(unsafe_code, reason = "asks the system for a descriptor")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::AsRawHandle as _;
use std::path::Path;

use windows_sys::Win32::Foundation::ERROR_INSUFFICIENT_BUFFER;
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetKernelObjectSecurity, OWNER_SECURITY_INFORMATION,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, READ_CONTROL,
};

use super::call::{Answer, check, growing};

/// The most bytes of a descriptor: two lists of at most 64 KiB, two SIDs and a head.
const SIZE_MAX: usize = 256 << 10;

/// Opens a file or directory for these rights; a link itself, and not where it leads.
pub(super) fn open(path: &Path, access: u32) -> io::Result<File> {
    OpenOptions::new()
        .access_mode(access)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)
}

/// The owner of a file or directory and who may do what with it, in the self-relative form. More
/// bytes may follow.
pub fn at(path: &Path) -> io::Result<Vec<u8>> {
    of(&open(path, READ_CONTROL)?)
}

/// The same of one that was opened with `READ_CONTROL`.
pub(super) fn of(file: &File) -> io::Result<Vec<u8>> {
    let words = growing(1 << 10, SIZE_MAX, |buffer| {
        let room = u32::try_from(size_of_val(buffer)).unwrap_or(u32::MAX);
        let mut needed = 0;
        // SAFETY: an open handle, and a buffer with the size it has.
        let read = check(unsafe {
            GetKernelObjectSecurity(
                file.as_raw_handle(),
                OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                buffer.as_mut_ptr().cast(),
                room,
                &raw mut needed,
            )
        });
        match read {
            Ok(()) => Answer::Filled,
            Err(error) if error.raw_os_error() == Some(ERROR_INSUFFICIENT_BUFFER.cast_signed()) => {
                Answer::TooSmall(usize::try_from(needed).unwrap_or(0))
            }
            Err(error) => Answer::Failed(error),
        }
    })?;
    Ok(words.into_iter().flat_map(u64::to_le_bytes).collect())
}
