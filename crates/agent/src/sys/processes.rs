//! Processes that are there now, as the system tells of them by id.

use event::Flags;
use event::process::Users;

use super::pid_namespace;
use super::proc::{self, Process};

pub use super::proc::Program;

/// Nanoseconds in the unit of a [`ProcessKey`](event::ProcessKey)'s start time.
pub const START_TICK_NS: u64 = proc::TICK_NS;

/// Whether an id can be another process's within a tick: anybody can use up all ids, and who may can
/// choose one.
pub const IDS_RETURN_WITHIN_TICK: bool = true;

/// Whether a process may come to run another program.
pub const PROGRAMS_ARE_REPLACED: bool = true;

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

/// For whom the process with this id that started at `start_time` runs now, and who asked for that.
pub fn user(process_id: u32, start_time: u64) -> Option<(u32, Users)> {
    if !are_told() || start_time == 0 {
        return None;
    }
    let process = Process::open(process_id).ok()?;
    let users = process.user_ids().ok()?;
    let is_it = process.stat().ok()?.start_tick == start_time / START_TICK_NS;
    is_it.then_some(users)
}

/// The parent that the process with this id that started at `start_time` has now.
pub fn parent_id(process_id: u32, start_time: u64) -> Option<u32> {
    if !are_told() || start_time == 0 {
        return None;
    }
    let stat = Process::open(process_id).ok()?.stat().ok()?;
    (stat.start_tick == start_time / START_TICK_NS).then_some(stat.parent_process_id)
}

/// Whether what had this id at `time` is a thread of the kernel's own.
pub fn is_kernel(process_id: u32, time: u64) -> bool {
    let as_of = Process::open_as_of(process_id, time);
    are_told() && as_of.is_ok_and(|(_, stat)| stat.is_kernel)
}

/// What the kernel calls the thread of its own that had this id at `time`, if it is still there.
pub fn kernel_name(process_id: u32, time: u64) -> Option<String> {
    if !are_told() {
        return None;
    }
    let (process, stat) = Process::open_as_of(process_id, time).ok()?;
    if !stat.is_kernel {
        return None;
    }
    let name = process.name().ok()?;
    // A new thread has the name of kthreadd, which makes them all, until it is given its own.
    let is_own = name != "kthreadd" || process_id == KTHREADD;
    is_own.then(|| without_work(&name).to_owned())
}

/// The process id of the kernel thread that makes the others.
const KTHREADD: u32 = 2;

/// A worker's name without the work it has done last, or does, which the kernel appends: the name
/// would be of the moment (`wq_worker_comm` of `kernel/workqueue.c`). `kworker/R-x` is no such
/// name, but the worker kept back for the queue `x`.
fn without_work(name: &str) -> &str {
    let is_numbered = |name: &str| {
        name.strip_prefix("kworker/")
            .is_some_and(|number| !number.starts_with('R'))
    };
    match name.find(['-', '+']) {
        Some(end) if is_numbered(name) => name.get(..end).unwrap_or(name),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_name_is_not_what_it_does() {
        for (name, kept) in [
            ("kworker/u8:2-events_unbound", "kworker/u8:2"),
            ("kworker/0:1H+kblockd", "kworker/0:1H"),
            ("kworker/3:0", "kworker/3:0"),
            ("kworker/R-rcu_gp", "kworker/R-rcu_gp"),
            ("irq/24-nvme", "irq/24-nvme"),
        ] {
            assert_eq!(without_work(name), kept);
        }
    }

    #[test]
    fn only_the_kernels_own_processes_have_a_name() {
        assert_eq!(kernel_name(std::process::id(), u64::MAX), None);
        // In a container there is no such process.
        let kthreadd = kernel_name(KTHREADD, u64::MAX);
        assert!(kthreadd.is_none_or(|name| name == "kthreadd"));
        assert_eq!(kernel_name(KTHREADD, 0), None, "before it was there");
    }
}
