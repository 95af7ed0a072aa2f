//! Notify routines: what the driver registers, and what a request to the test kernel calls.

#![expect(unsafe_code, reason = "calls the driver's notify routines")]

use crate::contract::{
    APC_LEVEL, INJECTED, PASSIVE_LEVEL, as_thread, at_irql, breach, enter, strikes,
};
use crate::{object, process_query, target};
use nt::sys::{
    BOOLEAN, CLIENT_ID, HANDLE, IMAGE_INFO, IMAGE_NOTIFY_ROUTINE, NTSTATUS, PROCESS_NOTIFY_ROUTINE,
    PS_CREATE_NOTIFY_INFO, PS_CREATE_PROCESS_NOTIFY_SUBSYSTEMS, PS_CREATE_THREAD_NOTIFY_SUBSYSTEMS,
    THREAD_NOTIFY_ROUTINE, UNICODE_STRING,
};
use std::ptr;
use std::sync::{PoisonError, RwLock};
use testkernel::request::{Creator, Request};

/// `STATUS_ACCESS_DENIED`
const ACCESS_DENIED: NTSTATUS = 0xc000_0022_u32.cast_signed();
/// `STATUS_PROCEDURE_NOT_FOUND`
const NOT_FOUND: NTSTATUS = 0xc000_007a_u32.cast_signed();
/// `STATUS_INVALID_PARAMETER`
const INVALID_PARAMETER: NTSTATUS = 0xc000_000d_u32.cast_signed();

/// Whoever calls a routine reads, whoever removes one writes: so removal waits for those who run.
static PROCESS: RwLock<Vec<PROCESS_NOTIFY_ROUTINE>> = RwLock::new(Vec::new());
static THREAD: RwLock<Vec<THREAD_NOTIFY_ROUTINE>> = RwLock::new(Vec::new());
static IMAGE: RwLock<Vec<IMAGE_NOTIFY_ROUTINE>> = RwLock::new(Vec::new());

/// Notes what is left, and forgets it.
pub(crate) fn finish() {
    finish_one(&PROCESS, "process");
    finish_one(&THREAD, "thread");
    finish_one(&IMAGE, "image");
}

fn finish_one<R>(routines: &RwLock<Vec<R>>, kind: &str) {
    let mut routines = routines.write().unwrap_or_else(PoisonError::into_inner);
    if !routines.is_empty() {
        breach(format!("a {kind} notify routine was never removed"));
        routines.clear();
    }
}

/// Plays an event: calls the routines that are registered for it, in the part of the thread that
/// would call them.
pub(crate) fn play(request: &Request) {
    match request {
        Request::ProcessStart {
            process_id,
            parent_process_id,
            creator,
            image,
            command_line,
        } => process_start(
            *process_id,
            *parent_process_id,
            *creator,
            image,
            command_line,
        ),
        Request::ProcessExit {
            process_id,
            thread_id,
            exit_status,
        } => {
            let process = object::exit_process(*process_id, *exit_status);
            if !process.is_null() {
                as_thread(thread(*process_id, *thread_id), || {
                    call_process(process, *process_id, ptr::null_mut());
                });
            }
            object::end_process(*process_id);
        }
        Request::ThreadStart {
            process_id,
            thread_id,
            creator,
        } => as_thread(*creator, || {
            call_thread(*process_id, *thread_id, 1, PASSIVE_LEVEL);
        }),
        // The kernel calls these at either level, and the driver has to cope with the higher.
        Request::ThreadExit {
            process_id,
            thread_id,
        } => as_thread(thread(*process_id, *thread_id), || {
            call_thread(*process_id, *thread_id, 0, APC_LEVEL);
        }),
        Request::ImageLoad {
            process_id,
            thread_id,
            base,
            size,
            image,
        } => as_thread(thread(*process_id, *thread_id), || {
            call_image(*process_id, *base, *size, image);
        }),
        Request::Fail { .. } | Request::Report | Request::Reset => {}
    }
}

fn thread(process_id: u32, thread_id: u32) -> Creator {
    Creator {
        process_id,
        thread_id,
    }
}

fn process_start(
    process_id: u32,
    parent_process_id: u32,
    creator: Creator,
    image: &[u16],
    command_line: &[u16],
) {
    let process = object::start_process(process_id);
    if process.is_null() {
        return;
    }
    process_query::note(process, image);
    let (image, command_line) = (unicode_string(image), unicode_string(command_line));
    let mut information = PS_CREATE_NOTIFY_INFO {
        Size: size_of::<PS_CREATE_NOTIFY_INFO>(),
        Flags: nt::sys::FILE_OPEN_NAME_AVAILABLE,
        ParentProcessId: handle(parent_process_id),
        CreatingThreadId: CLIENT_ID {
            UniqueProcess: handle(creator.process_id),
            UniqueThread: handle(creator.thread_id),
        },
        FileObject: ptr::null_mut(),
        ImageFileName: &raw const image,
        CommandLine: &raw const command_line,
        CreationStatus: 0,
    };
    as_thread(creator, || {
        call_process(process, process_id, &raw mut information);
    });
}

