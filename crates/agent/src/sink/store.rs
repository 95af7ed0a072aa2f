//! The sink that keeps the store: SQLite segments in a directory.
//!
//! Events are written in transactions that end with each flush, so that other connections see them
//! within a second. Whatever the medium does, what was committed is there: a disk that is full or
//! gone loses the events of the open transaction and those after it, which are counted, and writing
//! is tried again with growing pauses. A segment that turns out damaged is set aside, and a new one
//! is begun.
//!
//! The pipeline tells what a sink loses in `lost` events. While writing fails those are lost to the
//! store too; it owes them, and stores them first when it can write again. So the losses in the
//! store add up to all that is not in it.

mod uncommitted;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use super::log_file::{self, Lock, Others};
use super::outage::Outage;
use super::owed::Owed;
use super::{Sink, Tally, is_wrong_path};
use crate::store::retention::{self, Retention, RetentionThread};
use crate::store::{self, Hold, Live, ReadError, WAL_SIZE, Writer};
use crate::trail::{Event, Time};
use uncommitted::Uncommitted;

/// Where the store is and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory.
    pub path: PathBuf,
    /// Begin a new segment when one has grown to this many bytes.
    pub segment_size: u64,
    /// Begin a new segment when one was begun this long ago.
    pub segment_age: Duration,
    /// How many segments are kept.
    pub retention: Retention,
}

/// Why a store cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process writes it.
    #[error("store {} is being written by another process; stop it, or name another directory with --store", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("store {}: {source}; name a directory that can be written, or give --no-store", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A segment is in the way, or SQLite refuses.
    #[error(transparent)]
    Segment(#[from] store::OpenError),
}

impl Error {
    /// Whether the path is wrong, and not what is at it or around it now.
    pub fn is_wrong_path(&self) -> bool {
        match self {
            Self::Io { source, .. }
            | Self::Segment(
                store::OpenError::Io { source, .. }
                | store::OpenError::Segment(ReadError::Io { source, .. }),
            ) => is_wrong_path(source),
            Self::Locked { .. } | Self::Segment(_) => false,
        }
    }

    /// Whether this is a state of the medium that passes, not a wrong setting.
    fn may_pass(&self) -> bool {
        match self {
            Self::Locked { .. } => false,
            Self::Io { source, .. }
            | Self::Segment(
                store::OpenError::Io { source, .. }
                | store::OpenError::Segment(ReadError::Io { source, .. }),
            ) => matches!(
                source.kind(),
                io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::ReadOnlyFilesystem
            ),
            Self::Segment(error) => error.may_pass(),
        }
    }
}

/// Events in one transaction at most.
const UNCOMMITTED_COUNT_MAX: u64 = 65_536;

/// When the write-ahead log has grown to this many bytes, the retention thread does not keep up, and
/// the writer copies it itself.
const WAL_SIZE_MAX: u64 = 64 << 20;

/// The sink that keeps the store.
#[derive(Debug)]
pub struct Store {
    settings: Settings,
    /// Open and good as far as is known; `None` between a failure and the next attempt.
    writer: Option<Writer>,
    /// The segment's file, to notice when another program takes it away.
    place: Option<Place>,
    begun: SystemTime,
    /// When this run began to write it: its own time is later than now where the clock was set back.
    resumed: Instant,
    in_transaction: bool,
    uncommitted: Uncommitted,
    owed: Owed,
    live: Live,
    outage: Outage,
    retention: RetentionThread,
    /// The last field: the lock is given up when nothing more happens to the files.
    lock: Option<Lock>,
}

