//! Who owns which granules when: the algorithm, and the only unsafe code of the crate.
//!
//! # Invariants
//! 1. `tail <= head <= tail + count` for any pair of values that one thread can observe in that
//!    order; both only grow.
//! 2. The granules of positions `[tail, head)` are each owned by exactly one party: the `Claim`
//!    that moved the head over them, until it publishes; then nobody, until the consumer reaches
//!    them; then the `Front` that found them whole, until it moves the tail past them.
//! 3. Granules outside `[tail, head)` are owned by nobody; moving the head by compare-and-swap is
//!    the only way to own them.
//! 4. There is at most one holder of the consumer's right (`consuming`), and only it makes a
//!    `Front` or moves the tail.
//! 5. Words and granules are reached through this module alone: [`Shared::new`] took them by
//!    exclusive reference for as long as it lives.
//!
//! Ordering: a claim's compare-and-swap follows an acquiring load of the tail, which the consumer
//! stored releasing after its last read, so reads of the old record come before writes of the new.
//! Publishing stores the word releasing and the consumer loads it acquiring, so writes of a record
//! come before reads of it.

#![expect(
    unsafe_code,
    reason = "granules are handed out by position, which the borrow checker cannot follow"
)]

use crate::GRANULE_SIZE;
use crate::sync::{AtomicBool, AtomicU64, Ordering, Trackers};
use crate::word;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::num::NonZeroU64;

/// Room for a record or part of one. All zero is a valid granule.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Granule(UnsafeCell<[u8; GRANULE_SIZE]>);

// SAFETY: the bytes are reached through `Claim` and `Front` only, which own them alone (invariant 2).
unsafe impl Sync for Granule {}

impl Granule {
    /// A granule of zero bytes.
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; GRANULE_SIZE]))
    }
}

impl Default for Granule {
    fn default() -> Self {
        Self::new()
    }
}

/// A granule's word in the ring's bookkeeping. All zero is a valid word outside loom.
#[repr(transparent)]
#[derive(Debug)]
pub struct Word(AtomicU64);

impl Word {
    /// The word of a granule that was never used.
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A word that claims what it likes: what memory overwritten from outside looks like. For
    /// tests of the checks against it.
    pub fn forged(word: u64) -> Self {
        Self(AtomicU64::new(word))
    }
}

impl Default for Word {
    fn default() -> Self {
        Self::new()
    }
}

/// A value with a cache line for itself: producers hammer the head, the consumer the tail.
#[repr(align(64))]
#[derive(Debug)]
struct Alone<T>(T);

/// The memory and the positions.
#[derive(Debug)]
pub(crate) struct Shared<'m> {
    head: Alone<AtomicU64>,
    tail: Alone<AtomicU64>,
    consuming: AtomicBool,
    corrupt: AtomicBool,
    words: &'m [Word],
    granules: &'m [Granule],
    count: NonZeroU64,
    trackers: Trackers,
}

impl<'m> Shared<'m> {
    /// Takes the memory, whose two parts must be of one length and not empty.
    pub(crate) fn new(words: &'m mut [Word], granules: &'m mut [Granule]) -> Option<Self> {
        if words.len() != granules.len() {
            return None;
        }
        let count = NonZeroU64::new(u64::try_from(granules.len()).ok()?)?;
        Some(Self {
            head: Alone(AtomicU64::new(0)),
            tail: Alone(AtomicU64::new(0)),
            consuming: AtomicBool::new(false),
            corrupt: AtomicBool::new(false),
            trackers: Trackers::new(granules.len()),
            words,
            granules,
            count,
        })
    }

    pub(crate) fn count(&self) -> NonZeroU64 {
        self.count
    }

    pub(crate) fn is_corrupt(&self) -> bool {
        self.corrupt.load(Ordering::Relaxed)
    }

    /// Granules that were reserved since the beginning of time.
    pub(crate) fn reserved(&self) -> u64 {
        self.head.0.load(Ordering::Acquire)
    }

    /// Granules in use. The tail is loaded first, so the answer is never too small.
    pub(crate) fn used(&self) -> u64 {
        let tail = self.tail.0.load(Ordering::Acquire);
        let head = self.head.0.load(Ordering::Acquire);
        head.saturating_sub(tail).min(self.count.get())
    }

