//! A trace file, event by event, in the order of their times.
//!
//! Each processor fills buffers of its own, so the file is in order for each of them and for no two
//! together. One pass over the buffers' headers says where each begins; then the *chains*, one for each
//! processor, are merged by time, with one buffer of each in memory.

mod chain;
mod index;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use crate::buffer;
use crate::clock::Times;
use crate::fields::PointerSize;
use crate::header::{self, Event};
use crate::log_file::LogFile;
use chain::Chain;
use index::Index;

/// Bytes that are read of a file to see whether it is a trace.
pub const PEEK_SIZE: usize = buffer::HEADER_SIZE + 32;

/// Whether a file that begins so is a trace: whatever its name, and whatever became of the header of
/// its first buffer.
pub fn is_trace(beginning: &[u8]) -> bool {
    let Some([version, zero, shape, flags, _, _, kind, group, ..]) =
        beginning.get(buffer::HEADER_SIZE..)
    else {
        return false;
    };
    let is_system = matches!(shape, 1 | 2) && *flags == 0xc0;
    is_system && *version > 0 && [zero, kind, group] == [&0, &0, &0]
}

/// Why a trace cannot be read, or not on.
#[derive(Debug)]
pub enum Error {
    /// The system does not give what is in the file.
    Read(io::Error),
    /// The file does not begin as a trace does.
    NoTrace,
    /// The first event, which tells of the file, ends too early.
    Header,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(formatter, "{error}"),
            Self::NoTrace => write!(formatter, "it does not begin with the header of a trace"),
            Self::Header => write!(formatter, "the header of the trace ends too early"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// What a trace says of itself, and keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Bytes of a buffer, unpacked.
    pub buffer_size: u32,
    /// The build of the Windows it was recorded on.
    pub build: u32,
    /// When it ended, as a `FILETIME`; 0 while it is being written.
    pub ended: i64,
    /// When it began, as a `FILETIME`.
    pub began: i64,
    /// When the machine started, as a `FILETIME`.
    pub booted: i64,
    /// How many buffers its header says were written.
    pub buffer_count: u32,
    /// How large pointers are, where nothing says otherwise.
    pub pointer_size: PointerSize,
    /// Events that were lost.
    pub events_lost: u32,
    /// Buffers that were lost.
    pub buffers_lost: u32,
    /// How stamps become times.
    pub times: Times,
    /// Whether the header tells a clock that can be.
    pub has_clock: bool,
    /// Whether it began anew when it was full, so that its beginning is not in it.
    pub is_circular: bool,
}

/// What was wrong with a trace, as far as it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Buffers that were read.
    pub buffers_read: u64,
    /// Buffers that are nothing but zeroes: room that was never written, or was lost.
    pub empty_buffers: u64,
    /// Buffers whose header cannot be right, or which could not be unpacked; what could not be read of
    /// them is not in the events.
    pub damaged_buffers: u64,
    /// Bytes at the end of the file that no buffer takes, or of which none can be found.
    pub unread_size: u64,
    /// Whether buffers of several processors had to be taken for one's, so that events of them may be
    /// out of order.
    pub is_folded: bool,
}

/// A trace file.
#[derive(Debug)]
pub struct Trace<R> {
    input: R,
    size: u64,
    about: About,
    index: Index,
    chains: Vec<Chain>,
    /// The chains by the stamp of their next event; the chain that is `current` is not among them.
    waiting: BinaryHeap<Reverse<(i64, usize)>>,
    /// The chain whose event was returned last.
    current: Option<usize>,
    damage: Damage,
    /// Bytes of the buffers that were taken up.
    taken_size: u64,
}

