//! Requests on their way into the driver and back: each is completed once, pended ones are marked,
//! reads get a buffer with a page behind it that nobody may touch.
//!
//! Wine leaves out what Windows does: it gives a create no security context, so the access it was
//! asked for is looked up in its own request; it opens a file that the driver has refused, so every
//! request to such a file fails here with what the driver said; it sends no clean-up, so that is made
//! up before the close; it maps the buffer of a read beforehand, so that is taken back.

#![expect(unsafe_code, reason = "fills in and completes request packets")]

use crate::contract::{
    DISPATCH_LEVEL, PASSIVE_LEVEL, at_irql, breach, count_request, enter, lock, spin_locks, strikes,
};
use crate::pool::Guarded;
use crate::target;
use nt::sys::{
    DEVICE_OBJECT, DRIVER_DISPATCH, FILE_OBJECT, IO_SECURITY_CONTEXT, IO_STACK_LOCATION, IRP,
    IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_READ, MDL, NTSTATUS, PARAMETERS,
    SL_PENDING_RETURNED,
};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ptr;
use std::sync::{Arc, Mutex};

const PENDING: NTSTATUS = 0x103;

/// Packets the driver has and has not completed, by address.
static PACKETS: Mutex<BTreeMap<usize, Packet>> = Mutex::new(BTreeMap::new());

/// Files the driver has refused to open, each with the status, which Wine forgets.
static REFUSED: Mutex<BTreeMap<usize, NTSTATUS>> = Mutex::new(BTreeMap::new());

struct Packet {
    major: usize,
    file: usize,
    /// Set when the packet is completed.
    outcome: Arc<Mutex<Option<Outcome>>>,
    read: Option<Read>,
    /// Whether Wine knows of the packet.
    is_wines: bool,
}

#[derive(Clone, Copy)]
struct Outcome {
    status: NTSTATUS,
    was_marked: bool,
}

/// What a read's packet had before, and the buffer the driver sees.
struct Read {
    buffer: Guarded,
    mdl: *mut MDL,
    flags: i16,
    address: *mut c_void,
    is_mapped: bool,
}

// SAFETY: the list belongs to the packet, which is used on any processor.
unsafe impl Send for Read {}

/// Notes what is left, and forgets it.
pub(crate) fn finish() {
    for (_address, packet) in std::mem::take(&mut *lock(&PACKETS)) {
        breach(format!(
            "a request of kind {:#x} was never completed",
            packet.major
        ));
    }
}

/// How many requests the driver has.
pub(crate) fn pended() -> u64 {
    u64::try_from(lock(&PACKETS).len()).unwrap_or(u64::MAX)
}

/// What Wine calls for every request to the driver.
pub(crate) unsafe extern "system" fn dispatch(
    device: *mut DEVICE_OBJECT,
    irp: *mut IRP,
) -> NTSTATUS {
    // SAFETY: Wine calls dispatch routines with a packet.
    let location = unsafe { (*irp).CurrentStackLocation };
    // SAFETY: Wine has set the location up for this driver.
    let major = usize::from(unsafe { (*location).MajorFunction });
    // SAFETY: as above.
    let file = unsafe { (*location).FileObject };
    let Some((routine, is_drivers)) = target::dispatch_routine(major) else {
        breach("a request comes while no driver is loaded");
        return 0xc000_0010_u32.cast_signed();
    };
    count_request(u8::try_from(major).unwrap_or(u8::MAX));
    if !is_drivers {
        // SAFETY: Wine's own routine for what the driver does not serve.
        return unsafe { routine(device, irp) };
    }
    if let Some(status) = refusal(file, major) {
        // SAFETY: the packet is not the driver's, which knows of no such file.
        unsafe {
            (*irp).IoStatus.Status = status;
        }
        // SAFETY: as above.
        unsafe {
            nt::sys::IofCompleteRequest(irp, 0);
        }
        return status;
    }
    match major {
        IRP_MJ_CREATE => {
            let mut context = IO_SECURITY_CONTEXT {
                SecurityQos: ptr::null_mut(),
                AccessState: ptr::null_mut(),
                DesiredAccess: requested_access(device, location),
                FullCreateOptions: 0,
            };
            // SAFETY: the location is the packet's, which no routine has yet.
            let parameters = unsafe { &mut (*location).Parameters };
            // The context lives until the routine is back, and no driver pends this create.
            parameters.Create.SecurityContext = &raw mut context;
            let status = call(routine, device, irp, major, file, None);
            if status < 0 {
                lock(&REFUSED).insert(file.addr(), status);
            }
            status
        }
        IRP_MJ_READ => {
            let read = prepare_read(irp, location);
            call(routine, device, irp, major, file, read)
        }
        IRP_MJ_CLOSE => {
            clean_up(device, file);
            call(routine, device, irp, major, file, None)
        }
        _ => call(routine, device, irp, major, file, None),
    }
}

