//! The runner's door to Windows: its only unsafe code.

pub(crate) mod console;
pub(crate) mod debug;
pub(crate) mod device;
mod handle;
pub(crate) mod process;
pub(crate) mod registry;
pub(crate) mod security;
pub(crate) mod service;

use std::io;

/// What a function that gives a BOOL came to.
fn check(result: i32) -> io::Result<()> {
    if result == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The units of a text, ended by a zero.
fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}
