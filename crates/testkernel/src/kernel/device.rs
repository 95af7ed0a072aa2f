//! Devices, links, their security, and the system's event log.

#![expect(
    unsafe_code,
    reason = "hands the driver's calls on to Wine and reads its strings"
)]

use crate::contract::{DISPATCH_LEVEL, INJECTED, PASSIVE_LEVEL, breach, enter, lock, log, strikes};
use crate::object;
use nt::sys::{
    BOOLEAN, DEVICE_OBJECT, DRIVER_OBJECT, HANDLE, IO_ERROR_LOG_PACKET, NTSTATUS, PVOID,
    UNICODE_STRING,
};
use std::ffi::c_void;
use std::fmt::Write as _;
use std::ptr;
use std::sync::Mutex;

/// `STATUS_INVALID_HANDLE`
const INVALID_HANDLE: NTSTATUS = 0xc000_0008_u32.cast_signed();

static MADE: Mutex<Made> = Mutex::new(Made {
    devices: Vec::new(),
    links: Vec::new(),
    descriptor: String::new(),
    entries: Vec::new(),
});

/// What the driver made and has not deleted.
struct Made {
    /// Addresses of device objects.
    devices: Vec<usize>,
    links: Vec<String>,
    descriptor: String,
    /// Event log entries that were allocated and not written.
    entries: Vec<usize>,
}

/// Notes what is left, and forgets it.
pub(crate) fn finish() {
    let mut made = lock(&MADE);
    if !made.devices.is_empty() {
        breach("a device was never deleted");
    }
    for link in &made.links {
        breach(format!("the link {link} was never deleted"));
    }
    if !made.entries.is_empty() {
        breach("an event log entry was never written");
    }
    made.devices.clear();
    made.links.clear();
    made.entries.clear();
    made.descriptor.clear();
}

pub(crate) fn is_device(object: PVOID) -> bool {
    lock(&MADE).devices.contains(&object.addr())
}

/// The device's security descriptor, in hexadecimal.
pub(crate) fn descriptor() -> String {
    lock(&MADE).descriptor.clone()
}

pub(crate) unsafe extern "system" fn create(
    driver: *mut DRIVER_OBJECT,
    extension_size: u32,
    name: *const UNICODE_STRING,
    kind: u32,
    characteristics: u32,
    is_exclusive: BOOLEAN,
    device: *mut *mut DEVICE_OBJECT,
) -> NTSTATUS {
    enter("IoCreateDevice", PASSIVE_LEVEL);
    if strikes("IoCreateDevice") {
        return INJECTED;
    }
    // SAFETY: the driver's arguments are handed on.
    let status = unsafe {
        nt::sys::IoCreateDevice(
            driver,
            extension_size,
            name,
            kind,
            characteristics,
            is_exclusive,
            device,
        )
    };
    if status == 0 {
        // SAFETY: Wine has just written the device there.
        lock(&MADE).devices.push(unsafe { *device }.addr());
    }
    status
}

pub(crate) unsafe extern "system" fn delete(device: *mut DEVICE_OBJECT) {
    enter("IoDeleteDevice", PASSIVE_LEVEL);
    let mut made = lock(&MADE);
    let count = made.devices.len();
    made.devices.retain(|address| *address != device.addr());
    if made.devices.len() == count {
        breach("a device is deleted that is not there");
        return;
    }
    drop(made);
    // SAFETY: the device is there.
    unsafe {
        nt::sys::IoDeleteDevice(device);
    }
}

pub(crate) unsafe extern "system" fn create_link(
    link: *const UNICODE_STRING,
    device: *const UNICODE_STRING,
) -> NTSTATUS {
    enter("IoCreateSymbolicLink", PASSIVE_LEVEL);
    if strikes("IoCreateSymbolicLink") {
        return INJECTED;
    }
    // SAFETY: the driver's arguments are handed on.
    let status = unsafe { nt::sys::IoCreateSymbolicLink(link, device) };
    if status == 0 {
        lock(&MADE).links.push(text(link));
    }
    status
}

pub(crate) unsafe extern "system" fn delete_link(link: *const UNICODE_STRING) -> NTSTATUS {
    enter("IoDeleteSymbolicLink", PASSIVE_LEVEL);
    let name = text(link);
    let mut made = lock(&MADE);
    let count = made.links.len();
    made.links.retain(|made| *made != name);
    if made.links.len() == count {
        breach(format!("the link {name} is deleted and not there"));
    }
    drop(made);
    // SAFETY: the driver's argument is handed on.
    unsafe { nt::sys::IoDeleteSymbolicLink(link) }
}

pub(crate) unsafe extern "system" fn set_security(
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
    if !is_device(ptr::without_provenance_mut(object)) {
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
    let mut made = lock(&MADE);
    made.descriptor.clear();
    for byte in bytes {
        // Writing to a string cannot fail.
        let _infallible = write!(made.descriptor, "{byte:02x}");
    }
    0
}

pub(crate) unsafe extern "system" fn allocate_log_entry(_object: PVOID, size: u8) -> PVOID {
    const PACKET_SIZE: usize = size_of::<IO_ERROR_LOG_PACKET>();
    enter("IoAllocateErrorLogEntry", DISPATCH_LEVEL);
    if strikes("IoAllocateErrorLogEntry") {
        return ptr::null_mut();
    }
    if usize::from(size) > PACKET_SIZE {
        breach("an event log entry is larger than one packet");
        return ptr::null_mut();
    }
    let entry = Box::into_raw(Box::new([0_u64; PACKET_SIZE / 8]));
    lock(&MADE).entries.push(entry.addr());
    entry.cast()
}

pub(crate) unsafe extern "system" fn write_log_entry(entry: PVOID) {
    enter("IoWriteErrorLogEntry", DISPATCH_LEVEL);
    let mut made = lock(&MADE);
    let count = made.entries.len();
    made.entries.retain(|address| *address != entry.addr());
    if made.entries.len() == count {
        breach("an event log entry is written that was not allocated");
        return;
    }
    // SAFETY: allocated above with this size, and nobody else's any more.
    let packet = unsafe { entry.cast::<IO_ERROR_LOG_PACKET>().read() };
    log(packet.UniqueErrorValue, packet.FinalStatus.cast_unsigned());
    let memory = entry.cast::<[u64; size_of::<IO_ERROR_LOG_PACKET>() / 8]>();
    // SAFETY: made from a box above.
    drop(unsafe { Box::from_raw(memory) });
}

/// The text of a kernel string.
pub(crate) fn text(string: *const UNICODE_STRING) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: callers pass strings that Wine or the driver keeps good for the call.
    let string = unsafe { &*string };
    if string.Buffer.is_null() {
        return String::new();
    }
    // SAFETY: the string says its own size.
    let units =
        unsafe { std::slice::from_raw_parts(string.Buffer, usize::from(string.Length) / 2) };
    String::from_utf16_lossy(units)
}
