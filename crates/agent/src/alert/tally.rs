//! What became of the matches that were to be told.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The command ran and ended with 0.
    Ran,
    /// It could not be run, ended with something else, or was killed by others.
    Failed,
    /// It took too long and was killed.
    TimedOut,
    /// There was no room or no time for it.
    PassedOver,
    /// It was of a process of the command's own.
    Own,
}

impl Outcome {
    /// Every one by its name.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("ran", Self::Ran),
        ("failed", Self::Failed),
        ("timed_out", Self::TimedOut),
        ("passed_over", Self::PassedOver),
        ("own", Self::Own),
    ];
}

/// How many of each, in the order of [`Outcome::NAMES`].
pub type Counts = [u64; Outcome::NAMES.len()];

/// Counts them, from any thread.
#[derive(Debug, Default)]
pub struct Tally {
    counts: [AtomicU64; Outcome::NAMES.len()],
}

impl Tally {
    /// How many of each so far.
    pub fn counts(&self) -> Counts {
        array::from_fn(|index| self.counts[index].load(Ordering::Relaxed))
    }

    pub(super) fn count(&self, outcome: Outcome) {
        let mut names = Outcome::NAMES.iter();
        if let Some(index) = names.position(|(_, known)| *known == outcome) {
            self.counts[index].fetch_add(1, Ordering::Relaxed);
        }
    }
}
