//! Processes, threads and tokens, and who runs on each processor.

#![expect(
    unsafe_code,
    reason = "reads the objects it gave out by their addresses"
)]

use crate::contract::{APC_LEVEL, DISPATCH_LEVEL, HIGH_LEVEL, PASSIVE_LEVEL, breach, enter};
use crate::fault::{self, INJECTED};
use crate::mutex::lock;
use crate::object;
use nt::sys::{HANDLE, NTSTATUS, PVOID, SID_AND_ATTRIBUTES};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

const INVALID_CID: i32 = 0xc000_000b_u32.cast_signed();
const BUFFER_TOO_SMALL: i32 = 0xc000_0023_u32.cast_signed();

/// What a process's token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The user's SID.
    pub user_sid: Vec<u8>,
    /// The relative id of the integrity level.
    pub integrity_level: u32,
    /// Whether it is elevated: 0 or 1.
    pub elevated: u32,
    /// The session.
    pub session_id: u32,
    /// The logon session.
    pub logon_id: u64,
}

impl Token {
    /// SYSTEM's.
    pub fn system() -> Self {
        Self {
            user_sid: vec![1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0],
            integrity_level: 0x4000,
            elevated: 1,
            session_id: 0,
            logon_id: 0x3e7,
        }
    }
}

/// What the kernel tells of a process to who has it open.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// The path of its image's file; `None` when it has none.
    pub image_path: Option<Vec<u16>>,
    /// `PS_PROTECTION`
    pub protection: u8,
    /// `SUBSYSTEM_INFORMATION_TYPE`
    pub subsystem: u32,
}

/// A process object.
pub(crate) struct Process {
    id: u32,
    create_time: i64,
    exit_status: AtomicI32,
    token: Token,
    answers: Answers,
}

/// A thread object.
struct Thread {
    process: Arc<Process>,
    start_address: u64,
}

#[derive(Default)]
struct Tables {
    processes: HashMap<u32, Arc<Process>>,
    threads: HashMap<u32, Arc<Thread>>,
    /// By the address of the token, the process and the thread. Objects outlive their ids here, so
    /// that a late use is seen and not a crash.
    tokens: HashMap<usize, Arc<Process>>,
    process_objects: HashMap<usize, Arc<Process>>,
    thread_objects: HashMap<usize, Arc<Thread>>,
}

static TABLES: Mutex<Option<Tables>> = Mutex::new(None);

thread_local! {
    static CURRENT: Cell<Identity> = const { Cell::new(Identity::NOBODY) };
}

/// Who runs on this processor.
#[derive(Clone, Copy)]
pub(crate) struct Identity {
    process: *const Process,
    process_id: u32,
    thread_id: u32,
}

impl Identity {
    const NOBODY: Self = Self {
        process: std::ptr::null(),
        process_id: 0,
        thread_id: 0,
    };
}

pub(crate) fn finish() {
    *lock(&TABLES) = None;
    CURRENT.set(Identity::NOBODY);
}

pub(crate) fn add_process(
    process_id: u32,
    create_time: i64,
    token: Token,
    answers: Answers,
) -> Arc<Process> {
    let process = Arc::new(Process {
        id: process_id,
        create_time,
        exit_status: AtomicI32::new(0x103),
        token,
        answers,
    });
    let mut tables = lock(&TABLES);
    let tables = tables.get_or_insert_default();
    tables.processes.insert(process_id, Arc::clone(&process));
    let token = (&raw const process.token).addr();
    tables.tokens.insert(token, Arc::clone(&process));
    let address = Arc::as_ptr(&process).addr();
    tables.process_objects.insert(address, Arc::clone(&process));
    process
}

pub(crate) fn remove_process(process_id: u32) {
    lock(&TABLES)
        .get_or_insert_default()
        .processes
        .remove(&process_id);
}

pub(crate) fn find_process(process_id: u32) -> Option<Arc<Process>> {
    lock(&TABLES)
        .get_or_insert_default()
        .processes
        .get(&process_id)
        .cloned()
}

pub(crate) fn add_thread(process: &Arc<Process>, thread_id: u32, start_address: u64) {
    let thread = Arc::new(Thread {
        process: Arc::clone(process),
        start_address,
    });
    let mut tables = lock(&TABLES);
    let tables = tables.get_or_insert_default();
    tables.threads.insert(thread_id, Arc::clone(&thread));
    let address = Arc::as_ptr(&thread).addr();
    tables.thread_objects.insert(address, thread);
}

pub(crate) fn set_exit_status(process: &Process, status: i32) {
    process.exit_status.store(status, Ordering::SeqCst);
}

/// Runs `body_fn` as thread `thread_id` of `process`.
pub(crate) fn run_as<R>(process: &Arc<Process>, thread_id: u32, body_fn: impl FnOnce() -> R) -> R {
    let old = CURRENT.replace(Identity {
        process: Arc::as_ptr(process),
        process_id: process.id,
        thread_id,
    });
    let result = body_fn();
    CURRENT.set(old);
    result
}

