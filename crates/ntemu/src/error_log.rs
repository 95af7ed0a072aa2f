//! The system's event log.

#![expect(unsafe_code, reason = "gives out entries and takes them back")]

use crate::contract::{DISPATCH_LEVEL, breach, enter};
use crate::fault;
use crate::mutex::lock;
use nt::sys::{IO_ERROR_LOG_PACKET, PVOID};
use std::sync::Mutex;

static ENTRIES: Mutex<Vec<(u32, i32)>> = Mutex::new(Vec::new());

/// Whether an entry waits to be taken. The kernel holds a reference to the object it was allocated for,
/// a driver object, until then.
pub(crate) fn holds_the_driver() -> bool {
    !lock(&ENTRIES).is_empty()
}

/// Takes the entries, as the event log does: the step and the status of each.
pub(crate) fn take() -> Vec<(u32, i32)> {
    std::mem::take(&mut *lock(&ENTRIES))
}

#[unsafe(no_mangle)]
unsafe extern "system" fn IoAllocateErrorLogEntry(_object: PVOID, size: u8) -> PVOID {
    enter("IoAllocateErrorLogEntry", DISPATCH_LEVEL);
    if usize::from(size) < size_of::<IO_ERROR_LOG_PACKET>() {
        breach("an error log entry smaller than its fixed part");
    }
    if fault::strikes("IoAllocateErrorLogEntry") {
        return std::ptr::null_mut();
    }
    let room: Box<[u64; 32]> = Box::new([0; 32]);
    Box::into_raw(room).cast()
}

#[unsafe(no_mangle)]
unsafe extern "system" fn IoWriteErrorLogEntry(entry: PVOID) {
    enter("IoWriteErrorLogEntry", DISPATCH_LEVEL);
    // SAFETY: the driver passes what the function above gave it, once.
    let room = unsafe { Box::from_raw(entry.cast::<[u64; 32]>()) };
    // SAFETY: the driver has written a packet there.
    let packet = unsafe { (&raw const *room).cast::<IO_ERROR_LOG_PACKET>().read() };
    // Facility 4 is that of the I/O manager, whose messages `IoLogMsg.dll` has; the other bits say how bad it is.
    if packet.ErrorCode.cast_unsigned() & 0x0fff_0000 != 0x0004_0000 {
        breach("an entry whose message the event log has no words for");
    }
    lock(&ENTRIES).push((packet.DumpData[0], packet.FinalStatus));
}
