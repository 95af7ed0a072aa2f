//! A routine that runs later at `DISPATCH_LEVEL`: KTIMER and KDPC in one.

#![expect(
    unsafe_code,
    reason = "hands memory to the kernel's timer and DPC queues"
)]

use crate::sys;
use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

/// What runs.
pub trait DeferredRoutine: Sync + 'static {
    /// Runs on any processor, in no particular thread, possibly on several at once.
    ///
    /// IRQL: `DISPATCH_LEVEL`.
    fn run(&'static self);
}

/// A timer and a DPC that share one routine. It does nothing until it is attached to one.
///
/// # Invariants
/// While `attached` is set both structures are initialised and are the kernel's.
pub struct Deferred {
    timer: UnsafeCell<sys::KTIMER>,
    dpc: UnsafeCell<sys::KDPC>,
    attached: AtomicBool,
}

// SAFETY: the structures are the kernel's, whose functions may be called on any processor.
unsafe impl Sync for Deferred {}
// SAFETY: nothing refers to the structures before they are attached, and then they do not move.
unsafe impl Send for Deferred {}

impl Deferred {
    /// Attached to nothing.
    pub const fn new() -> Self {
        // SAFETY: both structures are numbers and pointers that may be null.
        let timer = unsafe { core::mem::zeroed() };
        // SAFETY: as above.
        let dpc = unsafe { core::mem::zeroed() };
        Self {
            timer: UnsafeCell::new(timer),
            dpc: UnsafeCell::new(dpc),
            attached: AtomicBool::new(false),
        }
    }

    /// Lets `target` run from now on, until the result is dropped. To be called once; later calls
    /// attach nothing.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    pub fn attach<R: DeferredRoutine>(&'static self, target: &'static R) -> Attached {
        let context = core::ptr::from_ref(target).cast_mut().cast();
        // SAFETY: the structure is not in use yet, and lives as long as the driver.
        unsafe {
            sys::KeInitializeDpc(self.dpc.get(), routine::<R>, context);
        }
        // SAFETY: as above.
        unsafe {
            sys::KeInitializeTimer(self.timer.get());
        }
        self.attached.store(true, Ordering::Release);
        Attached { deferred: self }
    }

    /// Lets the routine run as soon as this processor's IRQL allows.
    ///
    /// IRQL: any.
    pub fn run_soon(&self) {
        if !self.attached.load(Ordering::Acquire) {
            return;
        }
        let (none, dpc) = (core::ptr::null_mut(), self.dpc.get());
        // SAFETY: by the invariant the DPC is initialised. That it is queued already is as good.
        let _was_idle = unsafe { sys::KeInsertQueueDpc(dpc, none, none) };
    }

    /// Lets the routine run `delay_ms` from now; an earlier appointment is forgotten.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub fn run_after(&self, delay_ms: u32) {
        const UNITS_PER_MS: i64 = 10_000;
        if !self.attached.load(Ordering::Acquire) {
            return;
        }
        // Negative times are relative to now.
        let due = i64::from(delay_ms)
            .saturating_mul(UNITS_PER_MS)
            .saturating_neg();
        // SAFETY: by the invariant timer and DPC are initialised.
        let _was_set = unsafe { sys::KeSetTimer(self.timer.get(), due, self.dpc.get()) };
    }
}

impl Default for Deferred {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Deferred").finish_non_exhaustive()
    }
}

/// A routine that may run. Dropping this takes the appointment back and waits until no processor
/// runs the routine any more.
#[derive(Debug)]
pub struct Attached {
    deferred: &'static Deferred,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.deferred.attached.store(false, Ordering::Release);
        // SAFETY: the timer is initialised: this value exists.
        let _was_set = unsafe { sys::KeCancelTimer(self.deferred.timer.get()) };
        // SAFETY: has no precondition but the IRQL, `PASSIVE_LEVEL`, at which drivers unload.
        unsafe {
            sys::KeFlushQueuedDpcs();
        }
    }
}

unsafe extern "system" fn routine<R: DeferredRoutine>(
    _dpc: *mut sys::KDPC,
    context: sys::PVOID,
    _argument1: sys::PVOID,
    _argument2: sys::PVOID,
) {
    // SAFETY: `attach` gave the DPC a target that lives as long as the driver.
    let target = unsafe { &*context.cast::<R>() };
    target.run();
}
