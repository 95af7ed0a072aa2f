//! What was forwarded, for whoever asks: metrics, the account, the end of a run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts it, from any thread.
#[derive(Debug, Default)]
pub struct Tally {
    forwarded: AtomicU64,
    refused: AtomicU64,
    failures: AtomicU64,
    owed: AtomicU64,
    /// Nanoseconds since the epoch, 0 before the first.
    accepted: AtomicU64,
    error: Mutex<Option<String>>,
}

/// What was forwarded since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that were accepted.
    pub forwarded: u64,
    /// Events that were refused, one by one.
    pub refused: u64,
    /// Requests that came to nothing.
    pub failures: u64,
    /// Events that are still to be sent, when it was last looked.
    pub owed: u64,
    /// When a batch was accepted last, in seconds since the epoch; 0 before the first.
    pub accepted: u64,
}

impl Tally {
    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            forwarded: read(&self.forwarded),
            refused: read(&self.refused),
            failures: read(&self.failures),
            owed: read(&self.owed),
            accepted: read(&self.accepted) / 1_000_000_000,
        }
    }

    /// What went wrong last; `None` when it goes well.
    pub fn error(&self) -> Option<String> {
        self.error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(feature = "forward")]
impl Tally {
    pub(super) fn accept(&self, count: u64, now: i64) {
        self.forwarded.fetch_add(count, Ordering::Relaxed);
        self.accepted.store(now.unsigned_abs(), Ordering::Relaxed);
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn owe(&self, count: u64) {
        self.owed.store(count, Ordering::Relaxed);
    }

    /// Notes how it goes; tells whether that is news.
    pub(super) fn fail(&self, why: Option<&str>) -> bool {
        if why.is_some() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = error.as_deref() != why;
        *error = why.map(str::to_owned);
        is_news
    }
}
