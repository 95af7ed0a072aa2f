//! Spin locks, which know their owner.

#![expect(unsafe_code, reason = "the driver's lock is a word in its memory")]

use crate::contract::{DISPATCH_LEVEL, breach, enter, irql, set_irql, set_spin_locks, spin_locks};
use std::sync::atomic::{AtomicUsize, Ordering};
use windows_sys::Win32::System::Threading::GetCurrentThreadId;

pub(crate) unsafe extern "system" fn acquire(lock: *mut usize) -> u8 {
    enter("KeAcquireSpinLockRaiseToDpc", DISPATCH_LEVEL);
    // SAFETY: the driver passes a lock of its own, which it uses through these functions only.
    let lock = unsafe { AtomicUsize::from_ptr(lock) };
    let old = irql();
    set_irql(DISPATCH_LEVEL);
    let owner = owner();
    if lock.load(Ordering::Relaxed) == owner {
        breach("a spin lock is acquired by the processor that holds it");
        return old;
    }
    while lock
        .compare_exchange_weak(0, owner, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        std::thread::yield_now();
    }
    set_spin_locks(spin_locks() + 1);
    old
}

pub(crate) unsafe extern "system" fn release(lock: *mut usize, irql: u8) {
    enter("KeReleaseSpinLock", DISPATCH_LEVEL);
    // SAFETY: as in `acquire`.
    let lock = unsafe { AtomicUsize::from_ptr(lock) };
    let owner = owner();
    if lock
        .compare_exchange(owner, 0, Ordering::Release, Ordering::Relaxed)
        .is_err()
    {
        breach("a spin lock is released that this processor does not hold");
        return;
    }
    set_spin_locks(spin_locks().saturating_sub(1));
    set_irql(irql);
}

/// The driver cancels a read: Wine holds its cancel spin lock and has called the cancel routine.
pub(crate) unsafe extern "system" fn release_cancel(irql: u8) {
    enter("IoReleaseCancelSpinLock", DISPATCH_LEVEL);
    // SAFETY: Wine's own counterpart of the acquisition it made.
    unsafe {
        nt::sys::IoReleaseCancelSpinLock(irql);
    }
    set_irql(irql);
}

fn owner() -> usize {
    // SAFETY: has no precondition. An id is never 0.
    let id = unsafe { GetCurrentThreadId() };
    usize::try_from(id).unwrap_or(usize::MAX)
}
