//! How fast files are read.

use std::time::{Duration, Instant};

/// So many bytes a second and no more: what was not read in an idle time is not made up for.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes a second.
    rate: u64,
    /// When the next may be read.
    next: Option<Instant>,
}

impl Budget {
    /// A budget of so many bytes a second.
    pub(super) const fn new(rate: u64) -> Self {
        Self { rate, next: None }
    }

    /// How long to wait before more is read.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.next
            .map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    /// So many bytes were asked for, by reads that began at `began`.
    pub(super) fn spend(&mut self, size: u64, began: Instant) {
        const SECOND_NS: u64 = 1_000_000_000;
        let nanoseconds = size.saturating_mul(SECOND_NS) / self.rate.max(1);
        let from = self.next.map_or(began, |next| next.max(began));
        self.next = Some(from + Duration::from_nanos(nanoseconds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_than_the_rate_and_an_idle_hour_is_not_made_up_for() {
        let begin = Instant::now();
        let mut budget = Budget::new(1_000);
        let mut now = begin;
        let mut spent = Vec::new();
        for size in [100, 300, 100, 500, 100, 100].into_iter().cycle().take(60) {
            now += budget.wait(now);
            if spent.len() == 30 {
                now += Duration::from_hours(1);
            }
            spent.push((now, size));
            budget.spend(size, now);
        }
        for (from, _) in &spent {
            let until = *from + Duration::from_secs(1);
            let within = spent.iter().filter(|(at, _)| at >= from && *at < until);
            // A read that begins within the second may end after it.
            let sizes: Vec<u64> = within.map(|(_, size)| *size).collect();
            let (_, whole) = sizes.split_last().unwrap();
            assert!(whole.iter().sum::<u64>() <= 1_000, "{sizes:?}");
        }
        let ideal = Duration::from_secs(spent.iter().map(|(_, size)| size).sum::<u64>() / 1_000);
        let took = now.duration_since(begin) + Duration::from_secs(1);
        assert!(took >= Duration::from_hours(1) + ideal);
    }
}
