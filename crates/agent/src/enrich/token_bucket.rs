//! A token bucket: what may be used at once, and how fast it comes back.

const SECOND_NS: u128 = 1_000_000_000;

/// Tokens that are left. A time is in nanoseconds, on any clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenBucket {
    /// Tokens that come back in a second.
    rate: u64,
    /// Tokens that are there at the most.
    burst: u64,
    /// Tokens in units of a second's nanoseconds, so that what is less than one is not forgotten.
    left: u128,
    /// Until when it has been filled up.
    filled: u64,
}

impl TokenBucket {
    /// A full one, at `now`.
    pub(super) const fn full(rate: u64, burst: u64, now: u64) -> Self {
        Self {
            rate,
            burst,
            left: burst as u128 * SECOND_NS,
            filled: now,
        }
    }

    /// How many tokens there are at `now`. A clock that goes back brings none.
    pub(super) fn left(&mut self, now: u64) -> u64 {
        let passed = u128::from(now.saturating_sub(self.filled));
        let most = u128::from(self.burst) * SECOND_NS;
        self.left = (self.left + passed * u128::from(self.rate)).min(most);
        self.filled = self.filled.max(now);
        u64::try_from(self.left / SECOND_NS).unwrap_or(u64::MAX)
    }

    /// Takes tokens that were [`left`](Self::left); all there are where those are fewer.
    pub(super) fn take(&mut self, count: u64) {
        self.left = self.left.saturating_sub(u128::from(count) * SECOND_NS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn tokens_come_back_at_the_rate_and_no_part_of_one_is_forgotten() {
        let mut bucket = TokenBucket::full(3, 10, 0);
        bucket.take(10);
        // Looked at so often that no look brings a whole token.
        let looks = 1..=20_u64;
        let last = looks.map(|look| bucket.left(look * SECOND / 20)).last();
        assert_eq!(last, Some(3));
        assert_eq!(bucket.left(u64::MAX), 10);
    }

    #[test]
    fn a_clock_that_goes_back_brings_nothing() {
        let mut bucket = TokenBucket::full(3, 10, 5 * SECOND);
        bucket.take(20);
        assert_eq!(bucket.left(SECOND), 0);
        assert_eq!(bucket.left(5 * SECOND), 0);
        assert_eq!(bucket.left(6 * SECOND), 3);
    }
}
