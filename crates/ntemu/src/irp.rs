//! Request packets: what user mode asks of the device. A packet completed twice, never, with a
//! cancel routine set or under a spin lock is a breach.

#![expect(
    unsafe_code,
    reason = "builds request packets and calls the driver's routines"
)]

use crate::contract::{
    DISPATCH_LEVEL, PASSIVE_LEVEL, at_irql, breach, enter, irql, set_irql, set_spin_locks,
    spin_locks,
};
use crate::device::Opened;
use crate::mutex::lock;
use crate::{fault, lock as spin, timer};
use nt::sys::{
    CREATE, DEVICE_IO_CONTROL, DRIVER_CANCEL, FILE_OBJECT, IO_SECURITY_CONTEXT, IO_STACK_LOCATION,
    IO_STATUS_BLOCK, IRP, LIST_ENTRY, MDL, PARAMETERS, POINTER_ALIGNED, PVOID, READ,
};
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering};

const PENDING: i32 = 0x103;
const MDL_PAGES_LOCKED: i16 = 0x2;
const MDL_MAPPED_TO_SYSTEM_VA: i16 = 0x1;

static CANCEL_LOCK: AtomicUsize = AtomicUsize::new(0);
/// The outcome of each packet that is not freed; `None` while it is pended.
static OUTCOMES: Mutex<Option<HashMap<usize, Option<Outcome>>>> = Mutex::new(None);

/// How a request ended: status and information.
pub(crate) type Outcome = (i32, usize);

/// What a request is about.
pub(crate) enum Parameters {
    None,
    Create {
        access: u32,
    },
    Read {
        size: usize,
    },
    Control {
        code: u32,
        input: Vec<u8>,
        output_size: usize,
    },
}

/// A packet and all that belongs to it.
#[derive(Debug)]
pub(crate) struct Packet {
    irp: *mut IRP,
    location: *mut IO_STACK_LOCATION,
    mdl: *mut MDL,
    security: *mut IO_SECURITY_CONTEXT,
    buffer: *mut [u8],
}

// SAFETY: packets are completed and cancelled on any processor.
unsafe impl Send for Packet {}
// SAFETY: what is done through a shared packet is atomic or under a lock.
unsafe impl Sync for Packet {}

impl Packet {
    pub(crate) fn new(
        device: Opened,
        file: *mut FILE_OBJECT,
        major: u8,
        parameters: Parameters,
    ) -> Self {
        let security = Box::into_raw(Box::new(IO_SECURITY_CONTEXT {
            SecurityQos: std::ptr::null_mut(),
            AccessState: std::ptr::null_mut(),
            DesiredAccess: 0,
            FullCreateOptions: 0,
        }));
        let (parameters, buffer, is_direct) = encode(parameters, security);
        let buffer = Box::into_raw(buffer.into_boxed_slice());
        let is_empty = buffer.len() == 0;
        let mdl = Box::into_raw(Box::new(MDL {
            Next: std::ptr::null_mut(),
            Size: 48,
            MdlFlags: MDL_PAGES_LOCKED,
            Process: std::ptr::null_mut(),
            MappedSystemVa: std::ptr::null_mut(),
            StartVa: buffer.cast(),
            ByteCount: 0,
            ByteOffset: 0,
        }));
        let location = Box::into_raw(Box::new(IO_STACK_LOCATION {
            MajorFunction: major,
            MinorFunction: 0,
            Flags: 0,
            Control: 0,
            Parameters: parameters,
            DeviceObject: device.0,
            FileObject: file,
            CompletionRoutine: std::ptr::null_mut(),
            Context: std::ptr::null_mut(),
        }));
        let irp = Box::into_raw(Box::new(empty_irp()));
        // SAFETY: just made.
        let fields = unsafe { &mut *irp };
        fields.CurrentStackLocation = location;
        if !is_empty && is_direct {
            fields.MdlAddress = mdl;
        } else if !is_empty {
            fields.SystemBuffer = buffer.cast();
        }
        lock(&OUTCOMES)
            .get_or_insert_default()
            .insert(irp.addr(), None);
        Self {
            irp,
            location,
            mdl,
            security,
            buffer,
        }
    }

