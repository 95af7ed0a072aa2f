//! The system's event log.

#![expect(unsafe_code, reason = "reads the entries that the driver fills")]

use crate::contract::{DISPATCH_LEVEL, breach, enter, lock, log, strikes};
use nt::sys::{IO_ERROR_LOG_PACKET, PVOID};
use std::ptr;
use std::sync::Mutex;

/// Entries that were allocated and not written.
static ENTRIES: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Notes what is left, and forgets it.
pub(crate) fn finish() {
    let mut entries = lock(&ENTRIES);
    if !entries.is_empty() {
        breach("an event log entry was never written");
    }
    entries.clear();
}

pub(crate) unsafe extern "system" fn allocate(_object: PVOID, size: u8) -> PVOID {
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
    lock(&ENTRIES).push(entry.addr());
    entry.cast()
}

pub(crate) unsafe extern "system" fn write(entry: PVOID) {
    enter("IoWriteErrorLogEntry", DISPATCH_LEVEL);
    let mut entries = lock(&ENTRIES);
    let count = entries.len();
    entries.retain(|address| *address != entry.addr());
    if entries.len() == count {
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
