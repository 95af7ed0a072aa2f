//! Processes and threads.

#![expect(
    unsafe_code,
    reason = "calls the kernel and holds references to its objects"
)]

use crate::handle::Handle;
use crate::{Result, Status, sys, time, token};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr;

/// A process, for as long as something keeps it alive.
///
/// # Invariants
/// `raw` is a process object that lives for `'a`.
#[derive(Clone, Copy, Debug)]
pub struct Process<'a> {
    raw: sys::PVOID,
    _alive: PhantomData<&'a ()>,
}

impl Process<'_> {
    /// # Safety
    /// `raw` is a process object that lives for `'a`.
    pub(crate) unsafe fn from_raw(raw: sys::PVOID) -> Self {
        Self {
            raw,
            _alive: PhantomData,
        }
    }

    /// The process in whose address space this thread runs, which it keeps alive.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub fn current() -> Self {
        // SAFETY: has no precondition.
        let raw = unsafe { sys::IoGetCurrentProcess() };
        Self {
            raw,
            _alive: PhantomData,
        }
    }

    /// When it was created, in nanoseconds since 1970.
    ///
    /// IRQL: any.
    pub fn create_time_ns(&self) -> u64 {
        // SAFETY: by the invariant the process is alive.
        time::unix_ns(unsafe { sys::PsGetProcessCreateTimeQuadPart(self.raw) })
    }

    /// Its exit status, once it has one.
    ///
    /// IRQL: at most `APC_LEVEL`.
    pub fn exit_status(&self) -> Status {
        // SAFETY: by the invariant the process is alive.
        Status(unsafe { sys::PsGetProcessExitStatus(self.raw) })
    }

    /// Opens it for questions.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(&self) -> Result<Opened> {
        let handle = Handle::open(self.raw, sys::PROCESS_QUERY_LIMITED_INFORMATION)?;
        Ok(Opened { handle })
    }

    /// What can be had of what its primary token says.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    pub fn token(&self) -> token::Facts {
        // SAFETY: by the invariant the process is alive.
        let token = unsafe { sys::PsReferencePrimaryToken(self.raw) };
        if token.is_null() {
            return token::Facts::NONE;
        }
        let facts = token::facts(token);
        // SAFETY: referenced above, given back once.
        unsafe {
            sys::PsDereferencePrimaryToken(token);
        }
        facts
    }
}

/// A process that is open for questions.
#[derive(Debug)]
pub struct Opened {
    handle: Handle,
}

/// Room for the name of an image: what the kernel writes before it, and `UNITS` UTF-16 units.
///
/// # Invariants
/// The kernel or `new` has written all that is read.
#[repr(C)]
#[derive(Debug)]
pub struct NameBuffer<const UNITS: usize> {
    head: MaybeUninit<sys::UNICODE_STRING>,
    units: [MaybeUninit<u16>; UNITS],
}

// SAFETY: the address that the kernel writes is never followed.
unsafe impl<const UNITS: usize> Send for NameBuffer<UNITS> {}
// SAFETY: as above.
unsafe impl<const UNITS: usize> Sync for NameBuffer<UNITS> {}

impl<const UNITS: usize> NameBuffer<UNITS> {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            head: MaybeUninit::uninit(),
            units: [MaybeUninit::uninit(); UNITS],
        }
    }
}

impl<const UNITS: usize> Default for NameBuffer<UNITS> {
    fn default() -> Self {
        Self::new()
    }
}

impl Opened {
    /// The path of its image's file as the file system has it, UTF-16, such as
    /// `\Device\HarddiskVolume3\a.exe`: not the name with which it was opened. It is kept with the
    /// process, so no file system is asked.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says; `BUFFER_TOO_SMALL` also where it says that there was room and that is not
    /// so.
    pub fn image_file_name<'b, const UNITS: usize>(
        &self,
        buffer: &'b mut NameBuffer<UNITS>,
    ) -> Result<&'b [u8]> {
        let place = ptr::from_mut(buffer).cast();
        self.query(
            sys::PROCESS_IMAGE_FILE_NAME,
            place,
            size_of::<NameBuffer<UNITS>>(),
        )?;
        // SAFETY: the kernel has written the head.
        let head = unsafe { buffer.head.assume_init_ref() };
        // The kernel puts the name right behind the head, and its address into it.
        let size = usize::from(head.Length);
        if size > size_of_val(&buffer.units) {
            return Err(Status::BUFFER_TOO_SMALL);
        }
        let units = buffer.units.as_ptr().cast::<u8>();
        // SAFETY: the kernel has written so much, and the buffer has room for it.
        Ok(unsafe { core::slice::from_raw_parts(units, size) })
    }

    /// `PS_PROTECTION`
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn protection(&self) -> Result<u8> {
        let mut protection = 0_u8;
        let place = (&raw mut protection).cast();
        self.query(sys::PROCESS_PROTECTION_INFORMATION, place, 1)?;
        Ok(protection)
    }

    /// `SUBSYSTEM_INFORMATION_TYPE`
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn subsystem(&self) -> Result<u32> {
        let mut subsystem = 0_u32;
        let place = (&raw mut subsystem).cast();
        self.query(sys::PROCESS_SUBSYSTEM_INFORMATION, place, 4)?;
        Ok(subsystem)
    }

    /// `place` must have `size` bytes.
    fn query(&self, class: i32, place: sys::PVOID, size: usize) -> Result<()> {
        let (size, mut needed) = (u32::try_from(size).unwrap_or(0), 0);
        // SAFETY: the handle is open, and every caller's place as large as it says.
        let status = unsafe {
            sys::ZwQueryInformationProcess(self.handle.raw(), class, place, size, &raw mut needed)
        };
        Status(status).ok()
    }
}

