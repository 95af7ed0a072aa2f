//! Values of the machine's registry.

#![expect(unsafe_code, reason = "reads and writes the registry")]

use std::io;

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_MORE_DATA, ERROR_PATH_NOT_FOUND};
use windows_sys::Win32::System::Registry::{
    HKEY_LOCAL_MACHINE, REG_DWORD, REG_EXPAND_SZ, REG_SZ, RRF_NOEXPAND, RRF_RT_ANY,
    RRF_SUBKEY_WOW6464KEY, RegDeleteTreeW, RegGetValueW, RegSetKeyValueW,
};

use super::call::{check_code, text, wide};

/// A value of a kind that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `REG_DWORD`.
    Number(u32),
    /// `REG_SZ` and `REG_EXPAND_SZ`, the latter as it stands.
    Text(String),
    /// Any other.
    Other,
}

/// The most bytes of a value that is read.
const SIZE_MAX: usize = 2_048;

/// A value below `HKEY_LOCAL_MACHINE`; `None` when it is not there.
pub fn value(key: &str, name: &str) -> io::Result<Option<Value>> {
    let (key, name) = (wide(key), wide(name));
    let mut buffer = [0_u16; SIZE_MAX / 2];
    let mut size = u32::try_from(SIZE_MAX).unwrap_or(u32::MAX);
    let mut kind = 0;
    // SAFETY: texts ended by a NUL, and a buffer with the size it has.
    let code = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            name.as_ptr(),
            RRF_RT_ANY | RRF_NOEXPAND | RRF_SUBKEY_WOW6464KEY,
            &raw mut kind,
            buffer.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    match code {
        ERROR_FILE_NOT_FOUND | ERROR_PATH_NOT_FOUND => return Ok(None),
        ERROR_MORE_DATA => return Ok(Some(Value::Other)),
        code => check_code(code)?,
    }
    let [low, high, ..] = buffer;
    Ok(Some(match kind {
        REG_DWORD if size == 4 => Value::Number(u32::from(high) << 16 | u32::from(low)),
        REG_SZ | REG_EXPAND_SZ => Value::Text(text(&buffer)),
        _ => Value::Other,
    }))
}

/// Sets a number below `HKEY_LOCAL_MACHINE`, and makes the key where it is not there.
pub fn set_number(key: &str, name: &str, number: u32) -> io::Result<()> {
    set(key, name, REG_DWORD, &number.to_le_bytes())
}

/// Sets a text below `HKEY_LOCAL_MACHINE`, and makes the key where it is not there.
pub fn set_text(key: &str, name: &str, value: &str) -> io::Result<()> {
    let bytes: Vec<u8> = wide(value).into_iter().flat_map(u16::to_le_bytes).collect();
    set(key, name, REG_EXPAND_SZ, &bytes)
}

fn set(key: &str, name: &str, kind: u32, bytes: &[u8]) -> io::Result<()> {
    let (key, name) = (wide(key), wide(name));
    let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    // SAFETY: texts ended by a NUL, and bytes with the size they have.
    check_code(unsafe {
        RegSetKeyValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            name.as_ptr(),
            kind,
            bytes.as_ptr().cast(),
            size,
        )
    })
}

/// Removes a key below `HKEY_LOCAL_MACHINE` with all that is in it. One that is not there is no
/// failure.
pub fn remove(key: &str) -> io::Result<()> {
    let key = wide(key);
    // SAFETY: a text ended by a NUL.
    match unsafe { RegDeleteTreeW(HKEY_LOCAL_MACHINE, key.as_ptr()) } {
        ERROR_FILE_NOT_FOUND | ERROR_PATH_NOT_FOUND => Ok(()),
        code => check_code(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read_back_and_goes_with_its_key() {
        let key = format!(r"SOFTWARE\SysTrailTest{}", std::process::id());
        assert_eq!(value(&key, "Number").unwrap(), None);
        set_number(&key, "Number", 0x1234_5678).unwrap();
        set_text(&key, "Text", "a ü").unwrap();
        let read = |name| value(&key, name).unwrap();
        assert_eq!(read("Number"), Some(Value::Number(0x1234_5678)));
        assert_eq!(read("Text"), Some(Value::Text("a ü".to_owned())));
        remove(&key).unwrap();
        remove(&key).unwrap();
        assert_eq!(read("Number"), None);
    }
}
