//! How the agent and the Windows driver talk: names, control requests, and the batches that a read
//! returns. `docs/WIRE.md` draws the records inside a batch, `docs/DRIVER.md` the rest.

use crate::wire::{Invalid, Reader, Writer};
use crate::{ByKind, Kind};

/// The device's name in the kernel's name space.
pub const DEVICE_NAME: &str = r"\Device\SysTrail";

/// The symbolic link that makes the device `\\.\SysTrail` in user mode.
pub const LINK_NAME: &str = r"\DosDevices\SysTrail";

/// The version of this protocol. It changes only when an old agent could misread a new driver; that
/// one of the two knows more kinds of events, conditions or counters than the other changes nothing.
pub const PROTOCOL_VERSION: u32 = 3;

/// A control code: a number with names, built as `CTL_CODE` does; `cargo xtask layout` checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u32);

impl Code {
    /// Version handshake: [`Hello`] in, [`Welcome`] out.
    pub const HANDSHAKE: Self = Self(0x0022_2000);
    /// Counters: nothing in, [`Counters`] out.
    pub const COUNTERS: Self = Self(0x0022_2004);
    /// Completes a pended read now with what there is: nothing in, nothing out. Needs read access.
    pub const FLUSH: Self = Self(0x0022_6008);
}

/// The subkey of the driver's service key in which a start that failed says so: [`START_STEP`] and
/// [`START_STATUS`], two `REG_DWORD`s. The key is volatile, and each start begins by removing it.
pub const START_FAILURE: &str = "StartFailure";

/// The value that holds the [`StartStep`] that failed. It is written last.
pub const START_STEP: &str = "Step";

/// The value that holds the kernel's NTSTATUS.
pub const START_STATUS: &str = "Status";

/// The value of the driver's own service key that counts its starts, a `REG_DWORD`: each start adds one, and
/// the agent makes it 0 when it has recorded for a while.
pub const UNCONFIRMED_STARTS: &str = "UnconfirmedStarts";

/// After so many starts that were not confirmed the driver refuses to start.
pub const UNCONFIRMED_STARTS_MAX: u32 = 2;

/// A step of the driver's start, in the order in which they are taken but for the last, which is 0, and the
/// first, which is 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartStep(pub u32);

impl StartStep {
    /// Keeping what was set up, after all the others.
    pub const KEEP: Self = Self(0);
    /// The queue of records.
    pub const QUEUE: Self = Self(1);
    /// The process notify routine.
    pub const PROCESS_ROUTINE: Self = Self(2);
    /// The thread notify routine.
    pub const THREAD_ROUTINE: Self = Self(3);
    /// The image notify routine.
    pub const IMAGE_ROUTINE: Self = Self(4);
    /// The device.
    pub const DEVICE: Self = Self(5);
    /// The device's symbolic link.
    pub const SYMBOLIC_LINK: Self = Self(6);
    /// Counting the starts that no agent confirmed: there were too many.
    pub const UNCONFIRMED: Self = Self(7);
}

/// What the agent says first. In every version it begins with that version; what a newer agent says
/// after it is not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The agent's [`PROTOCOL_VERSION`].
    pub protocol_version: u32,
}

impl Hello {
    /// Bytes of the request.
    pub const SIZE: usize = 4;

    /// Writes the request.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u32(self.protocol_version);
    }

    /// Reads the request.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            protocol_version: reader.u32()?,
        })
    }
}

/// What the driver answers. In every version it begins with that version, and what follows is read
/// only when it is this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Welcome {
    /// The driver's [`PROTOCOL_VERSION`].
    pub protocol_version: u32,
    /// Bytes of the largest record; a read buffer must hold it and a [`Batch`].
    pub record_size_max: u32,
    /// Bytes of queued records at which a read is completed before the flush interval is over.
    pub batch_size: u32,
    /// The flush interval in use.
    pub flush_interval_ms: u32,
    /// Bytes of queued records the driver has room for.
    pub queue_limit: u32,
    /// How many reads may be pended at once.
    pub reads_max: u32,
}

impl Welcome {
    /// Bytes of the answer.
    pub const SIZE: usize = 24;
    /// Bytes an agent has room for, so that a longer answer of another version fits.
    pub const SIZE_MAX: usize = 256;

    /// Writes the answer.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u32(self.protocol_version);
        writer.u32(self.record_size_max);
        writer.u32(self.batch_size);
        writer.u32(self.flush_interval_ms);
        writer.u32(self.queue_limit);
        writer.u32(self.reads_max);
    }

    /// Reads the answer. Of one of another version only that is read.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        let protocol_version = reader.u32()?;
        if protocol_version != PROTOCOL_VERSION {
            return Ok(Self {
                protocol_version,
                ..Self::default()
            });
        }
        Ok(Self {
            protocol_version,
            record_size_max: reader.u32()?,
            batch_size: reader.u32()?,
            flush_interval_ms: reader.u32()?,
            queue_limit: reader.u32()?,
            reads_max: reader.u32()?,
        })
    }
}

/// Which registry values the driver refused, and why it may have stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions(pub u64);

