//! Lines on their way out: one for each event, written together.
//!
//! What could not be written is lost, but for events about the recording itself: a loss, a start or
//! a stop of the sensor. Those are owed, and their lines come first when something is written again,
//! so that the losses a log tells of add up to all that is not in it.

use std::io::{self, Write};

use event::Kind;

use super::Tally;
use super::owed::Owed;
use crate::trail::Event;

/// Bytes of lines gathered before they are written, so that a batch is one write and memory stays
/// bounded whatever the batch. The last line gathered can exceed it.
const BUFFER_SIZE: usize = 1024 * 1024;

/// The lines of some events, in order, each with its line feed.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// Of each line: where it ends in `bytes`, and what it tells of.
    ends: Vec<(usize, Kind)>,
    /// The events about the recording itself among them, each with the index of its line.
    marks: Vec<(usize, Event)>,
    /// Those of lines that were lost. They were counted then and are not counted again.
    owed: Owed,
    /// How many lines at the beginning are of owed events.
    owed_count: usize,
}

/// A write that did not go through.
#[derive(Debug)]
pub(super) struct WriteFailed {
    /// How many lines are written whole.
    pub(super) line_count: usize,
    /// How many bytes of the line after them are written too.
    pub(super) torn_size: usize,
    /// What the system said.
    pub(super) error: io::Error,
}

impl Lines {
    /// Appends a line, which `line_fn` appends to the bytes it is given.
    pub(super) fn push(&mut self, event: &Event, line_fn: impl Fn(&Event, &mut Vec<u8>)) {
        if self.ends.is_empty() {
            self.push_owed(&line_fn);
        }
        let kind = event.body.kind();
        if kind.index().is_none() {
            self.marks.push((self.ends.len(), event.clone()));
        }
        line_fn(event, &mut self.bytes);
        self.ends.push((self.bytes.len(), kind));
    }

    /// Begins with the lines of what is owed.
    pub(super) fn push_owed(&mut self, line_fn: impl Fn(&Event, &mut Vec<u8>)) {
        for event in self.owed.events() {
            line_fn(event, &mut self.bytes);
            self.ends.push((self.bytes.len(), event.body.kind()));
        }
        self.owed_count = self.ends.len();
    }

    /// Whether it is time to write.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BUFFER_SIZE
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All lines, as they are written.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of all lines.
    pub(super) fn size(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }

    /// Writes all lines, in one write where the system takes them so.
    pub(super) fn write_to(&self, out: &mut impl Write) -> Result<(), WriteFailed> {
        let mut written = 0;
        let error = loop {
            if written == self.bytes.len() {
                return Ok(());
            }
            match out.write(&self.bytes[written..]) {
                Ok(0) => break io::ErrorKind::WriteZero.into(),
                Ok(size) => written += size,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
        };
        let line_count = self.ends.partition_point(|(end, _)| *end <= written);
        let whole = line_count
            .checked_sub(1)
            .map_or(0, |last| self.ends[last].0);
        Err(WriteFailed {
            line_count,
            torn_size: written - whole,
            error,
        })
    }

    /// Counts the first `written_count` lines as written and the others as lost, whose number it
    /// returns, and forgets all of them but what is owed.
    pub(super) fn settle(&mut self, written_count: usize, tally: &Tally) -> u64 {
        let counted_before = std::mem::take(&mut self.owed_count);
        self.owed.settle_first(written_count.min(counted_before));
        for (line, event) in self.marks.drain(..) {
            if line >= written_count {
                self.owed.owe(&event);
            }
        }
        let kept_count = written_count.max(counted_before);
        let lost_count = self.ends.len().saturating_sub(kept_count);
        for (_, kind) in self.ends.drain(..).skip(kept_count) {
            tally.add_lost(kind);
        }
        let newly_written = written_count.saturating_sub(counted_before);
        tally.add_written(u64::try_from(newly_written).unwrap_or(u64::MAX));
        self.bytes.clear();
        // The memory is kept, but not what one huge line needed.
        self.bytes.shrink_to(2 * BUFFER_SIZE);
        u64::try_from(lost_count).unwrap_or(u64::MAX)
    }

    /// How many lines there are.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }
}
