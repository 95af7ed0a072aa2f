//! A store read from a place on, while it is written: what somebody needs who hands every event on
//! once.
//!
//! A place is a segment and an id in it, never a time: clocks are set back, ids are not. Between two
//! looks nothing of the store is held, so that its write-ahead log can begin anew however long the
//! reader is busy elsewhere.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::hold::{EXPIRED, Gone, UNREADABLE};
use super::rows::Rows;
use super::{ReadError, directory, time_ranges};
use crate::trail::{Event, Time};

/// Ids that are read at once, at first, at least and at most: what bounds the memory.
const PAGE_COUNT: i64 = 64;
const PAGE_COUNT_MIN: i64 = 8;
const PAGE_COUNT_MAX: i64 = 512;

/// Bytes of a page's lines: beyond the one fewer are read at once, below the other more.
const PAGE_SIZE_MAX: u64 = 4 << 20;
const PAGE_SIZE_MIN: u64 = 1 << 20;

/// Events of a segment that cannot be read, at most, before the rest of it is passed over.
const DAMAGED_COUNT_MAX: usize = 4_096;

/// Bytes of lines after which what is remembered of a segment's texts is forgotten.
const REMEMBERED_SIZE: u64 = 16 << 20;

/// Every time there is.
const ANY_TIME: (i64, i64) = (i64::MIN, i64::MAX);

/// A place in a store: behind an event of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The name of the segment's file; empty before the first.
    pub segment: String,
    /// The id of the event; 0 before the first.
    pub id: i64,
}

/// Something that will never be read.
#[derive(Debug)]
pub struct Skipped {
    /// The segment.
    pub segment: String,
    /// The ids that were skipped; `None` where it is not known which there were.
    pub ids: Option<(i64, i64)>,
    /// Which events these are, run by run, as far as that can be told.
    pub events: Vec<Gone>,
    /// Why.
    pub why: ReadError,
}

/// Reads a store from a place on.
#[derive(Debug)]
pub struct Follower {
    directory: PathBuf,
    /// What was read last.
    at: Position,
    open: Option<Open>,
    page_count: i64,
    skipped: Vec<Skipped>,
}

/// The segment that is read.
#[derive(Debug)]
struct Open {
    name: String,
    rows: Rows,
    /// The segment after it: where there is one, this one is not written any more.
    next: Option<String>,
    /// Whether a moment of it is held.
    is_held: bool,
    /// Events of it that could not be read.
    damaged_count: usize,
    read_size: u64,
}

impl Follower {
    /// One that reads what is behind `at`.
    pub fn new(directory: &Path, at: Position) -> Self {
        Self {
            directory: directory.to_path_buf(),
            at,
            open: None,
            page_count: PAGE_COUNT,
            skipped: Vec::new(),
        }
    }

    /// What was read last.
    pub const fn at(&self) -> &Position {
        &self.at
    }

