//! SQL over all segments of a store, for reading alone, while another process writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::guard::{self, Guard};
use super::segment::{self, Shape};
use super::segments::Segments;
use super::{ReadError, Window, directory, kin, time_ranges, union};
use crate::trail::{Time, Whence};

/// A connection that sees the segments of a store at once, through temporary views of the names in
/// [`views`](super::views()). It cannot write.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    segments: Arc<Segments>,
    passed_over: Vec<PassedOver>,
    last_run: Option<Time>,
    end: Option<Time>,
}

/// A segment that is not asked, or not wholly, and why.
#[derive(Debug)]
pub struct PassedOver {
    /// The segment.
    pub path: PathBuf,
    /// Why.
    pub why: ReadError,
}

impl Reader {
    /// Opens the segments with events in the window; rows before and after it are still seen where
    /// a segment has both.
    ///
    /// A segment that cannot be read does not make the others unreadable: it is among
    /// [`passed_over`](Self::passed_over).
    pub fn open(directory: &Path, window: &Window, guard: &Guard) -> Result<Self, ReadError> {
        let at_directory = |source| {
            guard.interrupted(ReadError::Sqlite {
                path: directory.to_path_buf(),
                source,
            })
        };
        let mut segments = Segments::new(guard);
        let mut passed_over = Vec::new();
        let (mut last_run, mut end) = (None, None);
        let paths = directory::segments(directory)?;
        let newest = paths.last().cloned();
        for path in paths {
            match Seen::of(&path, window, guard) {
                Ok(None) => {}
                Ok(Some(seen)) => {
                    last_run = last_run.max(seen.last_run);
                    end = end.max(Some(seen.end));
                    if let Some(what) = seen.shape.incomplete() {
                        let why = ReadError::Incomplete {
                            path: path.clone(),
                            what,
                        };
                        let path = path.clone();
                        passed_over.push(PassedOver { path, why });
                    }
                    segments.add(path, seen.shape, seen.newest_run);
                }
                Err(why) => {
                    let why = match guard.interrupted(why) {
                        stopped @ ReadError::Stopped(_) => return Err(stopped),
                        why if newest.as_ref() == Some(&path) => why,
                        why => why.of_older(),
                    };
                    if why.is_nothing() {
                        tracing::debug!(%why, "a segment was begun or deleted just now");
                    } else {
                        passed_over.push(PassedOver { path, why });
                    }
                }
            }
        }
        passed_over.extend(never_asked(directory, window)?);
        passed_over.sort_by(|one, other| one.path.cmp(&other.path));
        let segments = Arc::new(segments);
        let connection = connect(&segments).map_err(at_directory)?;
        Ok(Self {
            connection,
            segments,
            passed_over,
            last_run,
            end,
        })
    }

    /// Lets the connection read and compute, and nothing else, for good.
    pub(crate) fn fence(&mut self) -> rusqlite::Result<()> {
        guard::fence(&mut self.connection)
    }

    /// What bounds the connection.
    pub(crate) fn guard(&self) -> &Guard {
        self.segments.guard()
    }

    /// Fails where the texts of `row`, and of all that were kept before it, are too much to keep.
    pub(crate) fn keep(&self, row: &Row<'_>) -> Result<(), ReadError> {
        let count = row.as_ref().column_count();
        let sizes = (0..count).map(|column| match row.get_ref(column) {
            Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => bytes.len(),
            _ => 0,
        });
        self.guard().keep(sizes.sum()).map_err(ReadError::Stopped)
    }

    /// The connection, to ask and to restrict further.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// When the runs began whose events say it, `count_max` of a segment at most.
    pub(crate) fn runs(&self, count_max: u32) -> rusqlite::Result<Vec<Time>> {
        let sql = "SELECT DISTINCT run FROM stretch WHERE run IS NOT NULL LIMIT ?1";
        let mut runs = Vec::new();
        for segment in 0..self.segments.len() {
            let shape = self.segments.shape(segment);
            if !shape.is_some_and(|(_, shape)| shape.has("stretch", Whence::run.name)) {
                continue;
            }
            let of_segment = self.segments.ask(segment, |connection| {
                let mut statement = connection.prepare(sql)?;
                let times = statement.query_map([count_max], |row| row.get(0).map(Time))?;
                times.collect::<rusqlite::Result<Vec<_>>>()
            })?;
            runs.extend(of_segment.into_iter().flatten());
        }
        Ok(runs)
    }

    /// The segments that are asked, the oldest first.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.segments.paths()
    }

    /// The segments that are not, though they may have events in the window.
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// Segments that failed while they were asked: what they have beyond is not in the answers.
    /// Each is told once.
    pub fn take_failed(&self) -> Vec<PassedOver> {
        self.segments.take_failed()
    }

    /// When the newest run began that these segments know.
    pub const fn last_run(&self) -> Option<Time> {
        self.last_run
    }

    /// The time of the last event in these segments.
    pub const fn end(&self) -> Option<Time> {
        self.end
    }
}

