//! The registry: the driver's service key, its `Parameters`, and the keys the driver makes below it.

#![expect(unsafe_code, reason = "reads and writes where the driver says")]

use crate::contract::{PASSIVE_LEVEL, breach, enter};
use crate::fault::{self, INJECTED};
use crate::mutex::lock;
use crate::object::{self, OBJ_KERNEL_HANDLE, Target};
use nt::sys::{
    DELETE, HANDLE, KEY_CREATE_SUB_KEY, KEY_SET_VALUE, KEY_VALUE_PARTIAL_INFORMATION, NTSTATUS,
    OBJECT_ATTRIBUTES, PVOID, REG_CREATED_NEW_KEY, REG_OPTION_VOLATILE, UNICODE_STRING,
};
use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use std::sync::Mutex;

/// The key that `DriverEntry` is told.
pub(crate) const SERVICE_KEY: &str =
    r"\Registry\Machine\System\CurrentControlSet\Services\SysTrail";

pub(crate) const PARAMETERS: &str = "Parameters";

/// The name by which the service key itself is known among those below it.
const OWN: &str = "";

const NOT_FOUND: i32 = 0xc000_0034_u32.cast_signed();
const BUFFER_OVERFLOW: i32 = 0x8000_0005_u32.cast_signed();
const ACCESS_DENIED: i32 = 0xc000_0022_u32.cast_signed();
const KEY_DELETED: i32 = 0xc000_017c_u32.cast_signed();
const REG_OPENED_EXISTING_KEY: u32 = 2;

/// Values by name: type and data.
pub(crate) type Values = HashMap<String, (u32, Vec<u8>)>;

/// The keys below the service's, by name; those that are not there have no entry.
static KEYS: Mutex<BTreeMap<String, Values>> = Mutex::new(BTreeMap::new());

/// What was asked of the handles to those keys.
static ACCESS: Mutex<BTreeMap<usize, u32>> = Mutex::new(BTreeMap::new());

pub(crate) fn set(key: &str, name: &str, kind: u32, data: &[u8]) {
    lock(&KEYS)
        .entry(key.to_owned())
        .or_default()
        .insert(name.to_owned(), (kind, data.to_vec()));
}

/// The values of a key below the service's; `None` when there is no such key.
pub(crate) fn values(key: &str) -> Option<Values> {
    lock(&KEYS).get(key).cloned()
}

pub(crate) fn reset() {
    lock(&KEYS).clear();
    lock(&ACCESS).clear();
}

/// The text of a string of the driver.
pub(crate) fn text(string: *const UNICODE_STRING) -> String {
    // SAFETY: the driver passes a string that is good for the call.
    let string = unsafe { &*string };
    if string.Length % 2 != 0 || string.Length > string.MaximumLength {
        breach("a UNICODE_STRING whose sizes cannot be");
    }
    if string.MaximumLength == string.Length {
        breach("a name without a NUL behind it, at which who reads it as a C text would stop");
    }
    // SAFETY: as above, and its buffer is good for its length.
    let units =
        unsafe { std::slice::from_raw_parts(string.Buffer, usize::from(string.Length / 2)) };
    String::from_utf16_lossy(units)
}

/// The root and the name in the driver's attributes, which are checked.
fn root_and_name(function: &str, attributes: *const OBJECT_ATTRIBUTES) -> (HANDLE, String) {
    // SAFETY: the driver passes attributes that are good for the call.
    let attributes = unsafe { &*attributes };
    if attributes.Length != 48 || attributes.Attributes & OBJ_KERNEL_HANDLE == 0 {
        breach(format!("{function} with attributes that cannot be"));
    }
    (attributes.RootDirectory, text(attributes.ObjectName))
}

fn is_service_key(key: HANDLE) -> bool {
    object::target(key) == Some(Target::Key(SERVICE_KEY.to_owned()))
}

/// A handle with this access, where the driver wants it.
fn hand_out(key: *mut HANDLE, name: String, access: u32) {
    let opened = object::open(Target::Key(name));
    lock(&ACCESS).insert(opened.addr(), access);
    // SAFETY: the driver passes room for a handle.
    unsafe {
        *key = opened;
    }
}

