//! The account: for each kind, `produced = delivered + lost + queued`.

use core::sync::atomic::{AtomicU64, Ordering};
use event::{ByKind, Kind};

/// Counters by kind. What is lost the ring counts itself.
#[derive(Debug, Default)]
pub(crate) struct Account {
    produced: ByKind<AtomicU64>,
    delivered: ByKind<AtomicU64>,
}

impl Account {
    pub(crate) fn count_produced(&self, kind: Kind) {
        add(&self.produced, kind);
    }

    pub(crate) fn count_delivered(&self, kind: Kind) {
        add(&self.delivered, kind);
    }

    pub(crate) fn produced(&self, kind: Kind) -> u64 {
        load(&self.produced, kind)
    }

    pub(crate) fn delivered(&self, kind: Kind) -> u64 {
        load(&self.delivered, kind)
    }
}

fn add(counters: &ByKind<AtomicU64>, kind: Kind) {
    if let Some(counter) = counters.get(kind) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn load(counters: &ByKind<AtomicU64>, kind: Kind) -> u64 {
    counters
        .get(kind)
        .map_or(0, |counter| counter.load(Ordering::Relaxed))
}
