//! "The nth call of X fails."

use crate::mutex::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// `STATUS_INSUFFICIENT_RESOURCES`: what an injected failure says.
pub const INJECTED: i32 = 0xc000_009a_u32.cast_signed();

/// The functions that can fail, as the documentation has it.
pub const FAILABLE: [&str; 16] = [
    "ExAllocatePoolWithTag",
    "IoAllocateErrorLogEntry",
    "IoCreateDevice",
    "IoCreateSymbolicLink",
    "MmMapLockedPagesSpecifyCache",
    "ObOpenObjectByPointer",
    "PsLookupProcessByProcessId",
    "PsLookupThreadByThreadId",
    "PsSetCreateProcessNotifyRoutineEx",
    "PsSetCreateThreadNotifyRoutine",
    "PsSetLoadImageNotifyRoutine",
    "ZwOpenKey",
    "ZwQueryInformationThread",
    "ZwQueryInformationToken",
    "ZwQueryValueKey",
    "ZwSetSecurityObject",
];

static ACTIVE: AtomicBool = AtomicBool::new(false);
static PLAN: Mutex<Plan> = Mutex::new(Plan {
    calls: BTreeMap::new(),
    failing: None,
    has_struck: false,
});

struct Plan {
    calls: BTreeMap<&'static str, u64>,
    failing: Option<(&'static str, u64)>,
    has_struck: bool,
}

/// Counts calls from now on and, if `failing` names one, lets that call fail.
pub(crate) fn plan(failing: Option<(&'static str, u64)>) {
    *lock(&PLAN) = Plan {
        calls: BTreeMap::new(),
        failing,
        has_struck: false,
    };
    ACTIVE.store(true, Ordering::SeqCst);
}

pub(crate) fn reset() {
    ACTIVE.store(false, Ordering::SeqCst);
}

pub(crate) fn calls(function: &str) -> u64 {
    lock(&PLAN).calls.get(function).copied().unwrap_or(0)
}

pub(crate) fn has_struck() -> bool {
    lock(&PLAN).has_struck
}

pub(crate) fn count(function: &'static str) {
    if ACTIVE.load(Ordering::SeqCst) {
        *lock(&PLAN).calls.entry(function).or_insert(0) += 1;
    }
}

/// Whether the call of `function` that was counted last is the one to fail.
pub(crate) fn strikes(function: &'static str) -> bool {
    if !ACTIVE.load(Ordering::SeqCst) {
        return false;
    }
    let mut plan = lock(&PLAN);
    let count = plan.calls.get(function).copied();
    let is_hit = plan
        .failing
        .is_some_and(|(name, nth)| name == function && Some(nth) == count);
    plan.has_struck |= is_hit;
    is_hit
}
