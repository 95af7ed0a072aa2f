//! Keys below those of services.

#![expect(unsafe_code, reason = "calls the registry")]

use super::wide;
use std::io;
use std::ptr;
use windows_sys::Win32::Foundation::ERROR_FILE_NOT_FOUND;
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_READ, KEY_SET_VALUE, REG_DWORD, REG_OPTION_NON_VOLATILE,
    RegCloseKey, RegCreateKeyExW, RegOpenKeyExW, RegSetValueExW,
};

/// Sets a number of a service, in the key `below` its own.
pub(crate) fn set_number(service: &str, below: &str, name: &str, value: u32) -> io::Result<()> {
    let (path, name) = (wide(&path(service, below)), wide(name));
    let mut key: HKEY = ptr::null_mut();
    // SAFETY: all pointers are good for the call.
    let status = unsafe {
        RegCreateKeyExW(
            HKEY_LOCAL_MACHINE,
            path.as_ptr(),
            0,
            ptr::null(),
            REG_OPTION_NON_VOLATILE,
            KEY_SET_VALUE,
            ptr::null(),
            &raw mut key,
            ptr::null_mut(),
        )
    };
    check(status)?;
    let bytes = value.to_le_bytes();
    // SAFETY: the key is open, and the value has four bytes.
    let status = unsafe { RegSetValueExW(key, name.as_ptr(), 0, REG_DWORD, bytes.as_ptr(), 4) };
    // SAFETY: opened above.
    let _is_closed = unsafe { RegCloseKey(key) };
    check(status)
}

/// Whether a service has such a key below its own.
pub(crate) fn has_key(service: &str, below: &str) -> io::Result<bool> {
    let path = wide(&path(service, below));
    let mut key: HKEY = ptr::null_mut();
    // SAFETY: all pointers are good for the call.
    let status =
        unsafe { RegOpenKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), 0, KEY_READ, &raw mut key) };
    if status == ERROR_FILE_NOT_FOUND {
        return Ok(false);
    }
    check(status)?;
    // SAFETY: opened above.
    let _is_closed = unsafe { RegCloseKey(key) };
    Ok(true)
}

fn path(service: &str, below: &str) -> String {
    format!(r"System\CurrentControlSet\Services\{service}\{below}")
}

fn check(status: u32) -> io::Result<()> {
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(status.cast_signed()))
    }
}
