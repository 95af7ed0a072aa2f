//! Reads a log file back, event by event, whatever became of it: a line that is no event is
//! reported with its number, counted and passed over, and an event of a newer version's kind is told
//! as that. A log may be compressed; see `replay/compressed.rs`.

pub mod compressed;
pub mod newer;
pub mod pace;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::trail::Event;
use crate::trail::json::{self, LINE_SIZE_MAX, LineError};

/// The byte-order mark of UTF-8, which some editors and shells put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a log cannot be read, or a line of it is no event.
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
    /// Reading broke off; nothing follows.
    #[error("log cannot be read on after line {line_number}: {source}")]
    Read {
        /// The last line that was read, from 1; 0 for none.
        line_number: u64,
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
    /// A line is an event of a kind this version does not know; nothing is wrong with it.
    #[error("line {line_number} is of kind {kind}, which a newer systrail reads")]
    NewerKind {
        /// The line, from 1.
        line_number: u64,
        /// The kind, quoted and cut short.
        kind: String,
    },
}

/// The events of a log, in its order.
#[derive(Debug)]
pub struct Events<R> {
    input: R,
    line: Vec<u8>,
    line_number: u64,
    invalid_count: u64,
    has_ended: bool,
    progress: Option<Progress>,
}

/// Opens a log, compressed or not; `-` is standard input.
pub fn open(path: &Path) -> Result<Events<Box<dyn BufRead + Send>>, Error> {
    /// As much as is asked of the system at once.
    const READ_SIZE: usize = 256 * 1024;
    let at_path = |source| Error::Open {
        path: path.to_path_buf(),
        source,
    };
    if path == Path::new("-") {
        let input = BufReader::new(io::stdin());
        let plain = compressed::plain(Box::new(input)).map_err(at_path)?;
        return Ok(Events::new(plain));
    }
    let file = File::open(path).map_err(at_path)?;
    // A directory can be opened, and says so only when it is read.
    let metadata = file.metadata().map_err(at_path)?;
    if metadata.is_dir() {
        return Err(at_path(io::ErrorKind::IsADirectory.into()));
    }
    let size = metadata.len();
    let read = Arc::new(AtomicU64::new(0));
    let counted = Counted {
        file,
        read: Arc::clone(&read),
    };
    let input = BufReader::with_capacity(READ_SIZE, counted);
    let plain = compressed::plain(Box::new(input)).map_err(at_path)?;
    Ok(Events {
        progress: Some(Progress { read, size }),
        ..Events::new(plain)
    })
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

impl<R: BufRead> Events<R> {
    /// The events in `input`.
    pub const fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
            line_number: 0,
            invalid_count: 0,
            has_ended: false,
            progress: None,
        }
    }

    /// How far the file has been read, where it is one.
    pub fn progress(&self) -> Option<Progress> {
        self.progress.clone()
    }

    /// How many lines were no events, so far; those of newer kinds are not among them.
    pub const fn invalid_count(&self) -> u64 {
        self.invalid_count
    }

    /// Reads the next line into `self.line`, of which no more than [`LINE_SIZE_MAX`] is kept, and
    /// returns its whole size; `None` at the end.
    fn next_line(&mut self) -> io::Result<Option<usize>> {
        self.line.clear();
        let mut size = 0_usize;
        loop {
            let input = match self.input.fill_buf() {
                Ok(input) => input,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if input.is_empty() {
                return Ok((size > 0).then_some(size));
            }
            let line_feed = input.iter().position(|byte| *byte == b'\n');
            let piece = &input[..line_feed.unwrap_or(input.len())];
            let room = LINE_SIZE_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            size = size.saturating_add(piece.len());
            let used = piece.len() + usize::from(line_feed.is_some());
            self.input.consume(used);
            if line_feed.is_some() {
                return Ok(Some(size));
            }
        }
    }

    fn read_event(&mut self, size: usize) -> Result<Event, Error> {
        let read = if size > LINE_SIZE_MAX {
            Err(LineError::TooLong { size })
        } else {
            json::read_line(&self.line)
        };
        let line_number = self.line_number;
        read.map_err(|error| match error {
            LineError::UnknownKind { kind } => Error::NewerKind { line_number, kind },
            source => {
                self.invalid_count += 1;
                Error::Line {
                    line_number,
                    source,
                }
            }
        })
    }
}

impl<R: BufRead> Iterator for Events<R> {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.has_ended {
            match self.next_line() {
                Ok(Some(size)) => {
                    self.line_number += 1;
                    if self.line_number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                        self.line.drain(..BYTE_ORDER_MARK.len());
                    }
                    // An empty line says nothing, right or wrong.
                    if !self.line.trim_ascii().is_empty() {
                        return Some(self.read_event(size));
                    }
                }
                Ok(None) => self.has_ended = true,
                Err(source) => {
                    self.has_ended = true;
                    return Some(Err(Error::Read {
                        line_number: self.line_number,
                        source,
                    }));
                }
            }
        }
        None
    }
}
