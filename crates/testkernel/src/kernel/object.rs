//! Processes, threads and tokens as objects with references, and handles to them. What they say is
//! what Wine says of the real ones.

#![expect(
    unsafe_code,
    reason = "asks Wine about its processes and fills the driver's buffers"
)]

use crate::contract::{
    APC_LEVEL, DISPATCH_LEVEL, HIGH_LEVEL, INJECTED, PASSIVE_LEVEL, breach, enter, lock, part,
    strikes,
};
use nt::sys::{HANDLE, NTSTATUS, PVOID};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;
use std::ptr;
use std::sync::Mutex;
use windows_sys::Wdk::System::Threading::NtQueryInformationThread;
use windows_sys::Win32::Foundation::{CloseHandle, FILETIME, LUID};
use windows_sys::Win32::Security::{
    GetTokenInformation, TOKEN_DUPLICATE, TOKEN_QUERY, TOKEN_STATISTICS, TokenStatistics,
};
use windows_sys::Win32::System::Threading::{
    GetProcessIdOfThread, GetProcessTimes, OpenProcess, OpenProcessToken, OpenThread,
    PROCESS_QUERY_INFORMATION, THREAD_QUERY_INFORMATION,
};

/// `STATUS_INVALID_CID`
const INVALID_CID: NTSTATUS = 0xc000_000b_u32.cast_signed();
/// `STATUS_INVALID_HANDLE`
const INVALID_HANDLE: NTSTATUS = 0xc000_0008_u32.cast_signed();
/// `STATUS_INFO_LENGTH_MISMATCH`
const SIZE_MISMATCH: NTSTATUS = 0xc000_0004_u32.cast_signed();
/// Where the handles of this table begin, as kernel handles do.
const FIRST_HANDLE: usize = 0xffff_ffff_8000_1000;

static OBJECTS: Mutex<Objects> = Mutex::new(Objects {
    by_address: BTreeMap::new(),
    processes: BTreeMap::new(),
    handles: BTreeMap::new(),
    next_handle: FIRST_HANDLE,
    keys: 0,
});

struct Objects {
    by_address: BTreeMap<usize, Entry>,
    /// Processes that were started under the runner's eyes, each with a reference.
    processes: BTreeMap<u32, usize>,
    /// Handle to what it is open to.
    handles: BTreeMap<usize, usize>,
    next_handle: usize,
    /// Open registry keys, whose handles are Wine's own.
    keys: usize,
}

struct Entry {
    references: u32,
    object: Object,
    /// Its address is the object's.
    _place: Box<u64>,
}

enum Object {
    Process {
        real: Real,
        create_time: i64,
        exit_status: u32,
    },
    Thread {
        real: Real,
        process: usize,
    },
    Token {
        real: Real,
    },
}

/// A handle of Wine's, closed when it is dropped.
struct Real(HANDLE);

// SAFETY: handles are good in every thread.
unsafe impl Send for Real {}

impl Drop for Real {
    fn drop(&mut self) {
        // SAFETY: opened by this module, which gives it to nobody.
        let _is_closed = unsafe { CloseHandle(self.0) };
    }
}

impl Real {
    fn new(handle: HANDLE) -> Option<Self> {
        (!handle.is_null()).then_some(Self(handle))
    }
}

impl Objects {
    fn add(&mut self, object: Object) -> usize {
        let place = Box::new(0);
        let address = ptr::from_ref(&*place).addr();
        self.by_address.insert(
            address,
            Entry {
                references: 1,
                object,
                _place: place,
            },
        );
        address
    }

    fn add_process(&mut self, process_id: u32) -> Option<usize> {
        // SAFETY: opens a handle, or not.
        let handle = unsafe { OpenProcess(PROCESS_QUERY_INFORMATION, 0, process_id) };
        let real = Real::new(handle)?;
        let create_time = create_time(handle)?;
        Some(self.add(Object::Process {
            real,
            create_time,
            exit_status: 0x103,
        }))
    }

    fn find(&self, object: PVOID) -> Option<&Object> {
        let entry = self.by_address.get(&object.addr())?;
        Some(&entry.object)
    }

    fn reference(&mut self, address: usize) {
        match self.by_address.get_mut(&address) {
            Some(entry) => entry.references += 1,
            None => breach("something is referenced that is no object"),
        }
    }

    fn dereference(&mut self, address: usize) {
        let Some(entry) = self.by_address.get_mut(&address) else {
            breach("something is dereferenced that is no object");
            return;
        };
        entry.references -= 1;
        if entry.references > 0 {
            return;
        }
        if let Some(entry) = self.by_address.remove(&address)
            && let Object::Thread { process, .. } = entry.object
        {
            self.dereference(process);
        }
    }

