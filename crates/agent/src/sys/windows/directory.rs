//! A directory that only the system and administrators may enter.

#![expect(unsafe_code, reason = "sets who may enter")]

use std::fs;
use std::io;
use std::os::windows::fs::MetadataExt as _;
use std::path::Path;
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION,
    PSECURITY_DESCRIPTOR, SetFileSecurityW,
};
use windows_sys::Win32::Storage::FileSystem::FILE_ATTRIBUTE_REPARSE_POINT;

use super::call::{check, wide};

/// Owned by administrators; full access for SYSTEM and administrators, here and below, and nothing
/// from the directory above, where everybody may write.
const SECURITY: &str = "O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";

/// Makes the directory where it is not there, and sets who may enter. A directory somebody else has
/// made before becomes the administrators'; a link to another place is refused.
pub fn protect(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let metadata = fs::symlink_metadata(path)?;
    if metadata.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0 {
        return Err(io::Error::other(
            "it is a link to another place; remove it, for what is recorded must not go there",
        ));
    }
    let descriptor = Descriptor::new(SECURITY)?;
    let path = wide(path);
    let parts = OWNER_SECURITY_INFORMATION
        | DACL_SECURITY_INFORMATION
        | PROTECTED_DACL_SECURITY_INFORMATION;
    // SAFETY: a text ended by a NUL, and a descriptor that the system made.
    check(unsafe { SetFileSecurityW(path.as_ptr(), parts, descriptor.0) })
}

/// A security descriptor in the system's memory.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    fn new(text: &str) -> io::Result<Self> {
        let text = wide(text);
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
        Ok(Self(descriptor))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: allocated by the system for us, and freed here alone.
        let freed = unsafe { LocalFree(self.0) };
        debug_assert!(freed.is_null(), "memory of the system can be given back");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windows_sys::Win32::Security::Authorization::ConvertSecurityDescriptorToStringSecurityDescriptorW;
    use windows_sys::Win32::Security::GetFileSecurityW;

    /// Who may enter, in the system's words.
    fn security(path: &Path) -> String {
        let (path, mut descriptor) = (wide(path), [0_u64; 128]);
        let (mut needed, mut told) = (0, null_mut());
        // SAFETY: a text ended by a NUL, and a buffer with the size it has.
        let read = unsafe {
            GetFileSecurityW(
                path.as_ptr(),
                DACL_SECURITY_INFORMATION,
                descriptor.as_mut_ptr().cast(),
                1_024,
                &raw mut needed,
            )
        };
        check(read).unwrap();
        // SAFETY: the descriptor that the system wrote.
        let converted = unsafe {
            ConvertSecurityDescriptorToStringSecurityDescriptorW(
                descriptor.as_mut_ptr().cast(),
                SDDL_REVISION_1,
                DACL_SECURITY_INFORMATION,
                &raw mut told,
                null_mut(),
            )
        };
        check(converted).unwrap();
        let units = (0..1_024).map_while(|index| {
            // SAFETY: within the text, which ends at its NUL.
            let unit = unsafe { told.add(index) };
            // SAFETY: as above.
            let unit = unsafe { unit.read() };
            (unit != 0).then_some(unit)
        });
        let text = String::from_utf16(&units.collect::<Vec<_>>()).unwrap();
        drop(Descriptor(told.cast()));
        text
    }

    #[test]
    fn only_the_system_and_administrators_may_enter_a_protected_directory() {
        let place = std::env::temp_dir().join(format!("systrail-{}", std::process::id()));
        let below = place.join("below");
        protect(&below).unwrap();
        let text = security(&below);
        fs::remove_dir_all(&place).unwrap();
        let entries: Vec<&str> = text.split('(').skip(1).collect();
        let has = |who: &str| entries.iter().any(|entry| entry.ends_with(who));
        assert!(text.starts_with("D:"), "{text}");
        // Wine keeps Unix's modes, in which the file's owner stands for administrators.
        let has_administrators = has(";BA)") || has(";S-1-5-21-0-0-0-1000)");
        assert!(
            entries.len() == 2 && has(";SY)") && has_administrators,
            "{text}"
        );
        assert!(
            entries.iter().all(|entry| entry.starts_with("A;")),
            "{text}"
        );
    }
}
