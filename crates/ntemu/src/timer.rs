//! Timers, DPCs and the clock. Time passes only when a test says so.

#![expect(unsafe_code, reason = "calls the driver's deferred routines")]

use crate::contract::{DISPATCH_LEVEL, HIGH_LEVEL, PASSIVE_LEVEL, at_irql, breach, enter, irql};
use crate::mutex::lock;
use nt::sys::{DEFERRED_ROUTINE, KDPC, KTIMER, PVOID};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// 2026-01-01, in the kernel's units of 100 ns since 1601.
pub(crate) const START_TIME: i64 = 134_117_280_000_000_000;

/// The machine has been up for a minute by then.
const BOOT_TIME: i64 = START_TIME - 600_000_000;

static NOW: AtomicI64 = AtomicI64::new(START_TIME);
/// By how much the time of day was set ahead.
static SET_AHEAD: AtomicI64 = AtomicI64::new(0);
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static QUEUES: Mutex<Queues> = Mutex::new(Queues {
    dpcs: VecDeque::new(),
    timers: Vec::new(),
    of_timers: Vec::new(),
    delayed: Delayed::No,
});

#[derive(Default)]
struct Queues {
    dpcs: VecDeque<Dpc>,
    timers: Vec<Timer>,
    /// DPCs that a timer was set with.
    of_timers: Vec<usize>,
    delayed: Delayed,
}

/// What a slow processor does: a routine on it has decided to queue a DPC, and does so only while
/// another processor flushes.
#[derive(Default)]
enum Delayed {
    #[default]
    No,
    /// The next DPC that a DPC's routine queues.
    Next,
    This(Dpc),
    /// It was queued during a flush, and runs at any time from then on: when it is too late, unless
    /// another flush waits for it.
    Queued(Dpc),
}

/// A queued DPC, as it was when it was queued.
#[derive(Clone, Copy)]
struct Dpc {
    raw: *mut KDPC,
    routine: DEFERRED_ROUTINE,
    context: PVOID,
}

// SAFETY: DPCs run on any processor.
unsafe impl Send for Dpc {}

struct Timer {
    address: usize,
    due: i64,
    dpc: Dpc,
}

pub(crate) fn finish() {
    let queues = std::mem::take(&mut *lock(&QUEUES));
    let is_delayed = matches!(queues.delayed, Delayed::This(_) | Delayed::Queued(_));
    if !queues.dpcs.is_empty() || !queues.timers.is_empty() || is_delayed {
        breach("a timer or DPC is left");
    }
    NOW.store(START_TIME, Ordering::SeqCst);
    SET_AHEAD.store(0, Ordering::SeqCst);
}

/// Sets the time of day ahead, or back.
pub(crate) fn set_ahead(units: i64) {
    SET_AHEAD.fetch_add(units, Ordering::SeqCst);
}

/// Whether a timer is set.
pub(crate) fn is_any_timer_set() -> bool {
    !lock(&QUEUES).timers.is_empty()
}

/// Lets the processor be slow that next queues a DPC in a DPC's routine.
pub(crate) fn delay_next() {
    lock(&QUEUES).delayed = Delayed::Next;
}

/// Whether that has happened.
pub(crate) fn is_any_delayed() -> bool {
    matches!(lock(&QUEUES).delayed, Delayed::This(_))
}

/// Lets time pass and runs what is due.
pub(crate) fn advance(units: i64) {
    let now = NOW.fetch_add(units, Ordering::SeqCst) + units;
    loop {
        let mut queues = lock(&QUEUES);
        let Some(index) = queues.timers.iter().position(|timer| timer.due <= now) else {
            break;
        };
        let timer = queues.timers.swap_remove(index);
        queue(&mut queues, timer.dpc);
        drop(queues);
        run_queued_dpcs();
    }
}

/// Runs what is queued, if this processor's IRQL allows.
pub(crate) fn run_queued_dpcs() {
    while irql() < DISPATCH_LEVEL {
        let mut queues = lock(&QUEUES);
        let Some(dpc) = queues.dpcs.pop_front() else {
            return;
        };
        RUNNING.fetch_add(1, Ordering::SeqCst);
        drop(queues);
        run(dpc);
        RUNNING.fetch_sub(1, Ordering::SeqCst);
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
        queues.dpcs.push_back(dpc);
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
        raw,
        routine,
        context: dpc.DeferredContext,
    })
}

