//! Notify routines: the kernel tells of processes, threads and images.
//!
//! The kernel passes no context to a notify routine, so each of the three has a static for what it
//! is to call. One registration of each at a time is therefore all there can be.
//!
//! A function has no single address in Rust: each use of its name may give another. So a
//! registration keeps the very pointer that it registered, and removes that.

#![expect(unsafe_code, reason = "lands the kernel's notify calls")]

use crate::process::{Process, id};
use crate::{Result, Status, string, sys};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

/// What the registered routines call; null while there is none.
static PROCESS_TARGET: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
static THREAD_TARGET: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
static IMAGE_TARGET: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Processes of all subsystems are told of: those of the Windows Subsystem for Linux, version 1, have
/// no Win32, and the older routines are not called for them.
const SUBSYSTEMS: i32 = sys::PS_CREATE_PROCESS_NOTIFY_SUBSYSTEMS;

/// Wants to know of processes.
pub trait ProcessNotify: Sync + 'static {
    /// A process starts; its first thread does not run yet. Runs in the creator.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    fn process_start(&'static self, start: &ProcessStart<'_>);

    /// A process ends. Runs in its last thread; for one that was deleted and never had a thread, in
    /// any.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    fn process_exit(&'static self, process_id: u32, process: Process<'_>);
}

/// Wants to know of threads.
pub trait ThreadNotify: Sync + 'static {
    /// A thread was created and does not run yet. Runs in the creator. The kernel calls the routines
    /// for processes and images in a critical region, and promises none for this one: whoever runs it
    /// can be suspended.
    ///
    /// IRQL: at most `APC_LEVEL`.
    fn thread_start(&'static self, process_id: u32, thread_id: u32);

    /// A thread ends. Runs in that thread.
    ///
    /// IRQL: at most `APC_LEVEL`.
    fn thread_exit(&'static self, process_id: u32, thread_id: u32);
}

/// Wants to know of images.
pub trait ImageNotify: Sync + 'static {
    /// An image was mapped. Runs in the process it was mapped into, or for a driver in any.
    ///
    /// IRQL: at most `APC_LEVEL`.
    fn image_load(&'static self, load: &ImageLoad<'_>);
}

/// A process that starts.
#[derive(Clone, Copy, Debug)]
pub struct ProcessStart<'a> {
    process_id: u32,
    process: Process<'a>,
    information: &'a sys::PS_CREATE_NOTIFY_INFO,
}

impl<'a> ProcessStart<'a> {
    /// Its id.
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// The process.
    pub fn process(&self) -> Process<'a> {
        self.process
    }

    /// The process it inherits from.
    pub fn parent_process_id(&self) -> u32 {
        id(self.information.ParentProcessId)
    }

    /// The process whose thread made the call.
    pub fn creator_process_id(&self) -> u32 {
        id(self.information.CreatingThreadId.UniqueProcess)
    }

    /// The thread that made the call.
    pub fn creator_thread_id(&self) -> u32 {
        id(self.information.CreatingThreadId.UniqueThread)
    }

    /// The image file's path, UTF-16; `None` when the kernel does not know it.
    pub fn image_file_name(&self) -> Option<&'a [u8]> {
        // SAFETY: the strings of the information are good while the routine runs.
        unsafe { string::bytes(self.information.ImageFileName) }
    }

    /// Whether that is the very name with which the file was opened; else it may be a part of it
    /// (`FileOpenNameAvailable`).
    pub fn is_image_file_name_exact(&self) -> bool {
        self.information.Flags & sys::FILE_OPEN_NAME_AVAILABLE != 0
    }

    /// Whether it runs in another subsystem than Win32.
    pub fn is_subsystem_process(&self) -> bool {
        self.information.Flags & sys::IS_SUBSYSTEM_PROCESS != 0
    }

    /// What the drivers that were told before have made of the start; it fails where that does.
    pub fn creation_status(&self) -> Status {
        Status(self.information.CreationStatus)
    }

    /// The command line, UTF-16; `None` when the kernel does not know it.
    pub fn command_line(&self) -> Option<&'a [u8]> {
        // SAFETY: the strings of the information are good while the routine runs.
        unsafe { string::bytes(self.information.CommandLine) }
    }
}

