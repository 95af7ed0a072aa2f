//! A directory that only the system and administrators may enter: made so, and set so.

#![expect(unsafe_code, reason = "sets who may enter")]

use std::fs::File;
use std::io;
use std::os::windows::fs::MetadataExt as _;
use std::os::windows::io::AsRawHandle as _;
use std::path::Path;
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION,
    PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES, SetKernelObjectSecurity,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateDirectoryW, FILE_ATTRIBUTE_REPARSE_POINT, FILE_READ_ATTRIBUTES, READ_CONTROL, WRITE_DAC,
    WRITE_OWNER,
};

use super::call::{check, wide};
use super::security;

/// Owned by administrators; full access for SYSTEM and administrators, here and below, and nothing
/// from the directory above, where everybody may write.
const SECURITY: &str = "O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";

/// Makes the directory, which from its first moment nobody else may enter. Fails with
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists) where something has its name.
pub fn create(path: &Path) -> io::Result<()> {
    let descriptor = Descriptor::new(SECURITY)?;
    let attributes = SECURITY_ATTRIBUTES {
        nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(u32::MAX),
        lpSecurityDescriptor: descriptor.0,
        bInheritHandle: 0,
    };
    let path = wide(path);
    // SAFETY: a text ended by a NUL, and a descriptor that the system made.
    check(unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) })
}

/// A directory that is there, open: what is asked of it and set is of this one, whatever its name
/// stands for meanwhile.
#[derive(Debug)]
pub struct Directory(File);

impl Directory {
    /// Opens it; a link itself, and not where it leads.
    pub fn open(path: &Path) -> io::Result<Self> {
        let access = READ_CONTROL | WRITE_DAC | WRITE_OWNER | FILE_READ_ATTRIBUTES;
        security::open(path, access).map(Self)
    }

    /// Whether it is a link to another place.
    pub fn is_link(&self) -> io::Result<bool> {
        let attributes = self.0.metadata()?.file_attributes();
        Ok(attributes & FILE_ATTRIBUTE_REPARSE_POINT != 0)
    }

    /// Its owner, and who may do what with it.
    pub fn security(&self) -> io::Result<Vec<u8>> {
        security::of(&self.0)
    }

    /// Lets nobody in but the system and administrators.
    pub fn close_to_others(&self) -> io::Result<()> {
        let descriptor = Descriptor::new(SECURITY)?;
        let parts = OWNER_SECURITY_INFORMATION
            | DACL_SECURITY_INFORMATION
            | PROTECTED_DACL_SECURITY_INFORMATION;
        // SAFETY: an open handle, and a descriptor that the system made.
        check(unsafe { SetKernelObjectSecurity(self.0.as_raw_handle(), parts, descriptor.0) })
    }
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
    use std::fs;
    use windows_sys::Win32::Security::Authorization::ConvertSecurityDescriptorToStringSecurityDescriptorW;

    /// Who may enter, in the system's words.
    fn security_at(path: &Path) -> String {
        let mut descriptor = security::at(path).unwrap();
        let mut told = null_mut();
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
    fn only_the_system_and_administrators_may_enter_what_was_made_or_closed() {
        let place = std::env::temp_dir().join(format!("systrail-{}", std::process::id()));
        create(&place).unwrap();
        let again = create(&place).unwrap_err();
        let made = security_at(&place);
        fs::remove_dir(&place).unwrap();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        is_closed(&made);
        fs::create_dir(&place).unwrap();
        let directory = Directory::open(&place).unwrap();
        directory.close_to_others().unwrap();
        let closed = security_at(&place);
        let is_link = directory.is_link();
        fs::remove_dir(&place).unwrap();
        is_closed(&closed);
        assert!(!is_link.unwrap());
    }

    fn is_closed(text: &str) {
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
