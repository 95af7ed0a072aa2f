//! Reads a log back, event by event, whatever became of it: what is no event is reported, counted
//! and passed over, and an event of a newer version's kind is told as that. A log is JSON Lines or
//! in one of the [formats](mod@format) other systems write, and may be compressed (`replay/compressed.rs`);
//! its content says which, never its name.

pub mod compressed;
mod etl;
#[cfg(feature = "evtx")]
pub mod evtx;
pub mod format;
mod lines;
pub mod newer;
pub mod pace;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use format::{Format, Opened, Remark};

pub use lines::Events;

use crate::trail::Event;
use crate::trail::json::LineError;

/// Why a log cannot be read, or a part of it is no event.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no log, or it may not be read.
    #[error("log {} cannot be opened: {source}", path.display())]
    Open {
        /// The log.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is of a format that this program was built without.
    #[error(
        "log {} is {format}, which this systrail was built without; build one with \
         `cargo build --release -p systrail --features {feature}`",
        path.display()
    )]
    NotBuiltIn {
        /// The log.
        path: PathBuf,
        /// What such a log is called.
        format: &'static str,
        /// The feature that has it.
        feature: &'static str,
    },
    /// Reading broke off; nothing follows.
    #[error("log cannot be read on after line {line_number}: {source}")]
    Read {
        /// The last line that was read, from 1; 0 for none.
        line_number: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Reading a log that has no lines broke off; nothing follows.
    #[error("log cannot be read on {position}: {source}")]
    ReadPart {
        /// Where: `after record 17`, `at byte 4096`.
        position: String,
        /// What the system said.
        source: io::Error,
    },
    /// A line is no event; the next may be one.
    #[error("line {line_number} is passed over: {source}")]
    Line {
        /// The line, from 1.
        line_number: u64,
        /// What is wrong with it.
        source: LineError,
    },
    /// A part of a log that has no lines is no event, or none that can be read; the next may be one.
    #[error("{part} is passed over: {reason}")]
    Part {
        /// Which: `record 17`, `chunk 3`.
        part: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A part of a log is not as it was written; what can be read of it follows.
    #[error("{part} is damaged: {what}")]
    Damaged {
        /// Which.
        part: String,
        /// What is wrong with it.
        what: String,
    },
    /// A line is an event of a kind this version does not know; nothing is wrong with it.
    #[error("line {line_number} is of kind {kind}, which a newer systrail reads")]
    NewerKind {
        /// The line, from 1.
        line_number: u64,
        /// The kind, quoted and cut short.
        kind: String,
    },
    /// In one log of several that are read as one.
    #[error("{}: {source}", path.display())]
    In {
        /// The log.
        path: PathBuf,
        /// What is wrong there.
        source: Box<Self>,
    },
}

impl Error {
    /// Whether it is about a part that was passed over, and what follows is read.
    pub fn is_passed_over(&self) -> bool {
        match self {
            Self::Line { .. } | Self::Part { .. } => true,
            Self::In { source, .. } => source.is_passed_over(),
            Self::Open { .. }
            | Self::NotBuiltIn { .. }
            | Self::Read { .. }
            | Self::ReadPart { .. }
            | Self::Damaged { .. }
            | Self::NewerKind { .. } => false,
        }
    }

    /// Whether it is about a part of which what can be read follows.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::In { source, .. } => source.is_damage(),
            _ => false,
        }
    }
}

/// An opened log: its events, in its order.
pub struct Log {
    input: Input,
    progress: Option<Progress>,
}

/// Lines are the hot path, and called statically but for their bytes.
enum Input {
    Lines(Events<Box<dyn BufRead + Send>>),
    Other(Box<dyn Format>),
}

