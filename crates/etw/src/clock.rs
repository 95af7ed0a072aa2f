//! Times of a trace: counts of one of three clocks.

/// 100 ns in a second: the unit of a `FILETIME`, and of the system time.
const TICKS_PER_SECOND: i128 = 10_000_000;
/// The begin of the Unix epoch as a `FILETIME`.
const UNIX_EPOCH: i64 = 116_444_736_000_000_000;

/// What stamps the events of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The performance counter.
    Counter,
    /// The system's time, in 100 ns since 1601, whatever the header says of a frequency.
    SystemTime,
    /// The processor's cycles: their rate is known roughly, so times drift.
    Cycles,
}

/// Turns a trace's stamps into times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    clock: Clock,
    /// Of the clock, in a second; not 0.
    frequency: u64,
    /// The stamp of the moment `began`.
    base: i64,
    /// When the trace began, as a `FILETIME`.
    began: i64,
}

impl Times {
    /// Times by `clock`, which ticks `frequency` times a second and stood at `base` at the `FILETIME`
    /// `began`.
    pub const fn new(clock: Clock, frequency: u64, base: i64, began: i64) -> Self {
        Self {
            clock,
            frequency: if frequency == 0 { 1 } else { frequency },
            base,
            began,
        }
    }

    /// The clock.
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// The `FILETIME` of a stamp.
    pub fn file_time(&self, stamp: i64) -> i64 {
        if self.clock == Clock::SystemTime {
            return stamp;
        }
        let passed = i128::from(stamp) - i128::from(self.base);
        let ticks = passed * TICKS_PER_SECOND / i128::from(self.frequency);
        saturated(i128::from(self.began) + ticks)
    }

    /// Nanoseconds since the Unix epoch of a stamp.
    pub fn unix_ns(&self, stamp: i64) -> i64 {
        if self.clock == Clock::SystemTime {
            return unix_ns(stamp);
        }
        let passed = i128::from(stamp) - i128::from(self.base);
        let ns = passed * (TICKS_PER_SECOND * 100) / i128::from(self.frequency);
        saturated(i128::from(unix_ns(self.began)) + ns)
    }
}

/// Nanoseconds since the Unix epoch of a `FILETIME`; what is too far away is the nearest there is.
pub fn unix_ns(file_time: i64) -> i64 {
    file_time.saturating_sub(UNIX_EPOCH).saturating_mul(100)
}

fn saturated(number: i128) -> i64 {
    let limit = if number < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(number).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: i64 = UNIX_EPOCH + 10_000_000;

    #[test]
    fn each_clock_is_read_in_its_own_unit() {
        let counter = Times::new(Clock::Counter, 3_579_545, 1000, BEGAN);
        assert_eq!(counter.unix_ns(1000 + 3_579_545), 2_000_000_000);
        assert_eq!(counter.file_time(1000 - 3_579_545), UNIX_EPOCH);
        let system = Times::new(Clock::SystemTime, 3_579_545, 1000, BEGAN);
        assert_eq!(system.unix_ns(BEGAN + 7), 1_000_000_700);
    }

    #[test]
    fn no_clock_makes_a_time_overflow() {
        for clock in [Clock::Counter, Clock::SystemTime, Clock::Cycles] {
            for (frequency, base) in [(0, i64::MIN), (1, i64::MAX), (u64::MAX, 0)] {
                for stamp in [i64::MIN, 0, i64::MAX] {
                    for began in [i64::MIN, 0, i64::MAX] {
                        let times = Times::new(clock, frequency, base, began);
                        let _any = (times.unix_ns(stamp), times.file_time(stamp));
                    }
                }
            }
        }
    }
}
