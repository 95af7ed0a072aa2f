//! The pace of a recording: how long to wait before each event, so that a replay takes as long as
//! what it replays.

use std::time::{Duration, Instant};

use crate::trail::Time;

/// The longest wait between two events. A machine that slept, or a clock that was set, would
/// otherwise make a replay stand still for days.
pub const WAIT_MAX: Duration = Duration::from_mins(1);

/// Keeps the pace of one recording.
#[derive(Debug, Default)]
pub struct Pace {
    /// The time of the latest event, and when it was due here.
    last: Option<(Time, Instant)>,
}

impl Pace {
    /// How long to wait, at the moment `now`, before an event of `time`: until as long after the
    /// event before it as then. An event out of order waits for nothing, and the processes of a
    /// snapshot, whose times are those of their starts, wait only where `WAIT_MAX` allows.
    pub fn wait(&mut self, time: Time, now: Instant) -> Duration {
        let Some((last_time, last_due)) = self.last else {
            self.last = Some((time, now));
            return Duration::ZERO;
        };
        let gap = u64::try_from(time.0.saturating_sub(last_time.0)).unwrap_or(0);
        let gap = Duration::from_nanos(gap).min(WAIT_MAX);
        let due = last_due.checked_add(gap).unwrap_or(last_due);
        if time > last_time {
            self.last = Some((time, due));
        }
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn events_are_as_far_apart_as_they_were() {
        let mut pace = Pace::default();
        let begin = Instant::now();
        let at = |seconds: i64| Time(seconds * 1_000_000_000);
        assert_eq!(pace.wait(at(100), begin), Duration::ZERO);
        assert_eq!(pace.wait(at(101), begin), SECOND);
        // Whoever was late with one event does not shift those after it.
        assert_eq!(pace.wait(at(103), begin + SECOND * 2), SECOND);
        assert_eq!(pace.wait(at(103), begin + SECOND * 3), Duration::ZERO);
    }

    #[test]
    fn nothing_out_of_order_and_no_gap_makes_it_stand_still() {
        let mut pace = Pace::default();
        let begin = Instant::now();
        pace.wait(Time(0), begin);
        assert_eq!(pace.wait(Time(i64::MAX), begin), WAIT_MAX);
        assert_eq!(pace.wait(Time(i64::MIN), begin + WAIT_MAX), Duration::ZERO);
        assert_eq!(pace.wait(Time(i64::MAX), begin + WAIT_MAX), Duration::ZERO);
    }
}
