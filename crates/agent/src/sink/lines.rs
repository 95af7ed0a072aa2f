//! Lines on their way out: one for each event, written together.

use std::io::{self, Write};

use event::Kind;

use super::Tally;
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
    pub(super) fn push(&mut self, event: &Event, line_fn: impl FnOnce(&Event, &mut Vec<u8>)) {
        line_fn(event, &mut self.bytes);
        self.ends.push((self.bytes.len(), event.body.kind()));
    }

    /// Whether it is time to write.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BUFFER_SIZE
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
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
    /// returns, and forgets all of them.
    pub(super) fn settle(&mut self, written_count: usize, tally: &Tally) -> u64 {
        let lost_count = self.ends.len().saturating_sub(written_count);
        for (_, kind) in self.ends.drain(..).skip(written_count) {
            tally.add_lost(kind);
        }
        tally.add_written(u64::try_from(written_count).unwrap_or(u64::MAX));
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
