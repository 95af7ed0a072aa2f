//! The critical region, in which the kernel does not suspend a thread.

#![expect(unsafe_code, reason = "calls the kernel")]

use crate::sys;
use core::marker::PhantomData;

/// A thread in a critical region: no normal kernel APC runs in it, and so nobody suspends it, until
/// this value goes.
#[derive(Debug)]
pub(crate) struct CriticalRegion {
    /// It is the thread's that entered.
    _not_send: PhantomData<*mut ()>,
}

impl CriticalRegion {
    /// Enters one.
    ///
    /// IRQL: at most `APC_LEVEL`.
    pub(crate) fn enter() -> Self {
        // SAFETY: has no precondition but the IRQL; left when the value goes.
        unsafe {
            sys::KeEnterCriticalRegion();
        }
        Self {
            _not_send: PhantomData,
        }
    }
}

impl Drop for CriticalRegion {
    fn drop(&mut self) {
        // SAFETY: this thread entered, and leaves once: the value cannot go to another.
        unsafe {
            sys::KeLeaveCriticalRegion();
        }
    }
}
