//! Writes traces, byte for byte as Windows does: for tests, here and of whatever reads traces, since a
//! trace of a real machine tells of its owner.

mod pack;

use crate::buffer::{self, HEADER_SIZE};
use crate::clock::Clock;
use crate::fields::PointerSize;
use crate::guid::Guid;

pub use pack::pack;

/// What the header of a trace is to say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of a buffer.
    pub buffer_size: u32,
    /// How large pointers are.
    pub pointer_size: PointerSize,
    /// What stamps the events.
    pub clock: Clock,
    /// How often the performance counter ticks in a second.
    pub frequency: u64,
    /// The stamp of the header.
    pub base: i64,
    /// When the trace began, as a `FILETIME`.
    pub began: i64,
    /// When the machine started, as a `FILETIME`.
    pub booted: i64,
    /// When the trace ended, as a `FILETIME`; 0 while it is being written.
    pub ended: i64,
    /// The mode of the file.
    pub mode: u32,
    /// How many buffers it says there are; those there are, where it is none.
    pub buffer_count: Option<u32>,
    /// Events that were lost.
    pub events_lost: u32,
    /// Buffers that were lost.
    pub buffers_lost: u32,
}

impl Default for Settings {
    fn default() -> Self {
        /// The first of January 2026.
        const BEGAN: i64 = 134_116_992_000_000_000;
        Self {
            buffer_size: 64 * 1024,
            pointer_size: PointerSize::Eight,
            clock: Clock::Counter,
            frequency: 10_000_000,
            base: 1_000_000,
            began: BEGAN,
            booted: BEGAN - 600_000_000,
            ended: BEGAN + 600_000_000,
            mode: 1,
            buffer_count: None,
            events_lost: 0,
            buffers_lost: 0,
        }
    }
}

/// The bytes of a trace file: its header, and these buffers.
pub fn trace(settings: &Settings, buffers: &[Buffer]) -> Vec<u8> {
    let count = u32::try_from(buffers.len() + 1).unwrap_or(u32::MAX);
    let mut first = Buffer::new(0);
    first.r#type = buffer::TYPE_HEADER;
    first.add(&header_event(
        settings,
        settings.buffer_count.unwrap_or(count),
    ));
    let buffers = [&first].into_iter().chain(buffers);
    let bytes = buffers.map(|buffer| buffer.bytes(settings.buffer_size));
    bytes.collect::<Vec<_>>().concat()
}

/// The event with which a trace begins, and merged ones go on.
pub fn header_event(settings: &Settings, buffer_count: u32) -> Vec<u8> {
    let size = settings.pointer_size;
    let mut payload = Payload::new(size)
        .u32(settings.buffer_size)
        .u32(0x0501_000a)
        .u32(19045)
        .u32(2)
        .u64(settings.ended.cast_unsigned())
        .u32(156_250)
        .u32(0)
        .u32(settings.mode)
        .u32(buffer_count)
        .u32(1)
        .u32(u32::try_from(size.bytes()).unwrap_or(0))
        .u32(settings.events_lost)
        .u32(3000)
        .pointer(0)
        .pointer(0);
    payload.bytes.extend([0; 172 + 4]);
    let clock = match settings.clock {
        Clock::Counter => 1,
        Clock::SystemTime => 2,
        Clock::Cycles => 3,
    };
    let payload = payload
        .u64(settings.booted.cast_unsigned())
        .u64(settings.frequency)
        .u64(settings.began.cast_unsigned())
        .u32(clock)
        .u32(settings.buffers_lost)
        .wide("test")
        .wide(r"C:\test.etl");
    let whence = Whence {
        process_id: 4,
        thread_id: 8,
        stamp: settings.base,
    };
    system(size, (0, 0), 2, whence, &payload.bytes)
}

/// A buffer, event by event.
#[derive(Clone, Debug)]
pub struct Buffer {
    processor: u16,
    logger_id: u16,
    flags: u16,
    r#type: u16,
    events: Vec<u8>,
}

