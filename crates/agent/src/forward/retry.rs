//! When to try again: later and later, at no moment that others try too, and not all at once when it
//! works again.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The first pause is up to this long.
const FIRST: Duration = Duration::from_secs(1);

/// No pause is longer, unless the receiver asks for it.
const LONGEST: Duration = Duration::from_mins(1);

/// No pause is shorter.
const SHORTEST: Duration = Duration::from_millis(50);

/// The longest pause that a receiver can ask for.
const ASKED_MAX: Duration = Duration::from_hours(1);

/// The pause after the first batch that is accepted again; the next is half as long, and so on.
const GENTLE: Duration = Duration::from_secs(1);

/// Pauses shorter than this are none.
const GENTLE_MIN: Duration = Duration::from_millis(5);

/// How often it failed, and how carefully it goes on.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failure_count: u32,
    gentle: Duration,
}

impl Retry {
    /// It failed; how long to wait, for which the receiver may have asked.
    pub(super) fn failed(&mut self, asked: Option<Duration>) -> Duration {
        let most = FIRST.saturating_mul(1 << self.failure_count.min(10));
        self.failure_count = self.failure_count.saturating_add(1);
        self.gentle = GENTLE;
        // Full jitter: hosts that failed together do not come back together.
        let pause = some_of(most.min(LONGEST)).max(SHORTEST);
        match asked.map(|asked| asked.min(ASKED_MAX)) {
            // Not before, and not all at that moment.
            Some(asked) => asked.saturating_add(some_of(FIRST)),
            None => pause,
        }
    }

    /// It was accepted; how long to wait before the next.
    pub(super) fn accepted(&mut self) -> Duration {
        self.failure_count = 0;
        let pause = some_of(self.gentle);
        self.gentle /= 2;
        if self.gentle < GENTLE_MIN {
            self.gentle = Duration::ZERO;
        }
        pause
    }

    /// Whether the last attempt failed.
    pub(super) const fn is_failing(&self) -> bool {
        self.failure_count > 0
    }
}

/// Any part of `most`, each as likely. Seeds of hash maps are random, which is all that is needed here.
pub(super) fn some_of(most: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8);
    let part = u128::from(random) * most.as_nanos() / u128::from(u64::MAX);
    Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        let mut retry = Retry::default();
        let mut pauses = Vec::new();
        for count in 0..100_u32 {
            let pause = retry.failed(None);
            let most = FIRST.saturating_mul(1 << count.min(10)).min(LONGEST);
            assert!((SHORTEST..=most).contains(&pause), "{count}: {pause:?}");
            pauses.push(pause);
        }
        pauses.sort();
        pauses.dedup();
        assert!(pauses.len() > 90, "hosts do not come back together");
        assert!(pauses.last().unwrap() > &(LONGEST / 2));
    }

    #[test]
    fn a_receiver_is_given_the_time_it_asks_for_within_reason() {
        let asked = |seconds| Retry::default().failed(Some(Duration::from_secs(seconds)));
        assert!((30..32).contains(&asked(30).as_secs()));
        assert!(asked(u64::MAX) <= ASKED_MAX + FIRST);
    }

    /// After an outage every host has a backlog.
    #[test]
    fn what_was_away_is_not_flooded() {
        let mut retry = Retry::default();
        assert_eq!(retry.accepted(), Duration::ZERO, "nothing failed");
        retry.failed(None);
        let pauses: Vec<_> = (0..20).map(|_| (retry.gentle, retry.accepted())).collect();
        assert!(pauses.iter().all(|(most, pause)| pause <= most));
        assert_eq!(pauses[0].0, GENTLE);
        assert_eq!(pauses[19].0, Duration::ZERO, "it becomes as fast as before");
        assert!(!retry.is_failing());
    }
}
