//! The events of a store as they were recorded, one after the other.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::vec;

use super::rows::Rows;
use super::{ReadError, Window, directory};
use crate::trail::Event;

/// Ids that are read at once: what bounds the memory of an export.
const PAGE_COUNT: i64 = 4_096;

/// The events of the segments of a store in the order they were recorded, which is that of the
/// log.
///
/// A segment that cannot be read is an error among the events; those of the others follow.
#[derive(Debug)]
pub struct Events {
    segments: VecDeque<PathBuf>,
    segment_count: usize,
    bounds: (i64, i64),
    open: Option<Open>,
    page: vec::IntoIter<(i64, Event)>,
}

/// The segment that is read, and the ids still to be read of it.
#[derive(Debug)]
struct Open {
    rows: Rows,
    first: i64,
    next: i64,
    last: i64,
}

/// Reads the events of a store whose time is in the window.
pub fn events(directory: &Path, window: &Window) -> Result<Events, ReadError> {
    let segments = directory::segments(directory)?;
    Ok(Events {
        segment_count: segments.len(),
        segments: segments.into(),
        bounds: window.bounds(),
        open: None,
        page: Vec::new().into_iter(),
    })
}

impl Iterator for Events {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((_, event)) = self.page.next() {
                return Some(Ok(event));
            }
            let turned = match &mut self.open {
                Some(open) if open.next <= open.last => self.turn_page(),
                _ => {
                    let path = self.segments.pop_front()?;
                    self.open_segment(&path)
                }
            };
            if let Err(error) = turned {
                if !matches!(error, ReadError::Incomplete { .. }) {
                    self.open = None;
                }
                if error.is_nothing() {
                    continue;
                }
                return Some(Err(error));
            }
        }
    }
}

impl Events {
    /// How much of the store has been read, of 1,000 parts: each segment is taken to be as long as any other.
    pub fn thousandths(&self) -> u64 {
        /// What a segment counts.
        const PARTS: u128 = 1_000;
        let open = self.open.as_ref().map_or(PARTS, |open| {
            let done = u128::from(open.next.abs_diff(open.first)) * PARTS;
            done / u128::from(open.last.abs_diff(open.first)).max(1)
        });
        let whole = self.segment_count.saturating_sub(self.segments.len());
        let done = (whole as u128 * PARTS).saturating_sub(PARTS.saturating_sub(open));
        u64::try_from(done / (self.segment_count.max(1) as u128)).unwrap_or(0)
    }

    fn open_segment(&mut self, path: &Path) -> Result<(), ReadError> {
        self.open = None;
        let is_newest = self.segments.is_empty();
        let opened = Rows::open(path);
        let (rows, incomplete) = match opened {
            Err(error) if !is_newest => return Err(error.of_older()),
            opened => opened?,
        };
        if let Some((next, last)) = rows.ids(self.bounds)? {
            let first = next;
            self.open = Some(Open {
                rows,
                first,
                next,
                last,
            });
        }
        match incomplete {
            None => Ok(()),
            // Said first; what can be read of it follows.
            Some(what) => Err(ReadError::Incomplete {
                path: path.to_path_buf(),
                what,
            }),
        }
    }

    fn turn_page(&mut self) -> Result<(), ReadError> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        // Ids are dense but where a segment is damaged or made up; a claim is not counted through.
        let Some(next) = open.rows.id_from(open.next)? else {
            self.open = None;
            return Ok(());
        };
        open.next = next;
        let page_last = open.next.saturating_add(PAGE_COUNT - 1).min(open.last);
        let mut page = Vec::new();
        open.rows
            .read((open.next, page_last), self.bounds, &mut page)?;
        // The last id there can be is the last of its segment.
        open.next = page_last.saturating_add(1);
        if page_last == i64::MAX {
            self.open = None;
        }
        self.page = page.into_iter();
        Ok(())
    }
}
