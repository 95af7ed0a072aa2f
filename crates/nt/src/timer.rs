//! A routine that runs later at `DISPATCH_LEVEL`: a KTIMER, and the KDPCs that run it.

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

/// A timer, its DPC and one that is queued without it, which share one routine. It does nothing until
/// it is attached to one. Two DPCs, as `KeSetTimer` says that a timer's must not be queued by
/// `KeInsertQueueDpc`.
///
/// # Invariants
/// While `attached` is set all structures are initialised and are the kernel's.
pub struct Deferred {
    timer: UnsafeCell<sys::KTIMER>,
    timer_dpc: UnsafeCell<sys::KDPC>,
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
        // SAFETY: the structures are numbers and pointers that may be null.
        let timer = unsafe { core::mem::zeroed() };
        // SAFETY: as above.
        let [timer_dpc, dpc] = unsafe { core::mem::zeroed() };
        Self {
            timer: UnsafeCell::new(timer),
            timer_dpc: UnsafeCell::new(timer_dpc),
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
        for dpc in [&self.timer_dpc, &self.dpc] {
            // SAFETY: the structure is not in use yet, and lives as long as the driver.
            unsafe {
                sys::KeInitializeDpc(dpc.get(), routine::<R>, context);
            }
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
        // SAFETY: by the invariant timer and DPC are initialised, and this DPC is the timer's alone.
        let _was_set = unsafe { sys::KeSetTimer(self.timer.get(), due, self.timer_dpc.get()) };
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

/// A routine that may run. Dropping this takes the appointments back and waits until no processor
/// runs the routine any more. Nobody but the routine itself may make appointments by then.
#[derive(Debug)]
pub struct Attached {
    deferred: &'static Deferred,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.deferred.attached.store(false, Ordering::Release);
        // A flush waits for what was queued before it, and for nothing that a routine queues while it
        // waits. After this one no routine runs any more that began before `attached` was cleared, and
        // none that began later makes another appointment.
        flush_queued_dpcs();
        // SAFETY: the timer is initialised: this value exists.
        let _was_set = unsafe { sys::KeCancelTimer(self.deferred.timer.get()) };
        // This one waits for the appointments of those: the timer's, and what they queued.
        flush_queued_dpcs();
    }
}

/// Waits until every DPC that is queued by now, on any processor, has run.
///
/// IRQL: `PASSIVE_LEVEL`.
fn flush_queued_dpcs() {
    // SAFETY: has no precondition but the IRQL, at which drivers unload and starts fail.
    unsafe {
        sys::KeFlushQueuedDpcs();
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