    /// Calls the dispatch routine and checks what it returns against what it did.
    pub(crate) fn dispatch(&self, device: Opened, major: u8) -> i32 {
        // SAFETY: the device is open, so the driver is loaded.
        let driver = unsafe { (*device.0).DriverObject };
        // SAFETY: as above.
        let table = unsafe { &raw const (*driver).MajorFunction };
        // SAFETY: nobody writes the table of a loaded driver.
        let routine = unsafe { (&*table).get(usize::from(major)).copied().flatten() };
        let Some(routine) = routine else {
            self.finish((0xc000_0010_u32.cast_signed(), 0));
            return 0xc000_0010_u32.cast_signed();
        };
        let location = self.location;
        // SAFETY: the packet is new and whole.
        let status = at_irql(PASSIVE_LEVEL, "a dispatch routine", || unsafe {
            routine(device.0, self.irp)
        });
        // SAFETY: the location is freed with this packet.
        let is_marked = unsafe { (*location).Control } & 1 != 0;
        if is_marked != (status == PENDING) {
            breach("a dispatch routine returns pending for a packet not marked, or the reverse");
        }
        if status != PENDING && self.outcome().map(|(status, _size)| status) != Some(status) {
            breach("a dispatch routine returns another status than it completed with");
        }
        status
    }

    fn finish(&self, outcome: Outcome) {
        lock(&OUTCOMES)
            .get_or_insert_default()
            .insert(self.irp.addr(), Some(outcome));
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        lock(&OUTCOMES)
            .get_or_insert_default()
            .get(&self.irp.addr())
            .copied()
            .flatten()
    }

    /// The first `size` bytes of the buffer, once the packet is completed.
    pub(crate) fn bytes(&self, size: usize) -> Vec<u8> {
        // SAFETY: after completion nobody writes the buffer.
        let buffer = unsafe { &*self.buffer };
        if size > buffer.len() {
            breach("more bytes were completed than the buffer has");
        }
        buffer[..size.min(buffer.len())].to_vec()
    }

    /// `IoCancelIrp`
    pub(crate) fn cancel(&self, device: Opened) {
        spin::acquire(&CANCEL_LOCK);
        let old = irql();
        set_irql(DISPATCH_LEVEL);
        set_spin_locks(spin_locks() + 1);
        // SAFETY: the packet is freed with this value.
        let flag = unsafe { &raw mut (*self.irp).Cancel };
        // SAFETY: the driver reads it as an atomic.
        let flag = unsafe { AtomicU8::from_ptr(flag) };
        flag.store(1, Ordering::SeqCst);
        // SAFETY: as above.
        let routine = unsafe { cancel_routine(self.irp) };
        let routine = routine.swap(std::ptr::null_mut(), Ordering::SeqCst);
        if routine.is_null() {
            release_cancel_lock(old);
            return;
        }
        // SAFETY: as above, and the driver reads it in its cancel routine only.
        unsafe {
            (*self.irp).CancelIrql = old;
        }
        // SAFETY: the driver put its cancel routine there.
        let routine = unsafe { std::mem::transmute::<*mut c_void, DRIVER_CANCEL>(routine) };
        // SAFETY: the packet is pended, as its cancel routine was set.
        unsafe {
            routine(device.0, self.irp);
        }
        if irql() != old {
            breach("a cancel routine came back at another IRQL");
        }
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        let outcome = lock(&OUTCOMES)
            .get_or_insert_default()
            .remove(&self.irp.addr());
        if outcome.flatten().is_none() {
            breach("a request was never completed");
            return;
        }
        // SAFETY: made from boxes, and completed: the driver has no use for them.
        drop(unsafe { Box::from_raw(self.irp) });
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(self.location) });
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(self.mdl) });
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(self.security) });
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(self.buffer) });
    }
}

/// The parameters as the stack location has them, the buffer, and whether it is direct.
fn encode(
    parameters: Parameters,
    security: *mut IO_SECURITY_CONTEXT,
) -> (PARAMETERS, Vec<u8>, bool) {
    /// What a buffer holds before the driver writes to it.
    const GARBAGE: u8 = 0xcd;
    let size_of = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    match parameters {
        Parameters::None => (PARAMETERS { Others: [0; 4] }, vec![], false),
        Parameters::Create { access } => {
            // SAFETY: just made by the caller.
            unsafe {
                (*security).DesiredAccess = access;
            }
            let create = CREATE {
                SecurityContext: security,
                Options: 0,
            };
            (PARAMETERS { Create: create }, vec![], false)
        }
        Parameters::Read { size } => {
            let read = READ {
                Length: size_of(size),
            };
            (PARAMETERS { Read: read }, vec![GARBAGE; size], true)
        }
        Parameters::Control {
            code,
            mut input,
            output_size,
        } => {
            let control = DEVICE_IO_CONTROL {
                OutputBufferLength: POINTER_ALIGNED(size_of(output_size)),
                InputBufferLength: POINTER_ALIGNED(size_of(input.len())),
                IoControlCode: POINTER_ALIGNED(code),
                Type3InputBuffer: std::ptr::null_mut(),
            };
            input.resize(input.len().max(output_size), GARBAGE);
            (
                PARAMETERS {
                    DeviceIoControl: control,
                },
                input,
                false,
            )
        }
    }
}

