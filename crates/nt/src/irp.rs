//! I/O request packets as owned claims: completed exactly once, whatever happens.

#![expect(
    unsafe_code,
    reason = "reads and completes the kernel's request packets"
)]

use crate::{Result, Status, sys};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

/// A file object, told from others by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId(usize);

/// A request packet that this driver has to complete. Dropping it completes it as unsuccessful.
///
/// # Invariants
/// `raw` was handed to a dispatch routine of this driver and has not been completed; this value is
/// the only one that may complete it.
#[derive(Debug)]
pub(crate) struct Irp {
    raw: NonNull<sys::IRP>,
}

// SAFETY: a request packet may be completed from any thread; the invariant makes it this value's.
unsafe impl Send for Irp {}

impl Irp {
    /// # Safety
    /// `raw` is what a dispatch routine was called with, and no other `Irp` is made of it.
    pub(crate) unsafe fn new(raw: NonNull<sys::IRP>) -> Self {
        Self { raw }
    }

    pub(crate) fn address(&self) -> usize {
        self.raw.as_ptr().addr()
    }

    /// IRQL: at most `DISPATCH_LEVEL`.
    pub(crate) fn complete(self, status: Status, information: usize) {
        self.finish(status, information);
        core::mem::forget(self);
    }

    fn finish(&self, status: Status, information: usize) {
        let block = sys::IO_STATUS_BLOCK {
            Status: status.0,
            Information: information,
        };
        let raw = self.raw.as_ptr();
        // SAFETY: by the invariant the packet is alive and this driver's.
        unsafe {
            (*raw).IoStatus = block;
        }
        // SAFETY: by the invariant it has not been completed, and nobody uses it after this.
        unsafe {
            sys::IofCompleteRequest(raw, 0);
        }
    }

    pub(crate) fn stack_location(&self) -> &sys::IO_STACK_LOCATION {
        // SAFETY: the I/O manager sets the stack location before it calls a dispatch routine, and
        // it is this driver's while the packet is.
        unsafe { &*self.location() }
    }

    fn location(&self) -> *mut sys::IO_STACK_LOCATION {
        // SAFETY: by the invariant the packet is alive.
        unsafe { (*self.raw.as_ptr()).CurrentStackLocation }
    }

    pub(crate) fn file(&self) -> FileId {
        FileId(self.stack_location().FileObject.addr())
    }

    /// After this the dispatch routine must return `PENDING`.
    pub(crate) fn mark_pending(&self) {
        // SAFETY: the stack location is this driver's while the packet is.
        unsafe {
            (*self.location()).Control |= sys::SL_PENDING_RETURNED;
        }
    }

    /// The system buffer of a buffered request.
    pub(crate) fn system_buffer(&self) -> *mut u8 {
        // SAFETY: by the invariant the packet is alive.
        unsafe { (*self.raw.as_ptr()).SystemBuffer }.cast()
    }

    /// Where the requester's locked pages are mapped; null for a request of no bytes.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub(crate) fn map(&self) -> Result<*mut u8> {
        // SAFETY: by the invariant the packet is alive.
        let mdl = unsafe { (*self.raw.as_ptr()).MdlAddress };
        if mdl.is_null() {
            return Ok(core::ptr::null_mut());
        }
        // SAFETY: the I/O manager's list describes locked pages until the packet is completed.
        let list = unsafe { &*mdl };
        if list.MdlFlags & (sys::MDL_MAPPED_TO_SYSTEM_VA | sys::MDL_SOURCE_IS_NONPAGED_POOL) != 0 {
            return Ok(list.MappedSystemVa.cast());
        }
        // SAFETY: as above; the mapping goes with the list when the packet is completed.
        let address = unsafe {
            sys::MmMapLockedPagesSpecifyCache(
                mdl,
                sys::KERNEL_MODE,
                sys::MM_CACHED,
                core::ptr::null_mut(),
                0,
                sys::NORMAL_PAGE_PRIORITY | sys::MDL_MAPPING_NO_EXECUTE,
            )
        };
        if address.is_null() {
            return Err(Status::INSUFFICIENT_RESOURCES);
        }
        Ok(address.cast())
    }

    /// Lets `routine` run with `context` when somebody cancels the packet.
    pub(crate) fn set_cancel_routine(&self, routine: sys::DRIVER_CANCEL, context: *mut ()) {
        let raw = self.raw.as_ptr();
        // SAFETY: the driver context is this driver's while it has the packet.
        unsafe {
            (*raw).DriverContext[0] = context.cast();
        }
        self.cancel_routine()
            .store(routine_address(routine), Ordering::SeqCst);
    }

    /// Takes the cancel routine back. `false` when it was taken to be run: whoever cancels will
    /// call it, or does so now.
    pub(crate) fn clear_cancel_routine(&self) -> bool {
        let old = self
            .cancel_routine()
            .swap(core::ptr::null_mut(), Ordering::SeqCst);
        !old.is_null()
    }

    /// Whether somebody has cancelled the packet.
    pub(crate) fn is_cancelled(&self) -> bool {
        let raw = self.raw.as_ptr();
        // SAFETY: by the invariant the packet is alive.
        let flag = unsafe { &raw mut (*raw).Cancel };
        // SAFETY: the flag is written by other processors, and only as an atomic byte.
        unsafe { AtomicU8::from_ptr(flag) }.load(Ordering::SeqCst) != 0
    }

    fn cancel_routine(&self) -> &AtomicPtr<core::ffi::c_void> {
        let raw = self.raw.as_ptr();
        // SAFETY: by the invariant the packet is alive.
        let place = unsafe { &raw mut (*raw).CancelRoutine };
        // SAFETY: whoever cancels exchanges it as an atomic pointer.
        unsafe { AtomicPtr::from_ptr(place) }
    }
}

