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

static NOW: AtomicI64 = AtomicI64::new(START_TIME);
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static QUEUES: Mutex<Queues> = Mutex::new(Queues {
    dpcs: VecDeque::new(),
    timers: Vec::new(),
});

#[derive(Default)]
struct Queues {
    dpcs: VecDeque<Dpc>,
    timers: Vec<Timer>,
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
    if !queues.dpcs.is_empty() || !queues.timers.is_empty() {
        breach("a timer or DPC is left");
    }
    NOW.store(START_TIME, Ordering::SeqCst);
}

/// Whether a timer is set.
pub(crate) fn is_any_timer_set() -> bool {
    !lock(&QUEUES).timers.is_empty()
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
        at_irql(DISPATCH_LEVEL, "a DPC", || {
            let none = std::ptr::null_mut();
            // SAFETY: the driver keeps routine and context good until it has flushed the DPCs.
            unsafe {
                (dpc.routine)(dpc.raw, dpc.context, none, none);
            }
        });
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
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
    let is_new = queue(&mut lock(&QUEUES), dpc);
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
    run_queued_dpcs();
    while RUNNING.load(Ordering::SeqCst) != 0 {
        std::thread::yield_now();
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn KeQuerySystemTimePrecise(time: *mut i64) {
    enter("KeQuerySystemTimePrecise", HIGH_LEVEL);
    // SAFETY: the driver passes room for the time.
    unsafe {
        *time = NOW.load(Ordering::SeqCst);
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn KeGetCurrentIrql() -> u8 {
    irql()
}
