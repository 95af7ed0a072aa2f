//! Devices and links.

#![expect(
    unsafe_code,
    reason = "hands the driver's calls on to Wine and reads its strings"
)]

use crate::contract::{INJECTED, PASSIVE_LEVEL, breach, enter, lock, strikes};
use nt::sys::{BOOLEAN, DEVICE_OBJECT, DRIVER_OBJECT, NTSTATUS, PVOID, UNICODE_STRING};
use std::sync::Mutex;

static MADE: Mutex<Made> = Mutex::new(Made {
    devices: Vec::new(),
    links: Vec::new(),
});

/// What the driver made and has not deleted.
struct Made {
    /// Addresses of device objects.
    devices: Vec<usize>,
    links: Vec<String>,
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
    made.devices.clear();
    made.links.clear();
}

pub(crate) fn is_device(object: PVOID) -> bool {
    lock(&MADE).devices.contains(&object.addr())
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
