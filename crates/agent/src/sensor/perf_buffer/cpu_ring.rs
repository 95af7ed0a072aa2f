//! The ring buffer of one processor, with its sentinel.

use std::io;
use std::time::{Duration, Instant};

use super::Records;
use super::task_count::TaskCount;
use crate::sensor::perf_record::{self, Body, Record};
use crate::sys::perf::{PerfEvent, Ring, page_size};

/// A ring wakes its reader when this much waits in it, or a quarter of its size.
pub const WAKEUP_SIZE_MAX: usize = 64 * 1024;

/// Bytes copied out of a ring at once; more than the largest record, whose size has 16 bits.
pub(super) const CHUNK_SIZE: usize = 128 * 1024;

/// One processor's ring and its sentinel. The mappings go before the events they belong to.
#[derive(Debug)]
pub(super) struct CpuRing {
    pub(super) cpu: u32,
    pub(super) ring: Ring,
    sentinel_ring: Ring,
    pub(super) event: PerfEvent,
    pub(super) sentinel_event: PerfEvent,
    /// In a ring of image loads, where the kernel counts what is lost.
    task_count: Option<TaskCount>,
    tail: u64,
    last_time: u64,
    losses: Losses,
    /// When it was looked at last, and for how long it had been enabled then.
    seen: Option<(Instant, Duration)>,
}

/// What a ring has lost.
#[derive(Debug, Default)]
struct Losses {
    /// Records of whatever kind, as far as is known.
    records: u64,
    /// When the last of them were, where that is not handed over yet.
    time: Option<u64>,
    /// Tasks that were read from the ring, and so were not lost.
    tasks_read: u64,
    /// Losses handed over to be told.
    told: u64,
    /// Some may be left to tell.
    is_open: bool,
}

/// What the two clocks may differ in between two looks.
const CLOCK_SLACK: Duration = Duration::from_millis(100);

/// Whether the event's clock stood still for most of the time. Where the processor's own clock is not
/// stable the kernel's may be late by a part of that, and nothing was lost.
fn stood_still(enabled: Duration, elapsed: Duration) -> bool {
    enabled * 2 + CLOCK_SLACK < elapsed
}

