//! `systrail.sys`: the entry point and the panic handler. Built with feature `image` for
//! `x86_64-pc-windows-msvc` only; `docs/DRIVER.md` has the command.

#![no_std]
#![no_main]
#![expect(
    unsafe_code,
    reason = "an image exports its entry point, and its panic handler must not link"
)]

mod guard;

use core::panic::PanicInfo;
use nt::sys::{DRIVER_OBJECT, NTSTATUS, UNICODE_STRING};

/// What the kernel calls first.
///
/// # Safety
/// Called by the kernel, once, with a driver object and the path of the driver's registry key.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn DriverEntry(
    driver_object: *mut DRIVER_OBJECT,
    registry_path: *const UNICODE_STRING,
) -> NTSTATUS {
    // SAFETY: the kernel's arguments are handed on.
    unsafe { nt::driver::entry::<driver::Driver>(driver_object, registry_path) }
}

unsafe extern "C" {
    /// Defined nowhere. A panic path that the optimiser leaves in the image is a link error.
    fn a_panic_path_is_left_in_the_driver() -> !;
}

#[panic_handler]
fn panic(_information: &PanicInfo<'_>) -> ! {
    // SAFETY: never runs: an image that could call this does not link.
    unsafe { a_panic_path_is_left_in_the_driver() }
}
