//! The account: for each kind, `produced = delivered + lost + queued`.

use core::sync::atomic::{AtomicU64, Ordering};
use event::Kind;

/// How many kinds have counters.
pub(crate) const KINDS: usize = Kind::OBSERVED.len();

/// Counters by kind. What is lost the ring counts itself.
#[derive(Debug, Default)]
pub(crate) struct Account {
    produced: [AtomicU64; KINDS],
    delivered: [AtomicU64; KINDS],
}

impl Account {
    pub(crate) fn count_produced(&self, kind: usize) {
        add(&self.produced, kind);
    }

    pub(crate) fn count_delivered(&self, kind: usize) {
        add(&self.delivered, kind);
    }

    pub(crate) fn produced(&self, kind: usize) -> u64 {
        load(&self.produced, kind)
    }

    pub(crate) fn delivered(&self, kind: usize) -> u64 {
        load(&self.delivered, kind)
    }
}

fn add(counters: &[AtomicU64; KINDS], kind: usize) {
    if let Some(counter) = counters.get(kind) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn load(counters: &[AtomicU64; KINDS], kind: usize) -> u64 {
    counters
        .get(kind)
        .map_or(0, |counter| counter.load(Ordering::Relaxed))
}
