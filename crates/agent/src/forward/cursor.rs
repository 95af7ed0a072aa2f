//! How far the store was forwarded: a file in its directory, `forward.cursor`.
//!
//! It is written before a batch is sent, with the batch's range, and after the answer. Killed between
//! the two, the next forwarder sends the very same bytes under the same key. The file is replaced as
//! a whole; after a power cut it may be whatever a disk makes of it, so it has a checksum, and one
//! that cannot be used is told and costs a sending from the oldest event that is kept.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::store::follow::{self, Position};
use crate::trail::Event;

/// The file's name.
const NAME: &str = "forward.cursor";

/// What is added to it while it is written.
const NEW: &str = "forward.cursor.new";

/// The name of the file that is locked by who forwards.
const LOCK: &str = "forward.lock";

/// The version of the file. What a later one has beyond this is not understood, and not guessed at.
const VERSION: u32 = 1;

/// The most bytes that are read: a cursor has a few hundred.
const SIZE_MAX: u64 = 64 << 10;

/// Why a cursor cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// Another process forwards the store.
    #[error("store {} is being forwarded by another process; stop it first", directory.display())]
    Locked {
        /// The store's directory.
        directory: PathBuf,
    },
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How far the store was forwarded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// Whose store it is.
    host_id: Option<String>,
    /// The last event that needs no more sending.
    pub(super) at: Place,
    /// The batch that is being sent.
    pub(super) noted: Option<Noted>,
    /// Events that were accepted since the file was begun.
    #[serde(default)]
    pub forwarded: u64,
    /// Events that were refused one by one.
    #[serde(default)]
    pub refused: u64,
    /// When a batch was accepted last, in nanoseconds since the epoch.
    #[serde(default)]
    pub last_accepted: Option<i64>,
    /// What went wrong since then.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// An event's place, and which it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) segment: String,
    pub(super) id: i64,
    pub(super) run: Option<u64>,
    pub(super) sequence: Option<u64>,
}

/// A batch that may have arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    pub(super) segment: String,
    pub(super) first_id: i64,
    pub(super) last_id: i64,
    pub(super) key: String,
    /// SHA-256 of the body, in hex.
    pub(super) digest: String,
}

impl Place {
    pub(super) fn position(&self) -> Position {
        Position {
            segment: self.segment.clone(),
            id: self.id,
        }
    }
}

impl From<Position> for Place {
    fn from(Position { segment, id }: Position) -> Self {
        Self {
            segment,
            id,
            ..Self::default()
        }
    }
}

impl State {
    /// The place behind which events are owed.
    pub fn position(&self) -> Position {
        self.at.position()
    }
}

/// The cursor of a store, and the right to move it.
#[derive(Debug)]
pub(super) struct Cursor {
    directory: PathBuf,
    pub(super) state: State,
    /// What is wrong with the file that was there; told once.
    told: Option<String>,
    /// The last field: given up when the file is not written any more.
    lock: Option<File>,
}

impl Cursor {
    /// Reads the cursor of the store in `directory`, which is of the machine `host_id`.
    pub(super) fn open(directory: &Path, host_id: Option<&str>) -> Self {
        let (state, told) = match read(directory) {
            Ok(None) => (State::default(), None),
            Ok(Some(state)) if state.host_id.as_deref() != host_id => {
                let what = "it is another machine's".to_owned();
                (State::default(), Some(what))
            }
            Ok(Some(state)) => match out_of_place(directory, &state) {
                None => (state, None),
                Some((place, what)) => {
                    let state = State {
                        at: place,
                        noted: None,
                        ..state
                    };
                    (state, Some(what))
                }
            },
            Err(what) => (State::default(), Some(what)),
        };
        let state = State {
            version: VERSION,
            host_id: host_id.map(str::to_owned),
            ..state
        };
        let directory = directory.to_path_buf();
        Self {
            directory,
            state,
            told,
            lock: None,
        }
    }

    /// What is wrong with the file that was there, and what is done about it.
    pub(super) fn take_told(&mut self) -> Option<String> {
        let what = self.told.take()?;
        let path = self.directory.join(NAME);
        let from = match &self.state.at.segment {
            segment if segment.is_empty() => "the oldest event that is kept".to_owned(),
            segment => format!("the begin of segment {segment}"),
        };
        Some(format!(
            "cursor {}: {what}; sending begins at {from}",
            path.display()
        ))
    }

