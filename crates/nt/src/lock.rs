//! The spin lock, and a lock that nobody waits for, whose guards own the data.

#![expect(
    unsafe_code,
    reason = "a lock hands out exclusive access that the borrow checker cannot see"
)]

use crate::sys;
use core::cell::UnsafeCell;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

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

/// Data that one thread at a time may touch, at any level. Who does not get it goes without.
///
/// # Invariants
/// `data` is reached through a [`TryGuard`] only, and there is one only while `is_held` is set.
pub struct TryLock<T> {
    is_held: AtomicBool,
    data: UnsafeCell<T>,
}

// SAFETY: the lock gives one thread at a time access to the data, which may move between them.
unsafe impl<T: Send> Sync for TryLock<T> {}

impl<T> TryLock<T> {
    /// A lock that nobody holds.
    pub const fn new(data: T) -> Self {
        Self {
            is_held: AtomicBool::new(false),
            data: UnsafeCell::new(data),
        }
    }

    /// Takes the lock, unless somebody has it.
    ///
    /// IRQL: any.
    pub fn try_lock(&self) -> Option<TryGuard<'_, T>> {
        if self.is_held.swap(true, Ordering::Acquire) {
            return None;
        }
        Some(TryGuard { lock: self })
    }
}

impl<T> fmt::Debug for TryLock<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TryLock").finish_non_exhaustive()
    }
}

/// The lock that nobody waits for, held.
pub struct TryGuard<'l, T> {
    lock: &'l TryLock<T>,
}

impl<T> Deref for TryGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: by the invariant the guard is the only way to the data.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for TryGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: by the invariant the guard is the only way to the data, and it is borrowed
        // exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for TryGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.is_held.store(false, Ordering::Release);
    }
}

impl<T> fmt::Debug for TryGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TryGuard").finish_non_exhaustive()
    }
}
