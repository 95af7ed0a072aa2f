//! SQL over all segments of a store, for reading alone, while another process writes.

use std::path::{Path, PathBuf};

use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::guard::{self, Guard};
use super::segment::{self, Shape};
use super::{ReadError, Window, directory, views};
use crate::trail::{Time, Whence};

/// A connection that sees the segments of a store at once, through temporary views of the names in
/// [`views`](super::views()). It cannot write.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    guard: Guard,
    segments: Vec<PathBuf>,
    /// What each segment has.
    shapes: Vec<Shape>,
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
        let mut paths = directory::segments(directory)?;
        let mut connection = Connection::open_in_memory().map_err(at_directory)?;
        connection
            .busy_timeout(segment::BUSY_TIMEOUT)
            .and_then(|()| guard.bound(&mut connection))
            .map_err(at_directory)?;
        let limit = connection.limit(Limit::SQLITE_LIMIT_ATTACHED);
        let limit = usize::try_from(limit.map_err(at_directory)?).unwrap_or(0);
        let mut reader = Self {
            connection,
            guard: guard.clone(),
            segments: Vec::new(),
            shapes: Vec::new(),
            passed_over: Vec::new(),
            last_run: None,
            end: None,
        };
        // The newest first: when there are too many, they are the ones that are wanted.
        let newest = paths.last().cloned();
        while let Some(path) = paths.pop() {
            if reader.segments.len() == limit {
                let why = ReadError::BeyondLimit {
                    path: path.clone(),
                    limit,
                };
                reader.passed_over.push(PassedOver { path, why });
                continue;
            }
            match reader.attach(&path, window) {
                Ok(()) => {}
                Err(why) => match guard.interrupted(why) {
                    stopped @ ReadError::Stopped(_) => return Err(stopped),
                    why if newest.as_ref() == Some(&path) => reader.pass_over(path, why),
                    why => reader.pass_over(path, why.of_older()),
                },
            }
        }
        reader
            .passed_over
            .extend(segments_set_aside(directory, window)?);
        reader
            .passed_over
            .sort_by(|one, other| one.path.cmp(&other.path));
        reader.number_by_age().map_err(at_directory)?;
        Ok(reader)
    }

    fn pass_over(&mut self, path: PathBuf, why: ReadError) {
        if why.is_nothing() {
            tracing::debug!(%why, "a segment was begun or deleted just now");
        } else {
            self.passed_over.push(PassedOver { path, why });
        }
    }

    /// Lets the connection read and compute, and nothing else, for good.
    pub(crate) fn fence(&mut self) -> rusqlite::Result<()> {
        guard::fence(&mut self.connection)
    }

    /// What bounds the connection.
    pub(crate) const fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Fails where the texts of `row`, and of all that were kept before it, are too much to keep.
    pub(crate) fn keep(&self, row: &Row<'_>) -> Result<(), ReadError> {
        let count = row.as_ref().column_count();
        let sizes = (0..count).map(|column| match row.get_ref(column) {
            Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => bytes.len(),
            _ => 0,
        });
        self.guard.keep(sizes.sum()).map_err(ReadError::Stopped)
    }

    /// The connection, to ask and to restrict further.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// When the runs began whose events say it, `count_max` of a segment at most.
    pub(crate) fn runs(&self, count_max: u32) -> rusqlite::Result<Vec<Time>> {
        let mut runs = Vec::new();
        for (n, shape) in self.shapes.iter().enumerate() {
            if !shape.has("stretch", Whence::run.name) {
                continue;
            }
            let sql =
                format!("SELECT DISTINCT run FROM s{n}.stretch WHERE run IS NOT NULL LIMIT ?1");
            let mut statement = self.connection.prepare(&sql)?;
            let times = statement.query_map([count_max], |row| row.get(0).map(Time))?;
            for time in times {
                runs.push(time?);
            }
        }
        Ok(runs)
    }

    /// The segments that are asked, the oldest first; SQL knows them as `s0`, `s1` and so on.
    pub fn segments(&self) -> &[PathBuf] {
        &self.segments
    }

    /// The segments that are not, though they may have events in the window.
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// When the newest run began that these segments know.
    pub const fn last_run(&self) -> Option<Time> {
        self.last_run
    }

    /// The time of the last event in these segments.
    pub const fn end(&self) -> Option<Time> {
        self.end
    }

    /// Attaches a segment under a passing name, unless all its events are outside the window.
    fn attach(&mut self, path: &Path, window: &Window) -> Result<(), ReadError> {
        let schema = format!("n{}", self.segments.len());
        let sqlite_error = |source| ReadError::Sqlite {
            path: path.to_path_buf(),
            source,
        };
        self.connection
            .execute(&format!("ATTACH ?1 AS {schema}"), [segment::uri(path)])
            .map_err(sqlite_error)?;
        let looked_at = self.look_at(&schema, path, window);
        match looked_at {
            Ok(Some(Seen { run, end, shape })) => {
                self.last_run = self.last_run.max(run);
                self.end = self.end.max(Some(end));
                if let Some(what) = shape.incomplete() {
                    let path = path.to_path_buf();
                    let why = ReadError::Incomplete {
                        path: path.clone(),
                        what,
                    };
                    self.passed_over.push(PassedOver { path, why });
                }
                self.segments.push(path.to_path_buf());
                self.shapes.push(shape);
                Ok(())
            }
            other => {
                self.connection
                    .execute(&format!("DETACH {schema}"), [])
                    .map_err(sqlite_error)?;
                other.map(|_not_asked| ())
            }
        }
    }

    /// What is to be known of a segment; `None` when it is not asked.
    fn look_at(
        &self,
        schema: &str,
        path: &Path,
        window: &Window,
    ) -> Result<Option<Seen>, ReadError> {
        let shape = Shape::read(&self.connection, schema, path)?;
        let sqlite_error = |source| ReadError::Sqlite {
            path: path.to_path_buf(),
            source,
        };
        let times = segment::times(&self.connection, schema, &shape).map_err(sqlite_error)?;
        let (since, last) = window.bounds();
        let Some((_, end)) = times.filter(|times| times.0.0 <= last && times.1.0 >= since) else {
            return Ok(None);
        };
        let run = newest_run(&self.connection, schema).map_err(sqlite_error)?;
        Ok(Some(Seen { run, end, shape }))
    }

    /// Gives the segments their lasting names, the oldest being `s0`, and makes the views.
    ///
    /// SQLite cannot rename what is attached, so each is attached again; that opens a file that is
    /// in the page cache by now, or one that retention has just deleted.
    fn number_by_age(&mut self) -> rusqlite::Result<()> {
        for n in 0..self.segments.len() {
            self.connection.execute(&format!("DETACH n{n}"), [])?;
        }
        let shapes = std::mem::take(&mut self.shapes).into_iter();
        let segments = std::mem::take(&mut self.segments).into_iter();
        for (path, shape) in segments.zip(shapes).rev() {
            let sql = format!("ATTACH ?1 AS s{}", self.segments.len());
            match self.connection.execute(&sql, [segment::uri(&path)]) {
                Ok(_) => {
                    self.segments.push(path);
                    self.shapes.push(shape);
                }
                Err(source) if self.guard.stopped(&source).is_some() => return Err(source),
                Err(source) => {
                    let sqlite = ReadError::Sqlite {
                        path: path.clone(),
                        source,
                    };
                    self.pass_over(path, sqlite);
                }
            }
        }
        self.connection.execute_batch(&views::union(&self.shapes))?;
        self.connection
            .execute_batch("PRAGMA trusted_schema = OFF; PRAGMA query_only = ON;")
    }
}

