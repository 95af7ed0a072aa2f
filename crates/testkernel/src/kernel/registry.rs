//! The registry is Wine's; calls are checked on their way, and may be told to fail.

#![expect(unsafe_code, reason = "hands the driver's calls on to Wine")]

use crate::contract::{INJECTED, PASSIVE_LEVEL, enter, strikes};
use crate::object;
use nt::sys::{HANDLE, NTSTATUS, OBJECT_ATTRIBUTES, PVOID, UNICODE_STRING};

pub(crate) unsafe extern "system" fn open_key(
    key: *mut HANDLE,
    access: u32,
    attributes: *const OBJECT_ATTRIBUTES,
) -> NTSTATUS {
    enter("ZwOpenKey", PASSIVE_LEVEL);
    if strikes("ZwOpenKey") {
        return INJECTED;
    }
    // SAFETY: the driver's arguments are handed on.
    let status = unsafe { nt::sys::ZwOpenKey(key, access, attributes) };
    if status == 0 {
        object::key_opened();
    }
    status
}

pub(crate) unsafe extern "system" fn query_value(
    key: HANDLE,
    name: *const UNICODE_STRING,
    class: i32,
    information: PVOID,
    size: u32,
    needed: *mut u32,
) -> NTSTATUS {
    enter("ZwQueryValueKey", PASSIVE_LEVEL);
    if strikes("ZwQueryValueKey") {
        return INJECTED;
    }
    // SAFETY: the driver's arguments are handed on.
    unsafe { nt::sys::ZwQueryValueKey(key, name, class, information, size, needed) }
}
