//! The driver's clock, which nobody sets, beside the time of day, which anybody with the right may set.
//!
//! Each batch says what the time of day is more than the driver's clock. The first of them makes the
//! sensor's clock of it: the time of day as it was when this agent began, which goes on undisturbed from
//! then. So a clock that is set makes no process run for an hour or for no time, and what waited in the
//! driver since before the first synchronisation of a boot is told by the clock as it was set by then.

use crate::sys::offset::Offset;

/// From the driver's clock to the sensor's, and on to the time of day.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// What the first batch said; nothing came before it.
    begun: Option<i64>,
    /// What the last one said.
    told: i64,
}

impl Clock {
    /// A batch says what the time of day is more than the driver's clock.
    pub(super) fn tell(&mut self, utc_offset: i64) {
        self.begun.get_or_insert(utc_offset);
        self.told = utc_offset;
    }

    /// A time of the driver's on the sensor's clock.
    pub(super) fn sensor_time(&self, driver_ns: u64) -> u64 {
        driver_ns.saturating_add_signed(self.begun.unwrap_or(0))
    }

    /// What the time of day is more than the sensor's clock.
    pub(super) fn offset(&self) -> Offset {
        let set_ahead = self.told.wrapping_sub(self.begun.unwrap_or(self.told));
        Offset::new(set_ahead, 0, 0)
    }
}
