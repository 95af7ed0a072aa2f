//! The events of a store as they are recorded: asked for now and then, by id, and nothing is held in
//! between, so that the writer never waits for who follows, nor keeps anything for him.

use std::path::{Path, PathBuf};

use super::rows::Rows;
use super::{ReadError, directory};
use crate::trail::Event;

/// Ids that are read at once: what bounds the memory of an answer.
const PAGE_COUNT: i64 = 4_096;

/// A place in a store that moves on as the store grows, from segment to segment.
///
/// What is deleted before it was read is not told of. A segment that cannot be read is an error, and
/// the place moves on to the next as soon as there is one.
#[derive(Debug)]
pub struct Tail {
    directory: PathBuf,
    /// The segment, and the least id in it that was not read yet; `None` before the first segment.
    at: Option<(PathBuf, i64)>,
    open: Option<Rows>,
}

impl Tail {
    /// Follows what is recorded from now on.
    pub fn from_end(directory: &Path) -> Result<Self, ReadError> {
        let mut tail = Self {
            directory: directory.to_path_buf(),
            at: None,
            open: None,
        };
        let paths = directory::segments(directory)?;
        if let Some(newest) = paths.last() {
            tail.at = Some((newest.clone(), i64::MIN));
            match tail.skip_to_end() {
                Err(error) if error.is_nothing() => {}
                skipped => skipped?,
            }
        }
        Ok(tail)
    }

    fn skip_to_end(&mut self) -> Result<(), ReadError> {
        let Some((path, next)) = &mut self.at else {
            return Ok(());
        };
        let (rows, _told_by_readers) = Rows::open(path)?;
        if let Some((_, last)) = rows.ids((i64::MIN, i64::MAX))? {
            *next = last.saturating_add(1);
        }
        rows.look_away()?;
        self.open = Some(rows);
        Ok(())
    }

    /// The next events, a page of them at most; none when all were read.
    pub fn poll(&mut self) -> Result<Vec<Event>, ReadError> {
        // Listed first: whatever is in a segment was there before the next one was begun.
        let paths = directory::segments(&self.directory)?;
        loop {
            let failed = match self.read_on() {
                Ok(events) if !events.is_empty() => return Ok(events),
                Ok(_) => None,
                Err(error) if error.is_nothing() => None,
                Err(error) => Some(error),
            };
            if !self.move_on(&paths) {
                return failed.map_or_else(|| Ok(Vec::new()), Err);
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
    }

    /// A page of the segment it is in.
    fn read_on(&mut self) -> Result<Vec<Event>, ReadError> {
        let Some((path, next)) = &mut self.at else {
            return Ok(Vec::new());
        };
        let rows = match &mut self.open {
            Some(rows) => {
                rows.look_again()?;
                rows
            }
            None => self.open.insert(Rows::open(path)?.0),
        };
        let page = read_page(rows, next);
        rows.look_away()?;
        page
    }

    /// Goes on to the next segment, where there is one.
    fn move_on(&mut self, paths: &[PathBuf]) -> bool {
        let is_later = |path: &&PathBuf| self.at.as_ref().is_none_or(|(at, _)| *path > at);
        let Some(next) = paths.iter().find(is_later) else {
            return false;
        };
        self.at = Some((next.clone(), i64::MIN));
        self.open = None;
        true
    }
}

/// The page from `next` on, which is past it then.
fn read_page(rows: &mut Rows, next: &mut i64) -> Result<Vec<Event>, ReadError> {
    let Some(first) = rows.id_from(*next)? else {
        return Ok(Vec::new());
    };
    let last = first.saturating_add(PAGE_COUNT - 1);
    // What cannot be read now cannot be read later either.
    *next = last.saturating_add(1);
    let mut page = Vec::new();
    rows.read((first, last), (i64::MIN, i64::MAX), &mut page)?;
    if let Some((last, _)) = page.last() {
        *next = last.saturating_add(1);
    }
    Ok(page.into_iter().map(|(_, event)| event).collect())
}
