//! Looks after a store on a thread of its own, so that the disk never holds up what records: copies
//! the write-ahead log into the segment, makes ended segments files that stand alone, and deletes
//! what is beyond the limits.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::{Connection, OpenFlags};

use super::segment::Shape;
use super::{Hold, ReadError, directory};
use crate::history;
use crate::sys::believed::Believed;

/// How often retention is looked at when no segment is ended.
const RETENTION_INTERVAL: Duration = Duration::from_mins(10);

/// How long the thread waits for a reader that holds a segment; it comes back to it later.
const BUSY_TIMEOUT: Duration = Duration::from_millis(200);

/// How much of a store is kept. A limit that is `None` does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Delete segments last written longer ago than this.
    pub keep_age: Option<Duration>,
    /// Keep at most this many bytes in all.
    pub keep_size: Option<u64>,
}

/// The thread, and the way to wake it.
#[derive(Debug)]
pub struct RetentionThread {
    written: Written,
    looks: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The segment that is written now; `None` before the first.
///
/// It does not travel with the request for a look: one that waits would then name a segment that is
/// written no more by the time it is answered.
#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<Option<PathBuf>>>);

impl Written {
    fn set(&self, path: &Path) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if written.as_deref() != Some(path) {
            *written = Some(path.to_path_buf());
        }
    }

    fn path(&self) -> Option<PathBuf> {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.clone()
    }
}

impl RetentionThread {
    /// Starts the thread; what of the store is needed is in `hold`.
    pub fn start(
        directory: PathBuf,
        retention: Retention,
        hold: Option<Arc<Hold>>,
    ) -> io::Result<Self> {
        // One look that waits is enough: it will see all there is to see.
        let (looks, requested) = bounded(1);
        let written = Written::default();
        let mut work = Work {
            written: written.clone(),
            believed: Believed::since(newest(&directory)),
            directory,
            retention,
            hold,
            current: None,
            retention_due: Instant::now(),
        };
        let thread = crate::sys::thread::named("retention").spawn(move || work.run(&requested))?;
        Ok(Self {
            written,
            looks: Some(looks),
            thread: Some(thread),
        })
    }

    /// Has the store looked after; `current` is the segment that is written.
    pub fn look(&self, current: &Path) {
        self.written.set(current);
        if let Some(looks) = &self.looks {
            // Full means that a look is about to begin anyway.
            let _requested = looks.try_send(());
        }
    }

    /// Ends the thread, which first makes the segment written last a file that stands alone.
    pub fn finish(&mut self) {
        self.looks = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that looks after the store panicked");
        }
    }
}

impl Drop for RetentionThread {
    fn drop(&mut self) {
        self.finish();
    }
}

/// What the thread knows.
#[derive(Debug)]
struct Work {
    written: Written,
    directory: PathBuf,
    retention: Retention,
    hold: Option<Arc<Hold>>,
    /// The segment that was written at the last look, and a connection to it.
    current: Option<(PathBuf, Connection)>,
    retention_due: Instant,
    believed: Believed,
}

impl Work {
    fn run(&mut self, requested: &Receiver<()>) {
        loop {
            match requested.recv_timeout(RETENTION_INTERVAL) {
                Err(error) if !error.is_timeout() => break,
                _asked_or_due => self.look(),
            }
        }
        self.current = None;
        if let Some(path) = self.written.path() {
            settle(&path);
        }
    }

    fn look(&mut self) {
        let written = self.written.path();
        let current = self.current.as_ref().map(|(path, _)| path.as_path());
        let is_new = written.as_deref() != current;
        if is_new {
            self.current = None;
        }
        if let Some(path) = &written
            && let Err(error) = self.checkpoint(path)
        {
            // The writer meets the same trouble and says so.
            tracing::debug!(%error, "the write-ahead log could not be copied");
        }
        if is_new || self.retention_due <= Instant::now() {
            self.retention_due = Instant::now() + RETENTION_INTERVAL;
            if let Some(path) = &written {
                self.settle_older(path);
            }
            // Also where nothing is written yet: the disk may be full of what is beyond the limits.
            self.retain();
        }
    }

