//! One event log: a header of 4 KiB, and chunks of 64 KiB, each a whole by itself, with checksums of
//! its own.
//!
//! The header is believed in nothing but that it is one: a log that was not closed has an old one. The
//! chunks are read to the end of the file, in the order of their records where it is a file, because
//! a log that is full begins again at its first chunk.

mod chunk;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use self::chunk::Chunks;
use super::others::Others;
use super::record::Record;
use crate::replay::format::{Opened, Remark};
use crate::replay::{Error, Progress};

/// The first bytes of an event log.
pub(super) const MAGIC: &[u8; 8] = b"ElfFile\0";

/// Bytes before the first chunk.
const HEADER_SIZE: usize = 4096;

/// Bytes of a chunk.
pub(super) const CHUNK_SIZE: usize = 65_536;

/// The first bytes of a chunk.
const CHUNK_MAGIC: &[u8; 8] = b"ElfChnk\0";

/// A log that is being read.
pub(super) struct EventLog {
    path: PathBuf,
    /// When its first record was written, as far as that can be seen from outside.
    first_time: i64,
    progress: Option<Progress>,
    state: State,
    /// What was read and is not asked for yet.
    ready: VecDeque<Result<Record, Error>>,
    chunks: Chunks,
    /// Chunks that have something to say, of one kind or another.
    found_count: u64,
    header: Option<Header>,
}

enum State {
    /// Nothing has been read.
    Unread(Input),
    Reading(Input),
    Done,
}

enum Input {
    /// Chunk after chunk.
    Stream(Box<dyn BufRead + Send>, u64),
    /// The numbers of the chunks, the first to be read at the end. The file is open only while a
    /// chunk is read: a folder may have more logs than a process may have open files.
    File(PathBuf, Vec<u64>),
}

/// What the header says.
#[derive(Clone, Copy, Debug)]
struct Header {
    chunk_count: u16,
    is_dirty: bool,
    is_valid: bool,
}

impl Header {
    fn read(bytes: &[u8]) -> Self {
        const IS_DIRTY: u32 = 1;
        let number = |at: usize| {
            let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
            field.copied().map_or(0, u32::from_le_bytes)
        };
        let [chunk_count @ .., _, _] = number(42).to_le_bytes();
        Self {
            chunk_count: u16::from_le_bytes(chunk_count),
            is_dirty: number(120) & IS_DIRTY != 0,
            is_valid: bytes
                .get(..120)
                .is_some_and(|summed| evtx::checksum_ieee(summed) == number(124)),
        }
    }
}

impl EventLog {
    /// A log that was opened: as a file, where its bytes are those of the file.
    pub(super) fn of_opened(opened: Opened) -> Self {
        match Self::at(opened.path.clone(), opened.progress) {
            Ok(log) => log,
            // Standard input, or a compressed file.
            Err(_not_a_plain_file) => Self::new(opened.path, Input::Stream(opened.input, 0)),
        }
    }

    /// The log at `path`, which is open only while a part of it is read.
    pub(super) fn at(path: PathBuf, progress: Option<Progress>) -> io::Result<Self> {
        let index = Index::read(&path)?;
        Ok(Self {
            first_time: index.first_time,
            progress,
            ..Self::new(path.clone(), Input::File(path, index.numbers))
        })
    }

    const fn new(path: PathBuf, input: Input) -> Self {
        Self {
            path,
            first_time: i64::MIN,
            progress: None,
            state: State::Unread(input),
            ready: VecDeque::new(),
            chunks: Chunks::new(),
            found_count: 0,
            header: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// When its first record was written, as far as that can be seen from outside.
    pub(super) const fn first_time(&self) -> i64 {
        self.first_time
    }

    /// Records that became no event, so far.
    pub(super) const fn others(&self) -> &Others {
        self.chunks.others()
    }

    /// Reads the next chunk that has anything to tell; `false` at the end.
    fn read_on(&mut self) -> io::Result<bool> {
        let mut input = match std::mem::replace(&mut self.state, State::Done) {
            State::Done => return Ok(false),
            State::Reading(input) => input,
            State::Unread(mut input) => {
                self.read_header(&mut input)?;
                input
            }
        };
        let Some((number, bytes)) = input.next_chunk()? else {
            return Ok(false);
        };
        if let Some(progress) = self.progress.as_ref().filter(|_| input.is_file()) {
            progress.advance(CHUNK_SIZE as u64);
        }
        self.state = State::Reading(input);
        self.found_count += 1;
        let is_reserved = bytes.starts_with(&[0; 8]) && bytes.iter().all(|byte| *byte == 0);
        if is_reserved {
            return Ok(true);
        }
        if bytes.starts_with(CHUNK_MAGIC) {
            self.chunks.read(number, bytes, &mut self.ready);
        } else {
            self.ready.push_back(Err(Error::Part {
                part: format!("chunk {number}"),
                reason: "it does not begin as a chunk does".to_owned(),
            }));
        }
        Ok(true)
    }

    fn read_header(&mut self, input: &mut Input) -> io::Result<()> {
        let bytes = input.header()?;
        let header = Header::read(&bytes);
        self.header = Some(header);
        if !header.is_valid {
            self.ready.push_back(Err(Error::Damaged {
                part: "the header of the log".to_owned(),
                what: "its checksum is wrong; the chunks are read all the same".to_owned(),
            }));
        }
        Ok(())
    }

    /// What is to be said of the log when it has been read.
    pub(super) fn remarks(&self) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let Some(header) = self.header else {
            return remarks;
        };
        let claimed = u64::from(header.chunk_count);
        // A log that was not closed has an old header, which may be behind and never ahead.
        if claimed > self.found_count && header.is_valid {
            let lacking = claimed - self.found_count;
            let found = self.found_count;
            remarks.push(Remark {
                text: format!(
                    "the log is cut: its header says {claimed} chunks, and there are {found}"
                ),
                passed_over_count: lacking,
            });
        }
        if header.is_dirty {
            remarks.push(Remark {
                text: "the log was not closed; what its chunks have was read".to_owned(),
                passed_over_count: 0,
            });
        }
        let damaged_count = self.chunks.damaged_count();
        if damaged_count > 0 {
            let chunks = crate::quantity::show_count(damaged_count, "damaged chunk");
            remarks.push(Remark {
                text: format!("of {chunks} only what can be read was read"),
                passed_over_count: damaged_count,
            });
        }
        let old_count = self.chunks.old_count();
        if old_count > 0 {
            let records = crate::quantity::show_count(old_count, "record");
            remarks.push(Remark {
                text: format!(
                    "{records} stood there once more, left over from before: passed over"
                ),
                passed_over_count: 0,
            });
        }
        remarks
    }
}

impl Iterator for EventLog {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            match self.read_on() {
                Ok(true) => {}
                Ok(false) => return self.ready.pop_front(),
                Err(source) => {
                    self.state = State::Done;
                    return Some(Err(Error::ReadPart {
                        position: format!("after chunk {}", self.found_count),
                        source,
                    }));
                }
            }
        }
    }
}

