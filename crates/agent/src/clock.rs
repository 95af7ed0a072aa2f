//! From the sensor's clock to the time of day.

use crate::trail::Time;

/// Turns the sensor's nanoseconds (Linux: `CLOCK_BOOTTIME`) into UTC.
///
/// The time of day can be set while the agent runs, so the offset is taken anew with each batch.
/// It is replaced only when it moved by more than [`Offset::TOLERANCE_NS`], so that two readings of
/// the same pair of clocks never reorder events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset(i64);

impl Offset {
    /// Smaller moves than this are noise of the measurement.
    pub const TOLERANCE_NS: i64 = 200_000;

    /// An offset from a pair of readings.
    pub const fn new(wall_ns: i64, sensor_ns: u64) -> Self {
        Self(wall_ns.wrapping_sub(sensor_ns.cast_signed()))
    }

    /// This offset, or `measured` where the time of day was moved.
    #[must_use]
    pub const fn updated(self, measured: Self) -> Self {
        if self.0.abs_diff(measured.0) > Self::TOLERANCE_NS.unsigned_abs() {
            measured
        } else {
            self
        }
    }

    /// The time of day of a sensor time.
    pub const fn time(self, sensor_ns: u64) -> Time {
        Time(sensor_ns.cast_signed().wrapping_add(self.0))
    }
}