    /// A process by its id, with a reference for the caller.
    fn process(&mut self, process_id: u32) -> Option<usize> {
        if let Some(address) = self.processes.get(&process_id).copied() {
            self.reference(address);
            return Some(address);
        }
        self.add_process(process_id)
    }
}

/// Notes what is left of the driver's, and forgets it.
pub(crate) fn finish() {
    let mut objects = lock(&OBJECTS);
    if !objects.handles.is_empty() || objects.keys != 0 {
        let count = objects.handles.len() + objects.keys;
        breach(format!("{count} handles were never closed"));
    }
    let kept: u32 = u32::try_from(objects.processes.len()).unwrap_or(0);
    let held: u32 = objects
        .by_address
        .values()
        .map(|entry| entry.references)
        .sum();
    if held != kept {
        breach(format!("{held} references to objects, {kept} are expected"));
    }
    let processes: BTreeSet<usize> = objects.processes.values().copied().collect();
    objects.by_address.retain(|address, entry| {
        entry.references = 1;
        processes.contains(address)
    });
    objects.handles.clear();
    objects.keys = 0;
}

/// A process that starts: its object, kept until it ends.
pub(crate) fn start_process(process_id: u32) -> PVOID {
    let mut objects = lock(&OBJECTS);
    let Some(address) = objects.add_process(process_id) else {
        breach(format!("process {process_id} starts and cannot be opened"));
        return ptr::null_mut();
    };
    if let Some(old) = objects.processes.insert(process_id, address) {
        objects.dereference(old);
    }
    ptr::with_exposed_provenance_mut(address)
}

/// A process that ends, with its status; to be forgotten with [`end_process`].
pub(crate) fn exit_process(process_id: u32, status: u32) -> PVOID {
    let mut objects = lock(&OBJECTS);
    let address = objects.processes.get(&process_id).copied();
    let Some(address) = address else {
        breach(format!("process {process_id} ends and never started"));
        return ptr::null_mut();
    };
    if let Some(entry) = objects.by_address.get_mut(&address)
        && let Object::Process { exit_status, .. } = &mut entry.object
    {
        *exit_status = status;
    }
    ptr::with_exposed_provenance_mut(address)
}

pub(crate) fn end_process(process_id: u32) {
    let mut objects = lock(&OBJECTS);
    if let Some(address) = objects.processes.remove(&process_id) {
        objects.dereference(address);
    }
}

pub(crate) fn key_opened() {
    lock(&OBJECTS).keys += 1;
}

/// A token of the process `process_id`, referenced.
pub(crate) fn token_of(process_id: u32) -> Option<PVOID> {
    let mut objects = lock(&OBJECTS);
    let process = objects.process(process_id)?;
    let token = open_token(&mut objects, process);
    objects.dereference(process);
    token.map(ptr::with_exposed_provenance_mut)
}

/// Gives a reference back.
pub(crate) fn dereference(object: PVOID) {
    lock(&OBJECTS).dereference(object.addr());
}

/// Runs `body_fn` with the real token behind an object.
pub(crate) fn with_token<R>(object: PVOID, body_fn: impl FnOnce(HANDLE) -> R) -> Option<R> {
    let objects = lock(&OBJECTS);
    match &objects.by_address.get(&object.addr())?.object {
        Object::Token { real } => Some(body_fn(real.0)),
        Object::Process { .. } | Object::Thread { .. } => None,
    }
}

/// What a handle of this table is open to.
pub(crate) fn object_of(handle: HANDLE) -> Option<usize> {
    lock(&OBJECTS).handles.get(&handle.addr()).copied()
}

fn open_token(objects: &mut Objects, process: usize) -> Option<usize> {
    let Object::Process { real, .. } = &objects.by_address.get(&process)?.object else {
        breach("a token is asked of something that is no process");
        return None;
    };
    let mut token = ptr::null_mut();
    // SAFETY: the process is open, and there is room for the handle.
    let is_open =
        unsafe { OpenProcessToken(real.0, TOKEN_QUERY | TOKEN_DUPLICATE, &raw mut token) } != 0;
    let real = Real::new(token).filter(|_real| is_open)?;
    Some(objects.add(Object::Token { real }))
}

fn create_time(process: HANDLE) -> Option<i64> {
    let mut times = [FILETIME::default(); 4];
    let [created, exited, kernel, user] = &mut times;
    // SAFETY: the process is open, and there is room for the times.
    let is_told = unsafe { GetProcessTimes(process, created, exited, kernel, user) };
    let created = times[0];
    let units = (u64::from(created.dwHighDateTime) << 32) | u64::from(created.dwLowDateTime);
    (is_told != 0).then_some(units.cast_signed())
}

