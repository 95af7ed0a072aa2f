//! What observes a system: the [`Sensor`] trait and the batches sensors hand over.

pub mod choice;
pub mod compare;
pub mod etw;
pub mod existing;
pub mod seam;
pub mod windows;

#[cfg(target_os = "linux")]
pub mod connector;
#[cfg(target_os = "linux")]
pub mod ebpf;
#[cfg(target_os = "linux")]
mod logins;
#[cfg(target_os = "linux")]
pub mod merge;
#[cfg(target_os = "linux")]
pub mod perf;
#[cfg(target_os = "linux")]
pub mod perf_buffer;
#[cfg(target_os = "linux")]
pub mod perf_record;
#[cfg(target_os = "linux")]
pub mod snapshot;
#[cfg(target_os = "linux")]
mod task_record;
#[cfg(target_os = "linux")]
mod tasks;

use std::time::Duration;

use event::{ByKind, Event, Extension, Header, Kind, extension, loss};

use crate::environment::Names;
use crate::sys::offset::Offset;
use crate::sys::wake::Waker;

/// The processes that are there now, without what they have mapped.
pub(crate) fn processes_now() -> std::io::Result<Vec<existing::Existing>> {
    #[cfg(target_os = "linux")]
    let taken = snapshot::take(&snapshot::Wanted::default(), || crate::sys::clock::now().0);
    #[cfg(windows)]
    let taken = windows::processes_now();
    taken
}

/// Code that observes one system. Runs on the sensor thread alone.
///
/// The life of a sensor: [`start`](Sensor::start) once, [`read`](Sensor::read) until told to stop,
/// [`stop`](Sensor::stop) once. Dropping it at any moment detaches everything from the kernel.
pub trait Sensor: Send {
    /// The name in the trail: `ebpf`, `perf`, `connector`, `driver`, `etw`.
    fn source(&self) -> &'static str;

    /// Begins to record. On return every event from now on will be seen, and `batch` holds the
    /// snapshot: what was there before, flagged `EXISTING`, with no gap and no duplicate where it
    /// meets the stream. Stream records that came meanwhile may follow it in `batch`.
    fn start(&mut self, batch: &mut Batch) -> Result<(), Error>;

    /// Waits until there are events, or until the [`Waker`] it was built
    /// with is woken, and appends records in time order. May return with none.
    fn read(&mut self, batch: &mut Batch) -> Result<(), Error>;

    /// Stops producing, then appends what is left, losses included.
    fn stop(&mut self, batch: &mut Batch) -> Result<(), Error>;

    /// What was produced and lost so far, the snapshot not counted: no hook produced it. After
    /// [`stop`](Sensor::stop) it is final.
    fn counters(&mut self) -> Result<Counters, Error>;

    /// Now on the sensor's clock, and the offset to the time of day.
    fn clock(&self) -> (u64, Offset) {
        crate::sys::clock::now()
    }

    /// The greatest fill of each kernel buffer so far: name, peak and limit in bytes.
    fn buffer_peaks(&self) -> Vec<(&'static str, u64, u64)>;
}

/// What every sensor is told before it starts.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is asked for by itself, and by its name"
)]
pub struct Settings {
    /// Whether to observe thread starts and exits. Processes are always observed: every other
    /// event is told by its process.
    pub threads: bool,
    /// Whether to observe image loads.
    pub images: bool,
    /// Whether to observe execs that fail (Linux, eBPF).
    pub failed_execs: bool,
    /// Whether to tell the states of image files (Linux, eBPF).
    pub stamps: bool,
    /// Which variables of the environment to tell.
    pub environment: Names,
    /// Bytes of the kernel buffer for process events; a power of two and whole pages.
    pub process_buffer_size: u32,
    /// Bytes of the kernel buffer for thread and image events, and of each per-processor perf
    /// buffer divided by the processor count; a power of two and whole pages.
    pub event_buffer_size: u32,
    /// The longest an event waits in a kernel buffer.
    pub flush_interval: Duration,
    /// Woken when the sensor is to stop waiting.
    pub waker: Waker,
}

#[cfg(target_os = "linux")]
impl Settings {
    /// What a snapshot is to have.
    fn wanted(&self) -> snapshot::Wanted {
        snapshot::Wanted {
            images: self.images,
            surroundings: true,
            environment: self.environment.clone(),
        }
    }
}

/// Per kind: what the sensor saw and what it lost of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events that happened since the start. The snapshot is not among them: it happened before, and
    /// the pipeline counts what it is handed.
    pub produced: ByKind<u64>,
    /// Events that could not be stored.
    pub lost: ByKind<u64>,
}

impl Counters {
    /// Counts one event that was handed over.
    pub(crate) fn add_produced(&mut self, kind: Kind, count: u64) {
        self.produced.add(kind, count);
    }

    /// Counts events that were lost, and so produced.
    pub(crate) fn add_lost(&mut self, kind: Kind, count: u64) {
        self.add_produced(kind, count);
        self.lost.add(kind, count);
    }
}

/// Why a sensor does not run, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot run here; another may. The message names the cause, `cure` what to do.
    #[error("{cause}")]
    Unavailable {
        /// What is in the way.
        cause: String,
        /// The one thing to do about it.
        cure: String,
    },
    /// Somebody else is in the way, who will go: it is worth trying again.
    #[error("{cause}")]
    Busy {
        /// Who.
        cause: String,
        /// What ends it sooner.
        cure: String,
    },
    /// It ran and broke.
    #[error("{action}: {source}")]
    Io {
        /// What it was doing.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// The error of a system call, for `map_err`.
    pub(crate) fn io(action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, source }
    }
}