/// A reference to an object, given back when it is dropped.
///
/// # Invariants
/// `raw` is an object to which this value holds a reference.
#[derive(Debug)]
struct Reference {
    raw: sys::PVOID,
}

impl Drop for Reference {
    fn drop(&mut self) {
        // SAFETY: by the invariant the reference is this value's to give back.
        let _count_left = unsafe { sys::ObfDereferenceObject(self.raw) };
    }
}

/// When the process `process_id` was created, in nanoseconds since 1970; `None` when there is no
/// such process.
///
/// IRQL: at most `APC_LEVEL`.
pub fn create_time_ns(process_id: u32) -> Option<u64> {
    let mut raw = ptr::null_mut();
    // SAFETY: writes the process to the place it is given.
    let status = unsafe { sys::PsLookupProcessByProcessId(to_handle(process_id), &raw mut raw) };
    Status(status).ok().ok()?;
    let reference = Reference { raw };
    // SAFETY: the reference keeps the process alive until the end of this function.
    let process = unsafe { Process::from_raw(reference.raw) };
    Some(process.create_time_ns())
}

/// A thread that was looked up, and is kept alive.
#[derive(Debug)]
pub struct Thread {
    reference: Reference,
}

impl Thread {
    /// The thread `thread_id`.
    ///
    /// IRQL: at most `APC_LEVEL`.
    ///
    /// # Errors
    /// When there is no such thread.
    pub fn lookup(thread_id: u32) -> Result<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: writes the thread to the place it is given.
        let status = unsafe { sys::PsLookupThreadByThreadId(to_handle(thread_id), &raw mut raw) };
        Status(status).ok()?;
        Ok(Self {
            reference: Reference { raw },
        })
    }

    /// The process it runs in.
    ///
    /// IRQL: any.
    pub fn process(&self) -> Process<'_> {
        // SAFETY: the reference keeps the thread alive.
        let raw = unsafe { sys::IoThreadToProcess(self.reference.raw) };
        // SAFETY: a thread keeps its process alive.
        unsafe { Process::from_raw(raw) }
    }

    /// Where it begins to run in user mode.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start_address(&self) -> Result<u64> {
        let handle = Handle::open(self.reference.raw, sys::THREAD_QUERY_INFORMATION)?;
        let (mut address, mut needed) = (0_u64, 0);
        // SAFETY: the handle is open, and the buffer as large as is said.
        let status = unsafe {
            sys::ZwQueryInformationThread(
                handle.raw(),
                sys::THREAD_QUERY_SET_WIN32_START_ADDRESS,
                (&raw mut address).cast(),
                8,
                &raw mut needed,
            )
        };
        Status(status).ok()?;
        Ok(address)
    }
}

/// The process id of this thread.
///
/// IRQL: any.
pub fn current_process_id() -> u32 {
    // SAFETY: has no precondition.
    id(unsafe { sys::PsGetCurrentProcessId() })
}

/// The thread id of this thread.
///
/// IRQL: any.
pub fn current_thread_id() -> u32 {
    // SAFETY: has no precondition.
    id(unsafe { sys::PsGetCurrentThreadId() })
}

/// The number in a handle that is an id. Windows gives out ids of 32 bits.
pub(crate) fn id(handle: sys::HANDLE) -> u32 {
    u32::try_from(handle.addr()).unwrap_or(u32::MAX)
}

fn to_handle(id: u32) -> sys::HANDLE {
    ptr::without_provenance_mut(usize::try_from(id).unwrap_or(0))
}