/// What requests to a file end with that the driver has refused.
fn refusal(file: *mut FILE_OBJECT, major: usize) -> Option<NTSTATUS> {
    let mut refused = lock(&REFUSED);
    match major {
        IRP_MJ_CREATE => None,
        IRP_MJ_CLOSE => refused.remove(&file.addr()).map(|_status| 0),
        _ => refused.get(&file.addr()).copied(),
    }
}

/// Calls the driver's routine and checks what it made of the packet.
fn call(
    routine: DRIVER_DISPATCH,
    device: *mut DEVICE_OBJECT,
    irp: *mut IRP,
    major: usize,
    file: *mut FILE_OBJECT,
    read: Option<Read>,
) -> NTSTATUS {
    let outcome = Arc::new(Mutex::new(None));
    let packet = Packet {
        major,
        file: file.addr(),
        outcome: Arc::clone(&outcome),
        read,
        is_wines: major != IRP_MJ_CLEANUP,
    };
    if lock(&PACKETS).insert(irp.addr(), packet).is_some() {
        breach("a packet is sent again before it was completed");
    }
    let status = at_irql(PASSIVE_LEVEL, "a dispatch routine", || {
        // SAFETY: the driver's routine, called as Wine would.
        unsafe { routine(device, irp) }
    });
    let outcome = *lock(&outcome);
    match outcome {
        None if status != PENDING => breach(format!(
            "a request of kind {major:#x} came back with {status:#x} and was not completed"
        )),
        Some(outcome) if status == PENDING && !outcome.was_marked => {
            breach(format!("a request of kind {major:#x} was pended unmarked"));
        }
        Some(outcome) if status != PENDING && outcome.status != status => breach(format!(
            "a request of kind {major:#x} came back with {status:#x} and was completed with {:#x}",
            outcome.status
        )),
        _ => {}
    }
    status
}

/// Sends the clean-up that Wine leaves out; afterwards nothing of the file may be pended.
fn clean_up(device: *mut DEVICE_OBJECT, file: *mut FILE_OBJECT) {
    let Some((routine, true)) = target::dispatch_routine(IRP_MJ_CLEANUP) else {
        return;
    };
    // SAFETY: the packet is numbers and pointers that may be null.
    let mut irp: Box<IRP> = Box::new(unsafe { std::mem::zeroed() });
    let mut location = Box::new(IO_STACK_LOCATION {
        MajorFunction: 0x12,
        MinorFunction: 0,
        Flags: 0,
        Control: 0,
        Parameters: PARAMETERS { Others: [0; 4] },
        DeviceObject: device,
        FileObject: file,
        CompletionRoutine: ptr::null_mut(),
        Context: ptr::null_mut(),
    });
    irp.CurrentStackLocation = &raw mut *location;
    count_request(0x12);
    call(routine, device, &raw mut *irp, IRP_MJ_CLEANUP, file, None);
    let left = lock(&PACKETS)
        .values()
        .filter(|packet| packet.file == file.addr())
        .count();
    if left != 0 {
        breach(format!("{left} requests are pended after the clean-up"));
    }
}

/// Gives the read a buffer of its own, not yet mapped, as the packet of a direct read has it.
fn prepare_read(irp: *mut IRP, location: *mut IO_STACK_LOCATION) -> Option<Read> {
    // SAFETY: the location is the packet's, which no routine has yet.
    let parameters = unsafe { &(*location).Parameters };
    // SAFETY: the location is a read's.
    let size = unsafe { parameters.Read.Length };
    // SAFETY: the packet is Wine's until the driver has it.
    let mdl = unsafe { (*irp).MdlAddress };
    if mdl.is_null() {
        breach("Wine gives a read no list of pages");
        return None;
    }
    let buffer = Guarded::new(usize::try_from(size).unwrap_or(0))?;
    // SAFETY: the list is the packet's.
    let list = unsafe { &mut *mdl };
    let read = Read {
        buffer,
        mdl,
        flags: list.MdlFlags,
        address: list.MappedSystemVa,
        is_mapped: false,
    };
    list.MdlFlags = 0;
    list.MappedSystemVa = ptr::null_mut();
    if size == 0 {
        // SAFETY: as above. Windows gives a read of no bytes no list.
        unsafe {
            (*irp).MdlAddress = ptr::null_mut();
        }
    }
    Some(read)
}

