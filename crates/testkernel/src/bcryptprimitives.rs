//! `bcryptprimitives.dll` with the one function Rust's standard library wants of it, for Wine 8.0,
//! which has no such library.

#![no_std]
#![no_main]
#![expect(
    unsafe_code,
    reason = "a library exports its function and its entry point"
)]

use core::panic::PanicInfo;

#[link(name = "advapi32")]
unsafe extern "system" {
    /// `RtlGenRandom`
    fn SystemFunction036(buffer: *mut u8, size: u32) -> u8;
}

/// Fills a buffer with random bytes.
///
/// # Safety
/// `buffer` has room for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn ProcessPrng(buffer: *mut u8, size: usize) -> i32 {
    let Ok(size) = u32::try_from(size) else {
        return 0;
    };
    // SAFETY: by this function's contract.
    i32::from(unsafe { SystemFunction036(buffer, size) })
}

/// The library needs no set-up.
#[unsafe(no_mangle)]
pub extern "system" fn DllMain(_library: usize, _reason: u32, _reserved: usize) -> i32 {
    1
}

#[panic_handler]
fn panic(_information: &PanicInfo<'_>) -> ! {
    loop {}
}