impl Conditions {
    /// `QueueLimit` has the wrong type or is out of range; the default is in use.
    pub const QUEUE_LIMIT_REFUSED: Self = Self(1);
    /// `FlushIntervalMs` has the wrong type or is out of range; the default is in use.
    pub const FLUSH_INTERVAL_REFUSED: Self = Self(1 << 1);
    /// The registry value `StartAddress` was refused in favour of the default.
    pub const START_ADDRESS_REFUSED: Self = Self(1 << 3);
    /// The queue's bookkeeping was overwritten from outside; every further event counts as lost.
    pub const QUEUE_CORRUPT: Self = Self(1 << 2);

    /// Whether every condition of `other` is set in `self`.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// `self` with the conditions of `other` set too.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The account of one kind since the driver's start. What is queued is
/// `produced - delivered - lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Events seen.
    pub produced: u64,
    /// Events handed to the agent.
    pub delivered: u64,
    /// Events for which there was no room.
    pub lost: u64,
}

/// The driver's counters.
///
/// On the wire the counts are a list, each with the number of its kind, behind a head that says how
/// large it is itself and how large each count is. So a driver that knows more or fewer kinds, or
/// tells more of each, is read as far as both know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By kind.
    pub kinds: ByKind<Count>,
    /// Bytes of queue room in use, bookkeeping and alignment included.
    pub queue_used: u64,
    /// The most bytes of queue room that were in use at any time.
    pub queue_peak: u64,
    /// Bytes of queue room there are.
    pub queue_limit: u64,
    /// Batches completed.
    pub batches: u64,
    /// Reads pended now.
    pub reads_pended: u32,
    /// What is unusual.
    pub conditions: Conditions,
}

/// The most kinds whose counts are read: a driver that tells of more is none of ours.
pub const COUNTS_MAX: u32 = 128;

const _: () = assert!(Kind::OBSERVED.len() <= COUNTS_MAX as usize);

impl Counters {
    /// Bytes before the first count.
    pub const HEAD_SIZE: u32 = 56;
    /// Bytes of one count.
    pub const COUNT_SIZE: u32 = 32;
    /// Bytes of the answer.
    pub const SIZE: usize =
        Self::HEAD_SIZE as usize + Kind::OBSERVED.len() * Self::COUNT_SIZE as usize;
    /// Bytes an agent has room for: [`COUNTS_MAX`] counts, and what newer drivers may add.
    pub const SIZE_MAX: usize = 8 * 1024;

    /// Writes the answer.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u32(Self::HEAD_SIZE);
        writer.u32(Self::COUNT_SIZE);
        writer.u32(u32::try_from(Kind::OBSERVED.len()).unwrap_or(u32::MAX));
        writer.u32(self.reads_pended);
        writer.u64(self.conditions.0);
        writer.u64(self.queue_used);
        writer.u64(self.queue_peak);
        writer.u64(self.queue_limit);
        writer.u64(self.batches);
        for (kind, count) in self.kinds.iter() {
            writer.u16(kind.0);
            // Room for what may be said of a kind one day.
            writer.u16(0);
            writer.u32(0);
            writer.u64(count.produced);
            writer.u64(count.delivered);
            writer.u64(count.lost);
        }
    }

    /// Reads the answer. Counts of kinds that are not known are given to `unknown_fn`, at most
    /// [`COUNTS_MAX`] of them.
    pub fn read(
        reader: &mut Reader<'_>,
        mut unknown_fn: impl FnMut(Kind, Count),
    ) -> Result<Self, Invalid> {
        let (head_size, count_size, count) = (reader.u32()?, reader.u32()?, reader.u32()?);
        if count > COUNTS_MAX {
            return Err(Invalid::Count { claimed: count });
        }
        let mut head = Reader::new(reader.bytes(head_size.saturating_sub(12))?);
        let mut counters = Self {
            reads_pended: head.u32()?,
            conditions: Conditions(head.u64()?),
            queue_used: head.u64()?,
            queue_peak: head.u64()?,
            queue_limit: head.u64()?,
            batches: head.u64()?,
            kinds: ByKind::default(),
        };
        for _entry in 0..count {
            let mut entry = Reader::new(reader.bytes(count_size)?);
            let kind = Kind(entry.u16()?);
            entry.bytes(6)?;
            let count = Count {
                produced: entry.u64()?,
                delivered: entry.u64()?,
                lost: entry.u64()?,
            };
            match counters.kinds.get_mut(kind) {
                Some(known) => *known = count,
                None => unknown_fn(kind, count),
            }
        }
        Ok(counters)
    }
}

/// What a read's bytes begin with; whole records follow to `size`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// From 1, without a gap: reads may complete on several processors at once, and the agent
    /// puts them back into order by this.
    pub sequence: u64,
    /// Bytes of the batch, this header included.
    pub size: u32,
    /// Records in the batch.
    pub records: u32,
    /// What the time of day, in nanoseconds since 1970, UTC, is more than the times of the records, by
    /// the clock as it was set when the batch was put together.
    pub utc_offset: i64,
}

impl Batch {
    /// Bytes of the header.
    pub const SIZE: usize = 24;

    /// Writes the header.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.sequence);
        writer.u32(self.size);
        writer.u32(self.records);
        writer.u64(self.utc_offset.cast_unsigned());
    }

    /// Reads the header. What it claims is not checked against anything here.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            sequence: reader.u64()?,
            size: reader.u32()?,
            records: reader.u32()?,
            utc_offset: reader.u64()?.cast_signed(),
        })
    }
}
