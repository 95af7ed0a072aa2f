//! The system's event log: where a service says what a program says on a terminal.

#![expect(unsafe_code, reason = "writes to the event log")]

use std::io;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE,
    RegisterEventSourceW, ReportEventW,
};

use super::call::{check, wide};
use super::registry;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It is as it should be.
    Information,
    /// Something is lost or odd.
    Warning,
    /// It does not work.
    Error,
}

/// The most UTF-16 units of one message; the event log refuses more than 31,839.
const MESSAGE_SIZE_MAX: usize = 16_000;

/// A source of messages; dropping it closes it.
#[derive(Debug)]
pub struct EventLog(HANDLE);

// SAFETY: the handle may be used from any thread; the calls do their own locking.
unsafe impl Send for EventLog {}
// SAFETY: as above.
unsafe impl Sync for EventLog {}

impl EventLog {
    /// Opens the log for `source`.
    pub fn open(source: &str) -> io::Result<Self> {
        let source = wide(source);
        // SAFETY: a text ended by a NUL.
        let handle = unsafe { RegisterEventSourceW(null(), source.as_ptr()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(handle))
    }

    /// Writes one message. What is too long is cut.
    pub fn write(&self, level: Level, text: &str) -> io::Result<()> {
        let kind = match level {
            Level::Information => EVENTLOG_INFORMATION_TYPE,
            Level::Warning => EVENTLOG_WARNING_TYPE,
            Level::Error => EVENTLOG_ERROR_TYPE,
        };
        let mut message: Vec<u16> = text.encode_utf16().take(MESSAGE_SIZE_MAX).collect();
        message.push(0);
        let strings = [message.as_ptr()];
        // SAFETY: the handle is open, and one text ended by a NUL is there for the call.
        check(unsafe {
            ReportEventW(
                self.0,
                kind,
                0,
                MESSAGE_ID,
                null_mut(),
                1,
                0,
                strings.as_ptr(),
                null(),
            )
        })
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        // SAFETY: opened in `open`, and closed here alone.
        let closed = unsafe { DeregisterEventSource(self.0) };
        debug_assert_ne!(closed, 0, "a source that is open can be closed");
    }
}

/// The program of Windows whose messages 1 to 1000 are nothing but the text they are given, so that
/// the event viewer shows ours without a message file of our own.
const MESSAGE_FILE: &str = r"%SystemRoot%\System32\EventCreate.exe";
const MESSAGE_ID: u32 = 1;

/// The library of Windows that has the words of what the kernel's I/O manager logs, also for drivers.
const DRIVER_MESSAGE_FILE: &str = r"%SystemRoot%\System32\IoLogMsg.dll";

/// Who writes to the event log.
#[derive(Clone, Copy, Debug)]
pub enum Source<'n> {
    /// A program, to the log `Application`.
    Program(&'n str),
    /// A driver, through the kernel, to the log `System`.
    Driver(&'n str),
}

impl Source<'_> {
    fn key(self) -> String {
        let (log, name) = match self {
            Self::Program(name) => ("Application", name),
            Self::Driver(name) => ("System", name),
        };
        format!(r"SYSTEM\CurrentControlSet\Services\EventLog\{log}\{name}")
    }

    /// Makes it known to the event viewer, so that its entries read as sentences.
    pub fn register(self) -> io::Result<()> {
        let file = match self {
            Self::Program(_) => MESSAGE_FILE,
            Self::Driver(_) => DRIVER_MESSAGE_FILE,
        };
        registry::set_text(&self.key(), "EventMessageFile", file)?;
        registry::set_number(&self.key(), "TypesSupported", 7)
    }

    /// Makes it unknown again. Messages that were written stay.
    pub fn unregister(self) -> io::Result<()> {
        registry::remove(&self.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::registry::Value;

    #[test]
    fn a_source_has_the_words_of_its_kind_while_it_is_registered() {
        let name = format!("SysTrailTest{}", std::process::id());
        for (source, words) in [
            (Source::Program(&name), "EventCreate.exe"),
            (Source::Driver(&name), "IoLogMsg.dll"),
        ] {
            let file = || registry::value(&source.key(), "EventMessageFile").unwrap();
            source.register().unwrap();
            assert!(matches!(file(), Some(Value::Text(file)) if file.ends_with(words)));
            source.unregister().unwrap();
            assert_eq!(file(), None);
        }
    }
}
