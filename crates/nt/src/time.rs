//! The system's clocks: one that nobody sets, and the time of day.

#![expect(unsafe_code, reason = "calls the kernel")]

use crate::sys;

/// 100 ns units from 1601, where the kernel's times begin, to 1970.
const EPOCH_OFFSET: u64 = 116_444_736_000_000_000;

/// Nanoseconds since the system started, those it slept included. Setting the time of day does not move
/// it ([`KeQueryInterruptTimePrecise`](https://learn.microsoft.com/en-us/windows-hardware/drivers/ddi/wdm/nf-wdm-kequeryinterrupttimeprecise),
/// which every Windows since 8.1 has).
///
/// IRQL: any.
pub fn now_ns() -> u64 {
    let mut counter = 0;
    // SAFETY: writes the performance counter to the place it is given.
    let units = unsafe { sys::KeQueryInterruptTimePrecise(&raw mut counter) };
    units.saturating_mul(100)
}

/// What the time of day, in nanoseconds since 1970, UTC, is more than [`now_ns`], by the clock as it is
/// set now.
///
/// IRQL: any.
pub fn utc_offset_ns() -> i64 {
    let mut time = 0;
    // SAFETY: writes the time to the place it is given.
    unsafe {
        sys::KeQuerySystemTimePrecise(&raw mut time);
    }
    unix_ns(time)
        .cast_signed()
        .wrapping_sub(now_ns().cast_signed())
}

/// A kernel time in nanoseconds since 1970; 0 for a time before.
pub(crate) fn unix_ns(time: i64) -> u64 {
    u64::try_from(time)
        .unwrap_or(0)
        .saturating_sub(EPOCH_OFFSET)
        .saturating_mul(100)
}
