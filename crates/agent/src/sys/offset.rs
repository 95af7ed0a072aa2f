//! From the sensor's clock to the time of day.

use crate::trail::Time;

/// Turns the sensor's nanoseconds (Linux: `CLOCK_BOOTTIME`) into UTC.
///
/// The time of day can be set while the agent runs, so the offset is measured anew with each batch.
/// It is replaced only when it moved further than the two measurements can err, so that two
/// readings of the same pair of clocks never reorder events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    ns: i64,
    error_ns: u64,
}

impl Offset {
    /// Smaller moves than this are noise of any measurement.
    pub const TOLERANCE_NS: u64 = 200_000;

    /// An offset from a pair of readings that were taken at most `error_ns` apart.
    pub const fn new(wall_ns: i64, sensor_ns: u64, error_ns: u64) -> Self {
        Self {
            ns: wall_ns.wrapping_sub(sensor_ns.cast_signed()),
            error_ns,
        }
    }

    /// This offset, or `measured` where the time of day was moved or this one was a poor guess: on
    /// a machine that stands still between two readings an offset can be wrong by milliseconds.
    #[must_use]
    pub const fn updated(self, measured: Self) -> Self {
        let noise = Self::TOLERANCE_NS
            .saturating_add(self.error_ns)
            .saturating_add(measured.error_ns);
        let is_moved = self.ns.abs_diff(measured.ns) > noise;
        let is_poor = self.error_ns > Self::TOLERANCE_NS && measured.error_ns < self.error_ns / 2;
        if is_moved || is_poor { measured } else { self }
    }

    /// The sensor's time at a time of day.
    pub const fn sensor_ns(self, time: Time) -> u64 {
        time.0.wrapping_sub(self.ns).cast_unsigned()
    }

    /// The time of day of a sensor time.
    pub const fn time(self, sensor_ns: u64) -> Time {
        Time(sensor_ns.cast_signed().wrapping_add(self.ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_NS: i64 = 3_600_000_000_000;

    #[test]
    fn the_time_of_day_follows_a_clock_that_is_set() {
        let before = Offset::new(1_000, 0, 10);
        let after = Offset::new(1_000 + HOUR_NS, 0, 10);
        assert_eq!(before.updated(after), after);
    }

    #[test]
    fn noise_moves_no_event() {
        let first = Offset::new(1_000, 0, 10);
        assert_eq!(first.updated(Offset::new(100_000, 0, 10)), first);
        // Five milliseconds, and the machine stood still for ten between the readings.
        let interrupted = Offset::new(5_000_000, 0, 10_000_000);
        assert_eq!(first.updated(interrupted), first);
    }

    #[test]
    fn a_poor_first_reading_is_mended() {
        let poor = Offset::new(3_000_000, 0, 8_000_000);
        let good = Offset::new(0, 0, 10);
        assert_eq!(poor.updated(good), good);
    }
}
