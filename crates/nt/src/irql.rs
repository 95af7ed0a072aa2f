//! The interrupt request level of the current processor.

#![expect(unsafe_code, reason = "asks the processor, or the kernel's stand-in")]

/// Whether this processor runs at `PASSIVE_LEVEL`, where the `Zw` functions may be called.
///
/// IRQL: any.
pub fn is_passive() -> bool {
    current() == crate::sys::PASSIVE_LEVEL
}

/// On x64 the level is a register, which the WDK's headers read inline.
#[cfg(windows)]
fn current() -> u64 {
    let irql;
    // SAFETY: reading CR8 has no effect, and kernel code may.
    unsafe {
        core::arch::asm!("mov {}, cr8", out(reg) irql, options(nomem, nostack, preserves_flags));
    }
    irql
}

#[cfg(not(windows))]
fn current() -> u64 {
    // SAFETY: has no precondition.
    u64::from(unsafe { crate::sys::KeGetCurrentIrql() })
}
