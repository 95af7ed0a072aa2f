//! How the agent and the Windows driver talk: names, control requests, and the batches that a read
//! returns. `docs/WIRE.md` draws the records inside a batch, `docs/DRIVER.md` the rest.

use crate::wire::{Invalid, Reader, Writer};
use crate::{ByKind, Kind};

/// The device's name in the kernel's name space.
pub const DEVICE_NAME: &str = r"\Device\SysTrail";

/// The symbolic link that makes the device `\\.\SysTrail` in user mode.
pub const LINK_NAME: &str = r"\DosDevices\SysTrail";

/// The version of this protocol. It changes only when an old agent could misread a new driver.
pub const PROTOCOL_VERSION: u32 = 1;

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

/// A step of the driver's start, in the order in which they are taken but for the last, which is 0.
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
}

/// What the agent says first.
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

/// What the driver answers.
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

    /// Writes the answer.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u32(self.protocol_version);
        writer.u32(self.record_size_max);
        writer.u32(self.batch_size);
        writer.u32(self.flush_interval_ms);
        writer.u32(self.queue_limit);
        writer.u32(self.reads_max);
    }

    /// Reads the answer.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            protocol_version: reader.u32()?,
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
pub struct Conditions(pub u32);

impl Conditions {
    /// `QueueLimit` has the wrong type or is out of range; the default is in use.
    pub const QUEUE_LIMIT_REFUSED: Self = Self(1);
    /// `FlushIntervalMs` has the wrong type or is out of range; the default is in use.
    pub const FLUSH_INTERVAL_REFUSED: Self = Self(1 << 1);
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By kind, in the order of [`Kind::OBSERVED`].
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

impl Counters {
    /// Bytes of the answer.
    pub const SIZE: usize = Kind::OBSERVED.len() * 24 + 40;

    /// Writes the answer.
    pub fn write(&self, writer: &mut Writer<'_>) {
        for (_kind, count) in self.kinds.iter() {
            writer.u64(count.produced);
            writer.u64(count.delivered);
            writer.u64(count.lost);
        }
        writer.u64(self.queue_used);
        writer.u64(self.queue_peak);
        writer.u64(self.queue_limit);
        writer.u64(self.batches);
        writer.u32(self.reads_pended);
        writer.u32(self.conditions.0);
    }

    /// Reads the answer.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        let mut counters = Self::default();
        for (_kind, count) in counters.kinds.iter_mut() {
            *count = Count {
                produced: reader.u64()?,
                delivered: reader.u64()?,
                lost: reader.u64()?,
            };
        }
        counters.queue_used = reader.u64()?;
        counters.queue_peak = reader.u64()?;
        counters.queue_limit = reader.u64()?;
        counters.batches = reader.u64()?;
        counters.reads_pended = reader.u32()?;
        counters.conditions = Conditions(reader.u32()?);
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
}

impl Batch {
    /// Bytes of the header.
    pub const SIZE: usize = 16;

    /// Writes the header.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.sequence);
        writer.u32(self.size);
        writer.u32(self.records);
    }

    /// Reads the header. What it claims is not checked against anything here.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            sequence: reader.u64()?,
            size: reader.u32()?,
            records: reader.u32()?,
        })
    }
}