fn token_at(address: usize) -> Option<Token> {
    let tables = lock(&TABLES);
    let process = tables.as_ref()?.tokens.get(&address)?;
    Some(process.token.clone())
}

#[unsafe(no_mangle)]
unsafe extern "system" fn IoGetCurrentProcess() -> PVOID {
    enter("IoGetCurrentProcess", DISPATCH_LEVEL);
    CURRENT.get().process.cast_mut().cast()
}

#[unsafe(no_mangle)]
unsafe extern "system" fn PsGetCurrentProcessId() -> HANDLE {
    enter("PsGetCurrentProcessId", HIGH_LEVEL);
    to_handle(CURRENT.get().process_id)
}

#[unsafe(no_mangle)]
unsafe extern "system" fn PsGetCurrentThreadId() -> HANDLE {
    enter("PsGetCurrentThreadId", HIGH_LEVEL);
    to_handle(CURRENT.get().thread_id)
}

#[unsafe(no_mangle)]
unsafe extern "system" fn PsGetProcessCreateTimeQuadPart(process: PVOID) -> i64 {
    enter("PsGetProcessCreateTimeQuadPart", HIGH_LEVEL);
    // SAFETY: the driver passes a process of this machine, which lives until the machine's end.
    unsafe { (*process.cast::<Process>()).create_time }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn PsGetProcessExitStatus(process: PVOID) -> NTSTATUS {
    enter("PsGetProcessExitStatus", APC_LEVEL);
    // SAFETY: the driver passes a process of this machine, which lives until the machine's end.
    let process = unsafe { &*process.cast::<Process>() };
    process.exit_status.load(Ordering::SeqCst)
}

#[unsafe(no_mangle)]
unsafe extern "system" fn PsLookupProcessByProcessId(id: HANDLE, process: *mut PVOID) -> NTSTATUS {
    enter("PsLookupProcessByProcessId", APC_LEVEL);
    if fault::strikes("PsLookupProcessByProcessId") {
        return INJECTED;
    }
    let Some(found) = find_process(to_id(id)) else {
        return INVALID_CID;
    };
    let raw = Arc::as_ptr(&found).cast_mut();
    object::reference(raw.addr());
    // SAFETY: the driver passes room for a process.
    unsafe {
        *process = raw.cast();
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "system" fn PsLookupThreadByThreadId(id: HANDLE, thread: *mut PVOID) -> NTSTATUS {
    enter("PsLookupThreadByThreadId", APC_LEVEL);
    if fault::strikes("PsLookupThreadByThreadId") {
        return INJECTED;
    }
    let tables = lock(&TABLES);
    let Some(found) = tables
        .as_ref()
        .and_then(|tables| tables.threads.get(&to_id(id)))
    else {
        return INVALID_CID;
    };
    let raw = Arc::as_ptr(found).cast_mut();
    object::reference(raw.addr());
    // SAFETY: the driver passes room for a thread.
    unsafe {
        *thread = raw.cast();
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "system" fn IoThreadToProcess(thread: PVOID) -> PVOID {
    enter("IoThreadToProcess", HIGH_LEVEL);
    // SAFETY: the driver passes a thread of this machine, which lives until the machine's end.
    let thread = unsafe { &*thread.cast::<Thread>() };
    Arc::as_ptr(&thread.process).cast_mut().cast()
}

#[unsafe(no_mangle)]
unsafe extern "system" fn PsReferencePrimaryToken(process: PVOID) -> PVOID {
    enter("PsReferencePrimaryToken", PASSIVE_LEVEL);
    // SAFETY: the driver passes a process of this machine, which lives until the machine's end.
    let token = unsafe { &raw mut (*process.cast::<Process>()).token };
    object::reference(token.addr());
    token.cast()
}

#[unsafe(no_mangle)]
unsafe extern "system" fn PsDereferencePrimaryToken(token: PVOID) {
    enter("PsDereferencePrimaryToken", PASSIVE_LEVEL);
    object::dereference(token.addr());
}

#[unsafe(no_mangle)]
unsafe extern "system" fn SeQueryAuthenticationIdToken(token: PVOID, id: PVOID) -> NTSTATUS {
    enter("SeQueryAuthenticationIdToken", PASSIVE_LEVEL);
    if fault::strikes("SeQueryAuthenticationIdToken") {
        return INJECTED;
    }
    let Some(token) = token_at(token.addr()) else {
        return INVALID_CID;
    };
    // SAFETY: the driver passes room for a LUID, two words that need no more alignment than one.
    unsafe {
        id.cast::<u64>().write_unaligned(token.logon_id);
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ZwQueryInformationProcess(
    process: HANDLE,
    class: i32,
    information: PVOID,
    size: u32,
    needed: *mut u32,
) -> NTSTATUS {
    const INFO_LENGTH_MISMATCH: i32 = 0xc000_0004_u32.cast_signed();
    const UNSUCCESSFUL: i32 = 0xc000_0001_u32.cast_signed();
    enter("ZwQueryInformationProcess", PASSIVE_LEVEL);
    if fault::strikes("ZwQueryInformationProcess") {
        return INJECTED;
    }
    let address = object::object(process);
    let found = lock(&TABLES).as_ref().and_then(|tables| {
        let process = tables.process_objects.get(&address?)?;
        Some(process.answers.clone())
    });
    let Some(answers) = found else {
        return INVALID_CID;
    };
    let answer = match class {
        27 => match &answers.image_path {
            Some(path) => name_answer(information, path),
            None => return UNSUCCESSFUL,
        },
        61 => vec![answers.protection],
        75 => answers.subsystem.to_le_bytes().to_vec(),
        _ => {
            breach(format!("process information class {class}"));
            return INVALID_CID;
        }
    };
    let answer_size = u32::try_from(answer.len()).unwrap_or(u32::MAX);
    // SAFETY: the driver passes room for the size.
    unsafe {
        *needed = answer_size;
    }
    // A name may have more room than it needs.
    if answer_size > size || (class != 27 && answer_size != size) {
        return INFO_LENGTH_MISMATCH;
    }
    // SAFETY: the driver passes room for `size` bytes, and the answer has no more.
    unsafe {
        information
            .cast::<u8>()
            .copy_from_nonoverlapping(answer.as_ptr(), answer.len());
    }
    0
}

/// A `UNICODE_STRING`: its sizes, padding, the address of the text, and the text right behind with a
/// NUL.
fn name_answer(start: PVOID, name: &[u16]) -> Vec<u8> {
    let size = u16::try_from(size_of_val(name)).unwrap_or(0xfffe);
    let behind = u64::try_from(start.addr() + 16).unwrap_or(0);
    let units = name.iter().chain(&[0]).flat_map(|unit| unit.to_le_bytes());
    let sizes = [size.to_le_bytes(), size.saturating_add(2).to_le_bytes()].concat();
    let head = [sizes.as_slice(), &[0; 4], &behind.to_le_bytes()].concat();
    head.into_iter().chain(units).collect()
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ZwQueryInformationThread(
    thread: HANDLE,
    class: i32,
    information: PVOID,
    size: u32,
    _needed: *mut u32,
) -> NTSTATUS {
    const WIN32_START_ADDRESS: i32 = 9;
    enter("ZwQueryInformationThread", PASSIVE_LEVEL);
    if class != WIN32_START_ADDRESS || size != 8 {
        breach("ZwQueryInformationThread with arguments it does not know");
    }
    if fault::strikes("ZwQueryInformationThread") {
        return INJECTED;
    }
    let address = object::object(thread);
    let tables = lock(&TABLES);
    let found = tables
        .as_ref()
        .and_then(|tables| tables.thread_objects.get(&address?));
    let Some(found) = found else {
        return INVALID_CID;
    };
    // SAFETY: the driver passes room for an address, whose size was checked.
    unsafe {
        *information.cast::<u64>() = found.start_address;
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ZwQueryInformationToken(
    token: HANDLE,
    class: i32,
    information: PVOID,
    size: u32,
    needed: *mut u32,
) -> NTSTATUS {
    enter("ZwQueryInformationToken", PASSIVE_LEVEL);
    if fault::strikes("ZwQueryInformationToken") {
        return INJECTED;
    }
    let Some(token) = object::object(token).and_then(token_at) else {
        return INVALID_CID;
    };
    let integrity_sid = [
        [1, 1, 0, 0, 0, 0, 0, 16].as_slice(),
        &token.integrity_level.to_le_bytes(),
    ]
    .concat();
    let answer = match class {
        1 => sid_answer(information, &token.user_sid),
        12 => token.session_id.to_le_bytes().to_vec(),
        20 => token.elevated.to_le_bytes().to_vec(),
        25 => sid_answer(information, &integrity_sid),
        _ => {
            breach(format!("token information class {class}"));
            return INVALID_CID;
        }
    };
    let answer_size = u32::try_from(answer.len()).unwrap_or(u32::MAX);
    // SAFETY: the driver passes room for the size.
    unsafe {
        *needed = answer_size;
    }
    if answer_size > size {
        return BUFFER_TOO_SMALL;
    }
    // SAFETY: the driver passes room for `size` bytes, and the answer has no more.
    unsafe {
        information
            .cast::<u8>()
            .copy_from_nonoverlapping(answer.as_ptr(), answer.len());
    }
    0
}

/// A `TOKEN_USER`: the address of the SID, attributes, padding, and the SID right behind.
fn sid_answer(start: PVOID, sid: &[u8]) -> Vec<u8> {
    let behind = start.addr() + size_of::<SID_AND_ATTRIBUTES>();
    let behind = u64::try_from(behind).unwrap_or(0);
    [behind.to_le_bytes().as_slice(), &[0; 8], sid].concat()
}

fn to_id(handle: HANDLE) -> u32 {
    u32::try_from(handle.addr()).unwrap_or(u32::MAX)
}

pub(crate) fn to_handle(id: u32) -> HANDLE {
    std::ptr::without_provenance_mut(usize::try_from(id).unwrap_or(0))
}