    /// Takes room for `size` bytes if not more than `limit` granules are in use afterwards. Gives
    /// the claim and how many granules are in use with it.
    pub(crate) fn claim(&self, size: usize, limit: u64) -> Option<(Claim<'_>, u64)> {
        if size == 0 || size > word::SIZE_MAX || self.is_corrupt() {
            return None;
        }
        let needed = granules_for(size)?;
        let mut head = self.head.0.load(Ordering::Relaxed);
        loop {
            // The head is loaded before the tail: should the consumer move on between the two, the
            // head is stale and the compare-and-swap below fails.
            let tail = self.tail.0.load(Ordering::Acquire);
            let left_in_lap = self.count.get().saturating_sub(head % self.count);
            let skipped = if needed > left_in_lap { left_in_lap } else { 0 };
            let taken = skipped.saturating_add(needed);
            let used = head.saturating_sub(tail).saturating_add(taken);
            if used > limit.min(self.count.get()) {
                return None;
            }
            match self.head.0.compare_exchange_weak(
                head,
                head.checked_add(taken)?,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_old) => {
                    if skipped != 0 {
                        self.publish(head, true, size_of_granules(skipped));
                    }
                    let position = head.saturating_add(skipped);
                    return Some((self.owned(position, size), used));
                }
                Err(newer) => head = newer,
            }
        }
    }

    /// The claim on `size` bytes from `position`, which the caller has just moved the head over.
    fn owned(&self, position: u64, size: usize) -> Claim<'_> {
        Claim {
            shared: self,
            position,
            size,
            _not_shared: PhantomData,
        }
    }

    /// Makes the record at `position` visible, or visibly discarded.
    fn publish(&self, position: u64, discarded: bool, size: usize) {
        let (lap, index) = self.lap_and_index(position);
        if let Some(word) = self.words.get(index) {
            word.0
                .store(word::encode(lap, discarded, size), Ordering::Release);
        }
    }

    /// The lap, from 1, and the index of a position.
    fn lap_and_index(&self, position: u64) -> (u64, usize) {
        let lap = (position / self.count).saturating_add(1);
        let index = usize::try_from(position % self.count).unwrap_or(usize::MAX);
        (lap, index)
    }

    /// Takes the right to consume, unless somebody has it.
    pub(crate) fn begin_consuming(&self) -> bool {
        !self.consuming.swap(true, Ordering::Acquire)
    }

    /// Gives the right back. Only its holder may call this.
    pub(crate) fn end_consuming(&self) {
        self.consuming.store(false, Ordering::Release);
    }

    /// What stands at the tail. Only the holder of the consumer's right may call this.
    pub(crate) fn front(&self) -> Tail<'_> {
        if self.is_corrupt() {
            return Tail::Nothing;
        }
        // Relaxed: only the holder of the right moves the tail.
        let tail = self.tail.0.load(Ordering::Relaxed);
        let head = self.head.0.load(Ordering::Acquire);
        if tail == head {
            return Tail::Nothing;
        }
        let (lap, index) = self.lap_and_index(tail);
        let Some(word) = self.words.get(index) else {
            return Tail::Nothing;
        };
        let claimed = word::decode(word.0.load(Ordering::Acquire));
        if claimed.lap < lap {
            return Tail::Nothing;
        }
        let reserved = head.saturating_sub(tail);
        let left_in_lap = self.count.get().saturating_sub(tail % self.count);
        let taken = granules_for(claimed.size).unwrap_or(0);
        if claimed.lap != lap || taken == 0 || taken > reserved.min(left_in_lap) {
            self.corrupt.store(true, Ordering::Relaxed);
            return Tail::Nothing;
        }
        Tail::Record(Front {
            shared: self,
            next: tail.saturating_add(taken),
            index,
            size: claimed.size,
            discarded: claimed.discarded,
        })
    }

    /// Where the bytes of the granule at `index` begin, good for `size` bytes from there.
    fn bytes_at(&self, index: usize, size: usize) -> Option<*mut u8> {
        let count = usize::try_from(granules_for(size)?).ok()?;
        let granules = self.granules.get(index..index.checked_add(count)?)?;
        Some(UnsafeCell::raw_get(
            granules.as_ptr().cast::<UnsafeCell<u8>>(),
        ))
    }
}

/// Granules for which the head was moved, not published yet.
///
/// # Invariants
/// The granules of `size` bytes from `position` are this claim's alone. Dropping it discards them.
#[derive(Debug)]
pub(crate) struct Claim<'r> {
    shared: &'r Shared<'r>,
    position: u64,
    size: usize,
    /// A claim moves between threads, but is used by one at a time.
    _not_shared: PhantomData<core::cell::Cell<u8>>,
}

impl Claim<'_> {
    /// The bytes: whatever an earlier record left there.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let (_lap, index) = self.shared.lap_and_index(self.position);
        let Some(bytes) = self.shared.bytes_at(index, self.size) else {
            return &mut [];
        };
        self.shared.trackers.write(index, count_for(self.size));
        // SAFETY: `bytes_at` checked that `size` bytes lie in the room, and by the type's invariant
        // they are this claim's alone; the exclusive borrow of the claim makes the slice unique.
        unsafe { core::slice::from_raw_parts_mut(bytes, self.size) }
    }

    /// Makes the record visible and gives the granules up.
    pub(crate) fn submit(self) {
        self.shared.publish(self.position, false, self.size);
        core::mem::forget(self);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.shared.publish(self.position, true, self.size);
    }
}

/// What stands at the tail.
pub(crate) enum Tail<'r> {
    /// No record, or one that is not submitted yet.
    Nothing,
    /// A whole record.
    Record(Front<'r>),
}

/// The record at the tail.
///
/// # Invariants
/// Its word was read with acquire and checked to lie within what was reserved, so its granules are
/// its alone; it is made by the holder of the consumer's right, one at a time.
pub(crate) struct Front<'r> {
    shared: &'r Shared<'r>,
    next: u64,
    index: usize,
    size: usize,
    pub(crate) discarded: bool,
}

impl Front<'_> {
    /// Where the record behind it begins.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let Some(bytes) = self.shared.bytes_at(self.index, self.size) else {
            return &[];
        };
        self.shared.trackers.read(self.index, count_for(self.size));
        // SAFETY: `bytes_at` checked that `size` bytes lie in the room, and by the type's invariant
        // nobody writes them before the tail moves, which needs this value.
        unsafe { core::slice::from_raw_parts(bytes, self.size) }
    }

    /// Gives the granules back to the producers.
    pub(crate) fn release(self) {
        self.shared.tail.0.store(self.next, Ordering::Release);
    }
}

/// Granules that `size` bytes take.
pub(crate) fn granules_for(size: usize) -> Option<u64> {
    u64::try_from(size.div_ceil(GRANULE_SIZE)).ok()
}

fn count_for(size: usize) -> usize {
    size.div_ceil(GRANULE_SIZE)
}

/// Bytes of `count` granules.
pub(crate) fn size_of_granules(count: u64) -> usize {
    usize::try_from(count)
        .unwrap_or(usize::MAX)
        .saturating_mul(GRANULE_SIZE)
}
