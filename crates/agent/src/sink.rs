//! Where events go: the log file, the store, the terminal. Each sink runs on its own thread.

mod lines;
pub mod log_file;
mod outage;
mod owed;
pub mod store;
pub mod stream;
pub mod terminal;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use event::Kind;

use crate::trail::Event;

/// Where events go.
///
/// A sink never blocks on anything but its own medium, never panics on a bad one, and recovers by
/// itself: an error of the medium loses events, which it counts in its [`Tally`].
pub trait Sink: Send {
    /// The name in the account, in metrics and in `lost_reason`: `log`, `terminal`.
    fn name(&self) -> &'static str;

    /// What to do when events come faster than this sink takes them.
    fn when_behind(&self) -> WhenBehind {
        WhenBehind::Wait
    }

    /// Takes a batch of events, in order. Whatever of it cannot be kept is counted as lost.
    fn write(&mut self, events: &[Event], tally: &Tally);

    /// Makes durable what was written. Called at most [`FLUSH_INTERVAL_MS`] after a write,
    /// and not at all when nothing was written.
    fn flush(&mut self, tally: &Tally);

    /// When it is to be flushed next though nothing is written until then; asked after each flush.
    fn flush_again(&self) -> Option<Duration> {
        None
    }

    /// Flushes and finishes; the last call.
    fn close(&mut self, tally: &Tally);
}

/// What the pipeline does when a sink is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBehind {
    /// Waits for it; the kernel's buffers then hold what happens meanwhile, and count what they
    /// cannot hold.
    Wait,
    /// Goes on without it; the sink loses those events, which is counted and told.
    Lose,
}

/// The longest time from a write to its flush, for every sink.
pub const FLUSH_INTERVAL_MS: u64 = 500;

/// Whether the path itself is wrong, so that another try would end the same: a state of the medium,
/// such as a full disk, may pass.
pub fn is_wrong_path(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AlreadyExists, InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound,
        PermissionDenied,
    };
    matches!(
        error.kind(),
        // The first is a file where a directory must be made.
        AlreadyExists
            | InvalidFilename
            | InvalidInput
            | IsADirectory
            | NotADirectory
            | NotFound
            | PermissionDenied
    )
}

/// What one sink did, shared with the pipeline, which tells losses in the stream and in the account.
#[derive(Debug, Default)]
pub struct Tally {
    written: AtomicU64,
    lost: [AtomicU64; Kind::OBSERVED.len()],
    lost_other: AtomicU64,
}

impl Tally {
    /// Counts events that were written.
    pub fn add_written(&self, count: u64) {
        self.written.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts an event that could not be written.
    pub fn add_lost(&self, kind: Kind) {
        let counter = kind.index().and_then(|index| self.lost.get(index));
        counter
            .unwrap_or(&self.lost_other)
            .fetch_add(1, Ordering::Relaxed);
    }

    /// How many events were written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// How many events of `kind` were lost.
    pub fn lost(&self, kind: Kind) -> u64 {
        let counter = kind.index().and_then(|index| self.lost.get(index));
        counter.unwrap_or(&self.lost_other).load(Ordering::Relaxed)
    }

    /// How many events were lost in all.
    pub fn lost_total(&self) -> u64 {
        let observed: u64 = self
            .lost
            .iter()
            .map(|counter| counter.load(Ordering::Relaxed))
            .sum();
        observed.saturating_add(self.lost_other.load(Ordering::Relaxed))
    }
}
