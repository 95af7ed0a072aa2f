//! How much happened in each of the last seconds, by kind.

use std::collections::VecDeque;

use event::Kind;

use crate::trail::Time;

/// Seconds that are remembered.
pub(super) const SECONDS_MAX: usize = 120;

/// A rate is the mean of so many seconds, so that it can be read.
const MEAN_SECONDS: i64 = 5;

/// The events of the last second are not all there yet: a recorder commits twice a second.
const LATE_SECONDS: i64 = 1;

const SECOND_NS: i64 = 1_000_000_000;

/// What is counted, with its name, in the order in which it is shown.
pub(super) const COUNTED: [(Kind, &str); 5] = [
    (Kind::PROCESS_START, "start"),
    (Kind::PROCESS_EXEC, "exec"),
    (Kind::PROCESS_EXIT, "exit"),
    (Kind::THREAD_START, "threads"),
    (Kind::IMAGE_LOAD, "loads"),
];

/// The counts of one second.
#[derive(Clone, Copy, Debug)]
struct Second {
    /// Since the epoch.
    number: i64,
    counts: [u64; COUNTED.len()],
}

/// The counts of the last seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    /// In their order; a second in which nothing happened is not among them.
    seconds: VecDeque<Second>,
}

impl Rates {
    /// So many events of a kind happened then.
    pub(super) fn add(&mut self, kind: Kind, time: Time, count: u64) {
        let Some(index) = COUNTED.iter().position(|(counted, _)| *counted == kind) else {
            return;
        };
        let number = time.0.div_euclid(SECOND_NS);
        // Events come nearly in the order of their times.
        let after = self.seconds.iter().rev();
        let after = after.take_while(|second| second.number > number).count();
        let place = self.seconds.len() - after;
        let is_there = place
            .checked_sub(1)
            .and_then(|last| self.seconds.get(last))
            .is_some_and(|second| second.number == number);
        if !is_there {
            let counts = [0; COUNTED.len()];
            self.seconds.insert(place, Second { number, counts });
        }
        let place = if is_there { place - 1 } else { place };
        let second = self.seconds.get_mut(place);
        if let Some(counted) = second.and_then(|second| second.counts.get_mut(index)) {
            *counted = counted.saturating_add(count);
        }
        while self.seconds.len() > SECONDS_MAX {
            self.seconds.pop_front();
        }
    }

    /// Events a second of what is `index` in [`COUNTED`], lately.
    pub(super) fn a_second(&self, index: usize, now: Time) -> u64 {
        let end = now.0.div_euclid(SECOND_NS) - LATE_SECONDS;
        let sum = (end - MEAN_SECONDS..end)
            .map(|number| self.count(index, number))
            .fold(0, u64::saturating_add);
        sum.div_ceil(MEAN_SECONDS.unsigned_abs())
    }

    /// The same for each of the last `count` seconds, the latest last.
    pub(super) fn history(&self, index: usize, now: Time, count: usize) -> Vec<u64> {
        let end = now.0.div_euclid(SECOND_NS) - LATE_SECONDS;
        let count = i64::try_from(count.min(SECONDS_MAX)).unwrap_or(0);
        (end - count..end)
            .map(|number| self.count(index, number))
            .collect()
    }

    fn count(&self, index: usize, number: i64) -> u64 {
        let found = self
            .seconds
            .binary_search_by_key(&number, |second| second.number);
        let second = found.ok().and_then(|place| self.seconds.get(place));
        second.map_or(0, |second| second.counts.get(index).copied().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: usize = 0;

    fn at(seconds: i64) -> Time {
        Time(seconds * SECOND_NS + 1)
    }

    #[test]
    fn a_rate_is_the_mean_of_whole_seconds() {
        let mut rates = Rates::default();
        for second in 10..20 {
            rates.add(Kind::PROCESS_START, at(second), 40);
        }
        // Of the last one not all is there.
        rates.add(Kind::PROCESS_START, at(19), 1_000);
        assert_eq!(rates.a_second(START, at(20)), 40);
        assert_eq!(rates.history(START, at(20), 3), [40, 40, 40]);
        assert_eq!(rates.a_second(START, at(22)), 232);
        assert_eq!(rates.a_second(START, at(60)), 0);
        // What happens less than once a second is not nothing.
        rates.add(Kind::PROCESS_START, at(57), 1);
        assert_eq!(rates.a_second(START, at(60)), 1);
        assert_eq!(rates.a_second(1, at(60)), 0);
    }

    #[test]
    fn late_events_are_counted_where_they_belong_and_old_seconds_are_forgotten() {
        let mut rates = Rates::default();
        for second in [5, 7, 6, 5, 8] {
            rates.add(Kind::PROCESS_EXIT, at(second), 1);
        }
        // The last is of what may still come.
        assert_eq!(rates.history(2, at(9), 4), [0, 2, 1, 1]);
        for second in 0..1_000 {
            rates.add(Kind::PROCESS_EXIT, at(second), 1);
        }
        assert_eq!(rates.seconds.len(), SECONDS_MAX);
        assert_eq!(rates.history(2, at(1_000), 500).len(), SECONDS_MAX);
    }
}