impl Store {
    /// Opens the store, creating it where it is not there.
    ///
    /// A disk that is full is not an error: the store is written as soon as it can be.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        Self::open_held(settings, None)
    }

    /// The same of a store of which somebody else needs what he has not read yet.
    pub fn open_held(mut settings: Settings, hold: Option<Arc<Hold>>) -> Result<Self, Error> {
        let at_path = |source| Error::Io {
            path: settings.path.clone(),
            source,
        };
        let path = std::path::absolute(&settings.path).map_err(at_path)?;
        let retention =
            RetentionThread::start(path.clone(), settings.retention, hold).map_err(at_path)?;
        settings.path = path;
        let mut store = Self {
            settings,
            writer: None,
            place: None,
            begun: SystemTime::now(),
            resumed: Instant::now(),
            in_transaction: false,
            uncommitted: Uncommitted::default(),
            owed: Owed::default(),
            live: Live::default(),
            outage: Outage::default(),
            retention,
            lock: None,
        };
        match store.reopen() {
            Ok(()) => {}
            Err(error) if error.may_pass() => store.fail(&error),
            Err(error) => return Err(error),
        }
        Ok(store)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.settings.path
    }

    /// Takes the lock where it is not held, and goes on with the newest segment, or begins one where
    /// there is none to go on with.
    fn reopen(&mut self) -> Result<(), Error> {
        let path = &self.settings.path;
        if !self.lock.as_ref().is_some_and(Lock::is_in_place) {
            self.lock = None;
            // The directory is what is protected, before anything is opened in it.
            let lock =
                Lock::take(&path.join("store"), Others::Allowed).map_err(|error| match error {
                    log_file::OpenError::Io { path, source } => Error::Io { path, source },
                    _ => Error::Locked { path: path.clone() },
                })?;
            self.lock = Some(lock);
        }
        Ok(self.resume_or_create()?)
    }

    fn resume_or_create(&mut self) -> Result<(), store::OpenError> {
        let mut named = match store::named(&self.settings.path) {
            Ok(named) => named,
            Err(ReadError::NotThere { .. }) => store::Named::default(),
            Err(error) => return Err(error.into()),
        };
        for path in named.others {
            let why = ReadError::NotAFile { path: path.clone() };
            retention::set_aside(&path, &why);
        }
        let newest = named.segments.pop();
        let mut after = None;
        if let Some(path) = newest {
            after = path.file_name().and_then(store::begin_of);
            let resumed = match emptied(&path) {
                None => Writer::resume(&path, now(), &self.live),
                Some(damage) => Err(damage),
            };
            match resumed {
                Ok(Some(writer)) => {
                    self.begin_with(writer);
                    return Ok(());
                }
                Ok(None) => {}
                Err(error) if error.is_corrupt() => retention::set_aside(&path, &error),
                Err(error) => leave_behind(&path, error.into())?,
            }
        }
        self.create(after)
    }

    /// Begins a segment, whose name is later than `after` also when the clock was set back.
    fn create(&mut self, after: Option<jiff::civil::DateTime>) -> Result<(), store::OpenError> {
        let after = after.and_then(|after| jiff::tz::Offset::UTC.to_timestamp(after).ok());
        let after = after.and_then(|after| i64::try_from(after.as_nanosecond()).ok());
        let millisecond = 1_000_000;
        let begin = match after {
            Some(after) => now().0.max(after.saturating_add(millisecond)),
            None => now().0,
        };
        let writer = Writer::create(&self.settings.path, Time(begin), &self.live)?;
        self.begin_with(writer);
        Ok(())
    }

    fn begin_with(&mut self, writer: Writer) {
        let begun = writer.path().file_name().and_then(store::begin_of);
        let begun = begun.and_then(|begun| jiff::tz::Offset::UTC.to_timestamp(begun).ok());
        self.begun = begun.map_or_else(SystemTime::now, SystemTime::from);
        self.resumed = Instant::now();
        self.place = Place::of(writer.path());
        self.retention.look(writer.path());
        self.writer = Some(writer);
        self.in_transaction = false;
    }

    /// Whether there is a segment to write to, with a transaction open.
    fn is_ready(&mut self) -> bool {
        if self.outage.waits() {
            return false;
        }
        let ready = self.open_transaction();
        if let Err(error) = &ready {
            self.fail(error);
        }
        ready.is_ok()
    }

    fn open_transaction(&mut self) -> Result<(), Error> {
        if self.writer.is_none() {
            self.reopen()?;
        }
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        if self.in_transaction {
            return Ok(());
        }
        let path = writer.path().to_path_buf();
        let begun = writer.begin().and_then(|()| {
            let owed = self.owed.events();
            writer.write(owed.iter(), &mut Live::default(), |_event| {})
        });
        begun.map_err(|source| refused(path, source))?;
        self.in_transaction = true;
        Ok(())
    }

    /// Writes as many of the events as can be; says how many.
    fn write_some(&mut self, events: &[Event]) -> usize {
        let before = self.uncommitted.count();
        let Some(writer) = &mut self.writer else {
            return 0;
        };
        let path = writer.path().to_path_buf();
        let uncommitted = &mut self.uncommitted;
        let written = writer.write(events.iter(), &mut self.live, |event| {
            uncommitted.add(event);
        });
        let written_count = self.uncommitted.count().saturating_sub(before);
        if let Err(source) = written {
            self.fail(&refused(path, source));
        }
        usize::try_from(written_count).unwrap_or(usize::MAX)
    }

    /// Ends the transaction, where one is open, and the segment, where it is time.
    fn commit(&mut self, tally: &Tally) {
        if !self.in_transaction {
            return;
        }
        let Some(writer) = &mut self.writer else {
            return;
        };
        let path = writer.path().to_path_buf();
        let is_there = self.place.as_ref().is_none_or(|place| place.is_at(&path));
        let committed = if is_there {
            let committed = writer.commit();
            committed.map_err(|source| refused(path, source))
        } else {
            let source = io::Error::new(io::ErrorKind::NotFound, "it was moved or deleted");
            Err(Error::Io { path, source })
        };
        match committed {
            Ok(()) => {
                self.in_transaction = false;
                self.uncommitted.settle(tally);
                self.owed.settle();
                self.recover();
                self.look_after();
            }
            Err(error) => {
                self.fail(&error);
                self.lose_uncommitted(tally);
            }
        }
    }

    /// Has the retention thread look where there is something to do, and begins a new segment when
    /// the present one is large or old enough.
    fn look_after(&mut self) {
        let Some(writer) = &self.writer else { return };
        let wal_size = writer.wal_size();
        if wal_size > WAL_SIZE {
            self.retention.look(writer.path());
        }
        if wal_size > WAL_SIZE_MAX
            && let Err(error) = writer.checkpoint()
        {
            tracing::debug!(%error, "the write-ahead log could not be copied");
        }
        let is_large = self.is_large();
        let age = self.begun.elapsed().unwrap_or_default();
        let is_old = age.max(self.resumed.elapsed()) >= self.settings.segment_age;
        if is_large || is_old {
            self.begin_next_segment();
        }
    }

    /// Whether the segment has grown to the size at which another is begun, what is not committed yet
    /// included.
    fn is_large(&self) -> bool {
        let size = self.writer.as_ref().map(Writer::size);
        size.is_some_and(|size| size.is_ok_and(|size| size >= self.settings.segment_size))
    }

    fn begin_next_segment(&mut self) {
        let Some(writer) = self.writer.take() else {
            return;
        };
        let path = writer.path().to_path_buf();
        let after = path.file_name().and_then(store::begin_of);
        let begun = writer
            .end(now())
            .map_err(|source| refused(path, source))
            .and_then(|()| Ok(self.create(after)?));
        if let Err(error) = begun {
            self.fail(&error);
        }
    }

    /// Gives up the segment and sets the next attempt. Said once, until it recovers.
    fn fail(&mut self, error: &Error) {
        let path = self.writer.take().map(|writer| writer.path().to_path_buf());
        self.in_transaction = false;
        self.owed.take_back();
        if let Error::Segment(store::OpenError::Segment(error)) = error
            && error.is_corrupt()
            && let Some(path) = path
        {
            retention::set_aside(&path, error);
        }
        if self.outage.fail() {
            tracing::warn!(
                %error,
                store = %self.settings.path.display(),
                "store cannot be written; its events are lost and counted until it can be"
            );
        }
    }

    fn recover(&mut self) {
        if let Some(lost_count) = self.outage.recover() {
            tracing::warn!(
                lost = lost_count,
                store = %self.settings.path.display(),
                "store is written again"
            );
        }
    }

    /// Counts the events of the transaction that came to nothing.
    fn lose_uncommitted(&mut self, tally: &Tally) {
        let lost_count = self.uncommitted.lose(tally, &mut self.owed);
        self.outage.add_lost(lost_count);
    }

    fn lose(&mut self, events: &[Event], tally: &Tally) {
        for event in events {
            self.live.learn(event);
            tally.add_lost(event.body.kind());
            self.owed.owe(event);
        }
        self.outage
            .add_lost(u64::try_from(events.len()).unwrap_or(u64::MAX));
    }
}

