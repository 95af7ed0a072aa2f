//! The driver object, and a driver's start and unload.

#![expect(
    unsafe_code,
    reason = "lands the kernel's calls to a driver's entry point and unload routine"
)]

use crate::pool::Region;
use crate::{Status, error_log, string, sys};
use core::marker::PhantomData;

/// A driver: a value that exists from start to unload. Its fields undo what it set up, from the
/// first to the last.
pub trait Driver: Sized + Send + Sync + 'static {
    /// Sets everything up. Whatever a failing start had set up must be undone when it returns, by
    /// dropping it; what it placed in the region is released after that.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// Which step failed, and with what. Both go to the system's event log.
    fn start(
        object: &DriverObject<'_>,
        region: &Region,
        registry_path: RegistryPath<'_>,
    ) -> Result<Self, StartError>;

    /// Tells of a start that failed, beyond the system's event log. All it had set up is undone.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    fn start_failed(registry_path: RegistryPath<'_>, error: StartError);
}

/// Why a driver did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartError {
    /// The step, in the driver's own numbering.
    pub step: u32,
    /// What the kernel said.
    pub status: Status,
}

/// The driver object during the driver's start.
#[derive(Debug)]
pub struct DriverObject<'d> {
    raw: *mut sys::DRIVER_OBJECT,
    _start: PhantomData<&'d ()>,
}

impl DriverObject<'_> {
    pub(crate) fn raw(&self) -> *mut sys::DRIVER_OBJECT {
        self.raw
    }

    pub(crate) fn set_dispatch_routines(&self, routines: &[(usize, sys::DRIVER_DISPATCH)]) {
        // SAFETY: during its start the driver object is the driver's to fill in.
        let table = unsafe { &mut (*self.raw).MajorFunction };
        for (major, routine) in routines {
            if let Some(entry) = table.get_mut(*major) {
                *entry = Some(*routine);
            }
        }
    }
}

/// The path of the driver's own registry key, during the driver's start.
#[derive(Clone, Copy, Debug)]
pub struct RegistryPath<'p> {
    raw: *const sys::UNICODE_STRING,
    _start: PhantomData<&'p ()>,
}

impl RegistryPath<'_> {
    pub(crate) fn as_ptr(self) -> *const sys::UNICODE_STRING {
        self.raw
    }

    /// The path's bytes, UTF-16.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the kernel's string is good during the start.
        unsafe { string::bytes(self.raw) }.unwrap_or(&[])
    }
}

/// What a driver's `DriverEntry` calls.
///
/// IRQL: `PASSIVE_LEVEL`.
///
/// # Safety
/// The kernel called `DriverEntry` with these two, and the driver is not loaded already.
pub unsafe extern "system" fn entry<D: Driver>(
    driver_object: *mut sys::DRIVER_OBJECT,
    registry_path: *const sys::UNICODE_STRING,
) -> sys::NTSTATUS {
    // SAFETY: this is the driver's entry point.
    let region = unsafe { Region::new() };
    let object = DriverObject {
        raw: driver_object,
        _start: PhantomData,
    };
    let path = RegistryPath {
        raw: registry_path,
        _start: PhantomData,
    };
    let started = D::start(&object, &region, path).and_then(|driver| {
        region
            .place(driver)
            .map_err(|status| StartError { step: 0, status })
    });
    match started {
        Ok(_driver) => {
            // SAFETY: during its start the driver object is the driver's to fill in.
            unsafe {
                (*driver_object).DriverUnload = Some(unload);
            }
            Status::SUCCESS.0
        }
        Err(error) => {
            // SAFETY: the driver object is alive during the start.
            unsafe {
                error_log::write(driver_object, error.step, error.status);
            }
            D::start_failed(path, error);
            // SAFETY: what the start had set up has been undone.
            unsafe {
                region.release();
            }
            error.status.0
        }
    }
}

/// Releases the region, of which the driver is the newest block: it goes before what it used.
unsafe extern "system" fn unload(_driver_object: *mut sys::DRIVER_OBJECT) {
    // SAFETY: the kernel calls this once, after the start, and runs neither again.
    let region = unsafe { Region::new() };
    // SAFETY: all callbacks that still can come belong to values that are dropped here.
    unsafe {
        region.release();
    }
}
