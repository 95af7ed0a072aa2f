//! What the kernel tells of a process to who has it open: what the runner said of its image, and that
//! it is a process of Win32 which nothing protects. Wine would say other words for the same.

#![expect(unsafe_code, reason = "writes where the driver says")]

use crate::contract::{PASSIVE_LEVEL, breach, enter, lock, strikes};
use crate::object;
use nt::sys::{
    HANDLE, NTSTATUS, PROCESS_IMAGE_FILE_NAME, PROCESS_PROTECTION_INFORMATION,
    PROCESS_SUBSYSTEM_INFORMATION, PVOID, UNICODE_STRING,
};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::Mutex;

const INFO_LENGTH_MISMATCH: i32 = 0xc000_0004_u32.cast_signed();
const INVALID_HANDLE: i32 = 0xc000_0008_u32.cast_signed();
const INJECTED: i32 = nt::Status::INSUFFICIENT_RESOURCES.0;

/// The paths of images, by the address of the process.
static IMAGES: Mutex<BTreeMap<usize, Vec<u16>>> = Mutex::new(BTreeMap::new());

/// Notes what a process runs.
pub(crate) fn note(process: PVOID, image: &[u16]) {
    lock(&IMAGES).insert(process.addr(), image.to_vec());
}

/// Forgets what was noted.
pub(crate) fn finish() {
    lock(&IMAGES).clear();
}

pub(crate) unsafe extern "system" fn query_process(
    handle: HANDLE,
    class: i32,
    information: *mut c_void,
    size: u32,
    needed: *mut u32,
) -> NTSTATUS {
    enter("ZwQueryInformationProcess", PASSIVE_LEVEL);
    if strikes("ZwQueryInformationProcess") {
        return INJECTED;
    }
    let Some(process) = object::object_of(handle) else {
        breach("a process is queried by a handle to something else");
        return INVALID_HANDLE;
    };
    let answer = match class {
        PROCESS_IMAGE_FILE_NAME => name(process, information),
        PROCESS_PROTECTION_INFORMATION => vec![0],
        PROCESS_SUBSYSTEM_INFORMATION => vec![0; 4],
        _ => {
            breach(format!("process information of class {class}"));
            return INVALID_HANDLE;
        }
    };
    let answer_size = u32::try_from(answer.len()).unwrap_or(u32::MAX);
    // SAFETY: the driver passes room for the size.
    unsafe {
        needed.write(answer_size);
    }
    if answer_size > size {
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

/// A `UNICODE_STRING` and its text behind it, with a NUL, as they are to stand at `place`.
fn name(process: usize, place: *mut c_void) -> Vec<u8> {
    let images = lock(&IMAGES);
    let units = images.get(&process).map_or(&[][..], Vec::as_slice);
    let size = u16::try_from(size_of_val(units)).unwrap_or(0xfffc);
    let behind = place.addr() + size_of::<UNICODE_STRING>();
    let behind = u64::try_from(behind).unwrap_or(0).to_le_bytes();
    let sizes = [size.to_le_bytes(), (size + 2).to_le_bytes()].concat();
    let text = units.iter().chain(&[0]).flat_map(|unit| unit.to_le_bytes());
    let head = [sizes.as_slice(), &[0; 4], &behind].concat();
    head.into_iter().chain(text).collect()
}
