//! The system's clock.

#![expect(unsafe_code, reason = "calls the kernel")]

use crate::sys;

/// 100 ns units from 1601, where the kernel's times begin, to 1970.
const EPOCH_OFFSET: u64 = 116_444_736_000_000_000;

/// Now, in nanoseconds since 1970, UTC.
///
/// IRQL: any.
pub fn now_ns() -> u64 {
    let mut time = 0;
    // SAFETY: writes the time to the place it is given.
    unsafe {
        sys::KeQuerySystemTimePrecise(&raw mut time);
    }
    unix_ns(time)
}

/// A kernel time in nanoseconds since 1970; 0 for a time before.
pub(crate) fn unix_ns(time: i64) -> u64 {
    u64::try_from(time)
        .unwrap_or(0)
        .saturating_sub(EPOCH_OFFSET)
        .saturating_mul(100)
}