/// What a first look at a segment shows.
struct Seen {
    shape: Shape,
    /// The time of its last event.
    end: Time,
    /// When the run began that it tells of last.
    last_run: Option<Time>,
    /// When the latest of its runs began.
    newest_run: Option<i64>,
}

impl Seen {
    /// Looks at a segment; `None` when all its events are outside the window.
    fn of(path: &Path, window: &Window, guard: &Guard) -> Result<Option<Self>, ReadError> {
        let sqlite_error = |source| ReadError::Sqlite {
            path: path.to_path_buf(),
            source,
        };
        let (connection, shape) = segment::open_bounded(path, guard)?;
        let times = time_ranges::times(&connection, &shape).map_err(sqlite_error)?;
        let (since, last) = window.bounds();
        let Some((_, end)) = times.filter(|times| times.0.0 <= last && times.1.0 >= since) else {
            return Ok(None);
        };
        let last_run = last_run_of(&connection).map_err(sqlite_error)?;
        let newest_run = "SELECT max(run_began) FROM stretch";
        let newest_run = connection.query_row(newest_run, [], |row| row.get(0));
        Ok(Some(Self {
            shape,
            end,
            last_run,
            newest_run: newest_run.map_err(sqlite_error)?,
        }))
    }
}

/// What no reader opens: segments that a writer found damaged and set aside, and that may have events
/// in the window; pipes, devices and the like with a segment's name.
pub fn never_asked(directory: &Path, window: &Window) -> Result<Vec<PassedOver>, ReadError> {
    let (since, _) = window.bounds();
    let others = directory::named(directory)?.others.into_iter();
    let others = others.map(|path| PassedOver {
        why: ReadError::NotAFile { path: path.clone() },
        path,
    });
    let paths = directory::set_aside_since(directory, since).map_err(|source| ReadError::Io {
        path: directory.to_path_buf(),
        source,
    })?;
    let passed_over = paths.into_iter().map(|path| PassedOver {
        why: ReadError::SetAside { path: path.clone() },
        path,
    });
    Ok(passed_over.chain(others).collect())
}

/// A connection that has the views of these segments.
fn connect(segments: &Arc<Segments>) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    segments.guard().bound(&mut connection)?;
    union::create_views(&connection, segments)?;
    kin::create(&connection, segments)?;
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA query_only = ON;")?;
    Ok(connection)
}

/// When the newest run began that the store knows; `None` when it knows none.
pub fn last_run(directory: &Path, guard: &Guard) -> Result<Option<Time>, ReadError> {
    for path in directory::segments(directory)?.iter().rev() {
        let run = segment::open_bounded(path, guard).and_then(|(connection, _shape)| {
            last_run_of(&connection).map_err(|source| ReadError::Sqlite {
                path: path.clone(),
                source,
            })
        });
        match run.map_err(|error| guard.interrupted(error)) {
            Ok(Some(run)) => return Ok(Some(run)),
            Ok(None) => {}
            Err(stopped @ ReadError::Stopped(_)) => return Err(stopped),
            Err(error) => tracing::debug!(%error, "passed over"),
        }
    }
    Ok(None)
}

fn last_run_of(connection: &Connection) -> rusqlite::Result<Option<Time>> {
    let sql = "SELECT run_began FROM stretch ORDER BY first_id DESC LIMIT 1";
    let time = connection.query_row(sql, [], |row| row.get(0)).optional()?;
    Ok(time.map(Time))
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::live::Live;
    use super::super::writer::Writer;
    use super::*;

    /// A query failed as a whole when retention deleted a segment after the first look at it.
    /// Windows does not delete what is open.
    #[test]
    fn a_segment_that_is_deleted_just_now_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let guard = Guard::default();
        let mut segments = Segments::new(&guard);
        for time in [1_000_000_000, 2_000_000_000].map(Time) {
            drop(Writer::create(path, time, &Live::default()).unwrap());
            let path = path.join(directory::name_at(time));
            let (_connection, shape) = segment::open(&path).unwrap();
            segments.add(path, shape, None);
        }
        let segments = Arc::new(segments);
        let connection = connect(&segments).unwrap();
        std::fs::remove_file(path.join(directory::name_at(Time(2_000_000_000)))).unwrap();
        let count = "SELECT count(*) FROM events";
        let count = connection.query_row(count, [], |row| row.get::<_, i64>(0));
        assert_eq!(count, Ok(0));
        assert!(segments.take_failed().is_empty());
    }
}
