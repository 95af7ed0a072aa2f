//! Keys and values of services, and what the registry knows of services altogether.

#![expect(unsafe_code, reason = "calls the registry")]

use super::wide;
use std::io;
use std::ptr;
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_READ, KEY_SET_VALUE, REG_DWORD, REG_OPTION_NON_VOLATILE,
    RegCloseKey, RegCreateKeyExW, RegEnumKeyExW, RegEnumValueW, RegOpenKeyExW, RegSetValueExW,
};

/// The most UTF-16 units of a name and bytes of a value that are read.
const NAME_SIZE_MAX: usize = 512;
const VALUE_SIZE_MAX: usize = 16 * 1024;

/// A key, open.
struct Key(HKEY);

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: open, and nobody else's.
        let _is_closed = unsafe { RegCloseKey(self.0) };
    }
}

/// Every service's keys and values, as lines: sources of event log messages are among them.
pub(crate) fn services() -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    list(r"System\CurrentControlSet\Services", &mut lines)?;
    Ok(lines)
}

fn list(path: &str, lines: &mut Vec<String>) -> io::Result<()> {
    let key = open(path)?;
    lines.push(path.to_owned());
    for index in 0.. {
        match value(&key, index)? {
            Some(line) => lines.push(format!("{path} {line}")),
            None => break,
        }
    }
    for index in 0.. {
        match subkey(&key, index)? {
            Some(name) => list(&format!(r"{path}\{name}"), lines)?,
            None => break,
        }
    }
    Ok(())
}

fn open(path: &str) -> io::Result<Key> {
    let path = wide(path);
    let mut key: HKEY = ptr::null_mut();
    // SAFETY: all pointers are good for the call.
    check(unsafe { RegOpenKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), 0, KEY_READ, &raw mut key) })?;
    Ok(Key(key))
}

fn subkey(key: &Key, index: u32) -> io::Result<Option<String>> {
    let mut name = [0_u16; NAME_SIZE_MAX];
    let mut size = u32::try_from(name.len()).map_err(io::Error::other)?;
    // SAFETY: the key is open, and the name has the room it says.
    let status = unsafe {
        RegEnumKeyExW(
            key.0,
            index,
            name.as_mut_ptr(),
            &raw mut size,
            ptr::null(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    found(status, &name, size)
}

/// A value as a line: its name, kind and bytes.
fn value(key: &Key, index: u32) -> io::Result<Option<String>> {
    let (mut name, mut bytes) = ([0_u16; NAME_SIZE_MAX], vec![0_u8; VALUE_SIZE_MAX]);
    let mut name_size = u32::try_from(name.len()).map_err(io::Error::other)?;
    let mut size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut kind = 0;
    // SAFETY: the key is open, and name and bytes have the room they say.
    let status = unsafe {
        RegEnumValueW(
            key.0,
            index,
            name.as_mut_ptr(),
            &raw mut name_size,
            ptr::null(),
            &raw mut kind,
            bytes.as_mut_ptr(),
            &raw mut size,
        )
    };
    bytes.truncate(usize::try_from(size).unwrap_or(0));
    let line = |name| format!("{name} {kind} {bytes:?}");
    Ok(found(status, &name, name_size)?.map(line))
}

fn found(status: u32, name: &[u16], size: u32) -> io::Result<Option<String>> {
    const NO_MORE_ITEMS: u32 = 259;
    if status == NO_MORE_ITEMS {
        return Ok(None);
    }
    check(status)?;
    let size = usize::try_from(size).unwrap_or(0);
    Ok(name.get(..size).map(String::from_utf16_lossy))
}

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
    let (key, bytes) = (Key(key), value.to_le_bytes());
    // SAFETY: the key is open, and the value has four bytes.
    check(unsafe { RegSetValueExW(key.0, name.as_ptr(), 0, REG_DWORD, bytes.as_ptr(), 4) })
}

/// Whether a service has such a key below its own.
pub(crate) fn has_key(service: &str, below: &str) -> io::Result<bool> {
    match open(&path(service, below)) {
        Ok(_key) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
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
