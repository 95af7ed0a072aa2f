//! A cancel-safe queue of reads.
//!
//! The kernel's own (`IoCsq*`) leaves the list and its lock to the driver anyway; this one is a
//! bounded array under a spin lock. A read that is being cancelled stays in its place until its
//! cancel routine has come for it, so exactly one party completes each read.

#![expect(
    unsafe_code,
    reason = "a cancel routine finds the queue by the pointer in its packet"
)]

use crate::irp::{FileId, Read};
use crate::lock::SpinLock;
use crate::{Status, sys};
use core::fmt;

/// How many reads may be pended at once.
pub const READS_MAX: usize = 64;

/// Reads in the order in which they came.
pub struct Queue {
    reads: SpinLock<Reads>,
}

struct Reads {
    slots: [Option<Read>; READS_MAX],
    count: usize,
}

impl Queue {
    /// An empty queue.
    pub const fn new() -> Self {
        Self {
            reads: SpinLock::new(Reads {
                slots: [const { None }; READS_MAX],
                count: 0,
            }),
        }
    }

    /// Pends `read`. One that does not fit is completed with `INSUFFICIENT_RESOURCES`, one that is
    /// cancelled already with `CANCELLED`.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub fn insert(&'static self, read: Read) {
        let mut reads = self.reads.lock();
        let index = reads.count;
        let refused = match reads.slots.get_mut(index) {
            None => Some((read, Status::INSUFFICIENT_RESOURCES)),
            Some(slot) => {
                let queue = core::ptr::from_ref(self).cast_mut().cast();
                read.irp().set_cancel_routine(cancel, queue);
                // Cancelled before the routine was set: nobody will run it, unless whoever cancels
                // finds it between the two lines, and then the read stays for it.
                if read.irp().is_cancelled() && read.irp().clear_cancel_routine() {
                    Some((read, Status::CANCELLED))
                } else {
                    *slot = Some(read);
                    reads.count = index.saturating_add(1);
                    None
                }
            }
        };
        drop(reads);
        if let Some((read, status)) = refused {
            read.complete(status, 0);
        }
    }

    /// Removes the oldest read that nobody is cancelling.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub fn remove_oldest(&self) -> Option<Read> {
        self.reads.lock().remove_uncancelled(|_read| true)
    }

    /// Removes the oldest read of `file` that nobody is cancelling.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub fn remove_oldest_of(&self, file: FileId) -> Option<Read> {
        self.reads
            .lock()
            .remove_uncancelled(|read| read.file() == file)
    }

    /// How many reads are pended.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub fn len(&self) -> usize {
        self.reads.lock().count
    }

    /// Whether none is pended.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        while let Some(read) = self.remove_oldest() {
            read.complete(Status::CANCELLED, 0);
        }
    }
}

impl Reads {
    fn remove_uncancelled(&mut self, wanted_fn: impl Fn(&Read) -> bool) -> Option<Read> {
        let index = self
            .slots
            .iter()
            .map_while(Option::as_ref)
            .position(|read| wanted_fn(read) && read.irp().clear_cancel_routine())?;
        self.remove(index)
    }

    fn remove(&mut self, index: usize) -> Option<Read> {
        let read = self.slots.get_mut(index)?.take()?;
        self.slots.get_mut(index..)?.rotate_left(1);
        self.count = self.count.saturating_sub(1);
        Some(read)
    }
}

/// The cancel routine of every read in a queue. The kernel calls it with its cancel spin lock held.
unsafe extern "system" fn cancel(_device: *mut sys::DEVICE_OBJECT, irp: *mut sys::IRP) {
    // SAFETY: the kernel holds the lock for this call and left the level to return to in the packet.
    let irql = unsafe { (*irp).CancelIrql };
    // SAFETY: as above.
    unsafe {
        sys::IoReleaseCancelSpinLock(irql);
    }
    // SAFETY: the packet stays in the queue, not completed, until this routine has come for it.
    let context = unsafe { (*irp).DriverContext[0] };
    // SAFETY: `insert` put the queue there, which lives as long as the driver.
    let queue = unsafe { &*context.cast::<Queue>() };
    let mut reads = queue.reads.lock();
    let index = reads
        .slots
        .iter()
        .map_while(Option::as_ref)
        .position(|read| read.irp().address() == irp.addr());
    let read = index.and_then(|index| reads.remove(index));
    drop(reads);
    if let Some(read) = read {
        read.complete(Status::CANCELLED, 0);
    }
}
