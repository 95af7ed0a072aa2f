//! The sensor's clock, which on Windows is the time of day.

#![expect(unsafe_code, reason = "reads the clock")]

use windows_sys::Win32::Foundation::FILETIME;
use windows_sys::Win32::System::SystemInformation::GetSystemTimePreciseAsFileTime;

use super::offset::Offset;

/// 100 ns intervals from 1601, where Windows begins to count, to 1970.
const TO_1970: u64 = 116_444_736_000_000_000;

/// Now on the sensor's clock (nanoseconds since 1970, UTC), and the offset to the time of day, of
/// which there is none.
pub fn now() -> (u64, Offset) {
    let mut time = FILETIME::default();
    // SAFETY: `time` is writable for the call, which cannot fail.
    unsafe {
        GetSystemTimePreciseAsFileTime(&raw mut time);
    }
    (on_sensor_clock(of(time)), Offset::default())
}

/// A file time as one number.
pub(super) const fn of(time: FILETIME) -> u64 {
    (time.dwHighDateTime as u64) << 32 | time.dwLowDateTime as u64
}

/// A time the kernel tells, in 100 ns since 1601, on the sensor's clock; 0, which stands for "not
/// known", before 1970.
pub const fn on_sensor_clock(file_time: u64) -> u64 {
    file_time.saturating_sub(TO_1970).saturating_mul(100)
}