/// The access the file is opened with. Wine passes it to no driver; it stands in the request that
/// its main loop has on the stack: kind, access, sharing, options, and the device.
fn requested_access(device: *mut DEVICE_OBJECT, location: *mut IO_STACK_LOCATION) -> u32 {
    const KIND_CREATE: u32 = 1;
    const READ_AND_WRITE: u32 = 0xc000_0000;
    // SAFETY: the location is the packet's, which no routine has yet.
    let parameters = unsafe { &(*location).Parameters };
    // SAFETY: the location is a create's.
    let options = unsafe { parameters.Create.Options };
    let here = ptr::from_ref(&device).addr() & !7;
    let end = stack_base().saturating_sub(24);
    for address in (here..end).step_by(8) {
        // SAFETY: between this frame and the stack's base there is only stack.
        let words: [u32; 6] = unsafe { ptr::with_exposed_provenance::<[u32; 6]>(address).read() };
        let pointer = u64::from(words[4]) | (u64::from(words[5]) << 32);
        if words[0] == KIND_CREATE
            && words[3] == options
            && usize::try_from(pointer) == Ok(device.addr())
        {
            return words[1];
        }
    }
    breach("the access of a create is not where Wine 8.0 has it");
    READ_AND_WRITE
}

/// Where this thread's stack begins, which is above all frames.
fn stack_base() -> usize {
    let base: usize;
    // SAFETY: reads the thread's own information block, whose second field this is.
    unsafe {
        std::arch::asm!("mov {}, gs:[8]", out(reg) base, options(nostack, readonly, preserves_flags));
    }
    base
}

pub(crate) unsafe extern "system" fn map_pages(
    mdl: *mut MDL,
    mode: i8,
    _cache: i32,
    _address: *mut c_void,
    _bugcheck: u32,
    priority: u32,
) -> *mut c_void {
    enter("MmMapLockedPagesSpecifyCache", DISPATCH_LEVEL);
    if mode != nt::sys::KERNEL_MODE || priority & nt::sys::MDL_MAPPING_NO_EXECUTE == 0 {
        breach("pages are mapped for user mode, or executable");
    }
    if strikes("MmMapLockedPagesSpecifyCache") {
        return ptr::null_mut();
    }
    let mut packets = lock(&PACKETS);
    let read = packets
        .values_mut()
        .filter_map(|packet| packet.read.as_mut())
        .find(|read| ptr::eq(read.mdl, mdl));
    let Some(read) = read else {
        breach("pages are mapped that no request has");
        return ptr::null_mut();
    };
    if read.is_mapped {
        breach("the pages of a request are mapped twice");
    }
    read.is_mapped = true;
    read.buffer.start().cast()
}

pub(crate) unsafe extern "system" fn complete(irp: *mut IRP, boost: i8) {
    enter("IofCompleteRequest", DISPATCH_LEVEL);
    if spin_locks() != 0 {
        breach("a request is completed under a spin lock");
    }
    let Some(packet) = lock(&PACKETS).remove(&irp.addr()) else {
        breach("a request is completed twice, or one the driver never had");
        return;
    };
    // SAFETY: the packet was dispatched and not completed.
    let status = unsafe { (*irp).IoStatus.Status };
    // SAFETY: as above.
    let size = unsafe { (*irp).IoStatus.Information };
    // SAFETY: as above.
    if !unsafe { (*irp).CancelRoutine }.is_null() {
        breach("a request is completed with its cancel routine set");
    }
    if status == PENDING {
        breach("a request is completed as pending");
    }
    // SAFETY: as above.
    let location = unsafe { (*irp).CurrentStackLocation };
    // SAFETY: the location is the driver's while the packet is.
    let was_marked = unsafe { (*location).Control } & SL_PENDING_RETURNED != 0;
    *lock(&packet.outcome) = Some(Outcome { status, was_marked });
    if let Some(read) = packet.read {
        finish_read(irp, read, size);
    }
    if packet.is_wines {
        // SAFETY: the packet is Wine's, and completed once.
        unsafe {
            nt::sys::IofCompleteRequest(irp, boost);
        }
    }
}

/// Puts the packet back as Wine made it, and what was read into Wine's buffer.
fn finish_read(irp: *mut IRP, read: Read, size: usize) {
    if !read.buffer.is_whole() {
        breach("a read's buffer was written behind its end");
    }
    if size > read.buffer.size() {
        breach(format!(
            "a read of {} bytes is completed with {size}",
            read.buffer.size()
        ));
    }
    let size = size.min(read.buffer.size());
    // SAFETY: the packet is not completed yet.
    let target = unsafe { (*irp).UserBuffer }.cast::<u8>();
    // SAFETY: Wine's buffer has the size of the read, which is that of the buffer it came in.
    unsafe {
        ptr::copy_nonoverlapping(read.buffer.start(), target, size);
    }
    // SAFETY: as above.
    unsafe {
        (*irp).MdlAddress = read.mdl;
    }
    // SAFETY: the list is the packet's.
    let list = unsafe { &mut *read.mdl };
    list.MdlFlags = read.flags;
    list.MappedSystemVa = read.address;
    read.buffer.release();
}
