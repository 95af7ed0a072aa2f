//! "The nth call of X fails."

use crate::mutex::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// `STATUS_INSUFFICIENT_RESOURCES`: what an injected failure says.
pub const INJECTED: i32 = 0xc000_009a_u32.cast_signed();

/// The functions that can fail, as the documentation has it.
pub const FAILABLE: [&str; 21] = [
    "ExAllocatePoolWithTag",
    "IoAllocateErrorLogEntry",
    "IoCreateDevice",
    "IoCreateSymbolicLink",
    "MmMapLockedPagesSpecifyCache",
    "ObOpenObjectByPointer",
    "PsLookupProcessByProcessId",
    "PsLookupThreadByThreadId",
    "PsSetCreateProcessNotifyRoutineEx2",
    "PsSetCreateThreadNotifyRoutineEx",
    "PsSetLoadImageNotifyRoutine",
    "SeQueryAuthenticationIdToken",
    "ZwCreateKey",
    "ZwDeleteKey",
    "ZwOpenKey",
    "ZwQueryInformationProcess",
    "ZwQueryInformationThread",
    "ZwQueryInformationToken",
    "ZwQueryValueKey",
    "ZwSetSecurityObject",
    "ZwSetValueKey",
];

static ACTIVE: AtomicBool = AtomicBool::new(false);
static PLAN: Mutex<Plan> = Mutex::new(Plan {
    calls: BTreeMap::new(),
    failing: Vec::new(),
    struck: 0,
});

struct Plan {
    calls: BTreeMap<&'static str, u64>,
    failing: Vec<(&'static str, u64)>,
    struck: usize,
}

/// Counts calls from now on and lets those fail that `failing` names.
pub(crate) fn plan(failing: &[(&'static str, u64)]) {
    *lock(&PLAN) = Plan {
        calls: BTreeMap::new(),
        failing: failing.to_vec(),
        struck: 0,
    };
    ACTIVE.store(true, Ordering::SeqCst);
}

pub(crate) fn reset() {
    ACTIVE.store(false, Ordering::SeqCst);
}

pub(crate) fn calls(function: &str) -> u64 {
    lock(&PLAN).calls.get(function).copied().unwrap_or(0)
}

/// Whether each call that was to fail came.
pub(crate) fn has_struck() -> bool {
    let plan = lock(&PLAN);
    plan.struck >= plan.failing.len()
}

pub(crate) fn count(function: &'static str) {
    if ACTIVE.load(Ordering::SeqCst) {
        *lock(&PLAN).calls.entry(function).or_insert(0) += 1;
    }
}

/// Whether the call of `function` that was counted last is one to fail.
pub(crate) fn strikes(function: &'static str) -> bool {
    if !ACTIVE.load(Ordering::SeqCst) {
        return false;
    }
    let mut plan = lock(&PLAN);
    let count = plan.calls.get(function).copied();
    let is_hit = plan
        .failing
        .iter()
        .any(|(name, nth)| *name == function && Some(*nth) == count);
    plan.struck += usize::from(is_hit);
    is_hit
}