impl Sink for Store {
    fn name(&self) -> &'static str {
        "store"
    }

    fn write(&mut self, events: &[Event], tally: &Tally) {
        if !self.is_ready() {
            self.lose(events, tally);
            return;
        }
        let written_count = self.write_some(events);
        if self.writer.is_none() {
            self.lose_uncommitted(tally);
            // What was written of these events is among the uncommitted.
            self.lose(events.get(written_count..).unwrap_or_default(), tally);
        } else if self.uncommitted.count() >= UNCOMMITTED_COUNT_MAX || self.is_large() {
            self.commit(tally);
        }
    }

    fn flush(&mut self, tally: &Tally) {
        self.commit(tally);
    }

    fn close(&mut self, tally: &Tally) {
        // A loss that is owed still is stored now or never.
        if !self.in_transaction && !self.owed.is_empty() {
            self.is_ready();
        }
        self.commit(tally);
        self.writer = None;
        self.retention.finish();
    }
}

/// Which file a segment is, whatever happens to its name.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    #[cfg(unix)]
    file: (u64, u64),
}

impl Place {
    #[cfg(unix)]
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
        })
    }

    /// Windows moves and deletes no file that is open.
    #[cfg(not(unix))]
    fn of(_path: &Path) -> Option<Self> {
        None
    }

    fn is_at(&self, path: &Path) -> bool {
        Self::of(path).as_ref() == Some(self)
    }
}

/// Why a segment that is empty is damaged: it has been written, and SQLite would throw away what is in
/// its write-ahead log.
fn emptied(path: &Path) -> Option<ReadError> {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let is_emptied = size(path) == 0 && size(Path::new(&log)) > 0;
    is_emptied.then(|| ReadError::Row {
        path: path.to_path_buf(),
        what: "it is empty, and its write-ahead log is not".to_owned(),
    })
}

/// Says that a segment is not gone on with, for which there are other reasons than damage. One newer
/// than it can be begun, unless it is the medium as a whole that refuses: an empty segment that is
/// refused was made by the attempt before this one, and the next would make one more.
fn leave_behind(path: &Path, error: store::OpenError) -> Result<(), store::OpenError> {
    let is_empty = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0);
    if error.may_pass() || is_empty {
        return Err(error);
    }
    tracing::warn!(%error, "segment cannot be gone on with; it is left as it is and a new one is begun");
    Ok(())
}

/// What SQLite said about the segment.
fn refused(path: PathBuf, source: rusqlite::Error) -> Error {
    Error::Segment(ReadError::Sqlite { path, source }.into())
}

fn now() -> Time {
    Time(i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX))
}