#[unsafe(no_mangle)]
unsafe extern "system" fn KeInitializeDpc(
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

#[unsafe(no_mangle)]
unsafe extern "system" fn KeInitializeTimer(timer: *mut KTIMER) {
    enter("KeInitializeTimer", DISPATCH_LEVEL);
    // SAFETY: the driver passes room for a timer that nobody else uses.
    unsafe {
        (*timer).DueTime = 0;
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn KeInsertQueueDpc(dpc: *mut KDPC, _first: PVOID, _second: PVOID) -> u8 {
    enter("KeInsertQueueDpc", HIGH_LEVEL);
    let Some(dpc) = read(dpc) else {
        return 0;
    };
    let mut queues = lock(&QUEUES);
    if queues.of_timers.contains(&dpc.raw.addr()) {
        breach("a DPC is queued that is a timer's");
    }
    if matches!(queues.delayed, Delayed::Next) && irql() == DISPATCH_LEVEL {
        queues.delayed = Delayed::This(dpc);
        return 1;
    }
    let is_new = queue(&mut queues, dpc);
    drop(queues);
    run_queued_dpcs();
    u8::from(is_new)
}

#[unsafe(no_mangle)]
unsafe extern "system" fn KeSetTimer(timer: *mut KTIMER, due: i64, dpc: *mut KDPC) -> u8 {
    enter("KeSetTimer", DISPATCH_LEVEL);
    if due >= 0 {
        breach("only relative times are expected");
    }
    let Some(dpc) = read(dpc) else {
        return 0;
    };
    let mut queues = lock(&QUEUES);
    if !queues.of_timers.contains(&dpc.raw.addr()) {
        queues.of_timers.push(dpc.raw.addr());
    }
    let count = queues.timers.len();
    queues.timers.retain(|set| set.address != timer.addr());
    let was_set = queues.timers.len() != count;
    queues.timers.push(Timer {
        address: timer.addr(),
        due: NOW.load(Ordering::SeqCst) - due,
        dpc,
    });
    u8::from(was_set)
}

#[unsafe(no_mangle)]
unsafe extern "system" fn KeCancelTimer(timer: *mut KTIMER) -> u8 {
    enter("KeCancelTimer", DISPATCH_LEVEL);
    let mut queues = lock(&QUEUES);
    let count = queues.timers.len();
    queues.timers.retain(|set| set.address != timer.addr());
    u8::from(queues.timers.len() != count)
}

#[unsafe(no_mangle)]
unsafe extern "system" fn KeFlushQueuedDpcs() {
    enter("KeFlushQueuedDpcs", PASSIVE_LEVEL);
    // Only what was queued before the call is sure to have run when it returns.
    let mut queues = lock(&QUEUES);
    let mut before = std::mem::take(&mut queues.dpcs);
    match std::mem::take(&mut queues.delayed) {
        Delayed::This(dpc) => queues.delayed = Delayed::Queued(dpc),
        Delayed::Queued(dpc) => before.push_back(dpc),
        Delayed::No | Delayed::Next => {}
    }
    drop(queues);
    for dpc in before {
        run(dpc);
    }
    while RUNNING.load(Ordering::SeqCst) != 0 {
        std::thread::yield_now();
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn KeQuerySystemTimePrecise(time: *mut i64) {
    enter("KeQuerySystemTimePrecise", HIGH_LEVEL);
    let now = NOW.load(Ordering::SeqCst) + SET_AHEAD.load(Ordering::SeqCst);
    // SAFETY: the driver passes room for the time.
    unsafe {
        *time = now;
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn KeQueryInterruptTimePrecise(counter: *mut u64) -> u64 {
    enter("KeQueryInterruptTimePrecise", HIGH_LEVEL);
    let since_boot = (NOW.load(Ordering::SeqCst) - BOOT_TIME).unsigned_abs();
    // SAFETY: the driver passes room for the counter.
    unsafe {
        *counter = since_boot;
    }
    since_boot
}

#[unsafe(no_mangle)]
unsafe extern "system" fn KeGetCurrentIrql() -> u8 {
    irql()
}
