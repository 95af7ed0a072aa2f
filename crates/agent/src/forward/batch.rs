//! Events of one run as one body: the log's own lines in one zstd frame with a checksum, so that a
//! receiver refuses what was cut on the way.

use std::io::{self, Write as _};
use std::path::Path;

use crate::store::ReadError;
use crate::store::follow::{Follower, Position};
use crate::trail::{Event, json};

/// Events of a batch, at most.
pub(super) const COUNT_MAX: u64 = 4_096;

/// Bytes of a body, at most; one event goes alone whatever its size.
pub(super) const SIZE_MAX: usize = 1 << 20;

/// Bytes of its lines, at most: what bounds the time it takes to make one and to take it.
const LINES_SIZE_MAX: u64 = 16 << 20;

/// Bytes of a host's id, at most; ours has 32.
const HOST_ID_SIZE_MAX: usize = 128;

/// The level: another would cost more than it saves.
const LEVEL: i32 = 1;

/// A body, and what it has.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) segment: String,
    pub(super) first_id: i64,
    pub(super) last_id: i64,
    pub(super) count: u64,
    pub(super) run: u64,
    /// The sequences of the first and the last event.
    pub(super) from: u64,
    pub(super) to: u64,
    /// `host_id.run.from-to`: always of the same bytes.
    pub(super) key: String,
    pub(super) body: Vec<u8>,
    /// Whether a limit ended it, and not the store.
    pub(super) is_full: bool,
}

/// How large a batch may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Events.
    pub(super) count: u64,
    /// Bytes of the body.
    pub(super) size: usize,
    /// The id after which no event is taken.
    pub(super) last_id: i64,
}

/// What comes next in a store.
#[derive(Debug)]
pub(super) enum Found {
    /// A batch.
    Batch(Box<Batch>),
    /// Events that have no id of a host or a run, as those of the first version: nobody could tell
    /// them from others. The last of them is there.
    Nameless(Position, u64),
    /// Nothing yet.
    Nothing,
}

/// Why there is no batch.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("compressing a batch: {0}")]
    Compress(#[from] io::Error),
}

/// Makes the next batch, from where the follower is. It is left behind the last event of it.
pub(super) fn next(follower: &mut Follower, limits: Limits) -> Result<Found, Error> {
    let mut limits = limits;
    loop {
        let begin = follower.at().clone();
        let mut making = None;
        let made = fill(follower, limits, &mut making);
        follower.rest();
        if let Some(nameless) = made? {
            return Ok(nameless);
        }
        let Some(making) = making else {
            return Ok(Found::Nothing);
        };
        let batch = making.finish()?;
        if batch.body.len() <= limits.size || batch.count == 1 {
            let Batch {
                segment, last_id, ..
            } = &batch;
            follower.seek(Position {
                segment: segment.clone(),
                id: *last_id,
            });
            return Ok(Found::Batch(Box::new(batch)));
        }
        limits.count = batch.count / 2;
        follower.seek(begin);
    }
}

/// A batch that is being made.
struct Making {
    frame: zstd::Encoder<'static, Vec<u8>>,
    line: Vec<u8>,
    lines_size: u64,
    first: (i64, Event),
    last: (i64, u64),
    segment: String,
    count: u64,
    is_full: bool,
}

/// Adds events until one does not belong, or there are no more.
fn fill(
    follower: &mut Follower,
    limits: Limits,
    making: &mut Option<Making>,
) -> Result<Option<Found>, Error> {
    let mut weighed = 0;
    loop {
        let page = follower.page()?;
        let segment = follower.at().segment.clone();
        if page.is_empty() {
            return Ok(None);
        }
        for (id, event) in page {
            if let Some(making) = making {
                if making.ends_before(&segment, id, &event, limits) {
                    return Ok(None);
                }
                making.add(id, &event)?;
            } else if id > limits.last_id {
                return Ok(None);
            } else if is_named(&event) {
                *making = Some(Making::begin(segment.clone(), id, &event)?);
            } else {
                return Ok(Some(pass_nameless(follower, segment, id)?));
            }
        }
        let lines_size = making.as_ref().map_or(0, |making| making.lines_size);
        follower.weigh(lines_size.saturating_sub(weighed));
        weighed = lines_size;
    }
}

