//! Events that were lost, told in the stream itself.

use crate::Kind;
use crate::wire::{Invalid, Reader, Writer};

/// Why events were lost: a number with names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reason(pub u16);

impl Reason {
    /// The kernel's buffer had no room: user mode read too slowly.
    pub const BUFFER_FULL: Self = Self(1);
    /// The kernel had no memory, or was in a state, for storing the event.
    pub const NO_MEMORY: Self = Self(2);
    /// The record was not what the wire format says; it was counted and skipped.
    pub const INVALID_RECORD: Self = Self(3);
    /// The sink could not write: disk full, file system read-only, directory gone.
    pub const WRITE_FAILED: Self = Self(4);
    /// The sink was slower than the stream and its policy is to lose.
    pub const SINK_BEHIND: Self = Self(5);
    /// The records are of a kind that this version does not know: the sensor is newer.
    pub const UNKNOWN_KIND: Self = Self(6);

    /// What sees the events did not work for a while; the count is the least there can have been.
    pub const BLIND: Self = Self(7);

    /// Windows lost whole buffers of a trace; the count is of buffers, the least there can have been.
    pub const BUFFERS_LOST: Self = Self(8);

    /// The name in the log and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BUFFER_FULL => "buffer_full",
            Self::NO_MEMORY => "no_memory",
            Self::INVALID_RECORD => "invalid_record",
            Self::WRITE_FAILED => "write_failed",
            Self::SINK_BEHIND => "sink_behind",
            Self::UNKNOWN_KIND => "unknown_kind",
            Self::BLIND => "blind",
            Self::BUFFERS_LOST => "buffers_lost",
            _ => "unknown",
        }
    }
}

/// A number of events of one kind that nobody will see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The kind of the events.
    pub kind: Kind,
    /// Why.
    pub reason: Reason,
    /// How many.
    pub count: u64,
}

impl Lost {
    /// Bytes of the body.
    pub const SIZE: usize = 12;

    /// Writes the body.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u16(self.kind.0);
        writer.u16(self.reason.0);
        writer.u64(self.count);
    }

    /// Reads the body.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            kind: Kind(reader.u16()?),
            reason: Reason(reader.u16()?),
            count: reader.u64()?,
        })
    }
}
