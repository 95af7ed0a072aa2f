//! Logs that are not JSON Lines: what such a format is to whoever reads logs, and how one is told by
//! the first bytes of its content.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::{Error, Progress, etl};
use crate::trail::Event;

/// So many of the first bytes are looked at.
pub const BEGIN_SIZE: usize = 4096;

/// A log of another format than JSON Lines: its events, in its order. An error that
/// [is passed over](Error::is_passed_over) or [is damage](Error::is_damage) is followed by what comes
/// next; after any other there is nothing. What was damaged is counted by a remark.
pub trait Format: Iterator<Item = Result<Event, Error>> + Send {
    /// How many parts were passed over as no events, so far.
    fn invalid_count(&self) -> u64;

    /// What one of its parts is called, and what several are: `("record", "records")`.
    fn part_names(&self) -> (&'static str, &'static str);

    /// What is to be said once all has been read: what it could not decode, counted and named.
    fn remarks(&mut self) -> Vec<Remark>;
}

/// Something to be said of a log as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// A sentence, lower case, without a full stop.
    pub text: String,
    /// How many events it says were passed over that are wanted; 0 where nothing is amiss.
    pub passed_over_count: u64,
}

/// A log as a format gets it.
pub struct Opened {
    /// Where it is; `-` for standard input. The file there may be compressed; `input` is not.
    pub path: PathBuf,
    /// Its first bytes: [`BEGIN_SIZE`] or as many as there are; none where the first one says that
    /// these are lines.
    pub begin: Vec<u8>,
    /// Its content, from the first byte on.
    pub input: Box<dyn BufRead + Send>,
    /// How far the file has been read, for a format that reads it otherwise than by `input`.
    pub progress: Option<Progress>,
}

impl Opened {
    /// The log with this content. An input that breaks off at once breaks off as it is read.
    pub(super) fn new(path: &Path, mut input: Box<dyn BufRead + Send>) -> Self {
        let path = path.to_path_buf();
        let mut begin = Vec::new();
        // Whoever follows a log that grows through a pipe wants its first lines now, and not when
        // there are enough bytes to tell formats by.
        let is_lines = match input.fill_buf() {
            Ok(piece) => piece.first().copied().is_none_or(begins_lines),
            Err(error) => return Self::broken(path, begin, error),
        };
        if is_lines {
            return Self::of(path, begin, input);
        }
        let mut first = (&mut input).take(BEGIN_SIZE as u64);
        if let Err(error) = first.read_to_end(&mut begin) {
            return Self::broken(path, begin, error);
        }
        let input = Box::new(io::Cursor::new(begin.clone()).chain(input));
        Self::of(path, begin, input)
    }

    fn of(path: PathBuf, begin: Vec<u8>, input: Box<dyn BufRead + Send>) -> Self {
        Self {
            path,
            begin,
            input,
            progress: None,
        }
    }

    fn broken(path: PathBuf, begin: Vec<u8>, error: io::Error) -> Self {
        let rest = BufReader::with_capacity(1, Broken(Some(error)));
        let input = Box::new(io::Cursor::new(begin.clone()).chain(rest));
        Self::of(path, begin, input)
    }
}

/// What is left of an input that broke off: the error.
struct Broken(Option<io::Error>);

impl Read for Broken {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Whether a log that begins with this byte is of lines: with an object, a blank, or a byte-order
/// mark. No format known here begins so.
const fn begins_lines(byte: u8) -> bool {
    matches!(byte, b'{' | b' ' | b'\t' | b'\r' | b'\n' | 0xef)
}

/// A format that is known by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// A Windows event log.
    Evtx,
    /// A Windows trace.
    Etl,
}

/// The format of a log that begins with these bytes; none is JSON Lines.
pub fn of(begin: &[u8]) -> Option<Known> {
    /// The first bytes of a Windows event log ([MS-EVEN6] calls the format `BinXml`; libevtx's
    /// documentation describes the file).
    const EVTX: &[u8] = b"ElfFile\0";
    if begin.starts_with(EVTX) {
        return Some(Known::Evtx);
    }
    etw::file::is_trace(begin).then_some(Known::Etl)
}

/// The logs in a folder, read as one in the order of time.
pub(super) fn open_folder(path: &Path) -> Result<(Box<dyn Format>, Progress), Error> {
    #[cfg(feature = "evtx")]
    let opened = super::evtx::Evtx::open_folder(path);
    #[cfg(not(feature = "evtx"))]
    let opened: Result<(Box<dyn Format>, Progress), _> = Err(io::ErrorKind::IsADirectory.into());
    opened.map_err(|source| Error::Open {
        path: path.to_path_buf(),
        source,
    })
}

impl Known {
    /// Reads a log as one of this format.
    pub(super) fn open(self, opened: Opened) -> Result<Box<dyn Format>, Error> {
        match self {
            Self::Etl => etl::open(&opened),
            #[cfg(feature = "evtx")]
            Self::Evtx => Ok(Box::new(super::evtx::Evtx::open(opened))),
            #[cfg(not(feature = "evtx"))]
            Self::Evtx => Err(Error::NotBuiltIn {
                path: opened.path,
                format: "a Windows event log",
                feature: "evtx",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An input of which more is asked than it has yet: it would wait.
    struct Waits;

    impl Read for Waits {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn opened(begin: &'static [u8]) -> Opened {
        let input = BufReader::new(begin.chain(Waits));
        Opened::new(Path::new("-"), Box::new(input))
    }

    #[test]
    fn lines_are_read_as_they_come_and_not_once_there_are_enough_bytes() {
        let lines = [&b"{\"sequence\":1}\n"[..], b" {}", b"\n", b"\xef\xbb\xbf{}"];
        for begin in lines {
            let mut opened = opened(begin);
            assert_eq!(opened.begin, b"");
            let mut read = vec![0; begin.len()];
            opened.input.read_exact(&mut read).unwrap();
            assert_eq!(read, begin);
        }
        // Of anything else as much is wanted as tells formats apart.
        let mut cut = opened(b"ElfF");
        assert_eq!(cut.begin, b"ElfF");
        let mut read = Vec::new();
        let error = cut.input.read_to_end(&mut read).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(read, b"ElfF", "what could be read is kept");
    }

    #[test]
    fn what_tells_the_format_is_read_again_by_who_reads_it() {
        let content = [b"ElfFile\0", &[7; 2 * BEGIN_SIZE][..]].concat();
        let input = BufReader::with_capacity(3, io::Cursor::new(content.clone()));
        let mut opened = Opened::new(Path::new("-"), Box::new(input));
        assert_eq!(opened.begin, content[..BEGIN_SIZE]);
        assert_eq!(of(&opened.begin), Some(Known::Evtx));
        let mut read = Vec::new();
        opened.input.read_to_end(&mut read).unwrap();
        assert_eq!(read, content);
    }
}
