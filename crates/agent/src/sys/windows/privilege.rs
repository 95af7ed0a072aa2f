//! What this process may do.

#![expect(unsafe_code, reason = "reads and changes this process's token")]

use std::io;
use std::os::windows::io::{AsRawHandle as _, OwnedHandle};
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::LUID;
use windows_sys::Win32::Security::{
    AdjustTokenPrivileges, GetTokenInformation, LUID_AND_ATTRIBUTES, LookupPrivilegeValueW,
    SE_PRIVILEGE_ENABLED, TOKEN_ADJUST_PRIVILEGES, TOKEN_ELEVATION, TOKEN_PRIVILEGES, TOKEN_QUERY,
    TokenElevation,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::call::{check, owned, wide};

/// Whether this process has the full rights of an administrator.
pub fn is_elevated() -> io::Result<bool> {
    let token = own_token(TOKEN_QUERY)?;
    let mut elevation = TOKEN_ELEVATION::default();
    let size = u32::try_from(size_of::<TOKEN_ELEVATION>()).unwrap_or(u32::MAX);
    let mut told_size = 0;
    // SAFETY: a structure with the size it has.
    check(unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenElevation,
            (&raw mut elevation).cast(),
            size,
            &raw mut told_size,
        )
    })?;
    Ok(elevation.TokenIsElevated != 0)
}

/// Turns on the privilege to look into other users' processes. Who does not have it goes without:
/// the call then changes nothing.
pub fn enable_debug() -> io::Result<()> {
    enable("SeDebugPrivilege")
}

/// Turns on the privilege to watch the whole system, which the kernel asks for where its own events are
/// followed. Who does not have it goes without.
pub fn enable_system_profile() -> io::Result<()> {
    enable("SeSystemProfilePrivilege")
}

fn enable(name: &str) -> io::Result<()> {
    let token = own_token(TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY)?;
    let name = wide(name);
    let mut id = LUID::default();
    // SAFETY: a text ended by a NUL.
    check(unsafe { LookupPrivilegeValueW(null(), name.as_ptr(), &raw mut id) })?;
    let privileges = TOKEN_PRIVILEGES {
        PrivilegeCount: 1,
        Privileges: [LUID_AND_ATTRIBUTES {
            Luid: id,
            Attributes: SE_PRIVILEGE_ENABLED,
        }],
    };
    // SAFETY: one privilege, as its count says; nothing is asked back.
    check(unsafe {
        AdjustTokenPrivileges(
            token.as_raw_handle(),
            0,
            &raw const privileges,
            0,
            null_mut(),
            null_mut(),
        )
    })
}

fn own_token(access: u32) -> io::Result<OwnedHandle> {
    let mut token = null_mut();
    // SAFETY: gives a constant that stands for this process and needs no closing.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: a handle of this process, and room for one of its token.
    check(unsafe { OpenProcessToken(process, access, &raw mut token) })?;
    // SAFETY: just opened, and nobody else has it.
    unsafe { owned(token) }
}