impl<R: Read + Seek> Trace<R> {
    /// Opens a trace.
    ///
    /// # Errors
    /// When `input` cannot be read or sought, or is no trace.
    pub fn open(mut input: R) -> Result<Self, Error> {
        /// The header of a file is smaller, names included.
        const FIRST_SIZE: u64 = 64 * 1024;
        let size = input.seek(SeekFrom::End(0))?;
        input.seek(SeekFrom::Start(0))?;
        let mut first = Vec::new();
        input.by_ref().take(FIRST_SIZE).read_to_end(&mut first)?;
        if !is_trace(&first) {
            return Err(Error::NoTrace);
        }
        let event = first.get(buffer::HEADER_SIZE..).unwrap_or_default();
        let (event, _size) = header::read(event).map_err(|_invalid| Error::Header)?;
        let log_file = LogFile::read(&event).map_err(|_invalid| Error::Header)?;
        let (times, has_clock) = log_file.times(event.stamp.unwrap_or(0));
        let about = About {
            buffer_size: log_file.buffer_size,
            build: log_file.build,
            ended: log_file.ended,
            began: log_file.began,
            booted: log_file.booted,
            buffer_count: log_file.buffer_count,
            pointer_size: log_file.pointer_size.unwrap_or(PointerSize::Eight),
            events_lost: log_file.events_lost,
            buffers_lost: log_file.buffers_lost,
            times,
            has_clock,
            is_circular: log_file.mode & LogFile::CIRCULAR != 0,
        };
        Ok(Self {
            input,
            size,
            about,
            index: Index::default(),
            chains: Vec::new(),
            waiting: BinaryHeap::new(),
            current: None,
            damage: Damage::default(),
            taken_size: 0,
        })
    }

    /// What it says of itself.
    pub const fn about(&self) -> &About {
        &self.about
    }

    /// What was wrong with it, as far as it was read.
    pub const fn damage(&self) -> Damage {
        self.damage
    }

    /// Bytes of the file.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the buffers that were taken up.
    pub const fn taken_size(&self) -> u64 {
        self.taken_size
    }

    /// Begins anew.
    pub fn rewind(&mut self) {
        self.index = Index::default();
        self.chains.clear();
        self.waiting.clear();
        self.current = None;
        self.damage = Damage::default();
        self.taken_size = 0;
    }

    /// The next event; none at the end.
    ///
    /// # Errors
    /// When the file cannot be read on.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, Error> {
        let place = loop {
            let Some(chain) = self.next_chain()? else {
                if !self.next_part()? {
                    return Ok(None);
                }
                continue;
            };
            self.current = Some(chain);
            if let Some(taken) = self.chains.get_mut(chain)
                && taken.take(&mut self.damage)
            {
                break chain;
            }
        };
        Ok(self.chains.get(place).and_then(Chain::taken))
    }

    /// The chain whose event is next: mostly the one that had the last.
    fn next_chain(&mut self) -> Result<Option<usize>, Error> {
        if let Some(place) = self.current.take()
            && let Some(stamp) = self.advance(place)?
        {
            let first = self.waiting.peek();
            if first.is_none_or(|Reverse((first, _))| stamp < *first) {
                return Ok(Some(place));
            }
            self.waiting.push(Reverse((stamp, place)));
        }
        Ok(self.waiting.pop().map(|Reverse((_stamp, place))| place))
    }

    /// Makes a chain ready for its next event, and returns the stamp of that, if there is one.
    fn advance(&mut self, place: usize) -> Result<Option<i64>, Error> {
        let Some(chain) = self.chains.get_mut(place) else {
            return Ok(None);
        };
        let mut source = chain::Source {
            input: &mut self.input,
            size: self.size,
            damage: &mut self.damage,
            taken_size: &mut self.taken_size,
        };
        chain.advance(&self.index, &mut source)
    }

    /// Takes up the next part of the file, which is all of it where it is not very large. Tells whether
    /// there is one.
    fn next_part(&mut self) -> Result<bool, Error> {
        let is_another = self.index.read_part(
            &mut self.input,
            self.size,
            self.about.buffer_size,
            &mut self.damage,
        )?;
        if !is_another {
            return Ok(false);
        }
        self.chains = self.index.chains();
        for place in 0..self.chains.len() {
            if let Some(stamp) = self.advance(place)? {
                self.waiting.push(Reverse((stamp, place)));
            }
        }
        Ok(true)
    }
}