/// Whether nobody takes the event for another. What a segment says of its host is anybody's word, and
/// goes into a header.
fn is_named(event: &Event) -> bool {
    let is_word = |id: &str| {
        let mut bytes = id.bytes();
        (1..=HOST_ID_SIZE_MAX).contains(&id.len())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    event.origin.run.is_some() && event.origin.host_id.as_deref().is_some_and(is_word)
}

/// Goes on to the last of the events without a name, of those that follow one another in a page.
fn pass_nameless(follower: &mut Follower, segment: String, first: i64) -> Result<Found, Error> {
    let before = |id: i64| Position {
        segment: segment.clone(),
        id: id.saturating_sub(1),
    };
    follower.seek(before(first));
    let page = follower.page()?;
    let nameless = page.iter().take_while(|(_, event)| !is_named(event));
    let (count, last) = nameless.fold((0, first), |(count, _), (id, _)| (count + 1, *id));
    let last = Position { segment, id: last };
    follower.seek(last.clone());
    Ok(Found::Nameless(last, count))
}

impl Making {
    fn begin(segment: String, id: i64, event: &Event) -> Result<Self, Error> {
        let mut frame = zstd::Encoder::new(Vec::new(), LEVEL)?;
        frame.include_checksum(true)?;
        let mut making = Self {
            frame,
            line: Vec::new(),
            lines_size: 0,
            last: (id, event.sequence),
            segment,
            count: 0,
            is_full: false,
            first: (id, event.clone()),
        };
        making.add(id, event)?;
        Ok(making)
    }

    fn add(&mut self, id: i64, event: &Event) -> Result<(), Error> {
        self.line.clear();
        json::write_line(event, &mut self.line);
        self.frame.write_all(&self.line)?;
        let size = u64::try_from(self.line.len()).unwrap_or(u64::MAX);
        self.lines_size = self.lines_size.saturating_add(size);
        self.last = (id, event.sequence);
        self.count += 1;
        Ok(())
    }

    /// Whether the batch ends before this event; learns whether a limit ends it.
    fn ends_before(&mut self, segment: &str, id: i64, event: &Event, limits: Limits) -> bool {
        let first = &self.first.1.origin;
        let is_same = self.segment == segment
            && (std::sync::Arc::ptr_eq(first, &event.origin) || *first == event.origin)
            // Sequences that do not rise would give a range that tells nothing.
            && event.sequence > self.last.1;
        let is_within = id <= limits.last_id
            && self.count < limits.count
            && self.frame.get_ref().len() < limits.size
            && self.lines_size < LINES_SIZE_MAX;
        self.is_full = !(is_same && is_within);
        self.is_full
    }

    fn finish(self) -> Result<Batch, Error> {
        let (first_id, first) = self.first;
        let (last_id, to) = self.last;
        let (host_id, run) = (first.origin.host_id.clone(), first.origin.run);
        let (host_id, run) = (host_id.unwrap_or_default(), run.unwrap_or_default());
        let from = first.sequence;
        Ok(Batch {
            segment: self.segment,
            first_id,
            last_id,
            count: self.count,
            run,
            from,
            to,
            key: format!("{host_id}.{run}.{from}-{to}"),
            body: self.frame.finish()?,
            is_full: self.is_full,
        })
    }
}

/// The lines of a body.
pub(super) fn lines(body: &[u8]) -> io::Result<Vec<u8>> {
    zstd::decode_all(body)
}

/// The batch that was noted, if the store still makes the same bytes of it.
pub(super) fn again(
    directory: &Path,
    noted: &super::cursor::Noted,
) -> Result<Option<Batch>, Error> {
    let at = Position {
        segment: noted.segment.clone(),
        id: noted.first_id.saturating_sub(1),
    };
    let limits = Limits {
        count: COUNT_MAX,
        size: usize::MAX,
        last_id: noted.last_id,
    };
    let found = next(&mut Follower::new(directory, at), limits)?;
    Ok(match found {
        Found::Batch(batch)
            if batch.segment == noted.segment
                && (batch.first_id, batch.last_id) == (noted.first_id, noted.last_id)
                && batch.key == noted.key
                && super::cursor::hex(&batch.body) == noted.digest =>
        {
            Some(*batch)
        }
        _ => None,
    })
}
