//! What a process used by its end.
//!
//! The kernel adds what a thread used to its process's sums when nobody can ask for the thread any
//! more. When the last one ends others may not have come so far, and the first one never has while
//! the process is there: what those used stands with themselves.

use event::process::Usage;

use super::{
    NOWHERE, PAGE_SIZE, Parameter, Pointer, SIGNAL_IO_READ, SIGNAL_IO_WRITTEN, SIGNAL_MAX_RSS,
    SIGNAL_RUN_TIME, SIGNAL_STATS_SEQUENCE, SIGNAL_SYSTEM_TIME, SIGNAL_THREADS, SIGNAL_USER_TIME,
    TASK_IO_READ, TASK_IO_WRITTEN, TASK_RUN_TIME, TASK_SIGNAL, TASK_SYSTEM_TIME, TASK_THREAD_NODE,
    TASK_USER_TIME, Task, field, probe,
};

/// Threads that are looked at, those looked at again included. A process that has more of them left
/// when its last one ends is not told what it used.
const STEP_COUNT_MAX: u32 = 512;

impl Task {
    /// What its process used until now.
    #[inline(always)]
    pub(crate) fn usage(self) -> Usage {
        let signal: Pointer = field(self.0, TASK_SIGNAL);
        if signal.is_null() || SIGNAL_STATS_SEQUENCE.value() == NOWHERE {
            return UNKNOWN;
        }
        let mut usage = match sum(signal) {
            Some(usage) => usage,
            None => UNKNOWN,
        };
        let pages: u64 = field(signal, SIGNAL_MAX_RSS);
        usage.peak_memory = pages.wrapping_mul(PAGE_SIZE.value());
        usage
    }
}

const UNKNOWN: Usage = Usage {
    user_time: Usage::UNKNOWN,
    system_time: Usage::UNKNOWN,
    run_time: Usage::UNKNOWN,
    peak_memory: Usage::UNKNOWN,
    read_bytes: Usage::UNKNOWN,
    written_bytes: Usage::UNKNOWN,
};

/// The sums of the process and what stands with its threads. A thread that is added to the sums
/// meanwhile would be missed, or counted twice: then it begins again.
#[inline(always)]
fn sum(signal: Pointer) -> Option<Usage> {
    let head = signal.wrapping_add(SIGNAL_THREADS.offset()) as u64;
    let mut sequence: u32 = field(signal, SIGNAL_STATS_SEQUENCE);
    let mut sums = of_process(signal);
    let mut next: u64 = probe(signal, SIGNAL_THREADS);
    for _ in 0..STEP_COUNT_MAX {
        if next == head {
            let now: u32 = field(signal, SIGNAL_STATS_SEQUENCE);
            if now == sequence && now & 1 == 0 {
                return Some(sums);
            }
            sequence = now;
            sums = of_process(signal);
            next = probe(signal, SIGNAL_THREADS);
            continue;
        }
        let node = next as Pointer;
        add_thread(&mut sums, node.wrapping_sub(TASK_THREAD_NODE.offset()));
        // A list begins with the pointer to what is next.
        next = super::probe_at(node);
    }
    None
}

#[inline(always)]
fn of_process(signal: Pointer) -> Usage {
    Usage {
        user_time: field(signal, SIGNAL_USER_TIME),
        system_time: field(signal, SIGNAL_SYSTEM_TIME),
        run_time: field(signal, SIGNAL_RUN_TIME),
        peak_memory: 0,
        read_bytes: maybe(signal, SIGNAL_IO_READ),
        written_bytes: maybe(signal, SIGNAL_IO_WRITTEN),
    }
}

#[inline(always)]
fn maybe(signal: Pointer, which: Parameter) -> u64 {
    match which.value() {
        NOWHERE => Usage::UNKNOWN,
        _there => field(signal, which),
    }
}

#[inline(always)]
fn add_thread(sums: &mut Usage, task: Pointer) {
    let add = |sum: u64, which| sum.wrapping_add(probe::<u64>(task, which));
    sums.user_time = add(sums.user_time, TASK_USER_TIME);
    sums.system_time = add(sums.system_time, TASK_SYSTEM_TIME);
    sums.run_time = add(sums.run_time, TASK_RUN_TIME);
    if TASK_IO_READ.value() != NOWHERE {
        sums.read_bytes = add(sums.read_bytes, TASK_IO_READ);
        sums.written_bytes = add(sums.written_bytes, TASK_IO_WRITTEN);
    }
}
