//! What all callbacks share: the ring, the account, and the reads that wait.

use crate::account::Account;
use crate::delivery::Delivery;
use crate::queue::Queue;
use crate::settings::Settings;
use event::control::Conditions;
use event::extension::{size_extended, write_extended};
use event::{Event, Extension, Flags, Header, RECORD_SIZE_MAX, kind_and_size};
use nt::irp::FileId;
use nt::lock::{SpinLock, TryLock};
use nt::pool::Region;
use nt::process::NameBuffer;
use nt::timer::Deferred;
use ring_buffer::Room;

/// A quarter of the room makes a batch due, in a small queue.
const BATCH_DIVISOR: usize = 4;

/// Queued bytes at which a read is completed before the flush interval is over, at most.
const BATCH_SIZE_MAX: usize = 64 * 1024;

/// UTF-16 units of the longest path, with its NUL.
const LONG_PATH_UNITS: usize = 32_768;

/// Room for any path.
pub(crate) type LongPath = NameBuffer<LONG_PATH_UNITS>;

/// The sensor; placed in the driver's region and shared by every callback.
#[derive(Debug)]
pub(crate) struct Sensor {
    pub(crate) queue: Queue<'static>,
    pub(crate) account: Account,
    pub(crate) settings: Settings,
    /// Queued bytes at which a batch is due.
    pub(crate) batch_size: usize,
    pub(crate) delivery: Delivery,
    pub(crate) flush: Deferred,
    /// Who may read: the one file that was opened for it.
    pub(crate) consumer: SpinLock<Option<FileId>>,
    /// For a path that a callback's stack has no room for. One start at a time has it.
    pub(crate) long_path: &'static TryLock<LongPath>,
}

impl Sensor {
    /// Allocates the ring as large as the settings say, and the sensor around it.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    pub(crate) fn place(region: &Region, settings: Settings) -> nt::Result<&'static Self> {
        let room = usize::try_from(settings.queue_limit).unwrap_or(0);
        let queue = Queue::place(region, room)?;
        let batch_size = room.checked_div(BATCH_DIVISOR).unwrap_or(0);
        let long_path = region.slice(1, || TryLock::new(LongPath::new()))?;
        let long_path = long_path
            .first()
            .ok_or(nt::Status::INSUFFICIENT_RESOURCES)?;
        region.place_with(|| Self {
            queue,
            account: Account::default(),
            settings,
            batch_size: batch_size.min(BATCH_SIZE_MAX),
            delivery: Delivery::new(),
            flush: Deferred::new(),
            consumer: SpinLock::new(None),
            long_path,
        })
    }

    /// Bytes that a record may have for its texts when it has `fixed_size` beside them.
    pub(crate) fn room_beside(&self, fixed_size: usize) -> usize {
        self.record_size_max().saturating_sub(fixed_size)
    }

    /// Bytes of the largest record.
    pub(crate) fn record_size_max(&self) -> usize {
        self.queue.record_size_max().min(RECORD_SIZE_MAX)
    }

    /// Stores one event, or counts it as lost, and sees to it that it is delivered in time.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`, if the texts may be read there.
    #[expect(
        clippy::inline_always,
        reason = "a callback knows the kind of its event, and what remains is a row of stores"
    )]
    #[inline(always)]
    pub(crate) fn record(&self, header: Header, event: &Event<'_>, extension: &Extension<'_>) {
        let Some((kind, _size)) = kind_and_size(event) else {
            return;
        };
        let (Some(index), Some(size)) = (kind.index(), size_extended(event, extension)) else {
            return;
        };
        self.account.count_produced(kind);
        let ring = self.queue.ring_of(kind);
        if let Ok(mut record) = ring.reserve(index, Room::Common, size) {
            let header = Header {
                lost_before: self.queue.lost_total(),
                ..header
            };
            if write_extended(header, event, extension, record.bytes_mut()).is_some() {
                record.submit();
            } else {
                record.lose();
            }
        }
        self.wake(ring.used_size());
    }

    /// What is unusual, for the counters.
    pub(crate) fn conditions(&self) -> Conditions {
        if self.queue.is_corrupt() {
            self.settings.refused.with(Conditions::QUEUE_CORRUPT)
        } else {
            self.settings.refused
        }
    }
}

/// A header for now, about `process_id` and `thread_id`.
pub(crate) fn header(process_id: u32, thread_id: u32, start_time: u64, flags: Flags) -> Header {
    Header {
        flags,
        time: nt::time::now_ns(),
        process_id,
        thread_id,
        start_time,
        ..Header::default()
    }
}
