//! Requests to the device: opening it, closing it, reading, and control requests.

use crate::sensor::Sensor;
use event::control::{Code, Count, Counters, Hello, PROTOCOL_VERSION, Welcome};
use event::wire::{Reader, Writer};
use nt::Status;
use nt::csq::READS_MAX;
use nt::device::Dispatch;
use nt::irp::{Control, FileId, Read};
use nt::sys;

/// Rights with which a file reads the stream.
const READ_ACCESS: u32 =
    sys::FILE_READ_DATA | sys::MAXIMUM_ALLOWED | sys::GENERIC_ALL | sys::GENERIC_READ;

impl Dispatch for Sensor {
    /// One file at a time may read; others may open the device for its counters.
    fn create(&'static self, file: FileId, access: u32) -> nt::Result<()> {
        if access & READ_ACCESS == 0 {
            return Ok(());
        }
        let mut consumer = self.consumer.lock();
        if consumer.is_some() {
            return Err(Status::SHARING_VIOLATION);
        }
        *consumer = Some(file);
        Ok(())
    }

    fn cleanup(&'static self, file: FileId) {
        // The consumer goes first, so that no further read of the file can come to wait.
        let mut consumer = self.consumer.lock();
        if *consumer == Some(file) {
            *consumer = None;
        }
        drop(consumer);
        self.delivery.cancel_reads_of(file);
    }

    fn read(&'static self, read: Read) {
        self.take_read(read);
    }

    fn control(&'static self, request: &mut Control<'_>) -> nt::Result<usize> {
        match Code(request.code()) {
            Code::HANDSHAKE => self.shake_hands(request),
            Code::COUNTERS => self.tell_counters(request),
            Code::FLUSH => self.flush_now(request),
            _ => Err(Status::INVALID_DEVICE_REQUEST),
        }
    }
}

impl Sensor {
    fn shake_hands(&self, request: &mut Control<'_>) -> nt::Result<usize> {
        // Agents of every version are told alike, so what follows the version is not looked at.
        let hello = Hello::read(&mut Reader::new(request.input()))
            .map_err(|_short| Status::INVALID_PARAMETER)?;
        if hello.protocol_version != PROTOCOL_VERSION {
            return Err(Status::REVISION_MISMATCH);
        }
        let welcome = Welcome {
            protocol_version: PROTOCOL_VERSION,
            record_size_max: to_u32(self.record_size_max()),
            batch_size: to_u32(self.batch_size),
            flush_interval_ms: self.settings.flush_interval_ms,
            queue_limit: to_u32(self.queue.room_size()),
            reads_max: to_u32(READS_MAX),
        };
        answer(request, |writer| welcome.write(writer))
    }

    fn tell_counters(&self, request: &mut Control<'_>) -> nt::Result<usize> {
        if !request.input().is_empty() {
            return Err(Status::INVALID_PARAMETER);
        }
        let counters = self.counters();
        answer(request, |writer| counters.write(writer))
    }

    /// Delivered before lost before produced: what happens meanwhile shows as queued, and the
    /// account never claims more than was produced.
    fn counters(&self) -> Counters {
        let mut counters = Counters {
            queue_used: to_u64(self.queue.used_size()),
            queue_peak: to_u64(self.queue.peak_size()),
            queue_limit: to_u64(self.queue.room_size()),
            batches: self.delivery.batches(),
            reads_pended: to_u32(self.delivery.reads_pended()),
            conditions: self.conditions(),
            ..Counters::default()
        };
        for (index, (kind, count)) in (0_usize..).zip(counters.kinds.iter_mut()) {
            let delivered = self.account.delivered(kind);
            let lost = self.queue.lost(index);
            *count = Count {
                produced: self.account.produced(kind),
                delivered,
                lost,
            };
        }
        counters
    }

    fn flush_now(&self, request: &mut Control<'_>) -> nt::Result<usize> {
        if !request.input().is_empty() || !request.output().is_empty() {
            return Err(Status::INVALID_PARAMETER);
        }
        if *self.consumer.lock() != Some(request.file()) {
            return Err(Status::INVALID_DEVICE_REQUEST);
        }
        self.deliver();
        Ok(0)
    }
}

/// Writes the answer and gives its size.
fn answer(request: &mut Control<'_>, write_fn: impl FnOnce(&mut Writer<'_>)) -> nt::Result<usize> {
    let mut writer = Writer::new(request.output());
    write_fn(&mut writer);
    writer
        .finish()
        .map(<[u8]>::len)
        .ok_or(Status::INVALID_PARAMETER)
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