impl Input {
    /// The header; less where there is less.
    fn header(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self {
            Self::Stream(input, _) => {
                input.take(HEADER_SIZE as u64).read_to_end(&mut bytes)?;
            }
            Self::File(path, _) => {
                let file = File::open(path)?;
                file.take(HEADER_SIZE as u64).read_to_end(&mut bytes)?;
            }
        }
        Ok(bytes)
    }

    /// The number of the next chunk, from 1, and its bytes, with zeros at the end of one that is cut;
    /// `None` when there is none.
    fn next_chunk(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let mut bytes = Vec::with_capacity(CHUNK_SIZE);
        let number = match self {
            Self::Stream(input, number) => {
                input.take(CHUNK_SIZE as u64).read_to_end(&mut bytes)?;
                *number += 1;
                *number
            }
            Self::File(path, numbers) => {
                let Some(number) = numbers.pop() else {
                    return Ok(None);
                };
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(offset_of(number)))?;
                file.take(CHUNK_SIZE as u64).read_to_end(&mut bytes)?;
                number
            }
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        bytes.resize(CHUNK_SIZE, 0);
        Ok(Some((number, bytes)))
    }

    const fn is_file(&self) -> bool {
        matches!(self, Self::File(..))
    }
}

const fn offset_of(number: u64) -> u64 {
    HEADER_SIZE as u64 + number.saturating_sub(1).saturating_mul(CHUNK_SIZE as u64)
}

/// What is seen of a log from outside.
struct Index {
    /// The numbers of its chunks, in the reverse of the order in which their records were written.
    numbers: Vec<u64>,
    first_time: i64,
}

impl Index {
    /// Looks at the log at `path`; an error where it is no file with the bytes of a log.
    fn read(path: &Path) -> io::Result<Self> {
        // A pipe must not be opened once more.
        let metadata = fs::metadata(path)?;
        if path == Path::new("-") || !metadata.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut file = File::open(path)?;
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut chunks: Vec<(u64, u64)> = Vec::new();
        // The file may be one that grows; what comes after is not read.
        for number in 1.. {
            let offset = offset_of(number);
            if offset >= metadata.len() {
                break;
            }
            file.seek(SeekFrom::Start(offset))?;
            let mut begin = [0; 32];
            let first_record = match file.read_exact(&mut begin) {
                Ok(()) if begin.starts_with(CHUNK_MAGIC) => {
                    begin.last_chunk().copied().map_or(0, u64::from_le_bytes)
                }
                // What is no chunk stays where it is: behind the one before.
                _ => chunks.last().map_or(0, |(first, _)| *first),
            };
            chunks.push((first_record, number));
        }
        chunks.sort_by(|one, other| other.cmp(one));
        let numbers: Vec<u64> = chunks.into_iter().map(|(_, number)| number).collect();
        let first_time = numbers.last().map(|first| first_time(&mut file, *first));
        Ok(Self {
            first_time: first_time.transpose()?.flatten().unwrap_or(i64::MIN),
            numbers,
        })
    }
}

/// When the first record of a chunk was written.
fn first_time(file: &mut File, number: u64) -> io::Result<Option<i64>> {
    /// Where the first record of a chunk has its time, 100 ns since 1601.
    const OFFSET: u64 = 512 + 16;
    const EPOCH: i64 = 116_444_736_000_000_000;
    file.seek(SeekFrom::Start(offset_of(number).saturating_add(OFFSET)))?;
    let mut time = [0; 8];
    if file.read_exact(&mut time).is_err() {
        return Ok(None);
    }
    let time = i64::from_le_bytes(time).checked_sub(EPOCH);
    Ok(time.and_then(|time| time.checked_mul(100)))
}
