//! What sensors with buffers that are drained from time to time have in common: when to drain, and
//! the order of what was drained.
//!
//! While records come, the sensor sleeps a flush interval between two drains. After a drain that
//! found nothing it sleeps until it is woken by the next record. Records younger than
//! [`SETTLE_NS`] are held back until the next drain, because another processor may still be
//! writing an older one.

use std::time::Duration;

use super::Batch;

/// From when an event happens to when its record can be drained takes less than this, so records
/// older than it are complete on every processor and in every buffer. Where a hypervisor takes a
/// processor away between the two for longer, that one record is handed over after younger ones, with
/// its own time.
pub const SETTLE_NS: u64 = 2_000_000;

/// The longest sleep between two drains of a sensor that reads `/proc`: a short process can be
/// asked for its command line only soon. Waits have whole milliseconds.
pub const PROMPT_INTERVAL: Duration = Duration::from_millis(1);

/// How many programs are read from `/proc` in one drain, the latest ones: after a stall the others
/// are most likely gone, and reading them would only make the next stall longer.
pub const PROGRAMS_MAX: usize = 1024;

/// The longest sleep: losses with no record after them are told at least this often.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// Until when everything was drained, when drains began at `now` and some left records behind that
/// may be as old as `incomplete_after`.
pub fn watermark(now: u64, incomplete_after: Option<u64>) -> u64 {
    incomplete_after
        .unwrap_or(now)
        .min(now)
        .saturating_sub(SETTLE_NS)
}

/// The order and the pace of one sensor.
#[derive(Debug, Default)]
pub struct Merge {
    held: Batch,
    is_idle: bool,
}

impl Merge {
    /// Whether the sensor is to sleep until the next record.
    pub const fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// A record has come: from now on the sensor drains every flush interval.
    pub const fn woken(&mut self) {
        self.is_idle = false;
    }

    /// Brings what was drained, which is in `batch` from the index `from` on, into the order of
    /// time, and holds back what is after `watermark`. When there is nothing at all, the sensor is
    /// idle.
    pub fn merge(&mut self, batch: &mut Batch, from: usize, watermark: u64) {
        batch.append(&mut self.held);
        self.is_idle = batch.count() == from;
        batch.sort_from(from);
        batch.split_after(watermark, &mut self.held);
    }

    /// Brings all there is into the order of time: nothing more will come.
    pub fn finish(&mut self, batch: &mut Batch, from: usize) {
        batch.append(&mut self.held);
        batch.sort_from(from);
    }
}

#[cfg(test)]
mod tests {
    use event::{Event, Header, thread};

    use super::*;

    fn put(batch: &mut Batch, time: u64) {
        let header = Header {
            time,
            ..Header::default()
        };
        assert!(batch.write(header, &Event::ThreadExit(thread::Exit)));
    }

    fn times(batch: &Batch) -> Vec<u64> {
        batch
            .records()
            .map(|record| event::read(record).unwrap().header.time)
            .collect()
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn a_record_drained_late_still_comes_in_its_place() {
        let (mut merge, mut batch) = (Merge::default(), Batch::default());
        put(&mut batch, 99 * MS);
        put(&mut batch, 90 * MS);
        merge.merge(&mut batch, 0, watermark(100 * MS, None));
        assert_eq!(times(&batch), [90 * MS]);
        batch.clear();
        put(&mut batch, 120 * MS);
        put(&mut batch, 98 * MS + 1);
        merge.merge(&mut batch, 0, watermark(150 * MS, None));
        assert_eq!(times(&batch), [98 * MS + 1, 99 * MS, 120 * MS]);
        assert!(!merge.is_idle());
        batch.clear();
        merge.merge(&mut batch, 0, watermark(200 * MS, None));
        assert!(batch.is_empty() && merge.is_idle());
    }

    #[test]
    fn what_may_be_incomplete_is_held_back() {
        let (mut merge, mut batch) = (Merge::default(), Batch::default());
        put(&mut batch, 50 * MS);
        put(&mut batch, 20 * MS);
        merge.merge(&mut batch, 0, watermark(100 * MS, Some(30 * MS)));
        assert_eq!(times(&batch), [20 * MS]);
        batch.clear();
        merge.finish(&mut batch, 0);
        assert_eq!(times(&batch), [50 * MS]);
    }
}
