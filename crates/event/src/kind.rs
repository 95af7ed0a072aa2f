//! The kinds of events: numbers with names, because a number from another trust domain may be any.

use core::fmt;

/// What happened. Ranges leave gaps, so a subject's kinds stay together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

impl Kind {
    /// A process was created.
    pub const PROCESS_START: Self = Self(1);
    /// A process replaced its program (Linux).
    pub const PROCESS_EXEC: Self = Self(2);
    /// A process ended.
    pub const PROCESS_EXIT: Self = Self(3);
    /// A thread was created.
    pub const THREAD_START: Self = Self(16);
    /// A thread ended.
    pub const THREAD_EXIT: Self = Self(17);
    /// An image was mapped.
    pub const IMAGE_LOAD: Self = Self(32);
    /// Events were lost.
    pub const LOST: Self = Self(240);
    /// The sensor began to record.
    pub const SENSOR_START: Self = Self(241);
    /// The sensor stopped recording.
    pub const SENSOR_STOP: Self = Self(242);

    /// The kinds a sensor observes, in the order every table shows them. These are the ones an
    /// account is kept for.
    pub const OBSERVED: [Self; 6] = [
        Self::PROCESS_START,
        Self::PROCESS_EXEC,
        Self::PROCESS_EXIT,
        Self::THREAD_START,
        Self::THREAD_EXIT,
        Self::IMAGE_LOAD,
    ];

    /// The place of an observed kind in [`Kind::OBSERVED`] and in every table of counters.
    pub const fn index(self) -> Option<usize> {
        match self {
            Self::PROCESS_START => Some(0),
            Self::PROCESS_EXEC => Some(1),
            Self::PROCESS_EXIT => Some(2),
            Self::THREAD_START => Some(3),
            Self::THREAD_EXIT => Some(4),
            Self::IMAGE_LOAD => Some(5),
            _ => None,
        }
    }

    /// The name in the log and the store, or `None` for a number this version does not know.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::PROCESS_START => "process_start",
            Self::PROCESS_EXEC => "process_exec",
            Self::PROCESS_EXIT => "process_exit",
            Self::THREAD_START => "thread_start",
            Self::THREAD_EXIT => "thread_exit",
            Self::IMAGE_LOAD => "image_load",
            Self::LOST => "lost",
            Self::SENSOR_START => "sensor_start",
            Self::SENSOR_STOP => "sensor_stop",
            _ => return None,
        })
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        const MARKS: [Kind; 3] = [Kind::LOST, Kind::SENSOR_START, Kind::SENSOR_STOP];
        Self::OBSERVED
            .into_iter()
            .chain(MARKS)
            .find(|kind| kind.name() == Some(name))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => formatter.pad(name),
            None => write!(formatter, "kind_{}", self.0),
        }
    }
}