/// The name of the key a handle stands for, if it was opened with that access.
fn name_with(key: HANDLE, access: u32) -> Result<String, NTSTATUS> {
    let granted = lock(&ACCESS).get(&key.addr()).copied().unwrap_or(0);
    match object::target(key) {
        Some(Target::Key(name)) if granted & access == access => Ok(name),
        _ => Err(ACCESS_DENIED),
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ZwOpenKey(
    key: *mut HANDLE,
    access: u32,
    attributes: *const OBJECT_ATTRIBUTES,
) -> NTSTATUS {
    enter("ZwOpenKey", PASSIVE_LEVEL);
    let (root, name) = root_and_name("ZwOpenKey", attributes);
    if fault::strikes("ZwOpenKey") {
        return INJECTED;
    }
    let exists = if root.is_null() {
        name == SERVICE_KEY
    } else {
        is_service_key(root) && lock(&KEYS).contains_key(&name)
    };
    if !exists {
        return NOT_FOUND;
    }
    hand_out(key, name, access);
    0
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ZwCreateKey(
    key: *mut HANDLE,
    access: u32,
    attributes: *const OBJECT_ATTRIBUTES,
    _title_index: u32,
    _class: *const UNICODE_STRING,
    options: u32,
    disposition: *mut u32,
) -> NTSTATUS {
    enter("ZwCreateKey", PASSIVE_LEVEL);
    let (root, name) = root_and_name("ZwCreateKey", attributes);
    if options != REG_OPTION_VOLATILE {
        breach("a key that lasts is made");
    }
    if fault::strikes("ZwCreateKey") {
        return INJECTED;
    }
    if !is_service_key(root) {
        return NOT_FOUND;
    }
    if let Err(status) = name_with(root, KEY_CREATE_SUB_KEY) {
        return status;
    }
    let made = if lock(&KEYS).contains_key(&name) {
        REG_OPENED_EXISTING_KEY
    } else {
        lock(&KEYS).insert(name.clone(), Values::new());
        REG_CREATED_NEW_KEY
    };
    hand_out(key, name, access);
    // SAFETY: the driver passes room for it.
    unsafe {
        *disposition = made;
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ZwSetValueKey(
    key: HANDLE,
    name: *const UNICODE_STRING,
    _title_index: u32,
    kind: u32,
    data: *const c_void,
    size: u32,
) -> NTSTATUS {
    enter("ZwSetValueKey", PASSIVE_LEVEL);
    if fault::strikes("ZwSetValueKey") {
        return INJECTED;
    }
    let key = match name_with(key, KEY_SET_VALUE) {
        Ok(key) => key,
        Err(status) => return status,
    };
    let size = usize::try_from(size).unwrap_or(0);
    // SAFETY: the driver passes data of the size it says.
    let data = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), size) };
    let mut keys = lock(&KEYS);
    if key == SERVICE_KEY {
        // It is there as long as the service is.
        keys.entry(OWN.to_owned()).or_default();
    }
    match keys.get_mut(name_below(&key)) {
        Some(values) => values.insert(text(name), (kind, data.to_vec())),
        None => return KEY_DELETED,
    };
    0
}

/// The name of a key as [`KEYS`] has it.
fn name_below(key: &str) -> &str {
    if key == SERVICE_KEY { OWN } else { key }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ZwFlushKey(key: HANDLE) -> NTSTATUS {
    enter("ZwFlushKey", PASSIVE_LEVEL);
    if fault::strikes("ZwFlushKey") {
        return INJECTED;
    }
    match object::target(key) {
        Some(Target::Key(_name)) => 0,
        _ => NOT_FOUND,
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ZwDeleteKey(key: HANDLE) -> NTSTATUS {
    enter("ZwDeleteKey", PASSIVE_LEVEL);
    if fault::strikes("ZwDeleteKey") {
        return INJECTED;
    }
    let key = match name_with(key, DELETE) {
        Ok(key) => key,
        Err(status) => return status,
    };
    match lock(&KEYS).remove(&key) {
        Some(_values) => 0,
        None => KEY_DELETED,
    }
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
    let Some(Target::Key(key)) = object::target(key) else {
        return NOT_FOUND;
    };
    if fault::strikes("ZwQueryValueKey") {
        return INJECTED;
    }
    let keys = lock(&KEYS);
    let value = keys
        .get(name_below(&key))
        .and_then(|values| values.get(&text(name)));
    let Some((kind, data)) = value else {
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
