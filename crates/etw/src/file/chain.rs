//! The buffers of one processor, one after another.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use super::index::Index;
use super::{Damage, Error};
use crate::buffer::{HEADER_SIZE, Header, SIZE_MAX};
use crate::header::{self, Event};
use crate::lzxpress;

/// Bytes of a buffer that are in memory where it is not packed: twice the largest event, whose size
/// has 16 bits.
pub(super) const WINDOW_SIZE: usize = 128 * 1024;
/// Bytes that no event has.
const EVENT_SIZE_MAX: usize = 64 * 1024;

/// Where chains read from, and say what was wrong.
pub(super) struct Source<'a, R> {
    pub(super) input: &'a mut R,
    /// Of the file.
    pub(super) size: u64,
    pub(super) damage: &'a mut Damage,
    pub(super) taken_size: &'a mut u64,
}

/// The buffers of one processor.
#[derive(Debug)]
pub(super) struct Chain {
    /// Those that were not begun, in the index.
    buffers: Range<usize>,
    /// Bytes of the buffer that was begun.
    bytes: Vec<u8>,
    /// Where the next event begins in them.
    position: usize,
    /// The event that was taken.
    taken: Range<usize>,
    /// Where the rest of the buffer is in the file, and how much it is.
    rest: Range<u64>,
    /// Of the event that was told last.
    stamp: i64,
}

impl Chain {
    /// A chain of these buffers of the index.
    pub(super) const fn new(buffers: Range<usize>) -> Self {
        Self {
            buffers,
            bytes: Vec::new(),
            position: 0,
            taken: 0..0,
            rest: 0..0,
            stamp: i64::MIN,
        }
    }

    /// The stamp of the next event; that of the one before, where it has none. None at the end.
    pub(super) fn advance<R: Read + Seek>(
        &mut self,
        index: &Index,
        source: &mut Source<'_, R>,
    ) -> Result<Option<i64>, Error> {
        loop {
            if self.bytes.len() - self.position < EVENT_SIZE_MAX && !self.rest.is_empty() {
                self.refill(source)?;
            }
            let next = self.bytes.get(self.position..).unwrap_or_default();
            // Not even the smallest header; what is less is the end's padding.
            if next.len() >= 8 {
                if let Some(stamp) = header::stamp(next) {
                    self.stamp = stamp;
                }
                return Ok(Some(self.stamp));
            }
            let Some(entry) = self.buffers.next().and_then(|place| index.entry(place)) else {
                return Ok(None);
            };
            self.begin(entry.position, source)?;
        }
    }

    /// Takes the next event. Tells whether there is one: otherwise the rest of the buffer is passed
    /// over.
    pub(super) fn take(&mut self, damage: &mut Damage) -> bool {
        let next = self.bytes.get(self.position..).unwrap_or_default();
        if let Ok((_event, size)) = header::read(next) {
            self.taken = self.position..self.position + size;
            self.position = (self.position + size.next_multiple_of(8)).min(self.bytes.len());
            return true;
        }
        // What was not used of a buffer is filled with ones.
        if !next.starts_with(&[0xff; 4]) {
            damage.damaged_buffers += 1;
        }
        self.position = self.bytes.len();
        self.rest = 0..0;
        false
    }

    /// The event that was taken.
    pub(super) fn taken(&self) -> Option<Event<'_>> {
        let bytes = self.bytes.get(self.taken.clone())?;
        header::read(bytes).ok().map(|(event, _size)| event)
    }

    /// Begins the buffer at `position` of the file.
    fn begin<R: Read + Seek>(
        &mut self,
        position: u64,
        source: &mut Source<'_, R>,
    ) -> Result<(), Error> {
        self.bytes.clear();
        self.position = 0;
        source.input.seek(SeekFrom::Start(position))?;
        let mut head = [0; HEADER_SIZE];
        source.input.read_exact(&mut head)?;
        let Ok(header) = Header::read(&head) else {
            return Ok(());
        };
        source.damage.buffers_read += 1;
        *source.taken_size += u64::from(header.size);
        let begin = position + HEADER_SIZE as u64;
        let end = (position + u64::from(header.size.min(SIZE_MAX))).min(source.size);
        if end < position + u64::from(header.size) {
            source.damage.damaged_buffers += 1;
        }
        if !header.is_compressed() {
            let used = header.end(header.unpacked_size()) as u64;
            self.rest = begin..end.min(position + used);
            return Ok(());
        }
        let mut packed = Vec::new();
        let size = end.saturating_sub(begin);
        source.input.by_ref().take(size).read_to_end(&mut packed)?;
        let size_max = header.unpacked_size().saturating_sub(HEADER_SIZE);
        if lzxpress::unpack(&packed, size_max, &mut self.bytes).is_err() {
            source.damage.damaged_buffers += 1;
        }
        Ok(())
    }

    /// Fills the window.
    fn refill<R: Read + Seek>(&mut self, source: &mut Source<'_, R>) -> Result<(), Error> {
        self.bytes.drain(..self.position);
        self.position = 0;
        let room = WINDOW_SIZE.saturating_sub(self.bytes.len()) as u64;
        let size = room.min(self.rest.end - self.rest.start);
        source.input.seek(SeekFrom::Start(self.rest.start))?;
        let read = source
            .input
            .by_ref()
            .take(size)
            .read_to_end(&mut self.bytes)?;
        // A file that has become shorter ends here.
        let is_short = (read as u64) < size;
        self.rest.start = if is_short {
            self.rest.end
        } else {
            self.rest.start + size
        };
        Ok(())
    }
}