pub(crate) unsafe extern "system" fn lookup_process(id: HANDLE, process: *mut PVOID) -> NTSTATUS {
    enter("PsLookupProcessByProcessId", APC_LEVEL);
    if strikes("PsLookupProcessByProcessId") {
        return INVALID_CID;
    }
    let id = u32::try_from(id.addr()).unwrap_or(u32::MAX);
    let Some(address) = lock(&OBJECTS).process(id) else {
        return INVALID_CID;
    };
    // SAFETY: the driver passes room for the object.
    unsafe {
        process.write(ptr::with_exposed_provenance_mut(address));
    }
    0
}

pub(crate) unsafe extern "system" fn lookup_thread(id: HANDLE, thread: *mut PVOID) -> NTSTATUS {
    enter("PsLookupThreadByThreadId", APC_LEVEL);
    if strikes("PsLookupThreadByThreadId") {
        return INVALID_CID;
    }
    let id = u32::try_from(id.addr()).unwrap_or(u32::MAX);
    // SAFETY: opens a handle, or not.
    let handle = unsafe { OpenThread(THREAD_QUERY_INFORMATION, 0, id) };
    let Some(real) = Real::new(handle) else {
        return INVALID_CID;
    };
    // SAFETY: the thread is open.
    let process_id = unsafe { GetProcessIdOfThread(handle) };
    let mut objects = lock(&OBJECTS);
    let Some(process) = objects.process(process_id) else {
        return INVALID_CID;
    };
    let address = objects.add(Object::Thread { real, process });
    // SAFETY: the driver passes room for the object.
    unsafe {
        thread.write(ptr::with_exposed_provenance_mut(address));
    }
    0
}

pub(crate) unsafe extern "system" fn thread_to_process(thread: PVOID) -> PVOID {
    enter("IoThreadToProcess", HIGH_LEVEL);
    let objects = lock(&OBJECTS);
    if let Some(Object::Thread { process, .. }) = objects.find(thread) {
        return ptr::with_exposed_provenance_mut(*process);
    }
    breach("the process is asked of something that is no thread");
    ptr::null_mut()
}

pub(crate) unsafe extern "system" fn dereference_object(object: PVOID) -> isize {
    enter("ObfDereferenceObject", DISPATCH_LEVEL);
    dereference(object);
    0
}

pub(crate) unsafe extern "system" fn create_time_of(process: PVOID) -> i64 {
    enter("PsGetProcessCreateTimeQuadPart", HIGH_LEVEL);
    if let Some(Object::Process { create_time, .. }) = lock(&OBJECTS).find(process) {
        return *create_time;
    }
    breach("the creation time is asked of something that is no process");
    0
}

pub(crate) unsafe extern "system" fn exit_status_of(process: PVOID) -> NTSTATUS {
    enter("PsGetProcessExitStatus", APC_LEVEL);
    if let Some(Object::Process { exit_status, .. }) = lock(&OBJECTS).find(process) {
        return exit_status.cast_signed();
    }
    breach("the exit status is asked of something that is no process");
    0
}

pub(crate) unsafe extern "system" fn current_process() -> PVOID {
    enter("IoGetCurrentProcess", DISPATCH_LEVEL);
    let (process_id, _) = part().unwrap_or_default();
    let mut objects = lock(&OBJECTS);
    if let Some(address) = objects.processes.get(&process_id).copied() {
        return ptr::with_exposed_provenance_mut(address);
    }
    // One that was there before the witness: the runner itself. It is kept, as it stays.
    let Some(address) = objects.add_process(process_id) else {
        breach(format!("process {process_id} runs and is not there"));
        return ptr::null_mut();
    };
    objects.processes.insert(process_id, address);
    ptr::with_exposed_provenance_mut(address)
}

pub(crate) unsafe extern "system" fn current_process_id() -> HANDLE {
    enter("PsGetCurrentProcessId", HIGH_LEVEL);
    let (process_id, _) = part().unwrap_or_default();
    ptr::without_provenance_mut(usize::try_from(process_id).unwrap_or(0))
}

pub(crate) unsafe extern "system" fn current_thread_id() -> HANDLE {
    enter("PsGetCurrentThreadId", HIGH_LEVEL);
    let (_, thread_id) = part().unwrap_or_default();
    ptr::without_provenance_mut(usize::try_from(thread_id).unwrap_or(0))
}

pub(crate) unsafe extern "system" fn reference_primary_token(process: PVOID) -> PVOID {
    enter("PsReferencePrimaryToken", APC_LEVEL);
    open_token(&mut lock(&OBJECTS), process.addr())
        .map_or(ptr::null_mut(), ptr::with_exposed_provenance_mut)
}

