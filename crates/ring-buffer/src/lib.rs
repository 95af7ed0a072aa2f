//! A bounded byte ring that carries records from a kernel's callbacks to one consumer.
//!
//! Many producers on all processors, at up to `DISPATCH_LEVEL`; one consumer. Nobody waits for
//! anybody: a producer that finds no room loses its record and counts it, the consumer takes what
//! is there. No lock is taken and no interrupt level is raised, so a producer may be preempted, or
//! page-fault, between reserving and submitting; it then delays the records behind its own, never
//! another producer.
//!
//! # How it works
//! The room is a number of 64-byte [`Granule`]s. *Positions* count granules from
//! the beginning of time and never wrap; a position's index in the room is its remainder by the
//! number of granules, its *lap* the quotient plus one.
//!
//! 1. **Reserve** moves the head forward by as many granules as the record needs, if the room
//!    between tail and head allows it. From then on those granules are the producer's alone. A
//!    record is contiguous; where it would cross the end of the room, the rest of the lap is
//!    reserved with it and discarded on the spot.
//! 2. **Submit** (or **discard**) writes the word of the record's first granule: lap, size, and
//!    whether it was discarded. Nothing but this word makes a record visible.
//! 3. The **consumer** looks at the word at the tail. A word of an earlier lap means that the
//!    record is not there yet; of this lap, that it is whole. Releasing it moves the tail forward.
//!
//! Words stand in an array of their own, which holds no record bytes: a record's contents cannot
//! pass for a word, and because the lap is part of it no word is ever read twice. Each word is
//! checked against what was reserved; one that cannot be (memory was overwritten from outside)
//! stops the ring for good, with every further record counted as lost, rather than letting a wrong
//! size decide what is read.
//!
//! Part of the room is kept: [`Room::Common`] reservations stop short of it, so that records of one
//! kind, however many, cannot push out those of [`Room::Kept`].

#![cfg_attr(not(loom), no_std)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod consumer;
mod producer;
mod room;
mod sync;
mod word;

pub use consumer::{Consumer, Mark, Record};
pub use producer::{Full, Reservation, Room};
pub use room::{Granule, Word};

use core::fmt;
use core::num::NonZeroU64;
use sync::{AtomicU64, Ordering};

/// Bytes of a granule: the unit of room. A cache line, so that two producers never share one, and
/// enough for a whole thread event.
pub const GRANULE_SIZE: usize = 64;

/// Bytes of ring memory a granule of room costs, its word included.
pub const GRANULE_COST: usize = GRANULE_SIZE + size_of::<u64>();

/// How many records of one kind were lost.
#[derive(Debug)]
pub struct LossCounter(AtomicU64);

impl LossCounter {
    /// Nothing was lost.
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Default for LossCounter {
    fn default() -> Self {
        Self::new()
    }
}

/// The ring. `'m` is the life of its memory, which it has for itself.
#[derive(Debug)]
pub struct Ring<'m> {
    room: room::Shared<'m>,
    /// Granules that `Room::Common` may not use.
    kept: u64,
    lost: &'m [LossCounter],
    lost_total: AtomicU64,
    peak: AtomicU64,
}

impl<'m> Ring<'m> {
    /// A ring over `granules`, with `words` for its bookkeeping, that keeps `kept_size` bytes of
    /// the room for [`Room::Kept`]. Each kind of records has one of `losses`; kinds above share the
    /// last one.
    ///
    /// # Errors
    /// When the two slices differ in length, are empty, or the kept part is not smaller than the
    /// room.
    pub fn new(
        words: &'m mut [Word],
        granules: &'m mut [Granule],
        losses: &'m [LossCounter],
        kept_size: usize,
    ) -> Result<Self, Unusable> {
        let kept = room::granules_for(kept_size).ok_or(Unusable::Kept)?;
        let room = room::Shared::new(words, granules).ok_or(Unusable::Memory)?;
        if kept >= room.count().get() {
            return Err(Unusable::Kept);
        }
        Ok(Self {
            room,
            kept,
            lost: losses,
            lost_total: AtomicU64::new(0),
            peak: AtomicU64::new(0),
        })
    }

    /// Takes `size` bytes of room for a record of `kind` and gives the right to fill them.
    ///
    /// # Errors
    /// When there is no such room; the record is lost and has been counted.
    pub fn reserve(&self, kind: usize, room: Room, size: usize) -> Result<Reservation<'_>, Full> {
        producer::reserve(self, kind, room, size)
    }

    /// The right to consume; `None` while somebody else has it.
    pub fn consumer(&self) -> Option<Consumer<'_>> {
        consumer::claim(self)
    }

    /// How many records of `kind` were lost since the ring was made.
    pub fn lost(&self, kind: usize) -> u64 {
        self.loss_counter(kind)
            .map_or(0, |LossCounter(lost)| lost.load(Ordering::Acquire))
    }

    /// How many records were lost since the ring was made.
    pub fn lost_total(&self) -> u64 {
        self.lost_total.load(Ordering::Acquire)
    }

    /// Bytes of room in use now.
    pub fn used_size(&self) -> usize {
        room::size_of_granules(self.room.used())
    }

    /// The most bytes of room that were in use at any time.
    pub fn peak_size(&self) -> usize {
        room::size_of_granules(self.peak.load(Ordering::Relaxed))
    }

    /// Bytes of room there are.
    pub fn room_size(&self) -> usize {
        room::size_of_granules(self.room.count().get())
    }

    /// Bytes of the largest record that can be reserved: a quarter of the room, so that one record
    /// and the rest of a lap it may cost always fit.
    pub fn record_size_max(&self) -> usize {
        producer::record_size_max(self.room.count())
    }

    /// Whether the ring has stopped because its words were overwritten from outside.
    pub fn is_corrupt(&self) -> bool {
        self.room.is_corrupt()
    }

    fn loss_counter(&self, kind: usize) -> Option<&LossCounter> {
        self.lost.get(kind).or_else(|| self.lost.last())
    }

    /// How many granules reservations of `room` may fill.
    fn limit(&self, room: Room) -> u64 {
        let count: NonZeroU64 = self.room.count();
        match room {
            Room::Common => count.get().saturating_sub(self.kept),
            Room::Kept => count.get(),
        }
    }
}

/// Why memory cannot be a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Words and granules differ in number, or there are none.
    Memory,
    /// The kept part leaves no common room.
    Kept,
}

impl fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Memory => "a ring needs as many words as granules, and at least one",
            Self::Kept => "the kept part of a ring must be smaller than the ring",
        })
    }
}

impl core::error::Error for Unusable {}
