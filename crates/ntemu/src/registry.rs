//! The registry: the driver's service key and its `Parameters`.

#![expect(unsafe_code, reason = "reads and writes where the driver says")]

use crate::contract::{PASSIVE_LEVEL, breach, enter};
use crate::fault::{self, INJECTED};
use crate::mutex::lock;
use crate::object::{self, OBJ_KERNEL_HANDLE, Target};
use nt::sys::{
    HANDLE, KEY_VALUE_PARTIAL_INFORMATION, NTSTATUS, OBJECT_ATTRIBUTES, PVOID, UNICODE_STRING,
};
use std::collections::HashMap;
use std::sync::Mutex;

/// The key that `DriverEntry` is told.
pub(crate) const SERVICE_KEY: &str =
    r"\Registry\Machine\System\CurrentControlSet\Services\SysTrail";

const PARAMETERS: &str = "Parameters";
const NOT_FOUND: i32 = 0xc000_0034_u32.cast_signed();
const BUFFER_OVERFLOW: i32 = 0x8000_0005_u32.cast_signed();

/// Values by name: type and data.
type Values = HashMap<String, (u32, Vec<u8>)>;

/// The values of `Parameters`; `None` while there is no such key.
static VALUES: Mutex<Option<Values>> = Mutex::new(None);

pub(crate) fn set(name: &str, kind: u32, data: &[u8]) {
    lock(&VALUES)
        .get_or_insert_default()
        .insert(name.to_owned(), (kind, data.to_vec()));
}

pub(crate) fn reset() {
    *lock(&VALUES) = None;
}

/// The text of a string of the driver.
pub(crate) fn text(string: *const UNICODE_STRING) -> String {
    // SAFETY: the driver passes a string that is good for the call.
    let string = unsafe { &*string };
    if string.Length % 2 != 0 || string.Length > string.MaximumLength {
        breach("a UNICODE_STRING whose sizes cannot be");
    }
    // SAFETY: as above, and its buffer is good for its length.
    let units =
        unsafe { std::slice::from_raw_parts(string.Buffer, usize::from(string.Length / 2)) };
    String::from_utf16_lossy(units)
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ZwOpenKey(
    key: *mut HANDLE,
    _access: u32,
    attributes: *const OBJECT_ATTRIBUTES,
) -> NTSTATUS {
    enter("ZwOpenKey", PASSIVE_LEVEL);
    // SAFETY: the driver passes attributes that are good for the call.
    let attributes = unsafe { &*attributes };
    if attributes.Length != 48 || attributes.Attributes & OBJ_KERNEL_HANDLE == 0 {
        breach("ZwOpenKey with attributes that cannot be");
    }
    if fault::strikes("ZwOpenKey") {
        return INJECTED;
    }
    let name = text(attributes.ObjectName);
    let exists = if attributes.RootDirectory.is_null() {
        name == SERVICE_KEY
    } else {
        object::target(attributes.RootDirectory) == Some(Target::Key(SERVICE_KEY.to_owned()))
            && name == PARAMETERS
            && lock(&VALUES).is_some()
    };
    if !exists {
        return NOT_FOUND;
    }
    let opened = object::open(Target::Key(name));
    // SAFETY: the driver passes room for a handle.
    unsafe {
        *key = opened;
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ZwQueryValueKey(
    key: HANDLE,
    name: *const UNICODE_STRING,
    _class: i32,
    information: PVOID,
    size: u32,
    needed: *mut u32,
) -> NTSTATUS {
    const HEAD_SIZE: u32 = 12;
    enter("ZwQueryValueKey", PASSIVE_LEVEL);
    if object::target(key) != Some(Target::Key(PARAMETERS.to_owned())) {
        return NOT_FOUND;
    }
    if fault::strikes("ZwQueryValueKey") {
        return INJECTED;
    }
    let values = lock(&VALUES);
    let Some((kind, data)) = values.as_ref().and_then(|values| values.get(&text(name))) else {
        return NOT_FOUND;
    };
    let room = usize::try_from(size.saturating_sub(HEAD_SIZE)).unwrap_or(0);
    let data_size = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut answer = KEY_VALUE_PARTIAL_INFORMATION {
        TitleIndex: 0,
        Type: *kind,
        DataLength: data_size,
        Data: [0; 4],
    };
    let copied = data.len().min(room).min(4);
    answer.Data[..copied].copy_from_slice(&data[..copied]);
    // SAFETY: the driver passes room for the structure, which `size` was checked to hold.
    unsafe {
        information
            .cast::<KEY_VALUE_PARTIAL_INFORMATION>()
            .write(answer);
    }
    // SAFETY: the driver passes room for the size.
    unsafe {
        *needed = HEAD_SIZE + data_size;
    }
    if data.len() > room {
        BUFFER_OVERFLOW
    } else {
        0
    }
}
