//! One entry in the system's event log.

#![expect(unsafe_code, reason = "fills a packet that the kernel allocated")]

use crate::{Status, sys};

/// `IO_ERR_DRIVER_ERROR` (`ntiologc.h`): "The driver detected an internal driver error on %1." `IoLogMsg.dll` has
/// that sentence and puts the driver's name in; the number of a status has none there.
const DRIVER_ERROR: sys::NTSTATUS = 0xc004_0004_u32.cast_signed();

/// Says in the system's event log which step of a start failed and with what status. Does nothing
/// when the kernel has no room for an entry.
///
/// IRQL: at most `DISPATCH_LEVEL`.
///
/// # Safety
/// `object` is alive.
pub(crate) unsafe fn write(object: *mut sys::DRIVER_OBJECT, step: u32, status: Status) {
    const SIZE: usize = size_of::<sys::IO_ERROR_LOG_PACKET>();
    let Ok(size) = u8::try_from(SIZE) else {
        return;
    };
    // SAFETY: the caller says that the object is alive.
    let entry = unsafe { sys::IoAllocateErrorLogEntry(object.cast(), size) };
    if entry.is_null() {
        return;
    }
    let packet = sys::IO_ERROR_LOG_PACKET {
        MajorFunctionCode: 0,
        RetryCount: 0,
        DumpDataSize: 4,
        NumberOfStrings: 0,
        StringOffset: 0,
        EventCategory: 0,
        ErrorCode: DRIVER_ERROR,
        UniqueErrorValue: step,
        FinalStatus: status.0,
        SequenceNumber: 0,
        IoControlCode: 0,
        DeviceOffset: 0,
        DumpData: [step],
    };
    // SAFETY: the kernel gave room of this size.
    unsafe {
        entry.cast::<sys::IO_ERROR_LOG_PACKET>().write(packet);
    }
    // SAFETY: the entry was allocated for this call, which takes it.
    unsafe {
        sys::IoWriteErrorLogEntry(entry);
    }
}
