//! Objects and handles: processes, threads, tokens, devices and keys. A handle that is not closed
//! and a reference that is not given back are breaches.

#![expect(unsafe_code, reason = "writes handles where the driver says")]

use crate::contract::{DISPATCH_LEVEL, PASSIVE_LEVEL, breach, enter};
use crate::fault::{self, INJECTED};
use crate::mutex::lock;
use nt::sys::{HANDLE, NTSTATUS, PVOID};
use std::collections::HashMap;
use std::sync::Mutex;

pub(crate) const OBJ_KERNEL_HANDLE: u32 = 0x200;

static HANDLES: Mutex<Handles> = Mutex::new(Handles {
    open: None,
    newest: 0,
});
static REFERENCES: Mutex<Option<HashMap<usize, u64>>> = Mutex::new(None);

/// Open handles, by number, and the address or name of what each stands for.
struct Handles {
    open: Option<HashMap<usize, Target>>,
    newest: usize,
}

/// What a handle stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Object(usize),
    Key(String),
}

pub(crate) fn finish() {
    let open = lock(&HANDLES).open.take().unwrap_or_default();
    for target in open.values() {
        breach(format!("a handle to {target:?} was never closed"));
    }
    for count in lock(&REFERENCES).take().unwrap_or_default().values() {
        if *count != 0 {
            breach(format!(
                "{count} references to an object were never given back"
            ));
        }
    }
}

/// A new kernel handle.
pub(crate) fn open(target: Target) -> HANDLE {
    let mut handles = lock(&HANDLES);
    handles.newest += 4;
    let number = 0x8000_0000 + handles.newest;
    handles.open.get_or_insert_default().insert(number, target);
    std::ptr::without_provenance_mut(number)
}

/// What an open handle stands for.
pub(crate) fn target(handle: HANDLE) -> Option<Target> {
    let found = lock(&HANDLES)
        .open
        .get_or_insert_default()
        .get(&handle.addr())
        .cloned();
    if found.is_none() {
        breach("a handle is used that is not open");
    }
    found
}

/// The address of the object an open handle stands for.
pub(crate) fn object(handle: HANDLE) -> Option<usize> {
    match target(handle)? {
        Target::Object(address) => Some(address),
        Target::Key(_) => None,
    }
}

/// Notes a reference that somebody now holds.
pub(crate) fn reference(object: usize) {
    *lock(&REFERENCES)
        .get_or_insert_default()
        .entry(object)
        .or_insert(0) += 1;
}

/// Notes that a reference was given back.
pub(crate) fn dereference(object: usize) {
    match lock(&REFERENCES).get_or_insert_default().get_mut(&object) {
        Some(count) if *count > 0 => *count -= 1,
        _ => breach("a reference was given back that nobody held"),
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ObfDereferenceObject(object: PVOID) -> isize {
    enter("ObfDereferenceObject", DISPATCH_LEVEL);
    dereference(object.addr());
    0
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ObOpenObjectByPointer(
    object: PVOID,
    attributes: u32,
    _access_state: PVOID,
    access: u32,
    _kind: PVOID,
    mode: i8,
    handle: *mut HANDLE,
) -> NTSTATUS {
    enter("ObOpenObjectByPointer", PASSIVE_LEVEL);
    if attributes & OBJ_KERNEL_HANDLE == 0 || mode != 0 {
        breach("a handle that user mode could use");
    }
    if access == 0 {
        breach("a handle without access");
    }
    if fault::strikes("ObOpenObjectByPointer") {
        return INJECTED;
    }
    let opened = open(Target::Object(object.addr()));
    // SAFETY: the driver passes room for a handle.
    unsafe {
        *handle = opened;
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ZwClose(handle: HANDLE) -> NTSTATUS {
    enter("ZwClose", PASSIVE_LEVEL);
    let closed = lock(&HANDLES)
        .open
        .get_or_insert_default()
        .remove(&handle.addr());
    if closed.is_none() {
        breach("a handle is closed that is not open");
    }
    0
}
