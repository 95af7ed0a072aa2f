//! The first event of a trace file, which tells of the file (`TRACE_LOGFILE_HEADER`).

use crate::clock::{Clock, Times};
use crate::fields::{Fields, Invalid, PointerSize};
use crate::guid::Guid;
use crate::header::{Event, Source};

/// What a trace file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFile<'a> {
    /// Bytes of a buffer, unpacked.
    pub buffer_size: u32,
    /// The build of the Windows it was recorded on.
    pub build: u32,
    /// How many processors the machine has.
    pub processor_count: u32,
    /// When it ended, as a `FILETIME`; 0 while it is being written.
    pub ended: i64,
    /// `LogFileMode`: see [`CIRCULAR`](Self::CIRCULAR).
    pub mode: u32,
    /// How many buffers were written.
    pub buffer_count: u32,
    /// How large pointers are, where it says nothing impossible.
    pub pointer_size: Option<PointerSize>,
    /// Events that were lost.
    pub events_lost: u32,
    /// Buffers that were lost, with who knows how many events.
    pub buffers_lost: u32,
    /// When the machine started, as a `FILETIME`.
    pub booted: i64,
    /// When the trace began, as a `FILETIME`.
    pub began: i64,
    /// What stamps the events; none where it is none that is known.
    pub clock: Option<Clock>,
    /// How often the performance counter ticks in a second.
    pub frequency: u64,
    /// How many million cycles a processor makes in a second.
    pub cpu_mhz: u32,
    /// The name of the session, in UTF-16.
    pub session: &'a [u8],
}

impl<'a> LogFile<'a> {
    /// The mode of a file that begins anew when it is full (`EVENT_TRACE_FILE_MODE_CIRCULAR`).
    pub const CIRCULAR: u32 = 2;

    /// Whether `event` is one.
    pub fn is_told_by(event: &Event<'_>) -> bool {
        match event.source {
            Source::Hook { group, r#type } => group == 0 && r#type == 0,
            Source::Class { guid, r#type } => guid == Guid::EVENT_TRACE && r#type == 0,
            _ => false,
        }
    }

    /// Reads what stands behind the header of the event.
    ///
    /// # Errors
    /// When it ends too early.
    pub fn read(event: &Event<'a>) -> Result<Self, Invalid> {
        let mut fields = Fields::new(event.payload);
        let buffer_size = fields.u32()?;
        let _version = fields.u32()?;
        let build = fields.u32()?;
        let processor_count = fields.u32()?;
        let ended = fields.i64()?;
        let _resolution = fields.u32()?;
        let _file_size_max = fields.u32()?;
        let mode = fields.u32()?;
        let buffer_count = fields.u32()?;
        let _start_buffers = fields.u32()?;
        let pointer_size = match fields.u32()? {
            4 => Some(PointerSize::Four),
            8 => Some(PointerSize::Eight),
            _ => None,
        };
        let events_lost = fields.u32()?;
        let cpu_mhz = fields.u32()?;
        // Two pointers, which mean nothing in a file; then a `TIME_ZONE_INFORMATION` of 172 bytes, and
        // what is missing to a multiple of eight.
        let pointer_size = pointer_size.or(event.pointer_size);
        fields.bytes(match pointer_size {
            Some(PointerSize::Four) => 8 + 172 + 4,
            _ => 16 + 172 + 4,
        })?;
        let booted = fields.i64()?;
        let frequency = fields.u64()?;
        let began = fields.i64()?;
        let clock = match fields.u32()? {
            // Before there was a choice the field was reserved, and the counter the clock.
            0 | 1 => Some(Clock::Counter),
            2 => Some(Clock::SystemTime),
            3 => Some(Clock::Cycles),
            _ => None,
        };
        let buffers_lost = fields.u32()?;
        Ok(Self {
            buffer_size,
            build,
            processor_count,
            ended,
            mode,
            buffer_count,
            pointer_size,
            events_lost,
            buffers_lost,
            booted,
            began,
            clock,
            frequency,
            cpu_mhz,
            session: fields.wide_text().unwrap_or_default(),
        })
    }

    /// How stamps become times, `base` being the stamp of the event that told this; and whether the
    /// header tells a clock that can be.
    pub fn times(&self, base: i64) -> (Times, bool) {
        let clock = self.clock.unwrap_or(Clock::Counter);
        let frequency = match clock {
            Clock::Cycles => u64::from(self.cpu_mhz) * 1_000_000,
            Clock::Counter | Clock::SystemTime => self.frequency,
        };
        let is_told = self.clock.is_some() && (frequency != 0 || clock == Clock::SystemTime);
        // The counter of every Windows since 10 ticks so.
        let frequency = if frequency == 0 {
            10_000_000
        } else {
            frequency
        };
        (Times::new(clock, frequency, base, self.began), is_told)
    }
}