impl Buffer {
    /// An empty buffer of `processor`.
    pub const fn new(processor: u16) -> Self {
        Self {
            processor,
            logger_id: 0,
            flags: buffer::PROCESSOR_INDEX,
            r#type: 0,
            events: Vec::new(),
        }
    }

    /// A buffer whose events are packed.
    pub const fn compressed(processor: u16) -> Self {
        let mut buffer = Self::new(processor);
        buffer.flags |= buffer::COMPRESSED;
        buffer
    }

    /// Appends an event.
    pub fn add(&mut self, event: &[u8]) -> &mut Self {
        self.events.extend_from_slice(event);
        let padded = self.events.len().next_multiple_of(8);
        self.events.resize(padded, 0);
        self
    }

    /// Bytes it takes, not packed.
    pub const fn size(&self) -> usize {
        HEADER_SIZE + self.events.len()
    }

    /// As it stands in a file whose buffers have this size.
    pub fn bytes(&self, buffer_size: u32) -> Vec<u8> {
        let end = u32::try_from(self.size()).unwrap_or(u32::MAX);
        let is_packed = self.flags & buffer::COMPRESSED != 0;
        let body = if is_packed {
            pack(&self.events)
        } else {
            let mut body = self.events.clone();
            let size = usize::try_from(buffer_size).unwrap_or(0);
            body.resize(size.saturating_sub(HEADER_SIZE).max(body.len()), 0xff);
            body
        };
        let size = u32::try_from(HEADER_SIZE + body.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::new();
        for number in [size, end, end, 0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend([0; 24]);
        for number in [self.processor, self.logger_id] {
            bytes.extend(number.to_le_bytes());
        }
        for number in [3, end] {
            bytes.extend(u32::to_le_bytes(number));
        }
        for number in [self.flags, self.r#type] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend([0; 16]);
        bytes.extend(body);
        bytes
    }
}

/// Where and when an event was told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whence {
    /// The process.
    pub process_id: u32,
    /// The thread.
    pub thread_id: u32,
    /// The stamp.
    pub stamp: i64,
}

/// An event of a group and type of the kernel's, with a system header.
pub fn system(
    size: PointerSize,
    (group, r#type): (u8, u8),
    version: u8,
    whence: Whence,
    payload: &[u8],
) -> Vec<u8> {
    let shape = if size == PointerSize::Four { 1 } else { 2 };
    let mut event = vec![version, 0, shape, 0xc0];
    event.extend(u16_of(32 + payload.len()).to_le_bytes());
    event.extend([r#type, group]);
    event.extend(whence.thread_id.to_le_bytes());
    event.extend(whence.process_id.to_le_bytes());
    event.extend(whence.stamp.to_le_bytes());
    event.extend([0; 8]);
    event.extend(payload);
    event
}

/// The same with a header that names nobody.
pub fn performance(
    size: PointerSize,
    (group, r#type): (u8, u8),
    version: u8,
    stamp: i64,
    payload: &[u8],
) -> Vec<u8> {
    let shape = if size == PointerSize::Four { 16 } else { 17 };
    let mut event = vec![version, 0, shape, 0xc0];
    event.extend(u16_of(16 + payload.len()).to_le_bytes());
    event.extend([r#type, group]);
    event.extend(stamp.to_le_bytes());
    event.extend(payload);
    event
}

/// An event of a class and type.
pub fn class(
    size: PointerSize,
    (guid, r#type): (Guid, u8),
    version: u8,
    whence: Whence,
    payload: &[u8],
) -> Vec<u8> {
    let shape = if size == PointerSize::Four { 10 } else { 20 };
    let mut event = u16_of(48 + payload.len()).to_le_bytes().to_vec();
    event.extend([shape, 0xc0, r#type, 0, version, 0]);
    event.extend(whence.thread_id.to_le_bytes());
    event.extend(whence.process_id.to_le_bytes());
    event.extend(whence.stamp.to_le_bytes());
    event.extend(guid.0);
    event.extend([0; 8]);
    event.extend(payload);
    event
}

/// An event of a provider and number, with a stack before its fields where one is given.
pub fn provider(
    (guid, id): (Guid, u16),
    version: u8,
    whence: Whence,
    stack: &[u64],
    payload: &[u8],
) -> Vec<u8> {
    let mut extended = Vec::new();
    if !stack.is_empty() {
        let data_size = 8 + 8 * stack.len();
        for number in [u16_of(8 + data_size), 6, 0, u16_of(data_size)] {
            extended.extend(number.to_le_bytes());
        }
        extended.extend([0; 8]);
        extended.extend(stack.iter().flat_map(|address| address.to_le_bytes()));
    }
    let size = u16_of(80 + extended.len() + payload.len());
    let mut event = size.to_le_bytes().to_vec();
    event.extend([19, 0xc0, u8::from(!stack.is_empty()), 0, 0, 0]);
    event.extend(whence.thread_id.to_le_bytes());
    event.extend(whence.process_id.to_le_bytes());
    event.extend(whence.stamp.to_le_bytes());
    event.extend(guid.0);
    event.extend(id.to_le_bytes());
    event.extend([version, 0, 0, 0]);
    event.extend([0; 2 + 8 + 8 + 16]);
    event.extend(extended);
    event.extend(payload);
    event
}

/// The fields of an event, one after another.
#[derive(Clone, Debug)]
pub struct Payload {
    size: PointerSize,
    /// What there is.
    pub bytes: Vec<u8>,
}

impl Payload {
    /// None yet.
    pub const fn new(size: PointerSize) -> Self {
        Self {
            size,
            bytes: Vec::new(),
        }
    }

    fn with(mut self, bytes: impl IntoIterator<Item = u8>) -> Self {
        self.bytes.extend(bytes);
        self
    }

    /// A byte.
    #[must_use]
    pub fn u8(self, number: u8) -> Self {
        self.with([number])
    }

    /// A number of four bytes.
    #[must_use]
    pub fn u32(self, number: u32) -> Self {
        self.with(number.to_le_bytes())
    }

    /// A number of eight bytes.
    #[must_use]
    pub fn u64(self, number: u64) -> Self {
        self.with(number.to_le_bytes())
    }

    /// A pointer, of which four bytes may be all there is.
    #[must_use]
    pub fn pointer(self, number: u64) -> Self {
        let size = self.size.bytes();
        self.with(number.to_le_bytes().into_iter().take(size))
    }

    /// A text of bytes.
    #[must_use]
    pub fn narrow(self, text: &str) -> Self {
        self.with(text.bytes()).u8(0)
    }

    /// A text in UTF-16.
    #[must_use]
    pub fn wide(self, text: &str) -> Self {
        let units = text.encode_utf16().chain([0]);
        self.with(units.flat_map(u16::to_le_bytes).collect::<Vec<_>>())
    }

    /// A SID of this authority.
    #[must_use]
    pub fn sid(self, authority: u8, parts: &[u32]) -> Self {
        let count = u8::try_from(parts.len()).unwrap_or(u8::MAX);
        let parts = parts.iter().flat_map(|part| part.to_le_bytes());
        self.with([1, count, 0, 0, 0, 0, 0, authority])
            .with(parts.collect::<Vec<_>>())
    }

    /// The user of a process: two pointers and a SID.
    #[must_use]
    pub fn token(self, authority: u8, parts: &[u32]) -> Self {
        self.pointer(0xffff_a002_cc95_c001)
            .pointer(0)
            .sid(authority, parts)
    }
}

/// A size as an event has it, which is at most what 16 bits tell.
fn u16_of(size: usize) -> u16 {
    u16::try_from(size).unwrap_or(u16::MAX)
}