pub(crate) unsafe extern "system" fn dereference_primary_token(token: PVOID) {
    enter("PsDereferencePrimaryToken", APC_LEVEL);
    dereference(token);
}

pub(crate) unsafe extern "system" fn open_object(
    object: PVOID,
    attributes: u32,
    _access_state: PVOID,
    _access: u32,
    _kind: PVOID,
    mode: i8,
    handle: *mut HANDLE,
) -> NTSTATUS {
    enter("ObOpenObjectByPointer", PASSIVE_LEVEL);
    if attributes & nt::sys::OBJ_KERNEL_HANDLE == 0 || mode != nt::sys::KERNEL_MODE {
        breach("a handle is opened that user mode could use");
    }
    if strikes("ObOpenObjectByPointer") {
        return INJECTED;
    }
    let mut objects = lock(&OBJECTS);
    if !objects.by_address.contains_key(&object.addr()) && !crate::device::is_device(object) {
        breach("something is opened that is no object");
        return INVALID_HANDLE;
    }
    let new = objects.next_handle;
    objects.next_handle += 4;
    objects.handles.insert(new, object.addr());
    // SAFETY: the driver passes room for the handle.
    unsafe {
        handle.write(ptr::without_provenance_mut(new));
    }
    0
}

pub(crate) unsafe extern "system" fn close(handle: HANDLE) -> NTSTATUS {
    enter("ZwClose", PASSIVE_LEVEL);
    let mut objects = lock(&OBJECTS);
    if objects.handles.remove(&handle.addr()).is_some() {
        return 0;
    }
    objects.keys = objects.keys.saturating_sub(1);
    // SAFETY: the handle is one Wine gave the driver for a key, or none at all.
    let status = unsafe { nt::sys::ZwClose(handle) };
    if status != 0 {
        breach("a handle is closed that is not open");
    }
    status
}

pub(crate) unsafe extern "system" fn query_thread(
    handle: HANDLE,
    class: i32,
    information: *mut c_void,
    size: u32,
    needed: *mut u32,
) -> NTSTATUS {
    enter("ZwQueryInformationThread", PASSIVE_LEVEL);
    if strikes("ZwQueryInformationThread") {
        return INJECTED;
    }
    let objects = lock(&OBJECTS);
    let address = objects.handles.get(&handle.addr()).copied().unwrap_or(0);
    let Some(Object::Thread { real, .. }) =
        objects.by_address.get(&address).map(|entry| &entry.object)
    else {
        breach("a thread is queried by a handle to something else");
        return INVALID_HANDLE;
    };
    // SAFETY: the thread is open, and the buffer as large as the driver says.
    unsafe { NtQueryInformationThread(real.0, class, information, size, needed) }
}

pub(crate) unsafe extern "system" fn query_token(
    handle: HANDLE,
    class: i32,
    information: *mut c_void,
    size: u32,
    needed: *mut u32,
) -> NTSTATUS {
    enter("ZwQueryInformationToken", PASSIVE_LEVEL);
    if strikes("ZwQueryInformationToken") {
        return INJECTED;
    }
    let address = object_of(handle).unwrap_or(0);
    // SAFETY: for a token the buffer is as large as the driver says.
    let query_fn = |token| unsafe { GetTokenInformation(token, class, information, size, needed) };
    match with_token(ptr::with_exposed_provenance_mut(address), query_fn) {
        Some(0) => SIZE_MISMATCH,
        Some(_) => 0,
        None => {
            breach("a token is queried by a handle to something else");
            INVALID_HANDLE
        }
    }
}

pub(crate) unsafe extern "system" fn query_logon_id(token: PVOID, id: *mut c_void) -> NTSTATUS {
    enter("SeQueryAuthenticationIdToken", PASSIVE_LEVEL);
    if strikes("SeQueryAuthenticationIdToken") {
        return INJECTED;
    }
    let mut statistics = TOKEN_STATISTICS::default();
    let (mut size, room) = (0, u32::try_from(size_of::<TOKEN_STATISTICS>()).unwrap_or(0));
    let place = (&raw mut statistics).cast();
    // SAFETY: the token is open, and the buffer as large as is said.
    let query_fn =
        |token| unsafe { GetTokenInformation(token, TokenStatistics, place, room, &raw mut size) };
    match with_token(token, query_fn) {
        Some(0) => SIZE_MISMATCH,
        Some(_) => {
            // SAFETY: the driver passes room for a LUID.
            unsafe {
                id.cast::<LUID>().write(statistics.AuthenticationId);
            }
            0
        }
        None => {
            breach("a logon session is asked of something that is no token");
            INVALID_HANDLE
        }
    }
}
