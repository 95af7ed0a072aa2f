//! Device objects, symbolic links and who may open them.

#![expect(
    unsafe_code,
    reason = "reads what the driver points to and gives out device objects"
)]

use crate::contract::{PASSIVE_LEVEL, breach, enter};
use crate::fault::{self, INJECTED};
use crate::mutex::lock;
use crate::object;
use crate::registry::text;
use nt::sys::{
    BOOLEAN, DEVICE_OBJECT, DRIVER_OBJECT, HANDLE, NTSTATUS, PVOID, SECURITY_SUBJECT_CONTEXT,
    UNICODE_STRING,
};
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

const NAME_COLLISION: i32 = 0xc000_0035_u32.cast_signed();
const NOT_FOUND: i32 = 0xc000_0034_u32.cast_signed();

/// Who makes a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Caller {
    /// An administrator, or SYSTEM.
    #[default]
    Administrator,
    /// Somebody else.
    User,
    /// An administrator who impersonates somebody else.
    AdministratorAsUser,
    /// Somebody else who impersonates an administrator.
    UserAsAdministrator,
    /// Somebody else with an administrator's token that is good for identification only.
    UserIdentifyingAdministrator,
}

static ADMINISTRATOR: u8 = 0;
static USER: u8 = 0;
static CAPTURED: AtomicI64 = AtomicI64::new(0);
static DEVICES: Mutex<Option<HashMap<usize, Device>>> = Mutex::new(None);
static LINKS: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);

thread_local! {
    static CALLER: Cell<Caller> = const { Cell::new(Caller::Administrator) };
}

struct Device {
    raw: *mut DEVICE_OBJECT,
    extension: *mut [u64],
    name: String,
    descriptor: Option<Vec<u8>>,
}

// SAFETY: device objects are used on any processor.
unsafe impl Send for Device {}

/// A device that can be opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened(pub(crate) *mut DEVICE_OBJECT);

// SAFETY: device objects are used on any processor.
unsafe impl Send for Opened {}
// SAFETY: as above.
unsafe impl Sync for Opened {}

pub(crate) fn finish() {
    if !lock(&DEVICES).take().unwrap_or_default().is_empty() {
        breach("a device object is left");
    }
    if !lock(&LINKS).take().unwrap_or_default().is_empty() {
        breach("a symbolic link is left");
    }
    if CAPTURED.swap(0, Ordering::SeqCst) != 0 {
        breach("a subject context was not released");
    }
}

/// The device that `link` stands for.
pub(crate) fn open(link: &str) -> Option<Opened> {
    let name = lock(&LINKS).as_ref()?.get(link)?.clone();
    let devices = lock(&DEVICES);
    let mut devices = devices.as_ref()?.values();
    devices
        .find(|device| device.name == name)
        .map(|device| Opened(device.raw))
}

/// The security descriptor the driver gave the device behind `link`.
pub(crate) fn descriptor(link: &str) -> Option<Vec<u8>> {
    let device = open(link)?;
    lock(&DEVICES)
        .as_ref()?
        .get(&device.0.addr())?
        .descriptor
        .clone()
}

/// Runs `body_fn` for `caller`.
pub(crate) fn run_for<R>(caller: Caller, body_fn: impl FnOnce() -> R) -> R {
    let old = CALLER.replace(caller);
    let result = body_fn();
    CALLER.set(old);
    result
}

