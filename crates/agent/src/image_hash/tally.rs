//! What was read so far, for those who watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::queue::Queue;

/// Counts of the thread and of those who ask it.
#[derive(Debug)]
pub struct Tally {
    queue: Arc<Queue>,
    hashed: AtomicU64,
    refused: AtomicU64,
    busy: AtomicU64,
    size: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files that were read.
    pub hashed: u64,
    /// Files that were not, for a reason that the trail tells.
    pub refused: u64,
    /// Events whose file there was no room for.
    pub busy: u64,
    /// Bytes that were read.
    pub size: u64,
    /// Files that wait.
    pub waiting: u64,
}

impl Tally {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self {
            queue,
            hashed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            size: AtomicU64::new(0),
        }
    }

    /// The counts now.
    pub fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            hashed: of(&self.hashed),
            refused: of(&self.refused),
            busy: of(&self.busy),
            size: of(&self.size),
            waiting: u64::try_from(self.queue.count()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn count_hashed(&self) {
        self.hashed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_busy(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_size(&self, size: u64) {
        self.size.fetch_add(size, Ordering::Relaxed);
    }
}
