//! Who may open the device: the descriptor that the driver sets, and the token of the process that
//! Wine says is the requester.

#![expect(unsafe_code, reason = "asks Wine about tokens")]

use crate::contract::{INJECTED, PASSIVE_LEVEL, breach, enter, lock, strikes};
use crate::{device, object};
use nt::sys::{NTSTATUS, PVOID, SECURITY_SUBJECT_CONTEXT};
use std::ffi::c_void;
use std::fmt::Write as _;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, Ordering};
use windows_sys::Win32::Foundation::{CloseHandle, HANDLE};
use windows_sys::Win32::Security::{
    CheckTokenMembership, CreateWellKnownSid, DuplicateToken, SECURITY_MAX_SID_SIZE,
    SecurityIdentification, WinBuiltinAdministratorsSid,
};

/// `STATUS_INVALID_HANDLE`
const INVALID_HANDLE: NTSTATUS = 0xc000_0008_u32.cast_signed();

/// The device's security descriptor, in hexadecimal.
static DESCRIPTOR: Mutex<String> = Mutex::new(String::new());
static CAPTURED: AtomicIsize = AtomicIsize::new(0);

/// Notes what was captured and never released.
pub(crate) fn finish() {
    if CAPTURED.swap(0, Ordering::SeqCst) != 0 {
        breach("a subject context was never released");
    }
    lock(&DESCRIPTOR).clear();
}

/// The device's security descriptor, in hexadecimal.
pub(crate) fn descriptor() -> String {
    lock(&DESCRIPTOR).clone()
}

pub(crate) unsafe extern "system" fn set_descriptor(
    handle: HANDLE,
    information: u32,
    descriptor: *const c_void,
) -> NTSTATUS {
    const HEAD_SIZE: usize = 20;
    const ACL_HEAD_SIZE: usize = 8;
    enter("ZwSetSecurityObject", PASSIVE_LEVEL);
    if information != nt::sys::DACL_SECURITY_INFORMATION {
        breach("something else than an access list is set");
    }
    if strikes("ZwSetSecurityObject") {
        return INJECTED;
    }
    let object = object::object_of(handle).unwrap_or(0);
    if !device::is_device(ptr::without_provenance_mut(object)) {
        breach("a descriptor for something that is no device");
        return INVALID_HANDLE;
    }
    let start = descriptor.cast::<u8>();
    // SAFETY: the driver passes a self-relative descriptor, with its list behind the head.
    let head = unsafe { std::slice::from_raw_parts(start, HEAD_SIZE + ACL_HEAD_SIZE) };
    let list_size = usize::from(u16::from_le_bytes([
        head[HEAD_SIZE + 2],
        head[HEAD_SIZE + 3],
    ]));
    // SAFETY: as above; the list says its size.
    let bytes = unsafe { std::slice::from_raw_parts(start, HEAD_SIZE + list_size) };
    let mut text = lock(&DESCRIPTOR);
    text.clear();
    for byte in bytes {
        // Writing to a string cannot fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    0
}

pub(crate) unsafe extern "system" fn capture(context: *mut SECURITY_SUBJECT_CONTEXT) {
    enter("SeCaptureSubjectContext", PASSIVE_LEVEL);
    CAPTURED.fetch_add(1, Ordering::SeqCst);
    // SAFETY: has no precondition. In Wine's thread for requests this is the requester.
    let process_id = unsafe { nt::sys::PsGetCurrentProcessId() }.addr();
    let token = object::token_of(u32::try_from(process_id).unwrap_or(0));
    if token.is_none() {
        breach(format!("the requester {process_id} has no token"));
    }
    // SAFETY: the driver passes room for a context.
    unsafe {
        context.write(SECURITY_SUBJECT_CONTEXT {
            ClientToken: ptr::null_mut(),
            ImpersonationLevel: 0,
            PrimaryToken: token.unwrap_or(ptr::null_mut()),
            ProcessAuditId: ptr::null_mut(),
        });
    }
}

pub(crate) unsafe extern "system" fn release(context: *mut SECURITY_SUBJECT_CONTEXT) {
    enter("SeReleaseSubjectContext", PASSIVE_LEVEL);
    CAPTURED.fetch_sub(1, Ordering::SeqCst);
    // SAFETY: the driver passes a context that was captured above.
    let token = unsafe { (*context).PrimaryToken };
    if !token.is_null() {
        object::dereference(token);
    }
}

pub(crate) unsafe extern "system" fn is_administrator(token: PVOID) -> u8 {
    enter("SeTokenIsAdmin", PASSIVE_LEVEL);
    u8::from(object::with_token(token, is_member).unwrap_or(false))
}

/// Whether the token has the group of administrators, switched on.
fn is_member(token: HANDLE) -> bool {
    let mut sid = [0_u8; 68];
    let mut size = SECURITY_MAX_SID_SIZE;
    // SAFETY: there is room for the largest SID.
    let is_made = unsafe {
        CreateWellKnownSid(
            WinBuiltinAdministratorsSid,
            ptr::null_mut(),
            sid.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    let (mut copy, mut is_member) = (ptr::null_mut(), 0);
    // SAFETY: the token is open, and there is room for the handle.
    let is_copied = unsafe { DuplicateToken(token, SecurityIdentification, &raw mut copy) };
    if is_made == 0 || is_copied == 0 {
        breach("a token cannot be asked for its groups");
        return false;
    }
    // SAFETY: token and SID were just made, and there is room for the answer.
    let is_told =
        unsafe { CheckTokenMembership(copy, sid.as_mut_ptr().cast(), &raw mut is_member) };
    // SAFETY: opened above.
    let _is_closed = unsafe { CloseHandle(copy) };
    is_told != 0 && is_member != 0
}
