//! What a process used by its end.
//!
//! The kernel adds what a thread used to its process's sums when nobody can ask for the thread any
//! more. When the last one ends others may not have come so far, and the first one never has while
//! the process is there: what those used stands with themselves.

use event::process::Usage;

use super::{
    NOWHERE, PAGE_SIZE, Parameter, Pointer, SIGNAL_IO_READ, SIGNAL_IO_WRITTEN, SIGNAL_MAX_RSS,
    SIGNAL_RUN_TIME, SIGNAL_STATS_SEQUENCE, SIGNAL_SYSTEM_TIME, SIGNAL_THREADS, SIGNAL_USER_TIME,
    Steps, TASK_IO_READ, TASK_IO_WRITTEN, TASK_RUN_TIME, TASK_SIGNAL, TASK_SYSTEM_TIME,
    TASK_THREAD_NODE, TASK_USER_TIME, Task, field, probe, repeat,
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

/// The sums of the process and what stands with its threads.
#[inline(always)]
fn sum(signal: Pointer) -> Option<Usage> {
    let mut sum = Sum {
        signal,
        sequence: field(signal, SIGNAL_STATS_SEQUENCE),
        usage: of_process(signal),
        next: probe(signal, SIGNAL_THREADS),
        is_whole: false,
    };
    repeat(STEP_COUNT_MAX, &mut sum);
    sum.is_whole.then_some(sum.usage)
}

/// Adding thread by thread. One that is added to the process's sums meanwhile would be missed, or
/// counted twice: then it begins again.
struct Sum {
    signal: Pointer,
    /// What the counter of changes was at the begin.
    sequence: u32,
    usage: Usage,
    /// The next in the list, which ends where it begins.
    next: u64,
    is_whole: bool,
}

impl Steps for Sum {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let head = self.signal.wrapping_add(SIGNAL_THREADS.offset()) as u64;
        if self.next != head {
            let node = self.next as Pointer;
            let task = node.wrapping_sub(TASK_THREAD_NODE.offset());
            add_thread(&mut self.usage, task);
            // A list begins with the pointer to what is next.
            self.next = super::probe_at(node);
            return false;
        }
        let now: u32 = field(self.signal, SIGNAL_STATS_SEQUENCE);
        self.is_whole = now == self.sequence && now & 1 == 0;
        if !self.is_whole {
            self.sequence = now;
            self.usage = of_process(self.signal);
            self.next = probe(self.signal, SIGNAL_THREADS);
        }
        self.is_whole
    }
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
