//! Spin locks. Waiting for one that this processor holds, or that is never given back, is a breach.

#![expect(unsafe_code, reason = "reads the driver's lock words")]

use crate::contract::{DISPATCH_LEVEL, breach, enter, irql, set_irql, set_spin_locks, spin_locks};
use crate::timer;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Attempts after which a lock counts as dead.
const ATTEMPTS_MAX: u64 = 200_000_000;

#[unsafe(no_mangle)]
unsafe extern "system" fn KeAcquireSpinLockRaiseToDpc(lock: *mut usize) -> u8 {
    enter("KeAcquireSpinLockRaiseToDpc", DISPATCH_LEVEL);
    let old = irql();
    set_irql(DISPATCH_LEVEL);
    // SAFETY: the driver's lock is a word that only these two functions touch.
    let lock = unsafe { AtomicUsize::from_ptr(lock) };
    acquire(lock);
    set_spin_locks(spin_locks() + 1);
    old
}

#[unsafe(no_mangle)]
unsafe extern "system" fn KeReleaseSpinLock(lock: *mut usize, irql: u8) {
    enter("KeReleaseSpinLock", DISPATCH_LEVEL);
    // SAFETY: the driver's lock is a word that only these two functions touch.
    let lock = unsafe { AtomicUsize::from_ptr(lock) };
    if lock.swap(0, Ordering::SeqCst) == 0 {
        breach("a spin lock was released that nobody holds");
    }
    set_spin_locks(spin_locks().saturating_sub(1));
    set_irql(irql);
    timer::run_queued_dpcs();
}

/// Waits for a lock word.
pub(crate) fn acquire(lock: &AtomicUsize) {
    for _attempt in 0..ATTEMPTS_MAX {
        let taken = lock.compare_exchange(0, 1, Ordering::SeqCst, Ordering::Relaxed);
        if taken.is_ok() {
            return;
        }
        std::thread::yield_now();
    }
    breach("a spin lock is held for ever");
}