/// An image that was mapped.
#[derive(Clone, Copy, Debug)]
pub struct ImageLoad<'a> {
    process_id: u32,
    full_image_name: Option<&'a [u8]>,
    information: &'a sys::IMAGE_INFO,
}

impl<'a> ImageLoad<'a> {
    /// The process it was mapped into; 0 for a driver.
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// The path, UTF-16; `None` when the kernel does not know it.
    pub fn full_image_name(&self) -> Option<&'a [u8]> {
        self.full_image_name
    }

    /// Where it begins.
    pub fn image_base(&self) -> u64 {
        u64::try_from(self.information.ImageBase.addr()).unwrap_or(0)
    }

    /// Its bytes.
    pub fn image_size(&self) -> u64 {
        u64::try_from(self.information.ImageSize).unwrap_or(0)
    }

    /// Whether it is a driver.
    pub fn is_kernel_image(&self) -> bool {
        self.bits(8, 1) != 0
    }

    /// `SE_SIGNING_LEVEL_*`
    pub fn signature_level(&self) -> u16 {
        self.bits(12, 0xf)
    }

    /// `SE_IMAGE_SIGNATURE_TYPE`
    pub fn signature_kind(&self) -> u16 {
        self.bits(16, 0x7)
    }

    fn bits(&self, shift: u32, mask: u32) -> u16 {
        let bits = (self.information.Properties >> shift) & mask;
        u16::try_from(bits).unwrap_or(0)
    }
}

/// A registered process notify routine. Dropping it removes the routine and waits until no
/// processor runs it.
#[derive(Debug)]
pub struct ProcessRegistration {
    routine: sys::PROCESS_NOTIFY_ROUTINE,
}

impl ProcessRegistration {
    /// Lets the kernel tell `target` of processes.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// `ACCESS_DENIED` when the image lacks `FORCE_INTEGRITY`, or what else the kernel says.
    pub fn register<T: ProcessNotify>(target: &'static T) -> Result<Self> {
        let routine: sys::PROCESS_NOTIFY_ROUTINE = process_routine::<T>;
        claim(&PROCESS_TARGET, target)?;
        // SAFETY: the routine stays good until it is removed.
        let status = unsafe { sys::PsSetCreateProcessNotifyRoutineEx2(SUBSYSTEMS, routine, 0) };
        release_on_error(&PROCESS_TARGET, Status(status))?;
        Ok(Self { routine })
    }
}

impl Drop for ProcessRegistration {
    fn drop(&mut self) {
        // SAFETY: this very pointer was registered. Removing what is registered cannot fail.
        let _status =
            unsafe { sys::PsSetCreateProcessNotifyRoutineEx2(SUBSYSTEMS, self.routine, 1) };
        PROCESS_TARGET.store(ptr::null_mut(), Ordering::Release);
    }
}

/// A registered thread notify routine. Dropping it removes the routine and waits until no
/// processor runs it.
#[derive(Debug)]
pub struct ThreadRegistration {
    routine: sys::THREAD_NOTIFY_ROUTINE,
}

impl ThreadRegistration {
    /// Lets the kernel tell `target` of threads.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn register<T: ThreadNotify>(target: &'static T) -> Result<Self> {
        let routine: sys::THREAD_NOTIFY_ROUTINE = thread_routine::<T>;
        claim(&THREAD_TARGET, target)?;
        // SAFETY: the routine stays good until it is removed.
        let status = unsafe {
            sys::PsSetCreateThreadNotifyRoutineEx(sys::PS_CREATE_THREAD_NOTIFY_SUBSYSTEMS, routine)
        };
        release_on_error(&THREAD_TARGET, Status(status))?;
        Ok(Self { routine })
    }
}

impl Drop for ThreadRegistration {
    fn drop(&mut self) {
        // SAFETY: this very pointer was registered. Removing what is registered cannot fail.
        let _status = unsafe { sys::PsRemoveCreateThreadNotifyRoutine(self.routine) };
        THREAD_TARGET.store(ptr::null_mut(), Ordering::Release);
    }
}