impl CpuRing {
    /// `None` when the processor has gone offline since it was listed.
    pub(super) fn open_online(
        cpu: u32,
        records: Records,
        data_size: usize,
    ) -> io::Result<Option<Self>> {
        match Self::open(cpu, records, data_size) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            result => result.map(Some),
        }
    }

    fn open(cpu: u32, records: Records, data_size: usize) -> io::Result<Self> {
        let flags = records.flags();
        let task_count = match records {
            Records::Images => TaskCount::open(cpu)?,
            Records::Tasks => None,
        };
        // The kernel writes to the event opened last first. `arm` relies on the ring being
        // written before the sentinel, so the sentinel is opened before the ring.
        let sentinel_event = PerfEvent::open(cpu, flags, 1)?;
        let wakeup_size = WAKEUP_SIZE_MAX.min(data_size / 4);
        let wakeup_size = u32::try_from(wakeup_size).unwrap_or(u32::MAX);
        let event = PerfEvent::open(cpu, flags, wakeup_size)?;
        let ring = Ring::map(&event, data_size)?;
        let sentinel_ring = Ring::map(&sentinel_event, page_size())?;
        let cpu_ring = Self {
            cpu,
            ring,
            sentinel_ring,
            event,
            sentinel_event,
            task_count,
            tail: 0,
            last_time: 0,
            losses: Losses::default(),
            seen: None,
        };
        cpu_ring.disarm();
        Ok(cpu_ring)
    }

    pub(super) fn enable(&mut self, is_muted: bool) -> io::Result<()> {
        match &mut self.task_count {
            Some(tasks) => {
                let (ring, tail) = (&self.ring, &mut self.tail);
                tasks.enable(&self.event, &mut || {
                    *tail = ring.head();
                    ring.set_tail(*tail);
                })?;
            }
            None => self.event.enable()?,
        }
        if is_muted {
            return Ok(());
        }
        self.sentinel_event.enable()
    }

    pub(super) fn disable(&mut self) -> io::Result<()> {
        match &mut self.task_count {
            Some(tasks) => tasks.disable(&self.event)?,
            None => self.event.disable()?,
        }
        self.sentinel_event.disable()
    }

    pub(super) fn arm(&self) {
        self.sentinel_ring.set_tail(self.sentinel_ring.head());
    }

    pub(super) fn disarm(&self) {
        // A ring has room for `tail - head - 1` bytes, modulo its size: none with this tail.
        let head = self.sentinel_ring.head();
        self.sentinel_ring.set_tail(head.wrapping_add(1));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ring.head() == self.tail
    }

    pub(super) fn fill(&self) -> u64 {
        let limit = self.ring.data_size() as u64;
        self.ring.head().wrapping_sub(self.tail).min(limit)
    }

    /// Hands over the records up to the head as of now, but no more than about `share` bytes.
    /// Returns the time of the last one when some stayed.
    ///
    /// `record_fn` gets a record, or the time where one was not readable. Records of losses are
    /// not among them; see [`untold`](Self::untold).
    pub(super) fn drain(
        &mut self,
        share: usize,
        scratch: &mut Vec<u8>,
        record_fn: &mut dyn FnMut(Result<Record<'_>, u64>),
    ) -> Option<u64> {
        let head = self.ring.head();
        let mut taken = 0;
        while self.tail != head {
            if taken >= share {
                return Some(self.last_time);
            }
            let available = head.wrapping_sub(self.tail);
            let size = usize::try_from(available).unwrap_or(usize::MAX);
            scratch.clear();
            if size <= self.ring.data_size() {
                self.ring.copy(self.tail, size.min(CHUNK_SIZE), scratch);
            }
            let used = self.read_chunk(scratch, record_fn);
            if used == 0 {
                // No record begins here: the positions or the bytes are not what the kernel
                // writes. The rest of what is there cannot be told apart; go on after it.
                record_fn(Err(self.last_time));
                self.tail = head;
            } else {
                self.tail = self.tail.wrapping_add(used as u64);
            }
            taken += used;
            self.ring.set_tail(self.tail);
        }
        None
    }

    /// Reads the whole records in `chunk` and returns how many bytes they are.
    fn read_chunk(
        &mut self,
        chunk: &[u8],
        record_fn: &mut dyn FnMut(Result<Record<'_>, u64>),
    ) -> usize {
        let mut rest = chunk;
        while let Some(size) = perf_record::claimed_size(rest) {
            let Some((bytes, after)) = rest.split_at_checked(size) else {
                break;
            };
            rest = after;
            match perf_record::read(bytes) {
                Ok(record) => {
                    self.last_time = record.time;
                    match record.body {
                        Body::Lost(count) => self.losses.add(record.time, count),
                        Body::Fork(_) | Body::Exit(_) => self.losses.tasks_read += 1,
                        _ => {}
                    }
                    record_fn(Ok(record));
                }
                Err(_invalid) => record_fn(Err(self.last_time)),
            }
        }
        chunk.len() - rest.len()
    }

    /// Whether the processor went offline since the last look, also when it is back: the kernel does not
    /// write to the ring any more.
    pub(super) fn is_dead(&mut self) -> io::Result<bool> {
        let now = Instant::now();
        let enabled = Duration::from_nanos(self.event.time_enabled()?);
        // The time after one look to the time before the next: where this thread had to wait
        // between clock and event, the ring only looks longer alive.
        let before = self.seen.replace((Instant::now(), enabled));
        Ok(before.is_some_and(|(then, before)| {
            let elapsed = now.saturating_duration_since(then);
            stood_still(enabled.saturating_sub(before), elapsed)
        }))
    }

    /// What was lost and is not told yet, and when; told by this call. In a ring of image loads those
    /// alone: what tasks still wait in it are not known to be lost or not, and taken for lost, so
    /// that no image load is told that was not.
    pub(super) fn untold(&mut self) -> io::Result<Option<(u64, u64)>> {
        if !self.losses.is_open {
            return Ok(None);
        }
        let tasks = match &self.task_count {
            Some(tasks) => tasks.since_enabled()?,
            None => 0,
        };
        // Whatever was counted is in the ring or lost in it, so an empty ring leaves nothing open.
        self.losses.is_open = self.task_count.is_some() && !self.is_empty();
        // What comes later than its record must not be told as older than what was handed over.
        let time = self.losses.time.take().unwrap_or(self.last_time);
        let count = self.losses.tell(tasks);
        Ok((count > 0).then_some((time, count)))
    }

    /// Adds what the kernel has lost and no record in the ring has said, at the latest at `time`.
    pub(super) fn settle(&mut self, time: u64) -> io::Result<()> {
        if let Some(lost) = self.event.lost()? {
            let unsaid = lost.saturating_sub(self.losses.records);
            self.losses.add(time, unsaid);
        }
        Ok(())
    }
}

impl Losses {
    fn add(&mut self, time: u64, count: u64) {
        if count > 0 {
            self.records += count;
            self.time = Some(time);
            self.is_open = true;
        }
    }

    /// How many are to be told beyond what was, where so many tasks came and went.
    fn tell(&mut self, tasks: u64) -> u64 {
        let tasks_lost = tasks.saturating_sub(self.tasks_read);
        let lost = self.records.saturating_sub(tasks_lost);
        let count = lost.saturating_sub(self.told);
        self.told += count;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_were_lost_are_no_image_loads() {
        let mut losses = Losses::default();
        losses.add(5, 100);
        // 90 tasks went by and 20 of them were read: 70 of the 100 are tasks.
        losses.tasks_read = 20;
        assert_eq!(losses.tell(90), 30);
        assert_eq!(losses.tell(90), 0);
        // Of 10 more that went by 4 are read a moment later.
        assert_eq!(losses.tell(100), 0);
        losses.tasks_read = 24;
        losses.add(7, 10);
        assert_eq!(losses.tell(100), 4);
    }

    #[test]
    fn a_clock_that_is_late_does_not_stand_still() {
        let second = Duration::from_secs(1);
        assert!(!stood_still(second * 7 / 10, second));
        assert!(!stood_still(Duration::ZERO, second / 20));
        assert!(stood_still(second / 5, second));
    }

    #[test]
    fn where_nobody_counts_tasks_everything_is_told() {
        let mut losses = Losses {
            tasks_read: 9,
            ..Losses::default()
        };
        losses.add(5, 100);
        assert_eq!(losses.tell(0), 100);
        assert_eq!(losses.tell(0), 0);
    }
}