    /// Goes to another place.
    pub fn seek(&mut self, at: Position) {
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.name != at.segment)
        {
            self.open = None;
        }
        self.at = at;
    }

    /// What was skipped since this was last asked.
    pub fn take_skipped(&mut self) -> Vec<Skipped> {
        std::mem::take(&mut self.skipped)
    }

    /// The next events, in their order, all of one segment; none where there are no more yet. They
    /// are of the moment of the first call since [`rest`](Self::rest).
    pub fn page(&mut self) -> Result<Vec<(i64, Event)>, ReadError> {
        loop {
            self.hold()?;
            let from = self.at.id.saturating_add(1);
            let Some(open) = &mut self.open else {
                return Ok(Vec::new());
            };
            let found = match open.rows.id_from(from) {
                Err(error) if error.is_corrupt() => {
                    self.skip_rest(None, error);
                    continue;
                }
                found => found?,
            };
            let Some(first) = found else {
                match open.next.take() {
                    None => return Ok(Vec::new()),
                    Some(segment) => self.seek(Position { segment, id: 0 }),
                }
                continue;
            };
            let last = first.saturating_add(self.page_count - 1);
            // A row of a kind that only a later version knows gives no event.
            self.at.id = first;
            let events = self.read(first..=last)?;
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// Learns how many bytes of lines were made of a page: arguments of a few hundred kilobytes are
    /// anybody's to give.
    pub fn weigh(&mut self, page_size: u64) {
        if page_size > PAGE_SIZE_MAX {
            self.page_count = PAGE_COUNT_MIN;
        } else if page_size < PAGE_SIZE_MIN {
            self.page_count = (self.page_count * 2).min(PAGE_COUNT_MAX);
        }
        if let Some(open) = &mut self.open {
            open.read_size = open.read_size.saturating_add(page_size);
        }
    }

    /// Lets go of the store, so that others can look after it.
    pub fn rest(&mut self) {
        let Some(open) = &mut self.open else { return };
        if !std::mem::take(&mut open.is_held) {
            return;
        }
        if open.read_size > REMEMBERED_SIZE || open.rows.look_away().is_err() {
            self.open = None;
        }
    }

    /// Opens the segment to read from, where there is one, and holds a moment of it.
    fn hold(&mut self) -> Result<(), ReadError> {
        if self.open.as_ref().is_some_and(|open| open.is_held) {
            return Ok(());
        }
        // Looked at before the segment is: a writer ends one before it begins the next.
        let names = names(&self.directory)?;
        self.hold_of(&names)
    }

    fn hold_of(&mut self, names: &[String]) -> Result<(), ReadError> {
        // A later one that is not there any more was deleted with all before it: the clock was set back,
        // or another store is in its place.
        let at = names.iter().position(|name| *name >= self.at.segment);
        let mut later = names.iter().skip(at.unwrap_or(0));
        let Some(name) = later.next() else {
            self.open = None;
            return Ok(());
        };
        if *name != self.at.segment {
            self.tell_gone();
            self.seek(Position {
                segment: name.clone(),
                id: 0,
            });
        }
        let next = later.next().cloned();
        if let Some(open) = &mut self.open {
            open.next = next;
            open.rows.look_again()?;
            open.is_held = true;
            return Ok(());
        }
        match Rows::open(&self.directory.join(name)) {
            Ok((rows, incomplete)) => {
                if let Some(what) = incomplete {
                    tracing::warn!(segment = %name, "segment is read without {what}");
                }
                self.open = Some(Open {
                    name: name.clone(),
                    rows,
                    next,
                    is_held: true,
                    damaged_count: 0,
                    read_size: 0,
                });
                Ok(())
            }
            // A writer has just made it, or the newest is damaged, which its writer looks after.
            Err(error) if error.is_nothing() && next.is_none() => Ok(()),
            Err(error) => match next {
                Some(next) if error.is_nothing() || error.is_corrupt() => {
                    self.skip(None, error.of_older());
                    self.seek(Position {
                        segment: next,
                        id: 0,
                    });
                    self.hold_of(names)
                }
                _ => Err(error),
            },
        }
    }

    /// The events with these ids; those that cannot be read are skipped.
    fn read(&mut self, ids: RangeInclusive<i64>) -> Result<Vec<(i64, Event)>, ReadError> {
        let mut events = Vec::new();
        // The ids still to be read, the first last.
        let mut left = vec![ids];
        while let Some(ids) = left.pop() {
            let Some(open) = &mut self.open else { break };
            let (first, last) = (*ids.start(), *ids.end());
            let mut part = Vec::new();
            match open.rows.read((first, last), ANY_TIME, &mut part) {
                Ok(()) => {
                    self.at.id = part.last().map_or(self.at.id, |(id, _)| *id);
                    events.append(&mut part);
                }
                Err(error) if !error.is_corrupt() => return Err(error),
                Err(error) if first == last => {
                    open.damaged_count += 1;
                    let is_hopeless = open.damaged_count > DAMAGED_COUNT_MAX;
                    self.at.id = first;
                    self.skip(Some((first, last)), error);
                    if is_hopeless {
                        let ids = Some((first, i64::MAX));
                        let path = self.directory.join(&self.at.segment);
                        let what = "too much of it cannot be read".to_owned();
                        self.skip_rest(ids, ReadError::Row { path, what });
                    }
                }
                Err(_halves_tell) => {
                    let middle = first.midpoint(last);
                    left.push(middle.saturating_add(1)..=last);
                    left.push(first..=middle);
                }
            }
        }
        Ok(events)
    }

    /// The segment that was read is gone, and what was behind the place with it, if there was anything.
    fn tell_gone(&mut self) {
        if self.at == Position::default() {
            return;
        }
        let path = self.directory.join(&self.at.segment);
        let source = std::io::ErrorKind::NotFound.into();
        let ids = Some((self.at.id.saturating_add(1), i64::MAX));
        self.skip(ids, ReadError::Io { path, source });
    }

    /// Gives the segment up; what comes next is in the one after it, if there is one yet.
    fn skip_rest(&mut self, ids: Option<(i64, i64)>, why: ReadError) {
        self.skip(ids, why);
        let next = self.open.take().and_then(|open| open.next);
        match next {
            Some(segment) => self.seek(Position { segment, id: 0 }),
            None => self.at.id = i64::MAX,
        }
    }

    fn skip(&mut self, ids: Option<(i64, i64)>, why: ReadError) {
        let segment = self.at.segment.clone();
        let events = self.names_of(ids);
        match self.skipped.last_mut() {
            // Neighbours are one thing to be told.
            Some(last)
                if last.segment == segment
                    && last.ids.map(|(_, last)| last.saturating_add(1))
                        == ids.map(|(id, _)| id)
                    && ids.is_some() =>
            {
                last.ids = last
                    .ids
                    .zip(ids)
                    .map(|((first, _), (_, last))| (first, last));
                for gone in events {
                    join(&mut last.events, gone);
                }
            }
            _ => self.skipped.push(Skipped {
                segment,
                ids,
                events,
                why,
            }),
        }
    }

    /// What the stretches of the open segment say of events that cannot be read.
    fn names_of(&self, ids: Option<(i64, i64)>) -> Vec<Gone> {
        let (Some(open), Some((first, last))) = (&self.open, ids) else {
            return Vec::new();
        };
        // Up to the last there is, where that can be told.
        let last = match (last, open.rows.ids(ANY_TIME)) {
            (i64::MAX, Ok(Some((_, last)))) => last,
            (i64::MAX, _) => return Vec::new(),
            (last, _) => last,
        };
        ranges(&open.rows, first..=last, UNREADABLE)
    }
}

/// The names of the segments, the oldest first.
pub fn names(directory: &Path) -> Result<Vec<String>, ReadError> {
    let segments = directory::segments(directory)?;
    let names = segments
        .iter()
        .filter_map(|path| path.file_name()?.to_str());
    Ok(names.map(str::to_owned).collect())
}

/// The place before the first event from `time` on; `None` where all are earlier.
pub fn position_of(directory: &Path, time: Time) -> Result<Option<Position>, ReadError> {
    for segment in names(directory)? {
        let path = directory.join(&segment);
        let found = super::segment::open(&path).and_then(|(connection, shape)| {
            let ids = time_ranges::ids(&connection, &shape, (time.0, i64::MAX));
            ids.map_err(|source| ReadError::Sqlite { path, source })
        });
        match found {
            Ok(Some((first, _))) => {
                let id = first.saturating_sub(1).max(0);
                return Ok(Some(Position { segment, id }));
            }
            Ok(None) => {}
            Err(error) if error.is_nothing() || error.is_corrupt() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The events of a segment behind an id, run by run, without reading them.
pub(super) fn range_of(segment: &Path, after: i64) -> Result<Vec<Gone>, ReadError> {
    let (rows, _incomplete) = Rows::open(segment)?;
    let from = rows.id_from(after.saturating_add(1))?;
    let (Some(from), Some((_, last))) = (from, rows.ids(ANY_TIME)?) else {
        return Ok(Vec::new());
    };
    Ok(ranges(&rows, from..=last, EXPIRED))
}

/// The events with these ids, run by run.
fn ranges(rows: &Rows, ids: RangeInclusive<i64>, reason: &'static str) -> Vec<Gone> {
    let mut ranges = Vec::new();
    for (ids, from, origin) in rows.stretches(ids) {
        let count = ids.end().abs_diff(*ids.start()).saturating_add(1);
        let gone = Gone {
            host_id: origin.host_id.as_deref().map(str::to_owned),
            run: origin.run,
            from,
            to: from.saturating_add(count - 1),
            count,
            reason,
        };
        join(&mut ranges, gone);
    }
    ranges
}

/// Puts what follows in the same run together, with the gaps between.
fn join(ranges: &mut Vec<Gone>, gone: Gone) {
    match ranges.last_mut() {
        Some(last) if last.run == gone.run && last.host_id == gone.host_id => {
            last.to = gone.to;
            last.count = last.count.saturating_add(gone.count);
        }
        _ => ranges.push(gone),
    }
}

/// The event at a place; `None` where there is none.
pub fn event_at(directory: &Path, at: &Position) -> Result<Option<Event>, ReadError> {
    let (mut rows, _incomplete) = Rows::open(&directory.join(&at.segment))?;
    let mut events = Vec::new();
    rows.read((at.id, at.id), ANY_TIME, &mut events)?;
    Ok(events.pop().map(|(_, event)| event))
}

/// What is behind a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Events.
    pub count: u64,
    /// Bytes on the disk, of a segment that was begun the part that its events make.
    pub size: u64,
    /// When the oldest of them was.
    pub oldest: Option<Time>,
}

/// Counts what is behind a place, without reading it. What cannot be read is not counted.
pub fn behind(directory: &Path, at: &Position) -> Result<Behind, ReadError> {
    let mut behind = Behind::default();
    for segment in names(directory)?
        .into_iter()
        .filter(|name| *name >= at.segment)
    {
        let path = directory.join(&segment);
        let from = if segment == at.segment {
            at.id.saturating_add(1)
        } else {
            i64::MIN
        };
        let Ok((mut rows, _)) = Rows::open(&path) else {
            continue;
        };
        let (Ok(Some((first, last))), Ok(from)) = (rows.ids(ANY_TIME), rows.id_from(from)) else {
            continue;
        };
        let Some(from) = from else { continue };
        let count = |first: i64, last: i64| last.abs_diff(first).saturating_add(1);
        let (count, of) = (count(from, last), count(first, last));
        let size = u128::from(directory::size_of(&path)) * u128::from(count) / u128::from(of);
        behind.count = behind.count.saturating_add(count);
        behind.size = behind
            .size
            .saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
        if behind.oldest.is_none() {
            let mut events = Vec::new();
            // What is damaged has no time to tell.
            if rows.read((from, from), ANY_TIME, &mut events).is_ok() {
                behind.oldest = events.first().map(|(_, event)| event.time);
            }
        }
    }
    Ok(behind)
}