/// A registered image notify routine. Dropping it removes the routine and waits until no processor
/// runs it.
#[derive(Debug)]
pub struct ImageRegistration {
    routine: sys::IMAGE_NOTIFY_ROUTINE,
}

impl ImageRegistration {
    /// Lets the kernel tell `target` of images.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn register<T: ImageNotify>(target: &'static T) -> Result<Self> {
        let routine: sys::IMAGE_NOTIFY_ROUTINE = image_routine::<T>;
        claim(&IMAGE_TARGET, target)?;
        // SAFETY: the routine stays good until it is removed.
        let status = unsafe { sys::PsSetLoadImageNotifyRoutine(routine) };
        release_on_error(&IMAGE_TARGET, Status(status))?;
        Ok(Self { routine })
    }
}

impl Drop for ImageRegistration {
    fn drop(&mut self) {
        // SAFETY: this very pointer was registered. Removing what is registered cannot fail.
        let _status = unsafe { sys::PsRemoveLoadImageNotifyRoutine(self.routine) };
        IMAGE_TARGET.store(ptr::null_mut(), Ordering::Release);
    }
}

/// Takes a static for `target`, which a routine of the same type is about to be registered for.
fn claim<T>(slot: &AtomicPtr<()>, target: &'static T) -> Result<()> {
    let target = ptr::from_ref(target).cast_mut().cast();
    slot.compare_exchange(ptr::null_mut(), target, Ordering::AcqRel, Ordering::Relaxed)
        .map(|_null| ())
        .map_err(|_taken| Status::SHARING_VIOLATION)
}

fn release_on_error(slot: &AtomicPtr<()>, status: Status) -> Result<()> {
    status
        .ok()
        .inspect_err(|_status| slot.store(ptr::null_mut(), Ordering::Release))
}

/// What a routine calls.
///
/// # Safety
/// The slot holds null or a `T`, as it does for routines that were registered for a `T`.
unsafe fn target<T>(slot: &AtomicPtr<()>) -> Option<&'static T> {
    // SAFETY: by this function's contract; targets live as long as the driver.
    unsafe { slot.load(Ordering::Acquire).cast::<T>().as_ref() }
}

unsafe extern "system" fn process_routine<T: ProcessNotify>(
    process: sys::PVOID,
    process_id: sys::HANDLE,
    information: *mut sys::PS_CREATE_NOTIFY_INFO,
) {
    // SAFETY: this routine is registered for a `T` only.
    let Some(target) = (unsafe { target::<T>(&PROCESS_TARGET) }) else {
        return;
    };
    // SAFETY: the kernel keeps the process alive while the routine runs.
    let process = unsafe { Process::from_raw(process) };
    // SAFETY: the kernel passes null or information that is good while the routine runs.
    match unsafe { information.as_ref() } {
        Some(information) => target.process_start(&ProcessStart {
            process_id: id(process_id),
            process,
            information,
        }),
        None => target.process_exit(id(process_id), process),
    }
}

unsafe extern "system" fn thread_routine<T: ThreadNotify>(
    process_id: sys::HANDLE,
    thread_id: sys::HANDLE,
    is_start: sys::BOOLEAN,
) {
    // SAFETY: this routine is registered for a `T` only.
    let Some(target) = (unsafe { target::<T>(&THREAD_TARGET) }) else {
        return;
    };
    if is_start == 0 {
        target.thread_exit(id(process_id), id(thread_id));
    } else {
        target.thread_start(id(process_id), id(thread_id));
    }
}

unsafe extern "system" fn image_routine<T: ImageNotify>(
    full_image_name: *const sys::UNICODE_STRING,
    process_id: sys::HANDLE,
    information: *const sys::IMAGE_INFO,
) {
    // SAFETY: this routine is registered for a `T` only.
    let target = unsafe { target::<T>(&IMAGE_TARGET) };
    // SAFETY: the kernel passes information that is good while the routine runs.
    let information = unsafe { information.as_ref() };
    let (Some(target), Some(information)) = (target, information) else {
        return;
    };
    target.image_load(&ImageLoad {
        process_id: id(process_id),
        // SAFETY: the kernel passes null or a string that is good while the routine runs.
        full_image_name: unsafe { string::bytes(full_image_name) },
        information,
    });
}
