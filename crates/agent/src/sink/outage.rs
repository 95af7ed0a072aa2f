//! A medium that fails: what that costs, and when it is tried again.

use std::time::{Duration, Instant};

/// The pause after the first failure; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// The longest pause between two attempts, hence the longest time until recovery is noticed.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(5);

/// Whether a medium fails at present.
#[derive(Debug, Default)]
pub(super) struct Outage {
    failure: Option<Failure>,
}

/// Since the medium fails.
#[derive(Debug)]
struct Failure {
    lost_count: u64,
    pause: Duration,
    retry: Instant,
}

impl Outage {
    /// Whether it is too early to try again.
    pub(super) fn waits(&self) -> bool {
        let failure = self.failure.as_ref();
        failure.is_some_and(|failure| Instant::now() < failure.retry)
    }

    /// It is not too early any more: there will be no later.
    pub(super) fn retry_now(&mut self) {
        if let Some(failure) = &mut self.failure {
            failure.retry = Instant::now();
        }
    }

    /// An attempt failed; sets the next. Says whether it was the first, which is to be told.
    pub(super) fn fail(&mut self) -> bool {
        let (lost_count, pause) = match &self.failure {
            None => (0, RETRY_FIRST),
            Some(failure) => (
                failure.lost_count,
                failure.pause.saturating_mul(2).min(RETRY_MAX),
            ),
        };
        let is_first = self.failure.is_none();
        self.failure = Some(Failure {
            lost_count,
            pause,
            retry: Instant::now() + pause,
        });
        is_first
    }

    /// Counts events that were lost to it.
    pub(super) const fn add_lost(&mut self, count: u64) {
        if let Some(failure) = &mut self.failure {
            failure.lost_count = failure.lost_count.saturating_add(count);
        }
    }

    /// An attempt went well; how many events were lost, where there was a failure before.
    pub(super) fn recover(&mut self) -> Option<u64> {
        self.failure.take().map(|failure| failure.lost_count)
    }
}