#[unsafe(no_mangle)]
unsafe extern "system" fn IoCreateDevice(
    driver: *mut DRIVER_OBJECT,
    extension_size: u32,
    name: *const UNICODE_STRING,
    _kind: u32,
    characteristics: u32,
    _exclusive: BOOLEAN,
    device: *mut *mut DEVICE_OBJECT,
) -> NTSTATUS {
    const FILE_DEVICE_SECURE_OPEN: u32 = 0x100;
    enter("IoCreateDevice", PASSIVE_LEVEL);
    if characteristics & FILE_DEVICE_SECURE_OPEN == 0 {
        breach("a device whose name space is not protected");
    }
    if fault::strikes("IoCreateDevice") {
        return INJECTED;
    }
    let name = text(name);
    let mut devices = lock(&DEVICES);
    let devices = devices.get_or_insert_default();
    if devices.values().any(|device| device.name == name) {
        return NAME_COLLISION;
    }
    let words = usize::try_from(extension_size.div_ceil(8)).unwrap_or(0);
    let extension = Box::into_raw(vec![0_u64; words].into_boxed_slice());
    let raw = Box::into_raw(Box::new(DEVICE_OBJECT {
        Type: 3,
        Size: 0,
        ReferenceCount: 0,
        DriverObject: driver,
        NextDevice: std::ptr::null_mut(),
        AttachedDevice: std::ptr::null_mut(),
        CurrentIrp: std::ptr::null_mut(),
        Timer: std::ptr::null_mut(),
        Flags: 0,
        Characteristics: characteristics,
        Vpb: std::ptr::null_mut(),
        DeviceExtension: extension.cast(),
    }));
    devices.insert(
        raw.addr(),
        Device {
            raw,
            extension,
            name,
            descriptor: None,
        },
    );
    // SAFETY: the driver passes room for a device.
    unsafe {
        *device = raw;
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "system" fn IoDeleteDevice(device: *mut DEVICE_OBJECT) {
    enter("IoDeleteDevice", PASSIVE_LEVEL);
    let Some(device) = lock(&DEVICES)
        .get_or_insert_default()
        .remove(&device.addr())
    else {
        breach("a device is deleted that is not there");
        return;
    };
    // SAFETY: made from a box above, and off the list.
    drop(unsafe { Box::from_raw(device.raw) });
    // SAFETY: made from a box above, and off the list.
    drop(unsafe { Box::from_raw(device.extension) });
}

#[unsafe(no_mangle)]
unsafe extern "system" fn IoCreateSymbolicLink(
    link: *const UNICODE_STRING,
    device: *const UNICODE_STRING,
) -> NTSTATUS {
    enter("IoCreateSymbolicLink", PASSIVE_LEVEL);
    if fault::strikes("IoCreateSymbolicLink") {
        return INJECTED;
    }
    let mut links = lock(&LINKS);
    let links = links.get_or_insert_default();
    let name = text(link);
    if links.contains_key(&name) {
        return NAME_COLLISION;
    }
    links.insert(name, text(device));
    0
}

#[unsafe(no_mangle)]
unsafe extern "system" fn IoDeleteSymbolicLink(link: *const UNICODE_STRING) -> NTSTATUS {
    enter("IoDeleteSymbolicLink", PASSIVE_LEVEL);
    if lock(&LINKS)
        .get_or_insert_default()
        .remove(&text(link))
        .is_none()
    {
        breach("a symbolic link is deleted that is not there");
        return NOT_FOUND;
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ZwSetSecurityObject(
    handle: HANDLE,
    information: u32,
    descriptor: *const c_void,
) -> NTSTATUS {
    const DACL: u32 = 4;
    const HEAD_SIZE: usize = 20;
    enter("ZwSetSecurityObject", PASSIVE_LEVEL);
    if information != DACL {
        breach("something else than an access list is set");
    }
    if fault::strikes("ZwSetSecurityObject") {
        return INJECTED;
    }
    let start = descriptor.cast::<u8>();
    // SAFETY: the driver passes a self-relative descriptor, whose list's size follows the head.
    let list = unsafe { std::slice::from_raw_parts(start, HEAD_SIZE + 4) };
    let size = u16::from_le_bytes([list[HEAD_SIZE + 2], list[HEAD_SIZE + 3]]);
    // SAFETY: as above.
    let bytes = unsafe { std::slice::from_raw_parts(start, HEAD_SIZE + usize::from(size)) };
    let address = object::object(handle).unwrap_or(0);
    match lock(&DEVICES).get_or_insert_default().get_mut(&address) {
        Some(device) => device.descriptor = Some(bytes.to_vec()),
        None => breach("a descriptor for something that is no device"),
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "system" fn SeCaptureSubjectContext(context: *mut SECURITY_SUBJECT_CONTEXT) {
    enter("SeCaptureSubjectContext", PASSIVE_LEVEL);
    CAPTURED.fetch_add(1, Ordering::SeqCst);
    let administrator: PVOID = (&raw const ADMINISTRATOR).cast_mut().cast();
    let user: PVOID = (&raw const USER).cast_mut().cast();
    let nobody = std::ptr::null_mut();
    let (primary, client, level) = match CALLER.get() {
        Caller::Administrator => (administrator, nobody, 0),
        Caller::User => (user, nobody, 0),
        Caller::AdministratorAsUser => (administrator, user, 2),
        Caller::UserAsAdministrator => (user, administrator, 2),
        Caller::UserIdentifyingAdministrator => (user, administrator, 1),
    };
    // SAFETY: the driver passes room for a context.
    unsafe {
        context.write(SECURITY_SUBJECT_CONTEXT {
            ClientToken: client,
            ImpersonationLevel: level,
            PrimaryToken: primary,
            ProcessAuditId: nobody,
        });
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn SeReleaseSubjectContext(_context: *mut SECURITY_SUBJECT_CONTEXT) {
    enter("SeReleaseSubjectContext", PASSIVE_LEVEL);
    CAPTURED.fetch_sub(1, Ordering::SeqCst);
}

#[unsafe(no_mangle)]
unsafe extern "system" fn SeTokenIsAdmin(token: PVOID) -> BOOLEAN {
    enter("SeTokenIsAdmin", PASSIVE_LEVEL);
    u8::from(token.addr() == (&raw const ADMINISTRATOR).addr())
}