#[expect(
    clippy::fn_to_numeric_cast_any,
    reason = "the kernel keeps the routine as a pointer that is exchanged atomically"
)]
fn routine_address(routine: sys::DRIVER_CANCEL) -> *mut core::ffi::c_void {
    routine as *mut core::ffi::c_void
}

impl Drop for Irp {
    fn drop(&mut self) {
        self.finish(Status::UNSUCCESSFUL, 0);
    }
}

/// A direct-I/O read: its pages are locked and mapped until it is completed.
///
/// # Invariants
/// `buffer` is good for writes of `size` bytes while `irp` is not completed.
#[derive(Debug)]
pub struct Read {
    irp: Irp,
    file: FileId,
    buffer: *mut u8,
    size: usize,
}

// SAFETY: the buffer is mapped into the kernel, which all threads share, and is this value's.
unsafe impl Send for Read {}

impl Read {
    /// The read that `irp` asks for; completes it when its pages cannot be mapped.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Safety
    /// `irp` came with `IRP_MJ_READ` to a device with `DO_DIRECT_IO`.
    pub(crate) unsafe fn new(irp: Irp) -> Option<Self> {
        let location = irp.stack_location();
        // SAFETY: by this function's contract the read's parameters are the valid ones.
        let size = unsafe { location.Parameters.Read.Length };
        match irp.map() {
            Ok(buffer) => Some(Self {
                file: irp.file(),
                irp,
                buffer,
                size: if buffer.is_null() {
                    0
                } else {
                    usize::try_from(size).unwrap_or(0)
                },
            }),
            Err(status) => {
                irp.complete(status, 0);
                None
            }
        }
    }

    pub(crate) fn irp(&self) -> &Irp {
        &self.irp
    }

    /// Who reads.
    pub fn file(&self) -> FileId {
        self.file
    }

    /// Bytes of the buffer.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Copies `bytes` into the buffer at `offset`; `false` when they do not fit. The buffer is
    /// never read: its owner may change it at any time.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> bool {
        let fits = offset
            .checked_add(bytes.len())
            .is_some_and(|end| end <= self.size);
        if !fits {
            return false;
        }
        // SAFETY: `offset` is within the buffer.
        let place = unsafe { self.buffer.add(offset) };
        // SAFETY: by the invariant and the check above the bytes fit; a buffer of the requester
        // does not overlap memory of the driver.
        unsafe {
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
        }
        true
    }

    /// Completes the read with the first `information` bytes of the buffer.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub fn complete(self, status: Status, information: usize) {
        self.irp.complete(status, information);
    }
}

/// A buffered control request. Request and answer share one buffer, so the request is read first.
///
/// # Invariants
/// `buffer` is good for `input_size` and for `output_size` bytes, and this value's alone.
#[derive(Debug)]
pub struct Control<'i> {
    code: u32,
    file: FileId,
    buffer: &'i mut [u8],
    input_size: usize,
    output_size: usize,
}

impl<'i> Control<'i> {
    /// # Safety
    /// `irp` came with `IRP_MJ_DEVICE_CONTROL`; if its code says another method than buffered, the
    /// sizes are taken as 0.
    pub(crate) unsafe fn new(irp: &'i Irp) -> Self {
        let location = irp.stack_location();
        // SAFETY: by this function's contract the control parameters are the valid ones.
        let parameters = unsafe { location.Parameters.DeviceIoControl };
        let start = irp.system_buffer();
        let method = parameters.IoControlCode.0 & sys::METHOD_NEITHER;
        let is_buffered = method == sys::METHOD_BUFFERED && !start.is_null();
        let size_of = |claimed: u32| {
            if is_buffered {
                usize::try_from(claimed).unwrap_or(0)
            } else {
                0
            }
        };
        let input_size = size_of(parameters.InputBufferLength.0);
        let output_size = size_of(parameters.OutputBufferLength.0);
        let size = input_size.max(output_size);
        let buffer = if size == 0 {
            &mut []
        } else {
            // SAFETY: the I/O manager allocated the larger of the two sizes, for this request.
            unsafe { core::slice::from_raw_parts_mut(start, size) }
        };
        Self {
            code: parameters.IoControlCode.0,
            file: irp.file(),
            buffer,
            input_size,
            output_size,
        }
    }

    /// The control code.
    pub fn code(&self) -> u32 {
        self.code
    }

    /// Who asks.
    pub fn file(&self) -> FileId {
        self.file
    }

    /// The request's bytes.
    pub fn input(&self) -> &[u8] {
        self.buffer.get(..self.input_size).unwrap_or(&[])
    }

    /// Room for the answer; the request's bytes are gone.
    pub fn output(&mut self) -> &mut [u8] {
        self.buffer.get_mut(..self.output_size).unwrap_or(&mut [])
    }
}
