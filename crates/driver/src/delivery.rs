//! How far the stream has come: the reads that wait, and the batch that is put together next.

use crate::account::Account;
use crate::queue::{Merged, Queue as Rings};
use core::fmt;
use core::sync::atomic::AtomicBool;
use event::control::Batch;
use event::loss::{Lost, Reason};
use event::wire::Writer;
use event::{ByKind, Event, HEADER_SIZE, Header, Kind};
use nt::Status;
use nt::csq::Queue;
use nt::irp::{FileId, Read};
use nt::lock::SpinLock;
use ring_buffer::Record;

/// Bytes of the record that tells of a loss.
pub(crate) const LOST_SIZE: usize = HEADER_SIZE + Lost::SIZE;

/// Bytes that are copied before others get the processor, however large the buffers of the reads
/// are: copying is done at `DISPATCH_LEVEL`, a megabyte in a tenth of a millisecond. The last record
/// can exceed it.
pub(crate) const DELIVERED_SIZE_MAX: usize = 1024 * 1024;

/// The waiting reads, and how far the stream has come.
pub(crate) struct Delivery {
    pub(crate) reads: Queue,
    /// The flush timer runs.
    pub(crate) armed: AtomicBool,
    /// The DPC was queued because enough is there.
    pub(crate) requested: AtomicBool,
    /// A batch was due and no read waited.
    pub(crate) starved: AtomicBool,
    pub(crate) stream: SpinLock<Stream>,
}

/// The place in the stream; held while a batch is put together.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Batches completed.
    sequence: u64,
    /// Losses that the stream has told of, by kind.
    told: ByKind<u64>,
}

/// How a read was served.
pub(crate) enum Served {
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
                told: ByKind::new([0; Kind::OBSERVED.len()]),
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

impl Stream {
    pub(crate) fn has_untold_losses(&self, rings: &Rings<'_>) -> bool {
        (0_usize..)
            .zip(self.told.iter())
            .any(|(index, (_kind, told))| rings.lost(index) != *told)
    }

    /// Puts as many whole records into the read as fit, and no more than are delivered at once.
    pub(crate) fn fill(
        &mut self,
        read: &mut Read,
        merged: &mut Merged<'_>,
        rings: &Rings<'_>,
        account: &Account,
    ) -> Served {
        let (mut size, mut records) = self.tell_losses(read, rings);
        let mut tell_fn = |record: Record<'_>| {
            let bytes = record.bytes();
            if size >= DELIVERED_SIZE_MAX || !read.write(size, bytes) {
                return false;
            }
            size = size.saturating_add(bytes.len());
            records = records.saturating_add(1);
            // Reading the whole header for it would be half of what a record costs here.
            if let Ok(kind) = event::kind_of(bytes) {
                account.count_delivered(kind);
            }
            record.release();
            true
        };
        loop {
            // Most records are in such a run, where nobody looks at the other ring for each.
            if let Some((others, mark)) = merged.run_of_others() {
                while let Some(record) = others.oldest().filter(|record| record.is_before(mark))
                    && tell_fn(record)
                {}
            }
            let is_told = merged.oldest().is_some_and(&mut tell_fn);
            if !is_told {
                break;
            }
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
            utc_offset: nt::time::utc_offset_ns(),
        }
        .write(&mut writer);
        // Every read that was accepted has room for its own header.
        let _fits = read.write(0, &buffer);
        Served::Batch(size)
    }

    /// Writes a record for each kind with losses that were not told yet; gives where the next
    /// record goes and how many were written.
    fn tell_losses(&mut self, read: &mut Read, rings: &Rings<'_>) -> (usize, u32) {
        let (mut size, mut records) = (Batch::SIZE, 0_u32);
        for (index, (kind, told)) in (0_usize..).zip(self.told.iter_mut()) {
            let lost = rings.lost(index);
            let count = lost.saturating_sub(*told);
            if count == 0 {
                continue;
            }
            let header = Header {
                time: nt::time::now_ns(),
                lost_before: rings.lost_total(),
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
