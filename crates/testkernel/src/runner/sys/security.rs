//! Who may do what with a file or directory.

#![expect(unsafe_code, reason = "calls the system")]

use super::{check, wide};
use std::io;
use std::ptr::null_mut;
use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{DACL_SECURITY_INFORMATION, SetFileSecurityW};

/// Lets everybody do everything.
pub(crate) fn open_to_everybody(path: &str) -> io::Result<()> {
    let text = wide("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;WD)");
    let mut descriptor = null_mut();
    // SAFETY: a text ended by a NUL.
    check(unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            text.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor,
            null_mut(),
        )
    })?;
    let path = wide(path);
    // SAFETY: a text ended by a NUL, and a descriptor that the system made.
    let set = unsafe { SetFileSecurityW(path.as_ptr(), DACL_SECURITY_INFORMATION, descriptor) };
    let set = check(set);
    // SAFETY: allocated by the system for this function, and freed here alone.
    let _is_freed = unsafe { LocalFree(descriptor) };
    set
}
