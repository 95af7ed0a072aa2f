//! What of a store is still needed by somebody who hands it on, and what went all the same.
//!
//! Retention asks before it deletes a segment, and says what it deleted although it was needed. Who
//! hands on knows nothing of retention, and retention nothing of him.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::follow::{Position, range_of};

/// More than this that waits to be told is put together, run by run.
const GONE_COUNT_MAX: usize = 256;

/// They were beyond the limit for what is not handed on yet.
pub(super) const EXPIRED: &str = "forward_expired";

/// They are in a part of a segment that cannot be read.
pub(super) const UNREADABLE: &str = "forward_unreadable";

/// What is needed of a store. Shared by who hands it on and by its retention.
#[derive(Debug)]
pub struct Hold {
    keep_size: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    at: Position,
    gone: Vec<Gone>,
}

/// Events of one run that went before they were handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The id of their host.
    pub host_id: Option<String>,
    /// When their run began.
    pub run: Option<u64>,
    /// The sequence of the first.
    pub from: u64,
    /// The sequence of the last.
    pub to: u64,
    /// How many there were.
    pub count: u64,
    /// Why they went, as `lost_reason` says it.
    pub reason: &'static str,
}

impl Hold {
    /// What is behind `at` is needed, as long as that is not more than `keep_size` bytes.
    pub const fn new(keep_size: u64, at: Position) -> Self {
        Self {
            keep_size,
            state: Mutex::new(State {
                at,
                gone: Vec::new(),
            }),
        }
    }

    /// From now on what is behind `at` is needed.
    pub fn move_to(&self, at: &Position) {
        self.state().at.clone_from(at);
    }

    /// What went since this was last asked, the oldest first.
    pub fn take_gone(&self) -> Vec<Gone> {
        std::mem::take(&mut self.state().gone)
    }

    /// This will never be handed on.
    pub fn give_up(&self, gone: Gone) {
        self.tell(vec![gone]);
    }

    /// Bytes of what is needed, at most.
    pub(super) const fn keep_size(&self) -> u64 {
        self.keep_size
    }

    /// Whether something of the segment is needed.
    pub(super) fn needs(&self, segment: &Path) -> bool {
        let name = segment.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| *name >= *self.state().at.segment)
    }

    /// Looks at what is needed of a segment that is about to be deleted.
    pub(super) fn look_at(&self, segment: &Path) -> Vec<Gone> {
        let at = self.state().at.clone();
        let name = segment.file_name().and_then(|name| name.to_str());
        let after = if name == Some(&at.segment) { at.id } else { 0 };
        range_of(segment, after).unwrap_or_else(|error| {
            tracing::warn!(%error, "what went with a segment cannot be told");
            Vec::new()
        })
    }

    /// The segment was deleted, and this with it.
    pub(super) fn tell(&self, gone: Vec<Gone>) {
        let mut state = self.state();
        for gone in gone {
            let is_full = state.gone.len() >= GONE_COUNT_MAX;
            let of_run = |known: &&mut Gone| {
                known.reason == gone.reason
                    && known.host_id == gone.host_id
                    && known.run == gone.run
            };
            let last = state.gone.iter_mut().rev().find(of_run);
            match last {
                // With a gap between them only where there is no more room.
                Some(last) if is_full || last.to.checked_add(1) == Some(gone.from) => {
                    last.to = gone.to;
                    last.count = last.count.saturating_add(gone.count);
                }
                _ => state.gone.push(gone),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
