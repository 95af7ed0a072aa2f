//! Which process an id means now, when that was created, and which of its threads was the first.

use std::collections::{HashMap, VecDeque};

/// Processes that are remembered. Of more nothing is: their events say no start time, and their first
/// threads are told.
const LIVES_MAX: usize = 1 << 16;
/// Of those the processes that have ended: their last threads may be told of later, and whoever they
/// started has their id as its parent's.
const ENDED_MAX: usize = 4096;

/// A process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Life {
    /// When it was created, on the sensor's clock; 0 where nobody knows.
    pub(super) start_time: u64,
    pub(super) has_ended: bool,
    first: First,
}

/// What is known of a first thread, which is told of as the process itself.
#[derive(Clone, Copy, Debug, Default)]
enum First {
    #[default]
    Unknown,
    /// It was not told yet; so many losses there were when the process started.
    Awaited(u64),
    Runs(u32),
}

/// All that are remembered.
#[derive(Debug, Default)]
pub(super) struct Lives {
    by_id: HashMap<u32, Life, foldhash::fast::RandomState>,
    ended: VecDeque<u32>,
}

impl Lives {
    /// When the process that has this id was created, or 0.
    pub(super) fn start_time(&self, process_id: u32) -> u64 {
        self.by_id
            .get(&process_id)
            .map_or(0, |life| life.start_time)
    }

    /// The process that has this id, while it runs.
    pub(super) fn running(&self, process_id: u32) -> Option<&Life> {
        let life = self.by_id.get(&process_id);
        life.filter(|life| !life.has_ended)
    }

    /// A process that was there.
    pub(super) fn exists(&mut self, process_id: u32, start_time: u64, first_thread: Option<u32>) {
        let life = Life {
            start_time,
            has_ended: false,
            first: first_thread.map_or(First::Unknown, First::Runs),
        };
        self.insert(process_id, life);
    }

    /// A process that starts, after so many losses.
    pub(super) fn start(&mut self, process_id: u32, start_time: u64, losses: u64) {
        let life = Life {
            start_time,
            has_ended: false,
            first: First::Awaited(losses),
        };
        self.insert(process_id, life);
    }

    fn insert(&mut self, process_id: u32, life: Life) {
        if self.by_id.len() < LIVES_MAX || self.by_id.contains_key(&process_id) {
            self.by_id.insert(process_id, life);
        }
    }

    /// A process that ends; gives when it was created, or 0.
    pub(super) fn end(&mut self, process_id: u32) -> u64 {
        let Some(life) = self.by_id.get_mut(&process_id) else {
            return 0;
        };
        // The start of the one that ends now was not told.
        if life.has_ended {
            return 0;
        }
        life.has_ended = true;
        let start_time = life.start_time;
        self.ended.push_back(process_id);
        while self.ended.len() > ENDED_MAX
            && let Some(oldest) = self.ended.pop_front()
        {
            if self.by_id.get(&oldest).is_some_and(|life| life.has_ended) {
                self.by_id.remove(&oldest);
            }
        }
        start_time
    }

    /// A thread that starts, made by that process: whether it is the first. Where anything was lost since
    /// the process started, that may have been the first, and this one put there later: told once too
    /// often rather than hidden.
    pub(super) fn is_first(
        &mut self,
        process_id: u32,
        thread_id: u32,
        creator: Option<u32>,
        losses: u64,
    ) -> bool {
        let Some(life) = self.by_id.get_mut(&process_id) else {
            return false;
        };
        let First::Awaited(before) = life.first else {
            // The id is another thread's from now on.
            if matches!(life.first, First::Runs(first) if first == thread_id) {
                life.first = First::Unknown;
            }
            return false;
        };
        // Every first thread is made by another process; only then can one be put there from outside.
        if creator == Some(process_id) {
            return false;
        }
        let is_first = before == losses;
        life.first = if is_first {
            First::Runs(thread_id)
        } else {
            First::Unknown
        };
        is_first
    }

    /// A thread that ends: whether it was the first.
    pub(super) fn was_first(&mut self, process_id: u32, thread_id: u32) -> bool {
        let Some(life) = self.by_id.get_mut(&process_id) else {
            return false;
        };
        let was = matches!(life.first, First::Runs(first) if first == thread_id);
        if was {
            life.first = First::Unknown;
        }
        was
    }

    /// Forgets the processes that run no more, after a loss: those that are not kept.
    pub(super) fn retain(&mut self, keep_fn: impl Fn(u32, &Life) -> bool) {
        self.by_id
            .retain(|process_id, life| life.has_ended || keep_fn(*process_id, life));
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_thread_is_the_one_that_another_process_makes_at_once() {
        let mut lives = Lives::default();
        lives.start(100, 7, 0);
        assert!(!lives.is_first(100, 9, Some(100), 0), "made by itself");
        assert!(lives.is_first(100, 10, Some(4), 0));
        assert!(!lives.is_first(100, 11, Some(4), 0), "there was one");
        assert!(!lives.was_first(100, 11) && lives.was_first(100, 10));
        assert!(!lives.was_first(100, 10), "another of that id");
        lives.start(100, 8, 0);
        assert!(!lives.is_first(100, 10, Some(4), 1), "that may be lost");
        lives.exists(200, 5, Some(12));
        assert!(lives.was_first(200, 12));
    }

    #[test]
    fn a_process_that_has_ended_is_known_until_its_id_is_anothers() {
        let mut lives = Lives::default();
        lives.start(100, 7, 0);
        assert_eq!(lives.end(100), 7);
        assert_eq!((lives.start_time(100), lives.end(100)), (7, 0));
        assert!(lives.running(100).is_none());
        lives.start(100, 9, 0);
        assert_eq!(lives.start_time(100), 9);
        assert!(lives.running(100).is_some());
    }

    #[test]
    fn no_number_of_processes_makes_it_grow() {
        let mut lives = Lives::default();
        for process_id in 0..200_000 {
            lives.start(process_id, 7, 0);
            lives.end(process_id);
        }
        assert!(lives.count() <= ENDED_MAX + 1 && lives.ended.len() <= ENDED_MAX);
        for process_id in 0..200_000 {
            lives.start(process_id, 7, 0);
        }
        assert_eq!(lives.count(), LIVES_MAX);
    }
}
