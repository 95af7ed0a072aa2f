//! Names of users, from the local security authority, which asks the domain where there is one.

#![expect(unsafe_code, reason = "looks up SIDs and names")]

use std::io;
use std::ptr::{null, null_mut};
use std::sync::Arc;

use windows_sys::Win32::Foundation::{ERROR_NONE_MAPPED, GetLastError};
use windows_sys::Win32::Security::{IsValidSid, LookupAccountNameW, LookupAccountSidW};

use super::call::{text, wide};

/// The longest name and domain, in UTF-16 units with the NUL: 20 and 256 by Windows' own limits.
const NAME_SIZE_MAX: usize = 512;

/// The most bytes of a SID (`SECURITY_MAX_SID_SIZE`).
const SID_SIZE_MAX: usize = 68;

/// There are no uids on this system.
///
/// # Errors
/// None.
pub fn name_of_uid(_user_id: u32) -> io::Result<Option<String>> {
    Ok(None)
}

/// The name of a SID in its binary form, as `DOMAIN\name`; `None` when nobody knows one. May take
/// any time.
///
/// # Errors
/// When the authority does not answer.
pub fn name_of_sid(sid: &[u8]) -> io::Result<Option<String>> {
    // The call reads as many sub-authorities as the second byte says.
    let claimed = sid.get(1).map(|count| 8 + usize::from(*count) * 4);
    if claimed != Some(sid.len()) || sid.len() > SID_SIZE_MAX {
        return Ok(None);
    }
    // Sub-authorities are numbers of 4 bytes, which the system may read as such.
    let mut aligned = [0_u32; SID_SIZE_MAX / 4];
    for (number, bytes) in aligned.iter_mut().zip(sid.as_chunks::<4>().0) {
        *number = u32::from_ne_bytes(*bytes);
    }
    let sid = aligned.as_mut_ptr().cast();
    // SAFETY: the buffer is larger than any SID whose count was checked.
    if unsafe { IsValidSid(sid) } == 0 {
        return Ok(None);
    }
    let (mut name, mut domain) = ([0_u16; NAME_SIZE_MAX], [0_u16; NAME_SIZE_MAX]);
    let (mut name_size, mut domain_size, mut kind) = (512, 512, 0);
    // SAFETY: a valid SID, and two buffers with the sizes they have.
    let found = unsafe {
        LookupAccountSidW(
            null(),
            sid,
            name.as_mut_ptr(),
            &raw mut name_size,
            domain.as_mut_ptr(),
            &raw mut domain_size,
            &raw mut kind,
        )
    };
    if found == 0 {
        // SAFETY: reads this thread's last error.
        let error = unsafe { GetLastError() };
        return if error == ERROR_NONE_MAPPED {
            Ok(None)
        } else {
            Err(io::Error::from_raw_os_error(error.cast_signed()))
        };
    }
    let (name, domain) = (text(&name), text(&domain));
    Ok(Some(if domain.is_empty() {
        name
    } else {
        format!(r"{domain}\{name}")
    }))
}

/// There is no file of users on this system: each is asked for.
#[derive(Debug, Default)]
pub struct LocalUsers {}

impl LocalUsers {
    /// None.
    pub const fn name(&self, _user_id: u32) -> Option<&Arc<str>> {
        None
    }

    /// Nothing changes.
    pub const fn refresh(&mut self) -> bool {
        false
    }
}

/// Whether this machine knows the user; where it cannot tell, it may. May take any time.
pub fn exists(name: &str) -> bool {
    let name = wide(name);
    let (mut sid_size, mut domain_size, mut kind) = (0, 0, 0);
    // SAFETY: a text ended by a NUL; no buffers, so the call says that they are too small where
    // the name is known.
    let found = unsafe {
        LookupAccountNameW(
            null(),
            name.as_ptr(),
            null_mut(),
            &raw mut sid_size,
            null_mut(),
            &raw mut domain_size,
            &raw mut kind,
        )
    };
    // SAFETY: reads this thread's last error.
    found != 0 || unsafe { GetLastError() } != ERROR_NONE_MAPPED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_system_and_no_sid_nobody_has() {
        let system = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
        let name = name_of_sid(&system).unwrap().unwrap();
        assert!(name.ends_with("SYSTEM"), "{name}");
        let mut nobody = vec![1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0];
        nobody.extend([7; 16]);
        assert_eq!(name_of_sid(&nobody).unwrap(), None);
    }

    #[test]
    fn what_is_no_sid_has_no_name() {
        for sid in [&[][..], &[1], &[1, 200, 0, 0, 0, 0, 0, 5], &[9; 12]] {
            assert_eq!(name_of_sid(sid).unwrap(), None);
        }
    }
}
