//! Who started the most processes in the last minute.

use std::collections::{HashMap, VecDeque};

use event::ProcessKey;

use crate::trail::Time;

/// The time that is counted, in parts that are forgotten one by one.
const PARTS: i64 = 6;
const PART_NS: i64 = 10_000_000_000;

/// Starters of a part that are told apart; further ones are not counted.
const STARTERS_MAX: usize = 4_096;

/// One who started others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Starter {
    pub(super) key: ProcessKey,
    pub(super) process_id: u32,
    /// How many it started.
    pub(super) count: u64,
    /// What it was called when it began to, where that was known.
    pub(super) title: String,
}

#[derive(Clone, Debug)]
struct Part {
    number: i64,
    starters: HashMap<ProcessKey, Starter>,
}

/// Who started how many.
#[derive(Clone, Debug, Default)]
pub(super) struct Starters {
    parts: VecDeque<Part>,
}

impl Starters {
    /// `key` started a process then; `title_fn` is asked for its name where it is new.
    pub(super) fn add(
        &mut self,
        key: ProcessKey,
        process_id: u32,
        time: Time,
        title_fn: impl FnOnce() -> String,
    ) {
        let number = time.0.div_euclid(PART_NS);
        if self.parts.back().is_none_or(|last| last.number < number) {
            let starters = HashMap::new();
            self.parts.push_back(Part { number, starters });
        }
        while self.parts.len() > usize::try_from(PARTS).unwrap_or(0) {
            self.parts.pop_front();
        }
        // What is late by a part or more is as good as not there.
        let Some(part) = self.parts.back_mut() else {
            return;
        };
        if let Some(starter) = part.starters.get_mut(&key) {
            starter.count = starter.count.saturating_add(1);
        } else if part.starters.len() < STARTERS_MAX {
            let starter = Starter {
                key,
                process_id,
                count: 1,
                title: title_fn(),
            };
            part.starters.insert(key, starter);
        }
    }

    /// Whether nobody started anything lately.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The busiest of the minute before `now`, the busiest first.
    pub(super) fn busiest(&self, now: Time, count_max: usize) -> Vec<Starter> {
        let first = now.0.div_euclid(PART_NS) - PARTS;
        let mut sums: HashMap<ProcessKey, Starter> = HashMap::new();
        for part in self.parts.iter().filter(|part| part.number > first) {
            for (key, starter) in &part.starters {
                match sums.get_mut(key) {
                    Some(sum) => {
                        sum.count = sum.count.saturating_add(starter.count);
                        sum.title.clone_from(&starter.title);
                    }
                    None => {
                        sums.insert(*key, starter.clone());
                    }
                }
            }
        }
        let mut busiest: Vec<Starter> = sums.into_values().collect();
        busiest.sort_by_key(|one| (std::cmp::Reverse(one.count), one.process_id));
        busiest.truncate(count_max);
        busiest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_of_a_minute_come_first_and_older_ones_are_forgotten() {
        let mut starters = Starters::default();
        let mut start = |key: u32, seconds: i64| {
            let time = Time(seconds * 1_000_000_000);
            starters.add(ProcessKey(key.into()), key, time, || format!("sh {key}"));
        };
        for second in 0..60 {
            start(1, second);
            if second % 2 == 0 {
                start(2, second);
            }
        }
        let told = |starters: &Starters, seconds: i64| -> Vec<(u32, u64)> {
            let busiest = starters.busiest(Time(seconds * 1_000_000_000), 10);
            busiest
                .iter()
                .map(|one| (one.process_id, one.count))
                .collect()
        };
        assert_eq!(told(&starters, 59), [(1, 60), (2, 30)]);
        assert_eq!(told(&starters, 89), [(1, 30), (2, 15)]);
        assert_eq!(told(&starters, 200), []);
        assert_eq!(starters.busiest(Time(0), 1).len(), 1);
    }

    #[test]
    fn any_number_of_starters_takes_a_bounded_room() {
        let mut starters = Starters::default();
        for key in 0..10_000 {
            let time = Time(key * 1_000);
            starters.add(ProcessKey(key.unsigned_abs()), 1, time, String::new);
        }
        let count: usize = starters.parts.iter().map(|part| part.starters.len()).sum();
        assert_eq!(count, STARTERS_MAX);
    }
}
