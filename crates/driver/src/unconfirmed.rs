//! Breaks a crash loop. A driver that takes the machine down as it starts, and starts with the machine, would
//! take it down for good. So each start is counted in the registry before anything is set up, and the agent
//! clears the count when it has recorded for a while. After two starts that nobody confirmed there is no third.

use event::control::{UNCONFIRMED_STARTS, UNCONFIRMED_STARTS_MAX};
use nt::Status;
use nt::driver::RegistryPath;
use nt::registry::{Key, Value};

const STARTS: [u16; UNCONFIRMED_STARTS.len() + 1] = nt::string::utf_16(UNCONFIRMED_STARTS);

/// A start that is counted, until it is undone: a start that fails and an unload leave the machine as well
/// as it was.
#[derive(Debug)]
pub(crate) struct Start {
    /// Nothing where there is no key, or it cannot be opened.
    key: Option<Key>,
}

impl Start {
    /// Counts this start.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// When as many before it were not confirmed as may be. That a start cannot be counted is no reason not
    /// to start.
    pub(crate) fn count(path: RegistryPath<'_>) -> nt::Result<Self> {
        let Ok(Some(key)) = Key::open_own(path) else {
            return Ok(Self { key: None });
        };
        let starts = starts(&key);
        if starts >= UNCONFIRMED_STARTS_MAX {
            return Err(Status::REQUEST_ABORTED);
        }
        let is_counted = key.set(&STARTS, starts.saturating_add(1)).is_ok();
        if is_counted {
            // Windows writes it down within seconds by itself; a crash may come sooner.
            let _status = key.flush();
        }
        Ok(Self {
            key: is_counted.then_some(key),
        })
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            // The agent may have cleared it since. One that stays leaves the next starts fewer.
            let _status = key.set(&STARTS, starts(key).saturating_sub(1));
        }
    }
}

/// Starts that were not confirmed. What is no number counts as none.
fn starts(key: &Key) -> u32 {
    match key.value(&STARTS) {
        Ok(Some(Value::Dword(starts))) => starts,
        Ok(Some(Value::Other) | None) | Err(_) => 0,
    }
}
