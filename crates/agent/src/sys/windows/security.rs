//! Security descriptors of files and directories.

#![expect(unsafe_code, reason = "asks the system for a descriptor")]

use std::io;
use std::path::Path;

use windows_sys::Win32::Foundation::ERROR_INSUFFICIENT_BUFFER;
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetFileSecurityW, OWNER_SECURITY_INFORMATION,
};

use super::call::{Answer, check, growing, wide};

/// The most bytes of a descriptor: two lists of at most 64 KiB, two SIDs and a head.
const SIZE_MAX: usize = 256 << 10;

/// The owner of a file or directory and who may do what with it, in the self-relative form. More
/// bytes may follow.
pub fn of_file(path: &Path) -> io::Result<Vec<u8>> {
    let path = wide(path);
    let words = growing(1 << 10, SIZE_MAX, |buffer| {
        let room = u32::try_from(size_of_val(buffer)).unwrap_or(u32::MAX);
        let mut needed = 0;
        // SAFETY: a text ended by a NUL, and a buffer with the size it has.
        let read = check(unsafe {
            GetFileSecurityW(
                path.as_ptr(),
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