/// Opens a log, whatever its format, compressed or not; `-` is standard input. A folder is the logs
/// of other systems that are in it.
pub fn open(path: &Path) -> Result<Log, Error> {
    /// As much as is asked of the system at once.
    const READ_SIZE: usize = 256 * 1024;
    let at_path = |source| Error::Open {
        path: path.to_path_buf(),
        source,
    };
    if path == Path::new("-") {
        return read(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).map_err(at_path)?;
    let metadata = file.metadata().map_err(at_path)?;
    if metadata.is_dir() {
        let (logs, progress) = format::open_folder(path)?;
        return Ok(Log {
            input: Input::Other(logs),
            progress: Some(progress),
        });
    }
    let size = metadata.len();
    let read = Arc::new(AtomicU64::new(0));
    let counted = Counted {
        file,
        read: Arc::clone(&read),
    };
    let input = BufReader::with_capacity(READ_SIZE, counted);
    let plain = compressed::plain(Box::new(input)).map_err(at_path)?;
    Log::new(path, plain, Some(Progress { read, size }))
}

/// The log whose bytes are `input`, whatever its format, compressed or not.
pub fn read(input: Box<dyn BufRead + Send>) -> Result<Log, Error> {
    let path = Path::new("-");
    let plain = compressed::plain(input).map_err(|source| Error::Open {
        path: path.to_path_buf(),
        source,
    })?;
    Log::new(path, plain, None)
}

impl Log {
    /// The log whose content, decompressed, is `input`.
    fn new(
        path: &Path,
        input: Box<dyn BufRead + Send>,
        progress: Option<Progress>,
    ) -> Result<Self, Error> {
        let opened = Opened {
            progress: progress.clone(),
            ..Opened::new(path, input)
        };
        let input = match format::of(&opened.begin) {
            Some(known) => Input::Other(known.open(opened)?),
            None => Input::Lines(Events::new(opened.input)),
        };
        Ok(Self { input, progress })
    }

    /// How far the file has been read, where it is one.
    pub fn progress(&self) -> Option<Progress> {
        self.progress.clone()
    }

    /// How many parts were no events, so far; those of newer kinds are not among them.
    pub fn invalid_count(&self) -> u64 {
        match &self.input {
            Input::Lines(events) => events.invalid_count(),
            Input::Other(format) => format.invalid_count(),
        }
    }

    /// What one of the parts is called of which it consists, and what several are.
    pub fn part_names(&self) -> (&'static str, &'static str) {
        match &self.input {
            Input::Lines(_) => ("line", "lines"),
            Input::Other(format) => format.part_names(),
        }
    }

    /// Whether it was taken for JSON Lines, which any text could be.
    pub const fn is_lines(&self) -> bool {
        matches!(self.input, Input::Lines(_))
    }

    /// What is to be said once all of it has been read.
    pub fn remarks(&mut self) -> Vec<Remark> {
        match &mut self.input {
            Input::Lines(_) => Vec::new(),
            Input::Other(format) => format.remarks(),
        }
    }
}

impl Iterator for Log {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.input {
            Input::Lines(events) => events.next(),
            Input::Other(format) => format.next(),
        }
    }
}

/// How far a file has been read; shared with whoever shows it.
#[derive(Clone, Debug)]
pub struct Progress {
    read: Arc<AtomicU64>,
    size: u64,
}

impl Progress {
    /// Bytes of the file that have been read, compressed ones where it is compressed.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Of logs of this size together, of which nothing has been read.
    pub fn of_size(size: u64) -> Self {
        Self {
            read: Arc::default(),
            size,
        }
    }

    /// So many more bytes have been read.
    pub fn advance(&self, size: u64) {
        self.read.fetch_add(size, Ordering::Relaxed);
    }

    /// The file has been read as far as this.
    pub fn reach(&self, read: u64) {
        self.read.fetch_max(read.min(self.size), Ordering::Relaxed);
    }

    /// Bytes of the file when it was opened; 0 for a pipe or a device.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

/// A file that counts what is read of it.
#[derive(Debug)]
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.file.read(buffer)?;
        self.read.fetch_add(size as u64, Ordering::Relaxed);
        Ok(size)
    }
}
