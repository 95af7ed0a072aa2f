//! Device object, symbolic link, and the dispatch routines.

#![expect(
    unsafe_code,
    reason = "creates kernel objects and lands the kernel's dispatch calls"
)]

use crate::driver::DriverObject;
use crate::handle::Handle;
use crate::irp::{Control, FileId, Irp, Read};
use crate::string::UnicodeString;
use crate::{Result, Status, sys};
use core::ptr::NonNull;

/// What a device does with requests. `'static` is the driver's life.
pub trait Dispatch: Sync + 'static {
    /// Somebody opens the device with `access`. `Ok` lets them in.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    fn create(&'static self, file: FileId, access: u32) -> Result<()>;

    /// The last handle of `file` was closed; its requests must be completed.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    fn cleanup(&'static self, file: FileId);

    /// Somebody reads. The read is completed now or later.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    fn read(&'static self, read: Read);

    /// Somebody makes a control request. Gives the bytes of the answer.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    fn control(&'static self, request: &mut Control<'_>) -> Result<usize>;
}

/// A device object with direct I/O that only SYSTEM and administrators may open. Dropping it
/// deletes it.
///
/// # Invariants
/// `raw` was created here and not deleted; its extension holds a pointer to what serves it, which
/// lives as long as the driver.
#[derive(Debug)]
pub struct Device {
    raw: NonNull<sys::DEVICE_OBJECT>,
}

// SAFETY: a device object may be deleted from any thread.
unsafe impl Send for Device {}
// SAFETY: nothing is done through a shared reference.
unsafe impl Sync for Device {}

impl Device {
    /// Creates the device `name`, whose requests `target` serves from now on.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says, of the creation or of the security descriptor.
    pub fn create<D: Dispatch>(
        object: &DriverObject<'_>,
        name: &[u16],
        target: &'static D,
    ) -> Result<Self> {
        const EXTENSION_SIZE: u32 = 8;
        let name = UnicodeString::new(name);
        let mut raw = core::ptr::null_mut();
        // SAFETY: all pointers are good for the call.
        let status = unsafe {
            sys::IoCreateDevice(
                object.raw(),
                EXTENSION_SIZE,
                name.as_ptr(),
                sys::FILE_DEVICE_UNKNOWN,
                sys::FILE_DEVICE_SECURE_OPEN,
                0,
                &raw mut raw,
            )
        };
        Status(status).ok()?;
        let raw = NonNull::new(raw).ok_or(Status::UNSUCCESSFUL)?;
        let device = Self { raw };
        // SAFETY: the kernel gave the device an extension of the size asked for.
        let extension = unsafe { (*raw.as_ptr()).DeviceExtension }.cast::<*const D>();
        // SAFETY: as above, and aligned for a pointer.
        unsafe {
            extension.write(target);
        }
        // SAFETY: the device is this driver's, and nobody can open it before the start is over.
        unsafe {
            (*raw.as_ptr()).Flags |= sys::DO_DIRECT_IO;
        }
        device.restrict()?;
        object.set_dispatch_routines(&[
            (sys::IRP_MJ_CREATE, create::<D>),
            (sys::IRP_MJ_CLEANUP, cleanup::<D>),
            (sys::IRP_MJ_CLOSE, close),
            (sys::IRP_MJ_READ, read::<D>),
            (sys::IRP_MJ_DEVICE_CONTROL, control::<D>),
        ]);
        Ok(device)
    }

    /// Gives the device the security descriptor of [`crate::security`].
    fn restrict(&self) -> Result<()> {
        let handle = Handle::open(self.raw.as_ptr().cast(), sys::WRITE_DAC)?;
        // SAFETY: the handle is open and the descriptor well-formed and self-relative.
        let status = unsafe {
            sys::ZwSetSecurityObject(
                handle.raw(),
                sys::DACL_SECURITY_INFORMATION,
                crate::security::ADMINISTRATORS_ONLY.as_ptr().cast(),
            )
        };
        Status(status).ok()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: by the invariant the device was created here and is deleted once.
        unsafe {
            sys::IoDeleteDevice(self.raw.as_ptr());
        }
    }
}

/// A symbolic link to a device. Dropping it deletes it.
#[derive(Debug)]
pub struct SymbolicLink {
    name: &'static [u16],
}

impl SymbolicLink {
    /// Lets `link` stand for `device`.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn create(link: &'static [u16], device: &[u16]) -> Result<Self> {
        let (name, device) = (UnicodeString::new(link), UnicodeString::new(device));
        // SAFETY: both strings are good for the call.
        let status = unsafe { sys::IoCreateSymbolicLink(name.as_ptr(), device.as_ptr()) };
        Status(status).ok()?;
        Ok(Self { name: link })
    }
}

