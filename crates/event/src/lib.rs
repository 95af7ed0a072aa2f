//! The events SysTrail's sensors observe, and their wire format.
//!
//! A *record* is one event as bytes: a [`Header`], the fixed fields of its kind, then the variable
//! fields whose sizes the fixed part announced. Everything is little-endian. `docs/WIRE.md` draws it.
//!
//! The kernel sides (driver, eBPF programs) only write records; user mode only reads them. Because
//! the two do not trust each other, bytes are always *read* through [`wire::Reader`] and never cast:
//! a kind is a number that may be unknown, a size is a claim, text is bytes until it is checked.
//!
//! Records may grow at the end of the fixed part's successor: a reader ignores bytes after what it
//! knows, so an older agent can read a newer sensor's records.

#![no_std]
#![forbid(unsafe_code)]
#![expect(
    clippy::inline_always,
    reason = "in an eBPF program a check only folds away when the whole write is inlined"
)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::big_endian_bytes,
    clippy::expect_used,
    clippy::host_endian_bytes,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod control;
pub mod exec;
pub mod extension;
pub mod image;
pub mod key;
pub mod kind;
pub mod loss;
pub mod place;
pub mod process;
pub mod thread;
pub mod wire;

pub use extension::Extension;
pub use key::ProcessKey;
pub use kind::{ByKind, Kind, Kinds, Subject};
pub use place::{Place, Scope, Stamp};

use wire::{Invalid, Reader, Writer};

/// Bytes of an encoded [`Header`].
pub const HEADER_SIZE: usize = 40;

/// The largest record any sensor writes, header included: two texts of 64 KiB and the fixed part.
pub const RECORD_SIZE_MAX: usize = 132 * 1024;

/// Facts about a record that are either so or not.
///
/// Unknown bits are kept, so a record passes through an older reader unharmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u32);

impl Flags {
    /// No flag is set.
    pub const NONE: Self = Self(0);
    /// The process or image was there before the sensor; it is part of the snapshot.
    pub const EXISTING: Self = Self(1);
    /// The process has no user mode: a Linux kernel thread, a Windows system process.
    pub const KERNEL_PROCESS: Self = Self(1 << 1);
    /// The image path was cut.
    pub const IMAGE_TRUNCATED: Self = Self(1 << 2);
    /// The command line was cut.
    pub const COMMAND_LINE_TRUNCATED: Self = Self(1 << 3);
    /// The image path is a list of path components, each ended by a NUL byte, the file's own name
    /// first and the one below the root last. The kernel side finds them in that order and does no
    /// formatting.
    pub const LEAF_FIRST: Self = Self(1 << 4);
    /// The image file had no name in any directory when the event happened: deleted, or anonymous.
    pub const IMAGE_DELETED: Self = Self(1 << 5);
    /// The image path could not be read.
    pub const IMAGE_UNAVAILABLE: Self = Self(1 << 6);
    /// The command line could not be read.
    pub const COMMAND_LINE_UNAVAILABLE: Self = Self(1 << 7);
    /// The image is mapped into the kernel's address space.
    pub const KERNEL_IMAGE: Self = Self(1 << 8);
    /// Parent, creator and user are not known to this sensor.
    pub const ORIGIN_UNAVAILABLE: Self = Self(1 << 9);
    /// The exit status is not known to this sensor.
    pub const EXIT_STATUS_UNAVAILABLE: Self = Self(1 << 10);
    /// User and session are not known to this sensor; parent and creator are.
    pub const USER_UNAVAILABLE: Self = Self(1 << 11);
    /// Texts are UTF-16, little-endian, possibly with lone surrogates (Windows).
    pub const UTF_16: Self = Self(1 << 12);
    /// An [`Extension`] follows the body.
    pub const EXTENDED: Self = Self(1 << 13);
    /// Where the thread begins to run could not be had, on a system that tells it (Windows).
    pub const START_ADDRESS_UNAVAILABLE: Self = Self(1 << 14);
    /// The image path may be a part of one: the kernel had only the name that it was asked for, and
    /// perhaps not all of that (Windows).
    pub const IMAGE_PARTIAL: Self = Self(1 << 15);
    /// The process was made and deleted, and never had a thread: nobody was told of its start, and it
    /// has no exit status (Windows).
    pub const NEVER_RAN: Self = Self(1 << 16);
    /// The name in [`process::Token::image_opened`] was cut (Windows).
    pub const IMAGE_OPENED_TRUNCATED: Self = Self(1 << 17);
    /// The image path, and the directory of a script, have a [`Place`] at their end (Linux).
    pub const PLACED: Self = Self(1 << 24);
    /// The script's path was cut.
    pub const SCRIPT_TRUNCATED: Self = Self(1 << 25);
    /// No directory had the script's file: deleted, or anonymous.
    pub const SCRIPT_DELETED: Self = Self(1 << 26);
    /// The login user of [`process::Users`] is not known (Linux).
    pub const LOGIN_UNAVAILABLE: Self = Self(1 << 27);
    /// The process is replacing its program: the image is the new one's, whose exec is told later
    /// (Linux).
    pub const EXECUTING: Self = Self(1 << 28);
    /// The image path has a [`Stamp`] before its [`Place`] (Linux).
    pub const STAMPED: Self = Self(1 << 29);

