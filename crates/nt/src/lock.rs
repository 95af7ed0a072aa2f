//! The spin lock, whose guard owns the data.

#![expect(
    unsafe_code,
    reason = "a lock hands out exclusive access that the borrow checker cannot see"
)]

use crate::sys;
use core::cell::UnsafeCell;
use core::fmt;
use core::ops::{Deref, DerefMut};

/// Data that one processor at a time may touch, at `DISPATCH_LEVEL`.
///
/// # Invariants
/// `data` is reached through a [`Guard`] only, and there is a guard only while the lock is held.
pub struct SpinLock<T> {
    /// `KSPIN_LOCK`; all zero is a lock that nobody holds.
    raw: UnsafeCell<usize>,
    data: UnsafeCell<T>,
}

// SAFETY: the lock gives one processor at a time access to the data, which may move between them.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// A lock that nobody holds.
    pub const fn new(data: T) -> Self {
        Self {
            raw: UnsafeCell::new(0),
            data: UnsafeCell::new(data),
        }
    }

    /// Waits for the lock. While the guard lives this processor is at `DISPATCH_LEVEL`: no page
    /// may be missed, nothing waited for, and no second lock of the same kind taken.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub fn lock(&self) -> Guard<'_, T> {
        // SAFETY: the lock is initialised and lives as long as `self`.
        let irql = unsafe { sys::KeAcquireSpinLockRaiseToDpc(self.raw.get()) };
        Guard { lock: self, irql }
    }
}

impl<T> fmt::Debug for SpinLock<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SpinLock").finish_non_exhaustive()
    }
}

/// The lock, held.
pub struct Guard<'l, T> {
    lock: &'l SpinLock<T>,
    irql: sys::KIRQL,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: by the invariant the guard is the only way to the data.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: by the invariant the guard is the only way to the data, and it is borrowed
        // exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: this guard holds the lock, and gives back the level it was taken at.
        unsafe {
            sys::KeReleaseSpinLock(self.lock.raw.get(), self.irql);
        }
    }
}

impl<T> fmt::Debug for Guard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Guard").finish_non_exhaustive()
    }
}
