//! The segments of a store that are asked, opened one after the other as they are needed: there may
//! be a thousand of them, and only so many files can be open.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode, Result};

use super::reader::PassedOver;
use super::segment::{self, Shape};
use super::{Guard, ReadError, guard};

/// Segments that are open at the same time, with two or three files each.
const OPEN_MAX: usize = 128;

/// Statements a segment's connection keeps ready: a query asks the same of a segment again and
/// again.
const STATEMENTS_MAX: usize = 64;

/// The segments, the oldest first.
#[derive(Debug)]
pub(super) struct Segments {
    guard: Guard,
    all: Vec<Segment>,
    /// The shapes there are; most segments have the same.
    shapes: Vec<Shape>,
    /// When the newest run began that any of them knows.
    newest_run: Option<i64>,
    /// Those that are open, the one that was asked last at the end.
    open: Mutex<Vec<(usize, Connection)>>,
    failed: Mutex<Failed>,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    /// Which of the shapes it has.
    shape: usize,
}

/// Those that could not be read to their end.
#[derive(Debug, Default)]
struct Failed {
    segments: BTreeSet<usize>,
    /// What was not told yet.
    told: Vec<PassedOver>,
}

impl Segments {
    pub(super) fn new(guard: &Guard) -> Self {
        Self {
            guard: guard.clone(),
            all: Vec::new(),
            shapes: Vec::new(),
            newest_run: None,
            open: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// Adds a segment that is newer than all others, with its shape and when its newest run began.
    pub(super) fn add(&mut self, path: PathBuf, shape: Shape, newest_run: Option<i64>) {
        self.newest_run = self.newest_run.max(newest_run);
        let known = self.shapes.iter().position(|known| known.is_same(&shape));
        let shape = known.unwrap_or_else(|| {
            self.shapes.push(shape);
            self.shapes.len() - 1
        });
        self.all.push(Segment { path, shape });
    }

    pub(super) fn paths(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.all.iter().map(|segment| &*segment.path)
    }

    pub(super) const fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) const fn newest_run(&self) -> Option<i64> {
        self.newest_run
    }

    pub(super) const fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The number of a segment's shape, and the shape.
    pub(super) fn shape(&self, segment: usize) -> Option<(usize, &Shape)> {
        let shape = self.all.get(segment)?.shape;
        Some((shape, self.shapes.get(shape)?))
    }

    /// Asks a segment. `None` when it cannot be read, which [`take_failed`](Self::take_failed)
    /// tells; an error when it is the question that fails, or was stopped.
    pub(super) fn ask<T>(
        &self,
        segment: usize,
        ask_fn: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(Segment { path, .. }) = self.all.get(segment) else {
            return Ok(None);
        };
        if locked(&self.failed).segments.contains(&segment) {
            return Ok(None);
        }
        let connection = match self.take_open(segment) {
            Some(connection) => connection,
            None => match segment::connect_bounded(path, &self.guard) {
                Ok(connection) => connection,
                Err(error) => return self.fail(segment, error).map(|()| None),
            },
        };
        match ask_fn(&connection) {
            Ok(answer) => {
                self.keep_open(segment, connection);
                Ok(Some(answer))
            }
            Err(source) => {
                let path = path.clone();
                self.fail(segment, ReadError::Sqlite { path, source })?;
                Ok(None)
            }
        }
    }

    /// What could not be read since this was last asked.
    pub(super) fn take_failed(&self) -> Vec<PassedOver> {
        std::mem::take(&mut locked(&self.failed).told)
    }

    fn take_open(&self, segment: usize) -> Option<Connection> {
        let mut open = locked(&self.open);
        let place = open.iter().position(|(number, _)| *number == segment)?;
        Some(open.remove(place).1)
    }

    fn keep_open(&self, segment: usize, connection: Connection) {
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        let mut open = locked(&self.open);
        // The one before it goes: who asks all of them in turn, again and again, would find none
        // of them open if the oldest went.
        if open.len() >= OPEN_MAX {
            open.pop();
        }
        open.push((segment, connection));
    }

    /// Goes on without the segment where it is at fault; otherwise the error is the query's.
    fn fail(&self, segment: usize, error: ReadError) -> Result<()> {
        let error = match error {
            ReadError::Sqlite { source, .. } if !self.is_of_segment(&source) => return Err(source),
            other => other,
        };
        let mut failed = locked(&self.failed);
        failed.segments.insert(segment);
        let Some(Segment { path, .. }) = self.all.get(segment) else {
            return Ok(());
        };
        // One that was deleted just now is no loss: retention does that.
        if error.is_nothing() || !path.exists() {
            tracing::debug!(%error, "a segment is not asked any more");
        } else {
            failed.told.push(PassedOver {
                path: path.clone(),
                why: error,
            });
        }
        Ok(())
    }

    fn is_of_segment(&self, error: &rusqlite::Error) -> bool {
        if self.guard.stopped(error).is_some() {
            return false;
        }
        matches!(
            guard::code_of(error),
            // Not SQLite's own: a value is not what its column should have.
            None | Some(
                ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::CannotOpen
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::PermissionDenied
            )
        )
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