    /// Whether every flag of `other` is set in `self`.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// `self` with the flags of `other` set too.
    #[inline]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// `self` with the flags of `other` where that `is_so`.
    #[inline]
    #[must_use]
    pub const fn with_if(self, is_so: bool, other: Self) -> Self {
        if is_so { self.with(other) } else { self }
    }

    /// `self` without the flags of `other`.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// What every record begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the whole record, this header included.
    pub size: u32,
    /// What happened.
    pub kind: Kind,
    /// Facts about the record.
    pub flags: Flags,
    /// When the kernel saw it: nanoseconds on the sensor's clock (Linux: `CLOCK_BOOTTIME`;
    /// Windows: since 1970, UTC).
    pub time: u64,
    /// The process the event is about.
    pub process_id: u32,
    /// The thread the event is about, or the one that acted; 0 where there is none.
    pub thread_id: u32,
    /// When that process started, on the sensor's clock; 0 where the sensor does not know.
    pub start_time: u64,
    /// How many records the buffer that carries this one had lost, in total, when it was stored; a
    /// record has 48 bits of it. A step in this number marks the very place of a loss in the stream.
    pub lost_before: u64,
}

/// The bits of [`Header::lost_before`] in a record; the others are the second word of flags. A
/// million losses a second fill them in nine years.
const LOST_BEFORE_BITS: u32 = 48;
const LOST_BEFORE_MASK: u64 = !(u64::MAX << LOST_BEFORE_BITS);

impl Header {
    /// Writes the header.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        let [low, high, more_low, more_high] = self.flags.0.to_le_bytes();
        let more = u64::from(u16::from_le_bytes([more_low, more_high]));
        writer.u32(self.size);
        writer.u16(self.kind.0);
        writer.u16(u16::from_le_bytes([low, high]));
        writer.u64(self.time);
        writer.u32(self.process_id);
        writer.u32(self.thread_id);
        writer.u64(self.start_time);
        writer.u64((self.lost_before & LOST_BEFORE_MASK) | (more << LOST_BEFORE_BITS));
    }

    /// Reads a header. The size it claims is not checked against anything here.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        let mut header = Self {
            size: reader.u32()?,
            kind: Kind(reader.u16()?),
            flags: Flags(u32::from(reader.u16()?)),
            time: reader.u64()?,
            process_id: reader.u32()?,
            thread_id: reader.u32()?,
            start_time: reader.u64()?,
            lost_before: 0,
        };
        let last = reader.u64()?;
        let [.., more_low, more_high] = last.to_le_bytes();
        let more = Flags(u32::from_le_bytes([0, 0, more_low, more_high]));
        header.flags = header.flags.with(more);
        header.lost_before = last & LOST_BEFORE_MASK;
        Ok(header)
    }
}

