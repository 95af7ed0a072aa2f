//! Reads that wait, and what completes them.
//!
//! A batch is due when enough is queued or the flush interval after the first record is over,
//! whichever comes first. Both only queue the DPC, so a notify routine never copies a batch. When a
//! batch is due and no read waits, the sensor is *starved*: nothing is tried again until a read
//! comes, which then gets what there is at once.

use crate::delivery::{DELIVERED_SIZE_MAX, LOST_SIZE, Served};
use crate::sensor::Sensor;
use core::sync::atomic::{AtomicBool, Ordering, fence};
use event::control::Batch;
use nt::Status;
use nt::csq::READS_MAX;
use nt::irp::Read;
use nt::timer::{Attached, DeferredRoutine};

/// The smallest buffer that can ever be of use.
const READ_SIZE_MIN: usize = Batch::SIZE + LOST_SIZE;

impl DeferredRoutine for Sensor {
    fn run(&'static self) {
        self.delivery.armed.store(false, Ordering::SeqCst);
        self.delivery.requested.store(false, Ordering::SeqCst);
        self.deliver();
    }
}

impl Sensor {
    /// Lets the flush timer and the batch threshold complete reads.
    pub(crate) fn attach_flush(&'static self) -> Attached {
        self.flush.attach(self)
    }

    /// Takes a read of the consumer.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    pub(crate) fn take_read(&'static self, read: Read) {
        if *self.consumer.lock() != Some(read.file()) {
            return read.complete(Status::SHARING_VIOLATION, 0);
        }
        if read.size() < READ_SIZE_MIN {
            return read.complete(Status::BUFFER_TOO_SMALL, 0);
        }
        let file = read.file();
        self.delivery.reads.insert(read);
        // The last handle may have been closed since the look above, and its clean-up be over.
        if *self.consumer.lock() != Some(file) {
            return self.delivery.cancel_reads_of(file);
        }
        if self.delivery.starved.swap(false, Ordering::SeqCst) {
            self.deliver();
        }
    }

    /// Sees to it that what was just stored or lost is delivered in time; its ring has `used_size` bytes
    /// by now.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub(crate) fn wake(&self, used_size: usize) {
        let delivery = &self.delivery;
        // Between storing the record and looking at the flags. The one in `deliver` stands between
        // clearing a flag and looking for records, so one of the two sides sees the other.
        fence(Ordering::SeqCst);
        if delivery.starved.load(Ordering::SeqCst) {
            return;
        }
        if used_size < self.batch_size {
            if set(&delivery.armed) {
                self.flush.run_after(self.settings.flush_interval_ms);
            }
        } else if set(&delivery.requested) {
            self.flush.run_soon();
        }
    }

    /// Completes waiting reads, the oldest first, until nothing is queued or no read waits.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub(crate) fn deliver(&self) {
        let mut delivered_size = 0_usize;
        for _turn in 0..READS_MAX {
            if delivered_size >= DELIVERED_SIZE_MAX {
                break;
            }
            fence(Ordering::SeqCst);
            let mut stream = self.delivery.stream.lock();
            let Some(mut consumer) = self.queue.consumer() else {
                return;
            };
            if consumer.oldest().is_none() && !stream.has_untold_losses(&self.queue) {
                return;
            }
            let Some(mut read) = self.oldest_read() else {
                return;
            };
            let served = stream.fill(&mut read, &mut consumer, &self.queue, &self.account);
            drop(consumer);
            drop(stream);
            match served {
                Served::Batch(size) => {
                    delivered_size = delivered_size.saturating_add(size);
                    read.complete(Status::SUCCESS, size);
                }
                Served::TooSmall => read.complete(Status::BUFFER_TOO_SMALL, 0),
            }
        }
        // Reads come as fast as they are completed, or are huge; others want this processor too.
        self.flush.run_soon();
    }

    /// The oldest read that waits. When there is none the sensor is starved, unless one came
    /// between the look and saying so.
    fn oldest_read(&self) -> Option<Read> {
        if let Some(read) = self.delivery.reads.remove_oldest() {
            return Some(read);
        }
        self.delivery.starved.store(true, Ordering::SeqCst);
        let read = self.delivery.reads.remove_oldest()?;
        self.delivery.starved.store(false, Ordering::SeqCst);
        Some(read)
    }
}

/// Sets a flag; whether it was clear. The load spares the processors that only find it set from
/// fighting over its cache line.
fn set(flag: &AtomicBool) -> bool {
    !flag.load(Ordering::SeqCst) && !flag.swap(true, Ordering::SeqCst)
}