    /// Copies what is committed into the segment, without holding up the writer.
    fn checkpoint(&mut self, path: &Path) -> rusqlite::Result<()> {
        if self.current.is_none() {
            self.current = Some((path.to_path_buf(), open(path)?));
        }
        let Some((_, connection)) = &self.current else {
            return Ok(());
        };
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_row| Ok(()))
    }

    /// Makes every segment older than the one that is written a file that stands alone. A newer one
    /// is the writer's, which may be making it this moment: half made, it looks damaged.
    fn settle_older(&self, written: &Path) {
        let Ok(named) = directory::named(&self.directory) else {
            return;
        };
        for path in named
            .segments
            .iter()
            .filter(|path| path.as_path() < written)
        {
            if directory::beside(path, "-wal").exists() {
                settle(path);
            }
        }
    }

    /// Deletes the segments that are too old, and those that are beyond the limit of all together (see
    /// [`history`]); never the newest.
    fn retain(&mut self) {
        let (Ok(named), Ok(aside)) = (
            directory::named(&self.directory),
            directory::segments_aside(&self.directory),
        ) else {
            return;
        };
        let mut paths = named.segments;
        let Some(newest) = paths.pop() else { return };
        paths.extend(aside);
        paths.sort();
        let now = self.believed.read();
        let file = |path: &PathBuf| {
            let size = directory::size_of(path);
            history::File {
                size,
                filled: size,
                begun: directory::begun(path),
                written: modified(path).unwrap_or(now.told),
            }
        };
        let files = paths.iter().map(|path| (path, file(path)));
        let (old, kept): (Vec<_>, Vec<_>) = files.partition(|(_, file)| {
            let keep_age = self.retention.keep_age;
            keep_age.is_some_and(|limit| self.believed.is_older(now, file.written, limit))
        });
        let limits = history::Limits {
            count: None,
            size: self.retention.keep_size,
        };
        let files: Vec<_> = kept.iter().map(|(_, file)| *file).collect();
        let surplus = history::surplus(&files, directory::size_of(&newest), limits);
        let surplus = surplus.into_iter().filter_map(|index| kept.get(index));
        let going = old
            .iter()
            .chain(surplus)
            .map(|(path, file)| (&***path, file.size));
        let Some(hold) = &self.hold else {
            going.for_each(|(path, _)| delete(path));
            return;
        };
        // What was set aside is read by nobody.
        let is_needed = |path: &Path| path.extension() == newest.extension() && hold.needs(path);
        let needed = kept.iter().chain(&old).filter(|(path, _)| is_needed(path));
        let needed_size = needed.fold(directory::size_of(&newest), |size, (_, file)| {
            size.saturating_add(file.size)
        });
        let mut going: Vec<_> = going.collect();
        going.sort();
        delete_held(&going, is_needed, needed_size, hold);
    }
}

/// Copies the whole write-ahead log into the segment and does away with it: in any other journal
/// mode there is none, and this one leaves no other file behind when we are killed. A reader may be
/// in the way; then it is done at a later look.
fn settle(path: &Path) {
    let settled = open(path)
        .map_err(|source| ReadError::Sqlite {
            path: path.to_path_buf(),
            source,
        })
        .and_then(|connection| {
            Shape::read(&connection, "main", path)?;
            connection
                .pragma_update_and_check(None, "journal_mode", "MEMORY", |_row| Ok(()))
                .map_err(|source| ReadError::Sqlite {
                    path: path.to_path_buf(),
                    source,
                })
        });
    match settled {
        Err(error) if error.is_corrupt() => set_aside(path, &error),
        Err(error) => tracing::debug!(%error, "a segment is settled later"),
        Ok(()) => {}
    }
}

/// When the file was written last; `None` where that cannot be told.
fn modified(path: &Path) -> Option<SystemTime> {
    let metadata = std::fs::metadata(path);
    metadata.and_then(|metadata| metadata.modified()).ok()
}

/// When anything of the store was written last.
fn newest(directory: &Path) -> Option<SystemTime> {
    let segments = directory::named(directory).ok()?.segments;
    let logs = segments.iter().map(|path| directory::beside(path, "-wal"));
    let times = logs.chain(segments.iter().cloned());
    times.filter_map(|path| modified(&path)).max()
}

