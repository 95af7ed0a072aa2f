//! What the kernel's documentation demands of callers, and where a breach is written down.
//!
//! A breach does not panic: the kernel's functions are called from code that cannot unwind. It is
//! noted, and the machine's end asserts that there is none.

use crate::mutex::lock;
use std::cell::Cell;
use std::sync::Mutex;

pub(crate) const PASSIVE_LEVEL: u8 = 0;
pub(crate) const APC_LEVEL: u8 = 1;
pub(crate) const DISPATCH_LEVEL: u8 = 2;
pub(crate) const HIGH_LEVEL: u8 = 15;

static BREACHES: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    /// Each thread is a processor of its own.
    static IRQL: Cell<u8> = const { Cell::new(PASSIVE_LEVEL) };
    static SPIN_LOCKS: Cell<u32> = const { Cell::new(0) };
}

/// Notes a breach of the contract.
pub(crate) fn breach(text: impl Into<String>) {
    lock(&BREACHES).push(text.into());
}

/// Takes what was noted.
pub(crate) fn take_breaches() -> Vec<String> {
    std::mem::take(&mut *lock(&BREACHES))
}

/// To be called first by every function of the kernel: notes a call at too high an IRQL.
pub(crate) fn enter(function: &'static str, highest: u8) {
    let irql = irql();
    if irql > highest {
        breach(format!(
            "{function} called at IRQL {irql}, allowed is {highest}"
        ));
    }
    crate::fault::count(function);
}

pub(crate) fn irql() -> u8 {
    IRQL.get()
}

pub(crate) fn set_irql(irql: u8) {
    IRQL.set(irql);
}

/// Runs `body_fn` at `irql` and notes when it comes back at another.
pub(crate) fn at_irql<R>(irql: u8, what: &str, body_fn: impl FnOnce() -> R) -> R {
    let old = IRQL.replace(irql);
    let result = body_fn();
    if IRQL.get() != irql {
        breach(format!(
            "{what} came back at IRQL {} instead of {irql}",
            IRQL.get()
        ));
    }
    if SPIN_LOCKS.replace(0) != 0 {
        breach(format!("{what} came back with a spin lock held"));
    }
    IRQL.set(old);
    result
}

/// How many spin locks this processor holds.
pub(crate) fn spin_locks() -> u32 {
    SPIN_LOCKS.get()
}

pub(crate) fn set_spin_locks(count: u32) {
    SPIN_LOCKS.set(count);
}
