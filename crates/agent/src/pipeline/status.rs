//! What the outside may ask of a running pipeline: the account so far, and whether it lives; and what it is
//! told meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::change::{Change, Reload};
use crate::account::Account;
use crate::alert;
use crate::detect::Level;
use crate::image_hash;
use crate::trail::Detection;

/// The state of a pipeline, shared with metrics, the live line and the watchdog.
///
/// Updated once a batch, never once an event.
#[derive(Debug, Default)]
pub struct Status {
    account: Mutex<Account>,
    recording: AtomicBool,
    progress: AtomicU64,
    /// Matches of rules, by level.
    found: [AtomicU64; Level::NAMES.len()],
    off_count: AtomicU64,
    /// What became of the matches that are told to a command.
    alerts: OnceLock<Arc<alert::Tally>>,
    /// What the thread that hashes images did.
    hashes: OnceLock<Arc<image_hash::Tally>>,
    /// What it does otherwise from the next batch on.
    change: Mutex<Option<Change>>,
    reloads: [AtomicU64; Reload::NAMES.len()],
}

/// What rules have found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Matches, by level from the least to the worst.
    pub counts: [u64; Level::NAMES.len()],
    /// Rules that were switched off because they took too long.
    pub off_count: u64,
    /// What became of the matches that are told to a command, where there is one.
    pub alerts: Option<alert::Counts>,
}

impl Status {
    /// Has every event that happens from now on go by `change`. One that was not taken yet is forgotten.
    pub fn change(&self, change: Change) {
        *self.change.lock().unwrap_or_else(PoisonError::into_inner) = Some(change);
    }

    /// What it is to do otherwise.
    pub(super) fn take_change(&self) -> Option<Change> {
        self.change
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// A configuration was read again.
    pub fn reloaded(&self, reload: Reload) {
        for ((_, name), count) in Reload::NAMES.iter().zip(&self.reloads) {
            if *name == reload {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How often a configuration was read again, by what came of it.
    pub fn reloads_so_far(&self) -> [u64; Reload::NAMES.len()] {
        std::array::from_fn(|index| self.reloads[index].load(Ordering::Relaxed))
    }

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

    /// What rules have found.
    pub fn found_so_far(&self) -> Found {
        let count = |index: usize| self.found[index].load(Ordering::Relaxed);
        Found {
            counts: std::array::from_fn(count),
            off_count: self.off_count.load(Ordering::Relaxed),
            alerts: self.alerts.get().map(|tally| tally.counts()),
        }
    }

    /// What the thread that hashes images has done, where there is one.
    pub fn hashed_so_far(&self) -> Option<image_hash::Counts> {
        self.hashes.get().map(|tally| tally.counts())
    }

    /// Images are hashed by a thread whose tally this is.
    pub(super) fn hashes(&self, tally: Arc<image_hash::Tally>) {
        self.hashes.get_or_init(|| tally);
    }

    /// Matches are told to a command, whose tally this is.
    pub(super) fn alerts(&self, tally: Arc<alert::Tally>) {
        self.alerts.get_or_init(|| tally);
    }

    pub(super) fn found(&self, detection: &Detection) {
        let mut names = Level::NAMES.iter();
        if let Some(index) = names.position(|(name, _)| *name == detection.rule_level) {
            self.found[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn switched_off(&self, count: u64) {
        self.off_count.store(count, Ordering::Relaxed);
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
