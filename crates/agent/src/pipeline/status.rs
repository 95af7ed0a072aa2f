//! What the outside may ask of a running pipeline: the account so far, and whether it lives.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::account::Account;

/// The state of a pipeline, shared with metrics, the live line and the watchdog.
///
/// Updated once a batch, never once an event.
#[derive(Debug, Default)]
pub struct Status {
    account: Mutex<Account>,
    recording: AtomicBool,
    progress: AtomicU64,
}

impl Status {
    /// The account so far.
    pub fn account(&self) -> Account {
        self.account
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether every event is seen by now.
    pub fn is_recording(&self) -> bool {
        self.recording.load(Ordering::Acquire)
    }

    /// A number that grows for as long as the sensor thread runs, if only once a second.
    pub fn progress_count(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, account: &Account) {
        let mut shown = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        shown.clone_from(account);
    }

    pub(super) fn recording(&self) {
        self.recording.store(true, Ordering::Release);
    }

    pub(super) fn progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }
}
