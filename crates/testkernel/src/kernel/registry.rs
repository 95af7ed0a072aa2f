//! The registry is Wine's; calls are checked on their way, and may be told to fail.

#![expect(unsafe_code, reason = "hands the driver's calls on to Wine")]

use crate::contract::{INJECTED, PASSIVE_LEVEL, breach, enter, strikes};
use crate::object;
use nt::sys::{HANDLE, NTSTATUS, OBJECT_ATTRIBUTES, PVOID, REG_OPTION_VOLATILE, UNICODE_STRING};
use std::ffi::c_void;

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

pub(crate) unsafe extern "system" fn create_key(
    key: *mut HANDLE,
    access: u32,
    attributes: *const OBJECT_ATTRIBUTES,
    title_index: u32,
    class: *const UNICODE_STRING,
    options: u32,
    disposition: *mut u32,
) -> NTSTATUS {
    enter("ZwCreateKey", PASSIVE_LEVEL);
    if options != REG_OPTION_VOLATILE {
        breach("a key that lasts is made");
    }
    if strikes("ZwCreateKey") {
        return INJECTED;
    }
    // SAFETY: the driver's arguments are handed on.
    let status = unsafe {
        nt::sys::ZwCreateKey(
            key,
            access,
            attributes,
            title_index,
            class,
            options,
            disposition,
        )
    };
    if status == 0 {
        object::key_opened();
    }
    status
}

pub(crate) unsafe extern "system" fn delete_key(key: HANDLE) -> NTSTATUS {
    enter("ZwDeleteKey", PASSIVE_LEVEL);
    if strikes("ZwDeleteKey") {
        return INJECTED;
    }
    // SAFETY: the driver's argument is handed on.
    unsafe { nt::sys::ZwDeleteKey(key) }
}

pub(crate) unsafe extern "system" fn flush_key(key: HANDLE) -> NTSTATUS {
    enter("ZwFlushKey", PASSIVE_LEVEL);
    if strikes("ZwFlushKey") {
        return INJECTED;
    }
    // SAFETY: the driver's argument is handed on.
    unsafe { nt::sys::ZwFlushKey(key) }
}

pub(crate) unsafe extern "system" fn set_value(
    key: HANDLE,
    name: *const UNICODE_STRING,
    title_index: u32,
    kind: u32,
    data: *const c_void,
    size: u32,
) -> NTSTATUS {
    enter("ZwSetValueKey", PASSIVE_LEVEL);
    if strikes("ZwSetValueKey") {
        return INJECTED;
    }
    // SAFETY: the driver's arguments are handed on.
    unsafe { nt::sys::ZwSetValueKey(key, name, title_index, kind, data, size) }
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
