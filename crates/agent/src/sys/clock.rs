//! The sensor's clock and the time of day, read together.

use nix::time::{ClockId, clock_gettime};

use super::offset::Offset;

/// Readings of both clocks that took longer than this are not of one moment: the thread was
/// interrupted between them.
const READING_NS_MAX: u64 = 20_000;

/// How often a reading is repeated. When all were interrupted the shortest counts.
const READINGS_MAX: usize = 16;

/// Now on the sensor's clock (`CLOCK_BOOTTIME`, which goes on while the machine sleeps), and the
/// offset to the time of day.
pub fn now() -> (u64, Offset) {
    let reading = read(ClockId::CLOCK_REALTIME);
    let offset = Offset::new(reading.other, reading.boot.unsigned_abs(), reading.took);
    (reading.boot.unsigned_abs(), offset)
}

/// From `CLOCK_MONOTONIC`, which stands still while the machine sleeps, to the sensor's clock.
pub fn slept() -> Offset {
    let reading = read(ClockId::CLOCK_MONOTONIC);
    Offset::new(reading.boot, reading.other.unsigned_abs(), reading.took)
}

/// One reading of the sensor's clock and another.
struct Reading {
    boot: i64,
    other: i64,
    /// The other clock was read within this many nanoseconds around `boot`.
    took: u64,
}

/// The best of some readings.
fn read(clock: ClockId) -> Reading {
    let mut best = read_once(clock);
    for _ in 1..READINGS_MAX {
        if best.took <= READING_NS_MAX {
            break;
        }
        let again = read_once(clock);
        if again.took < best.took {
            best = again;
        }
    }
    best
}

fn read_once(clock: ClockId) -> Reading {
    let before = nanoseconds(ClockId::CLOCK_BOOTTIME);
    let other = nanoseconds(clock);
    let after = nanoseconds(ClockId::CLOCK_BOOTTIME);
    Reading {
        boot: before.midpoint(after),
        other,
        took: after.abs_diff(before),
    }
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
