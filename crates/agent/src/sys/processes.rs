//! Processes that are there now, as the system tells of them by id.

use event::Flags;

use super::pid_namespace;
use super::proc::{self, Process};

pub use super::proc::Program;

/// Nanoseconds in the unit of a [`ProcessKey`](event::ProcessKey)'s start time.
pub const START_TICK_NS: u64 = proc::TICK_NS;

/// Whether the system tells of processes under the ids that events have.
pub fn are_told() -> bool {
    pid_namespace::is_proc_initial()
}

/// This process's own id as events have it, where it can be known.
pub fn own_id() -> Option<u32> {
    pid_namespace::own_id()
}

/// When the process that has this id now started, in ticks (`/proc/PID/stat`, field 22).
pub fn start_tick(process_id: u32) -> Option<u64> {
    if !are_told() {
        return None;
    }
    let stat = Process::open(process_id).and_then(|process| process.stat());
    stat.ok().map(|stat| stat.start_tick)
}

/// What the process with this id that started at `start_time` runs now.
pub fn program(process_id: u32, start_time: u64) -> Option<Program> {
    if !are_told() || start_time == 0 {
        return None;
    }
    let process = Process::open(process_id).ok()?;
    let program = process.program();
    // Asked last: what is open is one process, and it still was one when its program was read.
    let is_it = process.stat().ok()?.start_tick == start_time / START_TICK_NS;
    let unavailable = [Flags::IMAGE_UNAVAILABLE, Flags::COMMAND_LINE_UNAVAILABLE];
    let is_whole = !unavailable.iter().any(|&flag| program.flags.contains(flag));
    (is_it && is_whole).then_some(program)
}
