//! Timers, DPCs and the clock: real time, and two threads that are the processors DPCs run on.

#![expect(unsafe_code, reason = "calls the driver's deferred routines")]

use crate::contract::{DISPATCH_LEVEL, HIGH_LEVEL, PASSIVE_LEVEL, at_irql, breach, enter, lock};
use nt::sys::{DEFERRED_ROUTINE, KDPC, KTIMER, PVOID};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::FILETIME;
use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};
use windows_sys::Win32::System::SystemInformation::GetSystemTimePreciseAsFileTime;

/// Two, so that the same routine can run twice at once.
const PROCESSORS: usize = 2;

/// How long a flush waits for routines before it gives up and says so.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(10);

/// The kernel counts time in units of 100 ns.
const UNITS_PER_SECOND: i128 = 10_000_000;

static QUEUES: Mutex<Queues> = Mutex::new(Queues {
    dpcs: VecDeque::new(),
    timers: Vec::new(),
    of_timers: Vec::new(),
    running: Vec::new(),
    newest: 0,
});
static CHANGED: Condvar = Condvar::new();

struct Queues {
    dpcs: VecDeque<Dpc>,
    timers: Vec<Timer>,
    /// DPCs that a timer was set with.
    of_timers: Vec<usize>,
    /// The numbers of those that run.
    running: Vec<u64>,
    /// The number of the DPC that was queued last.
    newest: u64,
}

/// A queued DPC, as it was when it was queued.
#[derive(Clone, Copy)]
struct Dpc {
    number: u64,
    raw: *mut KDPC,
    routine: DEFERRED_ROUTINE,
    context: PVOID,
}

// SAFETY: DPCs run on any processor.
unsafe impl Send for Dpc {}

struct Timer {
    address: usize,
    due: Instant,
    dpc: Dpc,
}

/// Starts the processors.
pub(crate) fn start() {
    for _processor in 0..PROCESSORS {
        std::thread::spawn(run_processor);
    }
}

/// Notes what is left, and forgets it.
pub(crate) fn finish() {
    let mut queues = lock(&QUEUES);
    if !queues.timers.is_empty() {
        breach("a timer is left");
    }
    if !queues.dpcs.is_empty() || !queues.running.is_empty() {
        breach("a DPC is left");
    }
    queues.timers.clear();
    queues.of_timers.clear();
    queues.dpcs.clear();
}

