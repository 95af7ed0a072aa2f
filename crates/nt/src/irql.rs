//! The interrupt request level of the current processor.

#![expect(
    unsafe_code,
    reason = "asks the processor, or the kernel's stand-in, and calls the kernel"
)]

use crate::sys;
use core::marker::PhantomData;

/// Whether this processor runs at `PASSIVE_LEVEL`, where the `Zw` functions may be called.
///
/// IRQL: any.
pub fn is_passive() -> bool {
    current() == sys::PASSIVE_LEVEL
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
    u64::from(unsafe { sys::KeGetCurrentIrql() })
}

/// This processor at `DISPATCH_LEVEL`, until the value goes: its thread is neither preempted nor
/// suspended. No page may be missed meanwhile, and nothing waited for.
#[derive(Debug)]
pub struct Raised {
    old: sys::KIRQL,
    /// It is this processor's.
    _not_send: PhantomData<*mut ()>,
}

impl Raised {
    /// Raises the level to `DISPATCH_LEVEL`.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub fn to_dispatch_level() -> Self {
        // SAFETY: has no precondition but the level; lowered again when the value goes.
        let old = unsafe { sys::KfRaiseIrql(sys::DISPATCH_LEVEL) };
        Self {
            old,
            _not_send: PhantomData,
        }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        // SAFETY: the value that raised it goes on this processor, as the thread stayed on it.
        unsafe {
            sys::KeLowerIrql(self.old);
        }
    }
}
