//! A record of an event log, of those that become events.

use super::data::Data;

/// Whose events are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// Sysmon's own log.
    Sysmon,
    /// What Windows audits.
    Security,
}

impl Source {
    /// The source whose provider has this name and whose event this is, where it becomes one.
    pub(super) fn of(provider: &str, event_id: u64) -> Option<Self> {
        match (provider, event_id) {
            ("Microsoft-Windows-Sysmon", 1 | 5..=8) => Some(Self::Sysmon),
            ("Microsoft-Windows-Security-Auditing", 4688 | 4689) => Some(Self::Security),
            _ => None,
        }
    }

    /// What it is called in the trail.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sysmon => "sysmon",
            Self::Security => "security",
        }
    }
}

/// A record that becomes an event.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Which of the logs it is from.
    pub(super) log_index: usize,
    /// Its number in that log.
    pub(super) number: u64,
    /// When its event was made, nanoseconds since the Unix epoch.
    pub(super) time: i64,
    pub(super) source: Source,
    pub(super) event_id: u64,
    /// The machine it is from.
    pub(super) computer: Box<str>,
    pub(super) data: Data,
}