/// One event, decoded. Texts are still the bytes the kernel had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A process was created.
    ProcessStart(process::Start<'a>),
    /// A process replaced its program (Linux).
    ProcessExec(process::Exec<'a>),
    /// A process ended: its last thread exited.
    ProcessExit(process::Exit),
    /// A thread was created.
    ThreadStart(thread::Start),
    /// A thread ended.
    ThreadExit(thread::Exit),
    /// An image was mapped.
    ImageLoad(image::Load<'a>),
    /// An image was unmapped (Windows).
    ImageUnload(image::Unload<'a>),
    /// The kernel refused to run a program (Linux).
    ExecFailed(exec::Failed<'a>),
    /// Events were lost.
    Lost(loss::Lost),
    /// A record of a kind this reader does not know: a newer sensor's.
    Unknown,
}

/// One record, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it begins with.
    pub header: Header,
    /// What happened.
    pub event: Event<'a>,
    /// What one system alone knows of it.
    pub extension: Extension<'a>,
}

/// Reads one record, which must fill `bytes` exactly.
///
/// # Errors
/// Names the first field that cannot be as claimed. No input panics.
pub fn read(bytes: &[u8]) -> Result<Record<'_>, Invalid> {
    let mut reader = Reader::new(bytes);
    let header = Header::read(&mut reader)?;
    if usize::try_from(header.size) != Ok(bytes.len()) {
        return Err(Invalid::Size {
            claimed: header.size,
        });
    }
    let event = match header.kind {
        Kind::PROCESS_START => Event::ProcessStart(process::Start::read(&mut reader)?),
        Kind::PROCESS_EXEC => Event::ProcessExec(process::Exec::read(&mut reader)?),
        Kind::PROCESS_EXIT => Event::ProcessExit(process::Exit::read(&mut reader)?),
        Kind::THREAD_START => Event::ThreadStart(thread::Start::read(&mut reader)?),
        Kind::THREAD_EXIT => Event::ThreadExit(thread::Exit),
        Kind::IMAGE_LOAD => Event::ImageLoad(image::Load::read(&mut reader)?),
        Kind::IMAGE_UNLOAD => Event::ImageUnload(image::Unload::read(&mut reader)?),
        Kind::EXEC_FAILED => Event::ExecFailed(exec::Failed::read(&mut reader)?),
        Kind::LOST => Event::Lost(loss::Lost::read(&mut reader)?),
        _ => Event::Unknown,
    };
    let extension = extension::read(&header, &mut reader)?;
    Ok(Record {
        header,
        event,
        extension,
    })
}

/// The kind of a record, for those who need nothing else of it.
///
/// # Errors
/// When `record` ends before it.
#[inline]
pub fn kind_of(record: &[u8]) -> Result<Kind, Invalid> {
    let mut reader = Reader::new(record);
    let _size = reader.u32()?;
    reader.u16().map(Kind)
}

/// When the event of a record happened, for those who need nothing else of it.
///
/// # Errors
/// When `record` ends before it.
#[inline]
pub fn time_of(record: &[u8]) -> Result<u64, Invalid> {
    let mut reader = Reader::new(record);
    let _size_kind_and_flags = reader.u64()?;
    reader.u64()
}

/// Puts another time into a record, as one has to that knows the sensor's clock from elsewhere.
///
/// # Errors
/// When `record` ends before it.
pub fn set_time(record: &mut [u8], time: u64) -> Result<(), Invalid> {
    time_of(record)?;
    if let Some(place) = record.get_mut(8..16) {
        place.copy_from_slice(&time.to_le_bytes());
    }
    Ok(())
}

/// The kind of `event` and the bytes of its record, header included; `None` for
/// [`Event::Unknown`], which cannot be written.
#[inline(always)]
pub fn kind_and_size(event: &Event<'_>) -> Option<(Kind, usize)> {
    let (kind, size) = match event {
        Event::ProcessStart(start) => (Kind::PROCESS_START, start.size()),
        Event::ProcessExec(exec) => (Kind::PROCESS_EXEC, exec.size()),
        Event::ProcessExit(_) => (Kind::PROCESS_EXIT, process::Exit::SIZE),
        Event::ThreadStart(_) => (Kind::THREAD_START, thread::Start::SIZE),
        Event::ThreadExit(_) => (Kind::THREAD_EXIT, thread::Exit::SIZE),
        Event::ImageLoad(load) => (Kind::IMAGE_LOAD, load.size()),
        Event::ImageUnload(unload) => (Kind::IMAGE_UNLOAD, unload.size()),
        Event::ExecFailed(failed) => (Kind::EXEC_FAILED, failed.size()),
        Event::Lost(_) => (Kind::LOST, loss::Lost::SIZE),
        Event::Unknown => return None,
    };
    Some((kind, HEADER_SIZE.checked_add(size)?))
}

/// Writes one record and returns its bytes, or `None` when it does not fit `buffer`.
///
/// `header.size` and `header.kind` are filled in from the event, and no extension is said to follow;
/// what the caller put there is ignored. [`Event::Unknown`] cannot be written.
#[inline(always)]
pub fn write<'b>(header: Header, event: &Event<'_>, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let (kind, size) = kind_and_size(event)?;
    let header = Header {
        size: u32::try_from(size).ok()?,
        kind,
        flags: header.flags.without(Flags::EXTENDED),
        ..header
    };
    let mut writer = Writer::new(buffer.get_mut(..size)?);
    header.write(&mut writer);
    match event {
        Event::ProcessStart(start) => start.write(&mut writer),
        Event::ProcessExec(exec) => exec.write(&mut writer),
        Event::ProcessExit(exit) => exit.write(&mut writer),
        Event::ThreadStart(start) => start.write(&mut writer),
        Event::ImageLoad(load) => load.write(&mut writer),
        Event::ImageUnload(unload) => unload.write(&mut writer),
        Event::ExecFailed(failed) => failed.write(&mut writer),
        Event::Lost(lost) => lost.write(&mut writer),
        Event::ThreadExit(_) | Event::Unknown => {}
    }
    writer.finish()
}
