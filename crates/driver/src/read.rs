//! Reads that wait, and the batches that complete them.
//!
//! A batch is due when enough is queued or the flush interval after the first record is over,
//! whichever comes first. Both only queue the DPC, so a notify routine never copies a batch. When a
//! batch is due and no read waits, the sensor is *starved*: nothing is tried again until a read
//! comes, which then gets what there is at once.

use crate::account::{Account, KINDS};
use crate::sensor::Sensor;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering, fence};
use event::control::Batch;
use event::loss::{Lost, Reason};
use event::wire::{Reader, Writer};
use event::{Event, HEADER_SIZE, Header, Kind};
use nt::Status;
use nt::csq::{Queue, READS_MAX};
use nt::irp::{FileId, Read};
use nt::lock::SpinLock;
use nt::timer::{Attached, DeferredRoutine};
use ring_buffer::{Consumer, Ring};

/// Bytes of the record that tells of a loss.
const LOST_SIZE: usize = HEADER_SIZE + Lost::SIZE;

/// Bytes that are copied before others get the processor, however large the buffers of the reads
/// are: copying is done at `DISPATCH_LEVEL`, a megabyte in a tenth of a millisecond. The last record
/// can exceed it.
const DELIVERED_SIZE_MAX: usize = 1024 * 1024;

/// The smallest buffer that can ever be of use.
const READ_SIZE_MIN: usize = Batch::SIZE + LOST_SIZE;

/// The waiting reads, and how far the stream has come.
pub(crate) struct Delivery {
    reads: Queue,
    /// The flush timer runs.
    armed: AtomicBool,
    /// The DPC was queued because enough is there.
    requested: AtomicBool,
    /// A batch was due and no read waited.
    starved: AtomicBool,
    stream: SpinLock<Stream>,
}

/// The place in the stream; held while a batch is put together.
#[derive(Debug)]
struct Stream {
    /// Batches completed.
    sequence: u64,
    /// Losses that the stream has told of, by kind.
    told: [u64; KINDS],
}

/// How a read was served.
enum Served {
    Batch(usize),
    TooSmall,
}

impl Delivery {
    pub(crate) const fn new() -> Self {
        Self {
            reads: Queue::new(),
            armed: AtomicBool::new(false),
            requested: AtomicBool::new(false),
            starved: AtomicBool::new(false),
            stream: SpinLock::new(Stream {
                sequence: 0,
                told: [0; KINDS],
            }),
        }
    }

    /// Batches completed.
    pub(crate) fn batches(&self) -> u64 {
        self.stream.lock().sequence
    }

    /// Reads that wait.
    pub(crate) fn reads_pended(&self) -> usize {
        self.reads.len()
    }

    /// Completes every waiting read of `file`.
    pub(crate) fn cancel_reads_of(&self, file: FileId) {
        while let Some(read) = self.reads.remove_oldest_of(file) {
            read.complete(Status::CANCELLED, 0);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Delivery").finish_non_exhaustive()
    }
}

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

    /// Sees to it that what was just stored or lost is delivered in time.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub(crate) fn wake(&self) {
        let delivery = &self.delivery;
        // Between storing the record and looking at the flags. The one in `deliver` stands between
        // clearing a flag and looking for records, so one of the two sides sees the other.
        fence(Ordering::SeqCst);
        if delivery.starved.load(Ordering::SeqCst) {
            return;
        }
        if self.ring.used_size() < self.batch_size {
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
            let Some(mut consumer) = self.ring.consumer() else {
                return;
            };
            if consumer.oldest().is_none() && !stream.has_untold_losses(&self.ring) {
                return;
            }
            let Some(mut read) = self.oldest_read() else {
                return;
            };
            let served = stream.fill(&mut read, &mut consumer, &self.ring, &self.account);
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

impl Stream {
    fn has_untold_losses(&self, ring: &Ring<'_>) -> bool {
        (0_usize..)
            .zip(&self.told)
            .any(|(kind, told)| ring.lost(kind) != *told)
    }

    /// Puts as many whole records into the read as fit, and no more than are delivered at once.
    fn fill(
        &mut self,
        read: &mut Read,
        consumer: &mut Consumer<'_>,
        ring: &Ring<'_>,
        account: &Account,
    ) -> Served {
        let (mut size, mut records) = self.tell_losses(read, ring);
        while size < DELIVERED_SIZE_MAX
            && let Some(record) = consumer.oldest()
        {
            let bytes = record.bytes();
            if !read.write(size, bytes) {
                break;
            }
            size = size.saturating_add(bytes.len());
            records = records.saturating_add(1);
            if let Some(kind) = kind_of(bytes) {
                account.count_delivered(kind);
            }
            record.release();
        }
        if records == 0 {
            return Served::TooSmall;
        }
        self.sequence = self.sequence.saturating_add(1);
        let mut buffer = [0; Batch::SIZE];
        let mut writer = Writer::new(&mut buffer);
        Batch {
            sequence: self.sequence,
            size: u32::try_from(size).unwrap_or(u32::MAX),
            records,
        }
        .write(&mut writer);
        // Every read that was accepted has room for its own header.
        let _fits = read.write(0, &buffer);
        Served::Batch(size)
    }

    /// Writes a record for each kind with losses that were not told yet; gives where the next
    /// record goes and how many were written.
    fn tell_losses(&mut self, read: &mut Read, ring: &Ring<'_>) -> (usize, u32) {
        let (mut size, mut records) = (Batch::SIZE, 0_u32);
        for ((index, kind), told) in (0_usize..).zip(Kind::OBSERVED).zip(&mut self.told) {
            let lost = ring.lost(index);
            let count = lost.saturating_sub(*told);
            if count == 0 {
                continue;
            }
            let header = Header {
                time: nt::time::now_ns(),
                lost_before: ring.lost_total(),
                ..Header::default()
            };
            let event = Event::Lost(Lost {
                kind,
                reason: Reason::BUFFER_FULL,
                count,
            });
            let mut buffer = [0; LOST_SIZE];
            let is_written = event::write(header, &event, &mut buffer)
                .is_some_and(|bytes| read.write(size, bytes));
            if !is_written {
                // The rest is told by the next batch.
                break;
            }
            *told = lost;
            size = size.saturating_add(LOST_SIZE);
            records = records.saturating_add(1);
        }
        (size, records)
    }
}

/// The index of the kind of a record this driver wrote. Reading the whole header for it would be
/// half of what a record costs here.
fn kind_of(record: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(record);
    let _size = reader.u32().ok()?;
    Kind(reader.u16().ok()?).index()
}
