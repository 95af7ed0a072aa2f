//! The time of day as far as it is believed: a clock that jumps ahead must not make everything old.
//!
//! A bad answer of a time server, or a wrong clock at boot, can put the time of day years ahead for a
//! moment. Whoever judges by one reading of it what is old enough to be deleted deletes all there is.
//! So the time of day is believed as far as something else allows: what was written last before, and
//! how long we have run since, by a clock that nobody sets. What it is further ahead is believed when
//! it has held for a day, in which all that was recorded had that time: the machine was off, or its
//! clock was behind.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// How far ahead the time of day is believed at once.
const AHEAD_MAX: Duration = Duration::from_hours(1);

/// How long it must hold to be believed altogether.
const HOLD: Duration = Duration::from_hours(24);

/// The time of day as far as it is believed.
#[derive(Debug)]
pub struct Believed {
    /// A time that has been, and when that was by the clock that nobody sets.
    known: (SystemTime, Duration),
    /// Since when the time of day is too far ahead.
    ahead_since: Option<Duration>,
    was_said: bool,
}

/// A reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What the clock says.
    pub told: SystemTime,
    /// What of it is believed: the same, or earlier.
    pub believed: SystemTime,
}

impl Believed {
    /// Begins with what was written last; with the time of day where nothing was.
    pub fn since(newest: Option<SystemTime>) -> Self {
        Self::begin(newest, SystemTime::now(), run_time())
    }

    fn begin(newest: Option<SystemTime>, told: SystemTime, run_time: Duration) -> Self {
        Self {
            known: (newest.map_or(told, |newest| newest.min(told)), run_time),
            ahead_since: None,
            was_said: false,
        }
    }

    /// What time it is.
    pub fn read(&mut self) -> Reading {
        self.judge(SystemTime::now(), run_time())
    }

    /// Whether what was written last at `modified` is older than `limit`. Where it is so only by what is
    /// not believed, that is said, once.
    pub fn is_older(&mut self, now: Reading, modified: SystemTime, limit: Duration) -> bool {
        let is_older = |now: SystemTime| {
            let age = now.duration_since(modified);
            age.is_ok_and(|age| age > limit)
        };
        if is_older(now.believed) {
            return true;
        }
        if is_older(now.told) && !std::mem::replace(&mut self.was_said, true) {
            let ahead = now.told.duration_since(now.believed).unwrap_or_default();
            tracing::warn!(
                ahead_seconds = ahead.as_secs(),
                "the clock is ahead of what was recorded last and the time since; until it has held \
                 for a day, nothing is deleted that is old by it alone; set the clock if it is wrong"
            );
        }
        false
    }

    fn judge(&mut self, told: SystemTime, run_time: Duration) -> Reading {
        let (known, at) = self.known;
        let allowed = known
            .checked_add(run_time.saturating_sub(at))
            .and_then(|time| time.checked_add(AHEAD_MAX))
            .unwrap_or(told);
        let mut believed = told;
        if told <= allowed {
            self.ahead_since = None;
            if told < known {
                // It was set back, and what was known came of a clock that was ahead.
                self.known = (told, run_time);
            }
        } else {
            let since = *self.ahead_since.get_or_insert(run_time);
            if run_time.saturating_sub(since) < HOLD {
                believed = allowed;
            } else {
                self.known = (told, run_time);
                self.ahead_since = None;
            }
        }
        Reading { told, believed }
    }
}

/// A clock that nobody sets and that goes on while the machine sleeps. On Windows the sensor's clock
/// is the time of day, and the other one does so.
fn run_time() -> Duration {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    if cfg!(windows) {
        BEGAN.get_or_init(Instant::now).elapsed()
    } else {
        Duration::from_nanos(super::clock::now().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const YEAR: Duration = Duration::from_hours(365 * 24);

    fn day(hours: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + 50 * YEAR + HOUR * hours
    }

    fn believed(clock: &mut Believed, told: SystemTime, hours: u32) -> SystemTime {
        clock.judge(told, HOUR * hours).believed
    }

    #[test]
    fn a_clock_that_goes_on_is_believed() {
        let mut clock = Believed::begin(Some(day(0)), day(0), Duration::ZERO);
        for hours in 0..10_000 {
            assert_eq!(believed(&mut clock, day(hours), hours), day(hours));
        }
    }

    #[test]
    fn a_clock_that_jumps_ahead_for_a_moment_makes_nothing_old() {
        let mut clock = Believed::begin(Some(day(0)), day(0), Duration::ZERO);
        for hours in 1..20 {
            assert_eq!(
                believed(&mut clock, day(hours) + YEAR, hours),
                day(hours) + HOUR
            );
        }
        // It is well again, and jumps a second time.
        assert_eq!(believed(&mut clock, day(20), 20), day(20));
        assert_eq!(believed(&mut clock, day(30) + YEAR, 30), day(30) + HOUR);
    }

    #[test]
    fn a_clock_that_is_wrong_at_the_start_is_measured_by_what_was_written() {
        let mut clock = Believed::begin(Some(day(0)), day(0) + YEAR, Duration::ZERO);
        assert_eq!(believed(&mut clock, day(1) + YEAR, 1), day(1) + HOUR);
        assert_eq!(believed(&mut clock, day(2), 2), day(2));
    }

    #[test]
    fn a_machine_that_was_off_is_believed_after_a_day() {
        let mut clock = Believed::begin(Some(day(0)), day(0) + YEAR, Duration::ZERO);
        for hours in 0..24 {
            assert_eq!(
                believed(&mut clock, day(hours) + YEAR, hours),
                day(hours) + HOUR
            );
        }
        assert_eq!(believed(&mut clock, day(24) + YEAR, 24), day(24) + YEAR);
        assert_eq!(believed(&mut clock, day(25) + YEAR, 25), day(25) + YEAR);
    }

    #[test]
    fn a_clock_that_was_ahead_and_is_set_back_is_believed() {
        let mut clock = Believed::begin(None, day(0) + YEAR, Duration::ZERO);
        assert_eq!(believed(&mut clock, day(1), 1), day(1));
        assert_eq!(believed(&mut clock, day(2) + YEAR, 2), day(2) + HOUR);
    }
}