fn run_processor() {
    let mut queues = lock(&QUEUES);
    loop {
        let now = Instant::now();
        while let Some(index) = queues.timers.iter().position(|timer| timer.due <= now) {
            let timer = queues.timers.swap_remove(index);
            queue(&mut queues, timer.dpc);
        }
        if let Some(dpc) = queues.dpcs.pop_front() {
            queues.running.push(dpc.number);
            drop(queues);
            run(dpc);
            queues = lock(&QUEUES);
            queues.running.retain(|number| *number != dpc.number);
            CHANGED.notify_all();
            continue;
        }
        let due = queues.timers.iter().map(|timer| timer.due).min();
        queues = match due {
            Some(due) => {
                CHANGED
                    .wait_timeout(queues, due.saturating_duration_since(now))
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
            None => CHANGED.wait(queues).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

fn run(dpc: Dpc) {
    at_irql(DISPATCH_LEVEL, "a DPC", || {
        let none = std::ptr::null_mut();
        // SAFETY: the driver keeps routine and context good until it has flushed the DPCs.
        unsafe {
            (dpc.routine)(dpc.raw, dpc.context, none, none);
        }
    });
}

/// Queues a DPC unless it is queued already.
fn queue(queues: &mut Queues, dpc: Dpc) -> bool {
    let is_queued = queues.dpcs.iter().any(|queued| queued.raw == dpc.raw);
    if !is_queued {
        queues.newest += 1;
        let number = queues.newest;
        queues.dpcs.push_back(Dpc { number, ..dpc });
    }
    !is_queued
}

/// The DPC as its structure says now.
fn read(raw: *mut KDPC) -> Option<Dpc> {
    // SAFETY: the driver passes a DPC that it initialised and that nobody writes.
    let dpc = unsafe { &*raw };
    let Some(routine) = dpc.DeferredRoutine else {
        breach("a DPC is used that was not initialised");
        return None;
    };
    Some(Dpc {
        number: 0,
        raw,
        routine,
        context: dpc.DeferredContext,
    })
}

pub(crate) unsafe extern "system" fn initialize_dpc(
    dpc: *mut KDPC,
    routine: DEFERRED_ROUTINE,
    context: PVOID,
) {
    enter("KeInitializeDpc", HIGH_LEVEL);
    // SAFETY: the driver passes room for a DPC that nobody else uses.
    let dpc = unsafe { &mut *dpc };
    dpc.DeferredRoutine = Some(routine);
    dpc.DeferredContext = context;
}

pub(crate) unsafe extern "system" fn initialize_timer(timer: *mut KTIMER) {
    enter("KeInitializeTimer", DISPATCH_LEVEL);
    // SAFETY: the driver passes room for a timer that nobody else uses.
    unsafe {
        (*timer).DueTime = 0;
    }
}

pub(crate) unsafe extern "system" fn insert_queue_dpc(
    dpc: *mut KDPC,
    _first: PVOID,
    _second: PVOID,
) -> u8 {
    enter("KeInsertQueueDpc", HIGH_LEVEL);
    let Some(dpc) = read(dpc) else {
        return 0;
    };
    let mut queues = lock(&QUEUES);
    if queues.of_timers.contains(&dpc.raw.addr()) {
        breach("a DPC is queued that is a timer's");
    }
    let is_new = queue(&mut queues, dpc);
    drop(queues);
    CHANGED.notify_all();
    u8::from(is_new)
}

pub(crate) unsafe extern "system" fn set_timer(timer: *mut KTIMER, due: i64, dpc: *mut KDPC) -> u8 {
    enter("KeSetTimer", DISPATCH_LEVEL);
    if due >= 0 {
        breach("only relative times are expected");
    }
    let Some(dpc) = read(dpc) else {
        return 0;
    };
    let after = Duration::from_nanos(due.unsigned_abs().saturating_mul(100));
    let mut queues = lock(&QUEUES);
    if !queues.of_timers.contains(&dpc.raw.addr()) {
        queues.of_timers.push(dpc.raw.addr());
    }
    let count = queues.timers.len();
    queues.timers.retain(|set| set.address != timer.addr());
    let was_set = queues.timers.len() != count;
    queues.timers.push(Timer {
        address: timer.addr(),
        due: Instant::now() + after,
        dpc,
    });
    CHANGED.notify_all();
    u8::from(was_set)
}

pub(crate) unsafe extern "system" fn cancel_timer(timer: *mut KTIMER) -> u8 {
    enter("KeCancelTimer", DISPATCH_LEVEL);
    let mut queues = lock(&QUEUES);
    let count = queues.timers.len();
    queues.timers.retain(|set| set.address != timer.addr());
    u8::from(queues.timers.len() != count)
}

pub(crate) unsafe extern "system" fn flush_queued_dpcs() {
    enter("KeFlushQueuedDpcs", PASSIVE_LEVEL);
    let queues = lock(&QUEUES);
    // What is queued from now on is not waited for.
    let until = queues.newest;
    let (_queues, outcome) = CHANGED
        .wait_timeout_while(queues, FLUSH_TIME_MAX, |queues| {
            let waiting = queues.dpcs.iter().map(|dpc| dpc.number);
            let mut numbers = waiting.chain(queues.running.iter().copied());
            numbers.any(|number| number <= until)
        })
        .unwrap_or_else(PoisonError::into_inner);
    if outcome.timed_out() {
        breach("DPCs are still running after ten seconds");
    }
}

pub(crate) unsafe extern "system" fn query_interrupt_time_precise(counter: *mut u64) -> u64 {
    enter("KeQueryInterruptTimePrecise", HIGH_LEVEL);
    // Wine has no interrupt time, and its performance counter does not follow the time of day either.
    let (mut count, mut per_second) = (0, 0);
    // SAFETY: there is room for the count.
    unsafe {
        QueryPerformanceCounter(&raw mut count);
    }
    // SAFETY: there is room for the frequency.
    unsafe {
        QueryPerformanceFrequency(&raw mut per_second);
    }
    // SAFETY: the driver passes room for the counter.
    unsafe {
        *counter = count.unsigned_abs();
    }
    let units = i128::from(count) * UNITS_PER_SECOND / i128::from(per_second.max(1));
    u64::try_from(units).unwrap_or(0)
}

pub(crate) unsafe extern "system" fn query_system_time_precise(time: *mut i64) {
    enter("KeQuerySystemTimePrecise", HIGH_LEVEL);
    let mut now = FILETIME::default();
    // SAFETY: there is room for the time.
    unsafe {
        GetSystemTimePreciseAsFileTime(&raw mut now);
    }
    let units = (u64::from(now.dwHighDateTime) << 32) | u64::from(now.dwLowDateTime);
    // SAFETY: the driver passes room for the time.
    unsafe {
        *time = units.cast_signed();
    }
}