fn call_process(process: nt::sys::PVOID, process_id: u32, information: *mut PS_CREATE_NOTIFY_INFO) {
    let routines = PROCESS.read().unwrap_or_else(PoisonError::into_inner);
    for routine in routines.iter() {
        // SAFETY: a registered routine is good until it is removed, which waits for this call.
        at_irql(PASSIVE_LEVEL, "the process notify routine", || unsafe {
            routine(process, handle(process_id), information);
        });
    }
}

fn call_thread(process_id: u32, thread_id: u32, is_start: BOOLEAN, irql: u8) {
    let routines = THREAD.read().unwrap_or_else(PoisonError::into_inner);
    for routine in routines.iter() {
        // SAFETY: as in `call_process`.
        at_irql(irql, "the thread notify routine", || unsafe {
            routine(handle(process_id), handle(thread_id), is_start);
        });
    }
}

fn call_image(process_id: u32, base: u64, size: u64, image: &[u16]) {
    let name = unicode_string(image);
    let information = IMAGE_INFO {
        // `IMAGE_ADDRESSING_MODE_32BIT`, which is what 64-bit Windows says too.
        Properties: 3,
        ImageBase: ptr::without_provenance_mut(usize::try_from(base).unwrap_or(0)),
        ImageSelector: 0,
        ImageSize: usize::try_from(size).unwrap_or(0),
        ImageSectionNumber: 0,
    };
    let routines = IMAGE.read().unwrap_or_else(PoisonError::into_inner);
    for routine in routines.iter() {
        // SAFETY: as in `call_process`.
        at_irql(PASSIVE_LEVEL, "the image notify routine", || unsafe {
            routine(&raw const name, handle(process_id), &raw const information);
        });
    }
}

/// A string over `units`, which must outlive it.
pub(crate) fn unicode_string(units: &[u16]) -> UNICODE_STRING {
    let size = u16::try_from(size_of_val(units)).unwrap_or(u16::MAX - 1);
    UNICODE_STRING {
        Length: size,
        MaximumLength: size,
        Buffer: units.as_ptr().cast_mut(),
    }
}

fn handle(id: u32) -> HANDLE {
    ptr::without_provenance_mut(usize::try_from(id).unwrap_or(0))
}

fn add<R>(routines: &RwLock<Vec<R>>, routine: R) -> NTSTATUS {
    let mut routines = routines.write().unwrap_or_else(PoisonError::into_inner);
    routines.push(routine);
    0
}

fn remove<R>(routines: &RwLock<Vec<R>>, is_same_fn: impl Fn(&R) -> bool) -> bool {
    let mut routines = routines.write().unwrap_or_else(PoisonError::into_inner);
    let count = routines.len();
    routines.retain(|registered| !is_same_fn(registered));
    if routines.len() == count {
        breach("a notify routine is removed that is not registered");
    }
    routines.len() != count
}

pub(crate) unsafe extern "system" fn set_process(
    kind: i32,
    routine: PROCESS_NOTIFY_ROUTINE,
    is_removal: BOOLEAN,
) -> NTSTATUS {
    enter("PsSetCreateProcessNotifyRoutineEx2", PASSIVE_LEVEL);
    if kind != PS_CREATE_PROCESS_NOTIFY_SUBSYSTEMS {
        breach("a kind of process notify routine that is none");
    }
    if is_removal != 0 {
        let is_removed = remove(&PROCESS, |it| ptr::fn_addr_eq(*it, routine));
        return if is_removed { 0 } else { INVALID_PARAMETER };
    }
    if !target::has_force_integrity() {
        return ACCESS_DENIED;
    }
    if strikes("PsSetCreateProcessNotifyRoutineEx2") {
        return INJECTED;
    }
    add(&PROCESS, routine)
}

pub(crate) unsafe extern "system" fn set_thread(
    kind: i32,
    routine: THREAD_NOTIFY_ROUTINE,
) -> NTSTATUS {
    enter("PsSetCreateThreadNotifyRoutineEx", PASSIVE_LEVEL);
    if kind != PS_CREATE_THREAD_NOTIFY_SUBSYSTEMS {
        breach("a thread notify routine that does not run in the creator");
    }
    if strikes("PsSetCreateThreadNotifyRoutineEx") {
        return INJECTED;
    }
    add(&THREAD, routine)
}

pub(crate) unsafe extern "system" fn remove_thread(routine: THREAD_NOTIFY_ROUTINE) -> NTSTATUS {
    enter("PsRemoveCreateThreadNotifyRoutine", PASSIVE_LEVEL);
    let is_removed = remove(&THREAD, |it| ptr::fn_addr_eq(*it, routine));
    if is_removed { 0 } else { NOT_FOUND }
}

pub(crate) unsafe extern "system" fn set_image(routine: IMAGE_NOTIFY_ROUTINE) -> NTSTATUS {
    enter("PsSetLoadImageNotifyRoutine", PASSIVE_LEVEL);
    if strikes("PsSetLoadImageNotifyRoutine") {
        return INJECTED;
    }
    add(&IMAGE, routine)
}

pub(crate) unsafe extern "system" fn remove_image(routine: IMAGE_NOTIFY_ROUTINE) -> NTSTATUS {
    enter("PsRemoveLoadImageNotifyRoutine", PASSIVE_LEVEL);
    let is_removed = remove(&IMAGE, |it| ptr::fn_addr_eq(*it, routine));
    if is_removed { 0 } else { NOT_FOUND }
}
