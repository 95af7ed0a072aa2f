//! The sensor's clock and the time of day, read together.

use nix::time::{ClockId, clock_gettime};

use crate::clock::Offset;

/// Readings of both clocks that took longer than this are not of one moment: the thread was
/// interrupted between them.
const READING_NS_MAX: u64 = 20_000;

/// How often a reading is repeated. When all were interrupted the shortest counts.
const READINGS_MAX: usize = 16;

/// Now on the sensor's clock (`CLOCK_BOOTTIME`, which goes on while the machine sleeps), and the
/// offset to the time of day.
pub fn now() -> (u64, Offset) {
    let mut best = read();
    for _ in 1..READINGS_MAX {
        if best.took <= READING_NS_MAX {
            break;
        }
        let again = read();
        if again.took < best.took {
            best = again;
        }
    }
    (best.boot, Offset::new(best.wall, best.boot, best.took))
}

/// One reading of both clocks.
struct Reading {
    boot: u64,
    wall: i64,
    /// The wall time was read within this many nanoseconds around `boot`.
    took: u64,
}

fn read() -> Reading {
    let before = nanoseconds(ClockId::CLOCK_BOOTTIME);
    let wall = nanoseconds(ClockId::CLOCK_REALTIME);
    let after = nanoseconds(ClockId::CLOCK_BOOTTIME);
    Reading {
        boot: before.midpoint(after).unsigned_abs(),
        wall,
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