    /// Takes the right to move it, which the end of the process gives up, however it ends.
    pub(super) fn lock(&mut self) -> Result<(), CursorError> {
        let path = self.directory.join(LOCK);
        if self.lock.as_ref().is_some_and(|lock| is_at(lock, &path)) {
            return Ok(());
        }
        self.lock = None;
        let at_path = |source| CursorError::Io {
            path: path.clone(),
            source,
        };
        let file = options().open(&path).map_err(at_path)?;
        match file.try_lock() {
            Ok(()) => {
                self.lock = Some(file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => Err(CursorError::Locked {
                directory: self.directory.clone(),
            }),
            Err(TryLockError::Error(source)) => Err(at_path(source)),
        }
    }

    /// Writes the cursor: the file is the old or the new one, never a part of it.
    pub(super) fn write(&self) -> Result<(), CursorError> {
        let path = self.directory.join(NAME);
        let write = || -> io::Result<()> {
            let new = self.directory.join(NEW);
            let mut text = serde_json::to_string(&self.state)?;
            text.push('\n');
            text.push_str(&hex(text.as_bytes()));
            text.push('\n');
            let mut file = options().truncate(true).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            sync_directory(&self.directory)
        };
        write().map_err(|source| CursorError::Io {
            path: path.clone(),
            source,
        })
    }
}

/// Whether others still find the lock where they look for it: the store may have been deleted.
#[cfg(unix)]
fn is_at(lock: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (lock.metadata(), fs::metadata(path)) {
        (Ok(here), Ok(there)) => (here.dev(), here.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Windows deletes no file that is open.
#[cfg(not(unix))]
const fn is_at(_lock: &File, _path: &Path) -> bool {
    true
}

/// Opens a file for writing that only the recorder's group may read: it may have command lines.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options
}

/// A rename is on the disk when its directory is.
#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Windows opens no directory, and needs no such thing.
#[cfg(not(unix))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "its twin for another system can fail"
)]
const fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}

/// SHA-256 in hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

/// What every version of the file has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// How far the store in `directory` was forwarded; `None` where it never was.
///
/// # Errors
/// What is wrong with the file, in words.
pub fn read(directory: &Path) -> Result<Option<State>, String> {
    let path = directory.join(NAME);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| error.to_string())?,
    };
    let mut text = String::new();
    let damaged = || "it is damaged".to_owned();
    file.take(SIZE_MAX)
        .read_to_string(&mut text)
        .map_err(|_not_text| damaged())?;
    let (json, digest) = text.split_once('\n').ok_or_else(damaged)?;
    let is_whole = digest.trim_end() == hex(format!("{json}\n").as_bytes());
    if !is_whole {
        return Err(damaged());
    }
    let Version { version } = serde_json::from_str(json).map_err(|_no_number| damaged())?;
    if version > VERSION {
        return Err(format!(
            "it is of version {version}, and this systrail knows version {VERSION}"
        ));
    }
    serde_json::from_str(json)
        .map(Some)
        .map_err(|_other_fields| damaged())
}

/// Where to begin instead, and why, when the store has no such event: it lost its end in a power cut,
/// or is another one.
fn out_of_place(directory: &Path, state: &State) -> Option<(Place, String)> {
    let at = &state.at;
    let names = follow::names(directory).ok()?;
    let newest = names.last()?;
    if at.segment > *newest {
        let what = format!("it is ahead of the store, whose newest segment is {newest}");
        return Some((Place::default(), what));
    }
    // One that is gone was deleted; in one that begins, nothing is behind.
    if at.id == 0 || !names.contains(&at.segment) {
        return None;
    }
    // What cannot be read now is told by who reads on.
    let event = follow::event_at(directory, &at.position()).ok()?;
    let is_same = |event: &Event| event.origin.run == at.run && Some(event.sequence) == at.sequence;
    if at.sequence.is_none() || event.is_some_and(|event| is_same(&event)) {
        return None;
    }
    let place = Place::from(Position {
        segment: at.segment.clone(),
        id: 0,
    });
    let what = format!(
        "the store has another event at its place, {} {}",
        at.segment, at.id
    );
    Some((place, what))
}
