//! How much happened when, of a whole store, without looking at its events: every segment says between
//! which times a few hundred of them are each, and that is enough for a picture.

use std::path::Path;

use super::reader::{PassedOver, never_asked};
use super::{Guard, ReadError, Window, directory, segment, time_ranges};
use crate::trail::Time;

/// Ranges that are remembered: a quarter of a billion events. Of what is beyond nothing is shown, and it is
/// said.
const RANGES_MAX: usize = 500_000;

/// So many events happened between two times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: Time,
    /// The last.
    pub last: Time,
    /// How many.
    pub count: u64,
}

/// How much happened when.
#[derive(Debug, Default)]
pub struct Activity {
    /// Nearly in the order of their times.
    pub ranges: Vec<Range>,
    /// Bytes of the segments.
    pub size: u64,
    /// The segments that could not be looked at.
    pub passed_over: Vec<PassedOver>,
    /// Whether there were more ranges than are remembered.
    pub is_cut: bool,
}

impl Activity {
    /// The times of the first and the last event.
    pub fn span(&self) -> Option<(Time, Time)> {
        let first = self.ranges.iter().map(|range| range.first).min()?;
        let last = self.ranges.iter().map(|range| range.last).max()?;
        Some((first, last))
    }

    /// How many events there are.
    pub fn count(&self) -> u64 {
        let counts = self.ranges.iter().map(|range| range.count);
        counts.fold(0, u64::saturating_add)
    }

    /// The latest time since which at least `count` events happened; that of the first event where there
    /// are no more.
    pub fn since_last(&self, count: u64) -> Option<Time> {
        let mut ranges: Vec<&Range> = self.ranges.iter().collect();
        ranges.sort_unstable_by_key(|range| std::cmp::Reverse(range.last));
        let mut sum: u64 = 0;
        let mut since = None;
        for range in ranges {
            since = Some(since.map_or(range.first, |since: Time| since.min(range.first)));
            sum = sum.saturating_add(range.count);
            if sum >= count {
                break;
            }
        }
        since
    }

    /// The events of each of `count` spans of the same length from the first to the last. Where in a range
    /// its events are nobody says: they are spread over it.
    pub fn spans(&self, count: usize) -> Vec<u64> {
        let mut spans = vec![0.0; count];
        let Some((first, last)) = self.span() else {
            return vec![0; count];
        };
        #[expect(clippy::cast_precision_loss, reason = "it is a picture")]
        let place = |time: Time| {
            let whole = (last.0.abs_diff(first.0)).saturating_add(1) as f64;
            time.0.abs_diff(first.0) as f64 / whole * count as f64
        };
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "places are between 0 and the number of spans"
        )]
        for range in &self.ranges {
            let (from, to) = (place(range.first), place(range.last));
            let (low, high) = (from as usize, (to as usize).min(count.saturating_sub(1)));
            let a_place = range.count as f64 / (to - from).max(f64::MIN_POSITIVE);
            for (at, span) in spans.iter_mut().enumerate().take(high + 1).skip(low) {
                let begin = from.max(at as f64);
                let end = to.min(at as f64 + 1.0);
                *span += if low == high {
                    range.count as f64
                } else {
                    (end - begin).max(0.0) * a_place
                };
            }
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "they are sums of counts"
        )]
        spans.iter().map(|span| span.ceil() as u64).collect()
    }
}

/// Looks at the store in `directory`.
pub fn activity(directory: &Path, guard: &Guard) -> Result<Activity, ReadError> {
    let paths = directory::segments(directory)?;
    let newest = paths.last().cloned();
    let mut activity = Activity {
        passed_over: never_asked(directory, &Window::default())?,
        ..Activity::default()
    };
    for path in paths {
        activity.size = activity.size.saturating_add(directory::size_of(&path));
        match ranges_of(&path, guard) {
            Ok(ranges) => {
                let room = RANGES_MAX.saturating_sub(activity.ranges.len());
                activity.is_cut |= ranges.len() > room;
                activity.ranges.extend(ranges.into_iter().take(room));
            }
            Err(why) => {
                let why = match guard.interrupted(why) {
                    stopped @ ReadError::Stopped(_) => return Err(stopped),
                    why if newest.as_ref() == Some(&path) => why,
                    why => why.of_older(),
                };
                if !why.is_nothing() {
                    activity.passed_over.push(PassedOver { path, why });
                }
            }
        }
    }
    Ok(activity)
}

fn ranges_of(path: &Path, guard: &Guard) -> Result<Vec<Range>, ReadError> {
    let (connection, shape) = segment::open_bounded(path, guard)?;
    let sqlite_error = |source| ReadError::Sqlite {
        path: path.to_path_buf(),
        source,
    };
    let stretches: Result<Vec<(i64, i64)>, _> = connection
        .prepare("SELECT first_id, run_began FROM stretch ORDER BY first_id")
        .and_then(|mut stretches| {
            let rows = stretches.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.take(RANGES_MAX).collect()
        });
    let stretches = stretches.map_err(sqlite_error)?;
    let ranges = time_ranges::ranges(&connection, &shape, RANGES_MAX).map_err(sqlite_error)?;
    let range = |told: time_ranges::Told| {
        // What was there before a recording is told with the time of its start, days before: that is not
        // when anything was recorded.
        let behind = stretches.partition_point(|(first_id, _)| *first_id <= told.last_id);
        let stretch = behind.checked_sub(1).and_then(|place| stretches.get(place));
        let least = stretch.map_or(i64::MIN, |(_, run_began)| *run_began);
        Range {
            first: Time(told.times.0.max(least)),
            last: Time(told.times.1.max(least)),
            count: told.count,
        }
    };
    Ok(ranges.into_iter().map(range).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(ranges: &[(i64, i64, u64)]) -> Activity {
        let range = |(first, last, count): &(i64, i64, u64)| Range {
            first: Time(*first),
            last: Time(*last),
            count: *count,
        };
        Activity {
            ranges: ranges.iter().map(range).collect(),
            ..Activity::default()
        }
    }

    #[test]
    fn events_are_spread_over_their_range() {
        let even = activity(&[(0, 99, 1_000)]);
        let spans = even.spans(10);
        assert!(
            spans.iter().all(|count| (90..=110).contains(count)),
            "{spans:?}"
        );
        let two = activity(&[(0, 9, 50), (90, 99, 50)]);
        assert_eq!(two.spans(10), [50, 0, 0, 0, 0, 0, 0, 0, 0, 50]);
        assert_eq!(activity(&[(5, 5, 7)]).spans(3), [7, 0, 0]);
        assert_eq!(activity(&[]).spans(2), [0, 0]);
        let all = activity(&[(i64::MIN, i64::MAX, u64::MAX)]).spans(2);
        assert!(all.iter().all(|count| *count > 0), "{all:?}");
    }

    #[test]
    fn the_last_events_are_found() {
        let all = activity(&[(0, 10, 100), (10, 20, 100), (30, 40, 100)]);
        assert_eq!(all.since_last(1), Some(Time(30)));
        assert_eq!(all.since_last(101), Some(Time(10)));
        assert_eq!(all.since_last(1_000), Some(Time(0)));
        assert_eq!(activity(&[]).since_last(1), None);
        assert_eq!((all.count(), all.span()), (300, Some((Time(0), Time(40)))));
    }
}