/// Deletes what is not needed; of what is, as much as is beyond the limit, which is told. The oldest are
/// first in `going`, with their sizes.
fn delete_held(
    going: &[(&Path, u64)],
    is_needed_fn: impl Fn(&Path) -> bool,
    mut needed_size: u64,
    hold: &Hold,
) {
    for (path, size) in going {
        if !is_needed_fn(path) {
            delete(path);
        } else if needed_size > hold.keep_size() {
            let gone = hold.look_at(path);
            delete(path);
            if !path.exists() {
                needed_size = needed_size.saturating_sub(*size);
                hold.tell(gone);
            }
        }
    }
}

fn delete(path: &Path) {
    let segment = path.display();
    match directory::delete(path) {
        Ok(()) => tracing::debug!(%segment, "segment deleted, it is beyond the limits"),
        Err(error) => tracing::warn!(%error, %segment, "segment cannot be deleted"),
    }
}

/// Puts a segment out of the way that cannot be read, and says so.
pub fn set_aside(path: &Path, why: &impl std::error::Error) {
    let segment = path.display();
    match directory::set_aside(path) {
        Ok(aside) => {
            tracing::warn!(%why, aside = %aside.display(), "segment is damaged and set aside");
        }
        Err(error) => tracing::warn!(%why, %error, %segment, "damaged segment cannot be set aside"),
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -1024)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::super::{Live, Writer};
    use super::*;
    use crate::trail::Time;

    /// While segments were begun faster than looks were answered, the thread once looked after a
    /// segment that was written no more, took the one that was being made for damaged, and put it
    /// where no query finds it.
    #[test]
    fn a_segment_that_is_being_made_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let half_made = |second: i64| {
            let path = directory
                .path()
                .join(directory::name_at(Time(second * 1_000_000_000)));
            std::fs::write(&path, "half made").unwrap();
            std::fs::write(directory::beside(&path, "-wal"), "").unwrap();
            path
        };
        let older = half_made(1);
        let writer = Writer::create(directory.path(), Time(2_000_000_000), &Live::default());
        let written = writer.unwrap().path().to_path_buf();
        let newer = half_made(3);

        let mut thread =
            RetentionThread::start(directory.path().to_path_buf(), Retention::default(), None)
                .unwrap();
        thread.look(&written);
        thread.finish();

        let left = directory::segments(directory.path()).unwrap();
        assert_eq!(left, [written, newer]);
        assert!(directory::beside(&older, ".corrupt").exists());
    }

    #[test]
    fn a_look_that_had_to_wait_is_at_what_is_written_by_then() {
        let directory = tempfile::tempdir().unwrap();
        let begin = |second: i64| {
            let time = Time(second * 1_000_000_000);
            let writer = Writer::create(directory.path(), time, &Live::default());
            writer.unwrap().path().to_path_buf()
        };
        let (first, second) = (begin(1), begin(2));
        let (looks, requested) = bounded(1);
        let written = Written::default();
        let thread = RetentionThread {
            written: written.clone(),
            looks: Some(looks),
            thread: None,
        };
        thread.look(&first);
        thread.look(&second);
        drop(thread);
        let mut work = Work {
            written,
            directory: directory.path().to_path_buf(),
            retention: Retention::default(),
            hold: None,
            current: None,
            retention_due: Instant::now(),
            believed: Believed::since(None),
        };
        work.run(&requested);
        for path in [first, second] {
            let wal = directory::beside(&path, "-wal");
            assert!(!wal.exists(), "{} is left", wal.display());
        }
    }

    /// A disk that is full of old segments lets no new one be begun.
    #[test]
    fn what_is_beyond_the_limits_goes_also_before_anything_is_written() {
        let directory = tempfile::tempdir().unwrap();
        for second in [1, 2] {
            let time = Time(second * 1_000_000_000);
            Writer::create(directory.path(), time, &Live::default()).unwrap();
        }
        let mut work = Work {
            written: Written::default(),
            directory: directory.path().to_path_buf(),
            retention: Retention {
                keep_size: Some(1),
                ..Retention::default()
            },
            hold: None,
            current: None,
            retention_due: Instant::now(),
            believed: Believed::since(None),
        };
        work.look();
        assert_eq!(directory::segments(directory.path()).unwrap().len(), 1);
    }
}
