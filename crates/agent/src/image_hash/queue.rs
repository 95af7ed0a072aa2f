//! The files that wait to be read.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Request;

/// Bytes of what waits at most.
pub(super) const SIZE_MAX: usize = 1 << 20;

/// What waits, and for whom. Whoever asks never waits himself; what there is no room for he is told.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: Mutex<Lanes>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lanes {
    /// What was executed or mapped just now: it may not be there for long.
    new: VecDeque<Request>,
    /// What was there before the recording.
    existing: VecDeque<Request>,
    /// What is not due yet, in the order in which it will be.
    later: VecDeque<(Instant, Request)>,
    size: usize,
    is_closed: bool,
}

/// When a file is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Next,
    /// After all that is new.
    Last,
    /// Not before that time. Those that are handed over later are not due earlier.
    NotBefore(Instant),
}

impl Queue {
    /// Takes a request, unless there is no room.
    pub(super) fn offer(&self, request: Request, turn: Turn) -> bool {
        let mut lanes = self.lanes();
        let size = request.size();
        if lanes.is_closed || lanes.size.saturating_add(size) > SIZE_MAX {
            return false;
        }
        lanes.size += size;
        match turn {
            Turn::Next => lanes.new.push_back(request),
            Turn::Last => lanes.existing.push_back(request),
            Turn::NotBefore(due) => lanes.later.push_back((due, request)),
        }
        drop(lanes);
        self.changed.notify_one();
        true
    }

    /// The next request, when there is one; `None` when there will be no more.
    pub(super) fn next(&self) -> Option<Request> {
        let mut lanes = self.lanes();
        loop {
            if lanes.is_closed {
                return None;
            }
            let now = Instant::now();
            if let Some(request) = lanes.take_new(now).or_else(|| lanes.take_existing()) {
                return Some(request);
            }
            let due = lanes.later.front().map(|(due, _)| *due);
            lanes = if let Some(due) = due {
                self.wait_for(lanes, due.saturating_duration_since(now))
            } else {
                let woken = self.changed.wait(lanes);
                woken.unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// The next request of what is new, where there is one now.
    pub(super) fn next_new(&self) -> Option<Request> {
        self.lanes().take_new(Instant::now())
    }

    /// Waits; whether it goes on then.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut lanes = self.lanes();
        while !lanes.is_closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            lanes = self.wait_for(lanes, left);
        }
        false
    }

    /// Nothing is taken any more, and what waits is given up.
    pub(super) fn close(&self) {
        *self.lanes() = Lanes {
            is_closed: true,
            ..Lanes::default()
        };
        self.changed.notify_all();
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        let lanes = self.lanes();
        lanes.new.len() + lanes.existing.len() + lanes.later.len()
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for<'q>(
        &'q self,
        lanes: MutexGuard<'q, Lanes>,
        time: Duration,
    ) -> MutexGuard<'q, Lanes> {
        let woken = self.changed.wait_timeout(lanes, time);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Lanes {
    fn take_new(&mut self, now: Instant) -> Option<Request> {
        let is_due = self.later.front().is_some_and(|(due, _)| *due <= now);
        let request = match self.new.pop_front() {
            None if is_due => self.later.pop_front().map(|(_, request)| request),
            new => new,
        };
        self.taken(request)
    }

    fn take_existing(&mut self) -> Option<Request> {
        let request = self.existing.pop_front();
        self.taken(request)
    }

    fn taken(&mut self, request: Option<Request>) -> Option<Request> {
        let size = request.as_ref().map_or(0, Request::size);
        self.size = self.size.saturating_sub(size);
        request
    }
}