fn empty_irp() -> IRP {
    let list = || LIST_ENTRY {
        Flink: std::ptr::null_mut(),
        Blink: std::ptr::null_mut(),
    };
    IRP {
        Type: 6,
        Size: 208,
        MdlAddress: std::ptr::null_mut(),
        Flags: 0,
        SystemBuffer: std::ptr::null_mut(),
        ThreadListEntry: list(),
        IoStatus: IO_STATUS_BLOCK {
            Status: 0,
            Information: 0,
        },
        RequestorMode: 1,
        PendingReturned: 0,
        StackCount: 1,
        CurrentLocation: 1,
        Cancel: 0,
        CancelIrql: 0,
        ApcEnvironment: 0,
        AllocationFlags: 0,
        UserIosb: std::ptr::null_mut(),
        UserEvent: std::ptr::null_mut(),
        Overlay: [0; 2],
        CancelRoutine: std::ptr::null_mut(),
        UserBuffer: std::ptr::null_mut(),
        DriverContext: [std::ptr::null_mut(); 4],
        Thread: std::ptr::null_mut(),
        AuxiliaryBuffer: std::ptr::null_mut(),
        ListEntry: list(),
        CurrentStackLocation: std::ptr::null_mut(),
        OriginalFileObject: std::ptr::null_mut(),
        TailRest: 0,
    }
}

/// The place of a packet's cancel routine, which both sides exchange.
///
/// # Safety
/// The packet lives for `'a`.
unsafe fn cancel_routine<'a>(irp: *mut IRP) -> &'a AtomicPtr<c_void> {
    // SAFETY: by this function's contract.
    let place = unsafe { &raw mut (*irp).CancelRoutine };
    // SAFETY: as above, and both sides use it as an atomic.
    unsafe { AtomicPtr::from_ptr(place) }
}

fn release_cancel_lock(irql: u8) {
    if CANCEL_LOCK.swap(0, Ordering::SeqCst) == 0 {
        breach("the cancel spin lock was released that nobody holds");
    }
    set_spin_locks(spin_locks().saturating_sub(1));
    set_irql(irql);
    timer::run_queued_dpcs();
}

#[unsafe(no_mangle)]
unsafe extern "system" fn IoReleaseCancelSpinLock(irql: u8) {
    enter("IoReleaseCancelSpinLock", DISPATCH_LEVEL);
    release_cancel_lock(irql);
}

#[unsafe(no_mangle)]
unsafe extern "system" fn IofCompleteRequest(irp: *mut IRP, _boost: i8) {
    enter("IofCompleteRequest", DISPATCH_LEVEL);
    if spin_locks() != 0 {
        breach("a request is completed under a spin lock");
    }
    // SAFETY: the driver passes a packet; it lives until the test drops it.
    let routine = unsafe { cancel_routine(irp) };
    if !routine.load(Ordering::SeqCst).is_null() {
        breach("a request is completed with a cancel routine set");
    }
    // SAFETY: as above.
    let block = unsafe { (*irp).IoStatus };
    let mut outcomes = lock(&OUTCOMES);
    match outcomes.get_or_insert_default().get_mut(&irp.addr()) {
        Some(outcome @ None) if block.Status != PENDING => {
            *outcome = Some((block.Status, block.Information));
        }
        Some(None) => breach("a request is completed as pending"),
        Some(Some(_)) => breach("a request is completed twice"),
        None => breach("a request is completed that does not exist"),
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn MmMapLockedPagesSpecifyCache(
    mdl: *mut MDL,
    mode: i8,
    _cache: i32,
    _address: PVOID,
    _bugcheck: u32,
    priority: u32,
) -> PVOID {
    const NO_EXECUTE: u32 = 0x4000_0000;
    enter("MmMapLockedPagesSpecifyCache", DISPATCH_LEVEL);
    if mode != 0 || priority & NO_EXECUTE == 0 {
        breach("pages mapped for user mode, or executable");
    }
    // SAFETY: the driver passes the packet's list.
    let mdl = unsafe { &mut *mdl };
    if mdl.MdlFlags & MDL_MAPPED_TO_SYSTEM_VA != 0 {
        breach("pages mapped twice");
    }
    if fault::strikes("MmMapLockedPagesSpecifyCache") {
        return std::ptr::null_mut();
    }
    mdl.MdlFlags |= MDL_MAPPED_TO_SYSTEM_VA;
    mdl.MappedSystemVa = mdl.StartVa;
    mdl.MappedSystemVa
}
