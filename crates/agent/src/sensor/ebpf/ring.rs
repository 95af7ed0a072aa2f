//! One of the programs' ring buffers: draining it, and telling what it lost where it lost it.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};
use event::loss::{Lost, Reason};
use event::{ByKind, Header, Kinds, wire};

use super::object::Object;
use crate::sensor::{Batch, Error};

/// What the kernel puts before each record.
const RECORD_HEADER_SIZE: u64 = 8;

/// A ring buffer, read to the last record handed over.
pub(super) struct Ring {
    buffer: RingBuf<MapData>,
    name: &'static str,
    size: u64,
    /// Its kinds.
    kinds: Kinds,
    /// Events told as lost so far, of what `lost_before` counts.
    told: u64,
    /// Every record before this time was read.
    read_until: u64,
    peak: u64,
}

/// What has been told as lost, per kind; the rings share it because the kernel's counters do.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Of what the programs could not store.
    unstored: ByKind<u64>,
    /// Of what they were not run for.
    missed: ByKind<u64>,
}

impl Told {
    /// Everything told so far.
    pub(super) fn per_kind(&self) -> ByKind<u64> {
        ByKind::from_fn(|kind| self.unstored.count(kind) + self.missed.count(kind))
    }

    /// What was told of programs that did not run.
    pub(super) const fn missed(&self) -> ByKind<u64> {
        self.missed
    }

    /// Tells the events for which programs did not run, `missed` in all.
    pub(super) fn tell_missed(&mut self, time: u64, missed: &ByKind<u64>, batch: &mut Batch) {
        for (kind, missed) in missed.iter() {
            let untold = missed.saturating_sub(self.missed.count(kind));
            if untold > 0 {
                self.missed.add(kind, untold);
                batch.write_lost(
                    time,
                    Lost {
                        kind,
                        reason: Reason::NO_MEMORY,
                        count: untold,
                    },
                );
            }
        }
    }
}

impl Ring {
    /// A ring whose records are of `kinds`.
    pub(super) const fn new(
        buffer: RingBuf<MapData>,
        name: &'static str,
        size: u32,
        kinds: Kinds,
    ) -> Self {
        Self {
            buffer,
            name,
            size: size as u64,
            kinds,
            told: 0,
            read_until: 0,
            peak: 0,
        }
    }

    /// Every record before this time was read, but for those of programs that still run.
    pub(super) const fn read_until(&self) -> u64 {
        self.read_until
    }

    /// Name, peak and limit in bytes.
    pub(super) const fn peak(&self) -> (&'static str, u64, u64) {
        (self.name, self.peak, self.size)
    }

    /// Appends records until there are none or `size_max` bytes of them. Whether there were none
    /// left. `now` is a time before the call.
    pub(super) fn drain(
        &mut self,
        size_max: usize,
        now: u64,
        object: &Object,
        told: &mut Told,
        batch: &mut Batch,
    ) -> Result<bool, Error> {
        let limit = batch.size().saturating_add(size_max);
        let (mut fill, mut last_time) = (0, 0);
        let mut is_empty = true;
        while let Some(record) = self.buffer.next() {
            let header = Header::read(&mut wire::Reader::new(&record)).map_err(invalid)?;
            fill += (record.len() as u64).next_multiple_of(8) + RECORD_HEADER_SIZE;
            last_time = header.time;
            if header.lost_before > self.told {
                let untold = header.lost_before - self.told;
                self.told += tell(self.kinds, untold, header.time, object, told, batch)?;
            }
            batch.push(&header, &record);
            if batch.size() >= limit {
                is_empty = false;
                break;
            }
        }
        self.peak = self.peak.max(fill.min(self.size));
        self.read_until = if is_empty { now } else { last_time };
        Ok(is_empty)
    }

    /// Tells the losses that no later record has told. Call it when the ring is empty.
    pub(super) fn settle(
        &mut self,
        time: u64,
        object: &Object,
        told: &mut Told,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        self.told += tell(self.kinds, u64::MAX, time, object, told, batch)?;
        Ok(())
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.buffer.as_fd()
    }
}

/// Appends `lost` records for at most `count` events of `kinds` that are counted as lost and were
/// not told. How many it told.
fn tell(
    kinds: Kinds,
    mut count: u64,
    time: u64,
    object: &Object,
    told: &mut Told,
    batch: &mut Batch,
) -> Result<u64, Error> {
    let lost = object.lost()?;
    let mut sum = 0;
    for kind in kinds.iter() {
        let untold = (lost.count(kind) - told.unstored.count(kind)).min(count);
        if untold == 0 {
            continue;
        }
        told.unstored.add(kind, untold);
        count -= untold;
        sum += untold;
        let lost = Lost {
            kind,
            reason: Reason::BUFFER_FULL,
            count: untold,
        };
        batch.write_lost(time, lost);
    }
    Ok(sum)
}

/// The programs write through the same code this reads with, so this is a broken build.
fn invalid(error: wire::Invalid) -> Error {
    Error::Io {
        action: "reading an eBPF ring buffer",
        source: std::io::Error::other(error),
    }
}
