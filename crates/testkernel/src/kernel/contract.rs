//! What the kernel's documentation demands of callers, what came of it, and "the nth call fails".
//!
//! A breach does not stop the driver: it is written down, and whoever asks for the report reads it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use testkernel::Report;
use testkernel::request::Creator;

pub(crate) const PASSIVE_LEVEL: u8 = 0;
pub(crate) const APC_LEVEL: u8 = 1;
pub(crate) const DISPATCH_LEVEL: u8 = 2;
pub(crate) const HIGH_LEVEL: u8 = 15;

/// `STATUS_INSUFFICIENT_RESOURCES`: what a call that was told to fail says.
pub(crate) const INJECTED: i32 = 0xc000_009a_u32.cast_signed();

/// More breaches than this are one breach told again and again.
const BREACHES_MAX: usize = 200;

static NOTES: Mutex<Notes> = Mutex::new(Notes {
    breaches: Vec::new(),
    calls: BTreeMap::new(),
    requests: BTreeMap::new(),
    log: Vec::new(),
    failing: None,
    has_struck: false,
});

struct Notes {
    breaches: Vec<String>,
    calls: BTreeMap<&'static str, u64>,
    requests: BTreeMap<u32, u64>,
    log: Vec<(u32, u32)>,
    /// The function, and how many more calls until the one that fails.
    failing: Option<(String, u64)>,
    has_struck: bool,
}

thread_local! {
    /// Each thread is a processor of its own.
    static IRQL: Cell<u8> = const { Cell::new(PASSIVE_LEVEL) };
    static SPIN_LOCKS: Cell<u32> = const { Cell::new(0) };
    /// Whose part this thread plays; process 0 when nobody's.
    static PART: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// The mutex's data, whatever happened to another thread.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes a breach of the contract.
pub(crate) fn breach(text: impl Into<String>) {
    let mut notes = lock(&NOTES);
    if notes.breaches.len() < BREACHES_MAX {
        notes.breaches.push(text.into());
    }
}

/// To be called first by every function of the kernel: counts the call and notes one at too high an
/// IRQL.
pub(crate) fn enter(function: &'static str, highest: u8) {
    let irql = irql();
    if irql > highest {
        breach(format!(
            "{function} called at IRQL {irql}, allowed is {highest}"
        ));
    }
    *lock(&NOTES).calls.entry(function).or_insert(0) += 1;
}

/// Whether this call of `function` is the one that was told to fail.
pub(crate) fn strikes(function: &'static str) -> bool {
    let mut notes = lock(&NOTES);
    let Some((name, left)) = &mut notes.failing else {
        return false;
    };
    if name != function {
        return false;
    }
    *left = left.saturating_sub(1);
    if *left > 0 {
        return false;
    }
    notes.failing = None;
    notes.has_struck = true;
    true
}

/// Lets the `nth` call of `function` from now on fail; none when it is 0.
pub(crate) fn fail(function: String, nth: u64) {
    let mut notes = lock(&NOTES);
    notes.failing = (nth > 0).then_some((function, nth));
    notes.has_struck = false;
}

pub(crate) fn count_request(major: u8) {
    *lock(&NOTES).requests.entry(u32::from(major)).or_insert(0) += 1;
}

pub(crate) fn log(step: u32, status: u32) {
    lock(&NOTES).log.push((step, status));
}

/// Forgets what was noted.
pub(crate) fn reset() {
    let mut notes = lock(&NOTES);
    notes.breaches.clear();
    notes.calls.clear();
    notes.requests.clear();
    notes.log.clear();
    notes.failing = None;
    notes.has_struck = false;
}

/// What was noted; the rest of the report is the caller's.
pub(crate) fn report() -> Report {
    let notes = lock(&NOTES);
    Report {
        breaches: notes.breaches.clone(),
        calls: notes
            .calls
            .iter()
            .map(|(function, count)| ((*function).to_owned(), *count))
            .collect(),
        requests: notes.requests.clone(),
        log: notes.log.clone(),
        has_struck: notes.has_struck,
        ..Report::default()
    }
}

pub(crate) fn irql() -> u8 {
    IRQL.get()
}

pub(crate) fn set_irql(irql: u8) {
    IRQL.set(irql);
}

/// Runs `body_fn`, a call into the driver, at `irql`; notes when it comes back at another or with a
/// spin lock held.
pub(crate) fn at_irql<R>(irql: u8, what: &str, body_fn: impl FnOnce() -> R) -> R {
    let old = IRQL.replace(irql);
    let result = body_fn();
    if IRQL.get() != irql {
        let left = IRQL.get();
        breach(format!("{what} came back at IRQL {left} instead of {irql}"));
    }
    if SPIN_LOCKS.replace(0) != 0 {
        breach(format!("{what} came back with a spin lock held"));
    }
    IRQL.set(old);
    result
}

/// Runs `body_fn` in the part of a thread.
pub(crate) fn as_thread<R>(thread: Creator, body_fn: impl FnOnce() -> R) -> R {
    let old = PART.replace((thread.process_id, thread.thread_id));
    let result = body_fn();
    PART.set(old);
    result
}

/// Process and thread this thread plays, if it plays one.
pub(crate) fn part() -> Option<(u32, u32)> {
    Some(PART.get()).filter(|(process_id, _)| *process_id != 0)
}

/// How many spin locks this processor holds.
pub(crate) fn spin_locks() -> u32 {
    SPIN_LOCKS.get()
}

pub(crate) fn set_spin_locks(count: u32) {
    SPIN_LOCKS.set(count);
}
