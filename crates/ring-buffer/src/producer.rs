//! Reserve, submit, discard; what does not fit is counted.

use crate::room::{Claim, size_of_granules};
use crate::sync::Ordering;
use crate::{LossCounter, Ring, word};
use core::fmt;
use core::num::NonZeroU64;

/// Which part of the room a record may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// All but the kept part.
    Common,
    /// All of it.
    Kept,
}

/// There was no room: the record is lost and was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("no room in the ring: the record is lost and counted")
    }
}

impl core::error::Error for Full {}

/// The right to fill a record's room. Dropping it discards the record, which does not count as a
/// loss: who discards knows why.
#[derive(Debug)]
pub struct Reservation<'r> {
    claim: Claim<'r>,
    ring: &'r Ring<'r>,
    kind: usize,
    lost_before: u64,
}

impl Reservation<'_> {
    /// The record's bytes. They hold what an earlier record left there: fill all of them.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.claim.bytes_mut()
    }

    /// How many records the ring had lost in total when this one got its room. It never goes down
    /// from a record to one that was reserved after it.
    pub fn lost_before(&self) -> u64 {
        self.lost_before
    }

    /// Makes the record visible to the consumer.
    pub fn submit(self) {
        self.claim.submit();
    }

    /// Gives the room up and counts the record as lost.
    pub fn lose(self) {
        count_lost(self.ring, self.kind);
    }

    /// Gives the room up; the consumer skips it.
    pub fn discard(self) {
        drop(self);
    }
}

pub(crate) fn reserve<'r>(
    ring: &'r Ring<'_>,
    kind: usize,
    room: Room,
    size: usize,
) -> Result<Reservation<'r>, Full> {
    let claimed = if size <= record_size_max(ring.room.count()) {
        ring.room.claim(size, ring.limit(room))
    } else {
        None
    };
    let Some((claim, used)) = claimed else {
        count_lost(ring, kind);
        return Err(Full);
    };
    if used > ring.peak.load(Ordering::Relaxed) {
        ring.peak.fetch_max(used, Ordering::Relaxed);
    }
    Ok(Reservation {
        claim,
        ring,
        kind,
        lost_before: ring.lost_total.load(Ordering::Acquire),
    })
}

/// A quarter of the room, but no more than a word can tell of.
pub(crate) fn record_size_max(count: NonZeroU64) -> usize {
    (size_of_granules(count.get()) / 4).min(word::SIZE_MAX)
}

fn count_lost(ring: &Ring<'_>, kind: usize) {
    if let Some(LossCounter(lost)) = ring.loss_counter(kind) {
        lost.fetch_add(1, Ordering::Release);
    }
    ring.lost_total.fetch_add(1, Ordering::Release);
}
