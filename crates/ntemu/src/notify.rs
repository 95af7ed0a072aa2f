//! Notify routines. Removing one waits until no processor runs it; one that is left is a breach.

#![expect(unsafe_code, reason = "calls the driver's notify routines")]

use crate::contract::{APC_LEVEL, PASSIVE_LEVEL, at_irql, breach, enter};
use crate::fault::{self, INJECTED};
use crate::process::to_handle;
use nt::sys::{
    IMAGE_INFO, IMAGE_NOTIFY_ROUTINE, NTSTATUS, PROCESS_NOTIFY_ROUTINE, PS_CREATE_NOTIFY_INFO,
    PS_CREATE_PROCESS_NOTIFY_SUBSYSTEMS, PS_CREATE_THREAD_NOTIFY_SUBSYSTEMS, PVOID,
    THREAD_NOTIFY_ROUTINE, UNICODE_STRING,
};
use std::sync::{PoisonError, RwLock};

const INVALID_PARAMETER: i32 = 0xc000_000d_u32.cast_signed();

static PROCESS: RwLock<Option<PROCESS_NOTIFY_ROUTINE>> = RwLock::new(None);
static THREAD: RwLock<Option<THREAD_NOTIFY_ROUTINE>> = RwLock::new(None);
static IMAGE: RwLock<Option<IMAGE_NOTIFY_ROUTINE>> = RwLock::new(None);

/// Notes routines that are left, and forgets them.
pub(crate) fn finish() {
    let is_left = [
        take(&PROCESS).is_some(),
        take(&THREAD).is_some(),
        take(&IMAGE).is_some(),
    ];
    if is_left.contains(&true) {
        breach("a notify routine is left");
    }
}

fn take<T>(slot: &RwLock<Option<T>>) -> Option<T> {
    slot.write().unwrap_or_else(PoisonError::into_inner).take()
}

fn register<T>(slot: &RwLock<Option<T>>, function: &'static str, routine: T) -> NTSTATUS {
    enter(function, PASSIVE_LEVEL);
    if fault::strikes(function) {
        return INJECTED;
    }
    let mut slot = slot.write().unwrap_or_else(PoisonError::into_inner);
    if slot.replace(routine).is_some() {
        breach(format!("{function} called twice"));
    }
    0
}

/// `is_same` tells whether the routine is the one that was registered.
fn remove<T>(
    slot: &RwLock<Option<T>>,
    function: &'static str,
    is_same_fn: impl Fn(&T) -> bool,
) -> NTSTATUS {
    enter(function, PASSIVE_LEVEL);
    let old = take(slot);
    if !old.is_some_and(|old| is_same_fn(&old)) {
        breach(format!("{function} of a routine that is not registered"));
        return INVALID_PARAMETER;
    }
    0
}

/// Calls the process notify routine, if there is one.
pub(crate) fn process(process: PVOID, id: u32, information: *mut PS_CREATE_NOTIFY_INFO) {
    let slot = PROCESS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(routine) = *slot {
        at_irql(PASSIVE_LEVEL, "a process notify routine", || {
            // SAFETY: the routine is registered, and the arguments are good for the call.
            unsafe {
                routine(process, to_handle(id), information);
            }
        });
    }
}

/// Calls the thread notify routine, if there is one, at `irql`.
pub(crate) fn thread(process_id: u32, thread_id: u32, is_start: bool, irql: u8) {
    let slot = THREAD.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(routine) = *slot {
        at_irql(irql.min(APC_LEVEL), "a thread notify routine", || {
            // SAFETY: the routine is registered.
            unsafe {
                routine(
                    to_handle(process_id),
                    to_handle(thread_id),
                    u8::from(is_start),
                );
            }
        });
    }
}

/// Calls the image notify routine, if there is one.
pub(crate) fn image(name: *const UNICODE_STRING, process_id: u32, information: &IMAGE_INFO) {
    let slot = IMAGE.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(routine) = *slot {
        at_irql(PASSIVE_LEVEL, "an image notify routine", || {
            // SAFETY: the routine is registered, and the arguments are good for the call.
            unsafe {
                routine(name, to_handle(process_id), information);
            }
        });
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn PsSetCreateProcessNotifyRoutineEx2(
    kind: i32,
    routine: PROCESS_NOTIFY_ROUTINE,
    remove_it: u8,
) -> NTSTATUS {
    const NAME: &str = "PsSetCreateProcessNotifyRoutineEx2";
    if kind != PS_CREATE_PROCESS_NOTIFY_SUBSYSTEMS {
        breach("a kind of process notify routine that is none");
    }
    if remove_it == 0 {
        register(&PROCESS, NAME, routine)
    } else {
        // Not the same call: removing what is registered cannot fail.
        remove(
            &PROCESS,
            "PsSetCreateProcessNotifyRoutineEx2, removing",
            |old| std::ptr::fn_addr_eq(*old, routine),
        )
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn PsSetCreateThreadNotifyRoutineEx(
    kind: i32,
    routine: THREAD_NOTIFY_ROUTINE,
) -> NTSTATUS {
    // The other kind runs in the new thread, and not in the one that made it.
    if kind != PS_CREATE_THREAD_NOTIFY_SUBSYSTEMS {
        breach("a thread notify routine that does not run in the creator");
    }
    register(&THREAD, "PsSetCreateThreadNotifyRoutineEx", routine)
}

#[unsafe(no_mangle)]
unsafe extern "system" fn PsRemoveCreateThreadNotifyRoutine(
    routine: THREAD_NOTIFY_ROUTINE,
) -> NTSTATUS {
    remove(&THREAD, "PsRemoveCreateThreadNotifyRoutine", |old| {
        std::ptr::fn_addr_eq(*old, routine)
    })
}

#[unsafe(no_mangle)]
unsafe extern "system" fn PsSetLoadImageNotifyRoutine(routine: IMAGE_NOTIFY_ROUTINE) -> NTSTATUS {
    register(&IMAGE, "PsSetLoadImageNotifyRoutine", routine)
}

#[unsafe(no_mangle)]
unsafe extern "system" fn PsRemoveLoadImageNotifyRoutine(
    routine: IMAGE_NOTIFY_ROUTINE,
) -> NTSTATUS {
    remove(&IMAGE, "PsRemoveLoadImageNotifyRoutine", |old| {
        std::ptr::fn_addr_eq(*old, routine)
    })
}