/// What is known of a segment that is asked.
struct Seen {
    /// When its newest run began, where there is one.
    run: Option<Time>,
    /// The time of its last event.
    end: Time,
    shape: Shape,
}

/// The segments that a writer found damaged and set aside, and that may have events in the window.
pub fn segments_set_aside(directory: &Path, window: &Window) -> Result<Vec<PassedOver>, ReadError> {
    let (since, _) = window.bounds();
    let paths = directory::set_aside_since(directory, since).map_err(|source| ReadError::Io {
        path: directory.to_path_buf(),
        source,
    })?;
    let passed_over = paths.into_iter().map(|path| PassedOver {
        why: ReadError::SetAside { path: path.clone() },
        path,
    });
    Ok(passed_over.collect())
}

/// When the newest run began that the store knows; `None` when it knows none.
pub fn last_run(directory: &Path, guard: &Guard) -> Result<Option<Time>, ReadError> {
    for path in directory::segments(directory)?.iter().rev() {
        let run = segment::open_bounded(path, guard).and_then(|(connection, _shape)| {
            newest_run(&connection, "main").map_err(|source| ReadError::Sqlite {
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

fn newest_run(connection: &Connection, schema: &str) -> rusqlite::Result<Option<Time>> {
    let sql = format!("SELECT run_began FROM {schema}.stretch ORDER BY first_id DESC LIMIT 1");
    let time = connection
        .query_row(&sql, [], |row| row.get(0))
        .optional()?;
    Ok(time.map(Time))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A query failed as a whole when retention deleted a segment between the look at it and the
    /// second time it is attached. Windows does not delete what is open.
    #[test]
    fn a_segment_that_is_deleted_just_now_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["1", "2"].map(|name| directory.path().join(name));
        let connection = Connection::open_in_memory().unwrap();
        for (n, path) in paths.iter().enumerate() {
            Connection::open(path)
                .and_then(|segment| segment.execute_batch("CREATE TABLE t(x)"))
                .unwrap();
            connection
                .execute(&format!("ATTACH ?1 AS n{n}"), [segment::uri(path)])
                .unwrap();
        }
        let mut reader = Reader {
            connection,
            guard: Guard::default(),
            segments: paths.to_vec(),
            shapes: paths.iter().map(|_path| Shape::default()).collect(),
            passed_over: Vec::new(),
            last_run: None,
            end: None,
        };
        std::fs::remove_file(&paths[1]).unwrap();
        reader.number_by_age().unwrap();
        assert_eq!(reader.segments, &paths[..1]);
        assert!(reader.passed_over.is_empty());
    }
}
