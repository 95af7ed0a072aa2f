//! The sensor's clock and the time of day, read together.

use nix::time::{ClockId, clock_gettime};

use crate::clock::Offset;

/// Now on the sensor's clock (`CLOCK_BOOTTIME`, which goes on while the machine sleeps), and the
/// offset to the time of day.
pub fn now() -> (u64, Offset) {
    let before = nanoseconds(ClockId::CLOCK_BOOTTIME);
    let wall = nanoseconds(ClockId::CLOCK_REALTIME);
    let after = nanoseconds(ClockId::CLOCK_BOOTTIME);
    let middle = before.midpoint(after);
    (
        middle.unsigned_abs(),
        Offset::new(wall, middle.unsigned_abs()),
    )
}

fn nanoseconds(clock: ClockId) -> i64 {
    match clock_gettime(clock) {
        Ok(time) => time
            .tv_sec()
            .saturating_mul(1_000_000_000)
            .saturating_add(time.tv_nsec()),
        // Both clocks exist since Linux 2.6.39 and the call has no other way to fail.
        Err(_unsupported) => 0,
    }
}