impl Drop for SymbolicLink {
    fn drop(&mut self) {
        let name = UnicodeString::new(self.name);
        // SAFETY: the string is good for the call. It fails only for a link that is not there, and
        // this one was created.
        let _status = unsafe { sys::IoDeleteSymbolicLink(name.as_ptr()) };
    }
}

/// What serves `device`, and the packet.
///
/// # Safety
/// A dispatch routine that [`Device::create::<D>`] set was called with these two.
unsafe fn claim<D: Dispatch>(
    device: *mut sys::DEVICE_OBJECT,
    irp: *mut sys::IRP,
) -> (&'static D, Irp) {
    // SAFETY: by the device's invariant its extension holds the pointer.
    let extension = unsafe { (*device).DeviceExtension }.cast::<*const D>();
    // SAFETY: as above.
    let target = unsafe { extension.read() };
    // SAFETY: by the device's invariant the target lives as long as the driver.
    let target = unsafe { &*target };
    // SAFETY: the kernel calls dispatch routines with a packet.
    let irp = unsafe { NonNull::new_unchecked(irp) };
    // SAFETY: each dispatch routine makes one claim of its packet.
    (target, unsafe { Irp::new(irp) })
}

unsafe extern "system" fn create<D: Dispatch>(
    device: *mut sys::DEVICE_OBJECT,
    irp: *mut sys::IRP,
) -> sys::NTSTATUS {
    // SAFETY: this is a dispatch routine of `D`'s device.
    let (target, irp) = unsafe { claim::<D>(device, irp) };
    let location = irp.stack_location();
    // SAFETY: this routine serves `IRP_MJ_CREATE`, so these are the valid parameters.
    let context = unsafe { location.Parameters.Create.SecurityContext };
    // SAFETY: the I/O manager gives each create a security context.
    let access = unsafe { (*context).DesiredAccess };
    let outcome = if !crate::security::is_administrator() {
        Err(Status::ACCESS_DENIED)
    } else if names_something_below(location.FileObject) {
        // There is nothing below the device, so whoever asks for it is not let in by accident.
        Err(Status::OBJECT_NAME_NOT_FOUND)
    } else {
        target.create(irp.file(), access)
    };
    let status = outcome.err().unwrap_or(Status::SUCCESS);
    irp.complete(status, 0);
    status.0
}

/// Whether a file is opened by a longer name than the device's.
fn names_something_below(file: *const sys::FILE_OBJECT) -> bool {
    // SAFETY: the I/O manager gives each create a file object, and its name stays during the create.
    unsafe { file.as_ref() }.is_some_and(|file| file.FileName.Length != 0)
}

unsafe extern "system" fn cleanup<D: Dispatch>(
    device: *mut sys::DEVICE_OBJECT,
    irp: *mut sys::IRP,
) -> sys::NTSTATUS {
    // SAFETY: this is a dispatch routine of `D`'s device.
    let (target, irp) = unsafe { claim::<D>(device, irp) };
    target.cleanup(irp.file());
    irp.complete(Status::SUCCESS, 0);
    Status::SUCCESS.0
}

/// Everything was undone at clean-up.
unsafe extern "system" fn close(
    _device: *mut sys::DEVICE_OBJECT,
    irp: *mut sys::IRP,
) -> sys::NTSTATUS {
    // SAFETY: the kernel calls dispatch routines with a packet.
    let irp = unsafe { NonNull::new_unchecked(irp) };
    // SAFETY: this is the packet's dispatch routine, and makes one claim of it.
    let irp = unsafe { Irp::new(irp) };
    irp.complete(Status::SUCCESS, 0);
    Status::SUCCESS.0
}

unsafe extern "system" fn read<D: Dispatch>(
    device: *mut sys::DEVICE_OBJECT,
    irp: *mut sys::IRP,
) -> sys::NTSTATUS {
    // SAFETY: this is a dispatch routine of `D`'s device.
    let (target, irp) = unsafe { claim::<D>(device, irp) };
    // Every read is marked, and may then be completed before or after this routine returns.
    irp.mark_pending();
    // SAFETY: this routine serves `IRP_MJ_READ`, and the device has `DO_DIRECT_IO`.
    if let Some(read) = unsafe { Read::new(irp) } {
        target.read(read);
    }
    Status::PENDING.0
}

unsafe extern "system" fn control<D: Dispatch>(
    device: *mut sys::DEVICE_OBJECT,
    irp: *mut sys::IRP,
) -> sys::NTSTATUS {
    // SAFETY: this is a dispatch routine of `D`'s device.
    let (target, irp) = unsafe { claim::<D>(device, irp) };
    // SAFETY: this routine serves `IRP_MJ_DEVICE_CONTROL`.
    let mut request = unsafe { Control::new(&irp) };
    let (status, information) = match target.control(&mut request) {
        Ok(size) => (Status::SUCCESS, size),
        Err(status) => (status, 0),
    };
    irp.complete(status, information);
    status.0
}