/// The most bytes a batch holds before a sensor hands it over; what does not fit stays in the
/// kernel's buffer.
pub const BATCH_SIZE_MAX: usize = 4 * 1024 * 1024;

/// Bytes and records that a batch has room for when it is used again, where it was hardly filled.
const BATCH_SIZE_KEPT: usize = BATCH_SIZE_MAX / 16;
const BATCH_COUNT_KEPT: usize = 2_048;

/// Records on their way from the sensor to the pipeline.
///
/// # Invariants
/// Every index entry names a whole record inside `bytes` whose header was read once.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    index: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    time: u64,
    offset: usize,
    size: usize,
}

impl Batch {
    /// Appends a record another party wrote, of which the caller has read the header. That is all
    /// that is looked at on its way to the pipeline, which reads the record.
    pub fn push(&mut self, header: &Header, record: &[u8]) {
        self.index.push(Entry {
            time: header.time,
            offset: self.bytes.len(),
            size: record.len(),
        });
        self.bytes.extend_from_slice(record);
    }

    /// Appends a record of which the header, as it has to be from now on, has another time.
    pub(crate) fn push_retimed(&mut self, header: &Header, record: &[u8]) {
        let begin = self.bytes.len();
        self.push(header, record);
        if let Some(record) = self.bytes.get_mut(begin..) {
            // The header was read, so there is room for its time.
            let _is_whole = event::set_time(record, header.time);
        }
    }

    /// Appends the records of `other`.
    pub fn extend(&mut self, other: &Self) {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.index.extend(other.index.iter().map(|entry| Entry {
            offset: entry.offset + offset,
            ..*entry
        }));
    }

    /// Appends a record this sensor makes. A text that is too long to be written is not possible
    /// from the sources sensors read; such an event is refused with `false`.
    #[must_use]
    pub fn write(&mut self, header: Header, event: &Event<'_>) -> bool {
        self.write_extended(header, event, &Extension::None)
    }

    /// The same with what one system alone knows.
    #[must_use]
    pub fn write_extended(
        &mut self,
        header: Header,
        event: &Event<'_>,
        extension: &Extension<'_>,
    ) -> bool {
        let Some(size) = extension::size_extended(event, extension) else {
            return false;
        };
        let offset = self.bytes.len();
        self.bytes.resize(offset + size, 0);
        let room = &mut self.bytes[offset..];
        let written = extension::write_extended(header, event, extension, room).is_some();
        if written {
            self.index.push(Entry {
                time: header.time,
                offset,
                size,
            });
        } else {
            self.bytes.truncate(offset);
        }
        written
    }

    /// Appends a `lost` record.
    pub fn write_lost(&mut self, time: u64, lost: loss::Lost) {
        let written = self.write(
            Header {
                time,
                ..Header::default()
            },
            &Event::Lost(lost),
        );
        debug_assert!(written, "a lost record has a fixed size");
    }

    /// Brings the records from index `from` on into time order; equal times keep their order.
    pub fn sort_from(&mut self, from: usize) {
        if let Some(tail) = self.index.get_mut(from..) {
            tail.sort_by_key(|entry| entry.time);
        }
    }

    /// The records, in order.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.index
            .iter()
            .map(|entry| &self.bytes[entry.offset..entry.offset + entry.size])
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        self.index.len()
    }

    /// Bytes of all records.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Forgets all records and keeps the memory, but for what a storm or the snapshot needed and these did
    /// not.
    pub fn clear(&mut self) {
        let is_storm_over = self.bytes.len() <= BATCH_SIZE_KEPT;
        self.bytes.clear();
        self.index.clear();
        if is_storm_over {
            self.bytes.shrink_to(BATCH_SIZE_KEPT);
            self.index.shrink_to(BATCH_COUNT_KEPT);
        }
    }

    /// Moves the records whose time is after `watermark` into `later`; call it on a sorted batch.
    pub fn split_after(&mut self, watermark: u64, later: &mut Self) {
        let keep = self.index.partition_point(|entry| entry.time <= watermark);
        for entry in self.index.drain(keep..) {
            later.index.push(Entry {
                offset: later.bytes.len(),
                ..entry
            });
            later
                .bytes
                .extend_from_slice(&self.bytes[entry.offset..entry.offset + entry.size]);
        }
    }

    /// Moves every record of `other` to the end.
    pub fn append(&mut self, other: &mut Self) {
        let offset = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        self.index.extend(other.index.drain(..).map(|entry| Entry {
            offset: entry.offset + offset,
            ..entry
        }));
    }

    /// The least time of any record.
    pub fn earliest_time(&self) -> Option<u64> {
        self.index.iter().map(|entry| entry.time).min()
    }

    /// The time of the first record.
    pub fn first_time(&self) -> Option<u64> {
        self.index.first().map(|entry| entry.time)
    }

    /// Whether another record of any size is welcome.
    pub fn has_room(&self) -> bool {
        self.bytes.len() < BATCH_SIZE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_what_a_storm_needed() {
        let mut batch = Batch::default();
        let lose = |batch: &mut Batch, count: usize| {
            for _ in 0..count {
                batch.write_lost(1, loss::Lost::default());
            }
        };
        lose(&mut batch, 50_000);
        let needed = batch.bytes.capacity();
        assert!(needed > 2 * BATCH_SIZE_KEPT);
        batch.clear();
        assert_eq!(batch.bytes.capacity(), needed, "the storm may go on");
        lose(&mut batch, 10);
        batch.clear();
        assert!(batch.bytes.capacity() <= BATCH_SIZE_KEPT);
        assert!(batch.index.capacity() <= BATCH_COUNT_KEPT);
    }
}
