//! The oldest record, and giving its room back.

use crate::Ring;
use crate::room::{Front, Tail};
use core::fmt;

/// The right to consume. Dropping it lets somebody else have it.
pub struct Consumer<'r> {
    ring: &'r Ring<'r>,
}

impl Consumer<'_> {
    /// The oldest record, if it has been submitted. A record that is still being filled hides those
    /// behind it, so records come in the order in which they were reserved.
    pub fn oldest(&mut self) -> Option<Record<'_>> {
        loop {
            match self.ring.room.front() {
                Tail::Nothing => return None,
                Tail::Record(front) if front.discarded => front.release(),
                Tail::Record(front) => return Some(Record { front }),
            }
        }
    }
}

impl Consumer<'_> {
    /// Marks what was reserved before this call.
    pub fn mark(&self) -> Mark {
        Mark(self.ring.room.reserved())
    }
}

/// A place in the stream of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark(u64);

impl Drop for Consumer<'_> {
    fn drop(&mut self) {
        self.ring.room.end_consuming();
    }
}

impl fmt::Debug for Consumer<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Consumer").finish_non_exhaustive()
    }
}

/// A whole record. Dropping it leaves it where it is, to be seen again.
pub struct Record<'c> {
    front: Front<'c>,
}

impl Record<'_> {
    /// The record's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.front.bytes()
    }

    /// Whether it was reserved before the mark was set.
    pub fn is_before(&self, mark: Mark) -> bool {
        self.front.next() <= mark.0
    }

    /// Gives the record's room back to the producers.
    pub fn release(self) {
        self.front.release();
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Record")
            .field("size", &self.bytes().len())
            .finish()
    }
}

pub(crate) fn claim<'r>(ring: &'r Ring<'_>) -> Option<Consumer<'r>> {
    ring.room.begin_consuming().then_some(Consumer { ring })
}
