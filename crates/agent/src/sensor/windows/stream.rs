//! From completed reads to records: in order, each checked, each counted.

use std::collections::{HashMap, HashSet};
use std::io;

use event::control::Batch as Head;
use event::wire::Reader;
use event::{ByKind, Event, HEADER_SIZE, Header, Kind, Subject};

use super::clock::Clock;
use super::first_threads::FirstThreads;
use crate::sensor::existing::Existing;
use crate::sensor::{Batch, Error};
use crate::sys::offset::Offset;

/// The most batches that wait for one before them. The driver completes no more reads than wait in
/// it, so more than these are none of its doing.
const WAITING_MAX: usize = super::READS * 2;

/// How long after the snapshot a start may be told of a process the snapshot had: the driver is
/// called a moment after the process is there.
const LATE_START_NS: u64 = 10_000_000_000;

/// The place in the driver's stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// The sequence of the batch taken last.
    sequence: u64,
    /// Batches that came before their turn, by sequence.
    waiting: HashMap<u64, Vec<u8>>,
    threads: bool,
    images: bool,
    /// Records taken, losses not among them.
    received: u64,
    lost: ByKind<u64>,
    passed_over: ByKind<u64>,
    /// Processes the snapshot had, by id and start, and until when their starts may still come.
    existing: HashSet<(u32, u64)>,
    existing_until: u64,
    first_threads: FirstThreads,
    clock: Clock,
}

impl Stream {
    /// A stream of which `sequence` batches went to others.
    pub(super) fn new(sequence: u64, threads: bool, images: bool) -> Self {
        Self {
            sequence,
            waiting: HashMap::new(),
            threads,
            images,
            received: 0,
            lost: ByKind::default(),
            passed_over: ByKind::default(),
            existing: HashSet::new(),
            existing_until: 0,
            first_threads: FirstThreads::default(),
            clock: Clock::default(),
        }
    }

    /// What the time of day is more than the clock of the records that were taken.
    pub(super) fn clock_offset(&self) -> Offset {
        self.clock.offset()
    }

    /// Remembers the first threads of the processes in the snapshot, before anything is taken.
    pub(super) fn remember_first_threads(&mut self, snapshot: &[Existing]) {
        self.first_threads.remember(snapshot);
    }

    /// Remembers what the snapshot tells, so that it is not told again.
    pub(super) fn remember(&mut self, snapshot: &[Existing]) {
        let processes = snapshot.iter();
        self.existing = processes
            .clone()
            .map(|process| (process.process_id, process.start_time))
            .collect();
        let read = processes.map(|process| process.read_until).max();
        self.existing_until = read.unwrap_or(0).saturating_add(LATE_START_NS);
    }

    /// Records of all kinds, losses not among them.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    /// Whether events of the kind are to be recorded.
    pub(super) const fn is_wanted(&self, kind: Kind) -> bool {
        match kind.subject() {
            Some(Subject::Thread) => self.threads,
            Some(Subject::Image) => self.images,
            _ => true,
        }
    }

    /// What was told as lost.
    pub(super) fn lost(&self, kind: Kind) -> u64 {
        self.lost.count(kind)
    }

    /// What was delivered and is not an event of its own: the snapshot told it already, or it is
    /// about the first thread of a process.
    pub(super) fn passed_over(&self, kind: Kind) -> u64 {
        self.passed_over.count(kind)
    }

    /// Takes the bytes of a completed read. Reads may complete on several processors at once, so a
    /// batch can come before the one it follows, and waits for it.
    pub(super) fn take(&mut self, bytes: &[u8], batch: &mut Batch) -> Result<(), Error> {
        let head = head(bytes)?;
        if head.sequence != self.sequence.wrapping_add(1) {
            if head.sequence <= self.sequence || self.waiting.len() >= WAITING_MAX {
                return Err(broken("it numbers its batches wrongly"));
            }
            self.waiting.insert(head.sequence, bytes.to_vec());
            return Ok(());
        }
        self.take_next(bytes, batch)?;
        while let Some(bytes) = self.waiting.remove(&self.sequence.wrapping_add(1)) {
            self.take_next(&bytes, batch)?;
        }
        Ok(())
    }

    /// Takes what still waits for a batch that will not come any more, in order. What is missing
    /// shows in the account.
    pub(super) fn take_what_waits(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let mut waiting: Vec<(u64, Vec<u8>)> = self.waiting.drain().collect();
        waiting.sort_by_key(|(sequence, _)| *sequence);
        for (sequence, bytes) in waiting {
            self.sequence = sequence.wrapping_sub(1);
            self.take_next(&bytes, batch)?;
        }
        Ok(())
    }

    fn take_next(&mut self, bytes: &[u8], batch: &mut Batch) -> Result<(), Error> {
        let head = head(bytes)?;
        self.sequence = head.sequence;
        self.clock.tell(head.utc_offset);
        let mut rest = bytes
            .get(Head::SIZE..)
            .ok_or_else(|| broken("a batch has no records"))?;
        for _ in 0..head.records {
            let mut header = Header::read(&mut Reader::new(rest))
                .map_err(|_cut| broken("a batch ends in the middle of a record"))?;
            header.time = self.clock.sensor_time(header.time);
            let size = usize::try_from(header.size).unwrap_or(usize::MAX);
            if size < HEADER_SIZE {
                return Err(broken("a record is smaller than its header"));
            }
            let (record, after) = rest
                .split_at_checked(size)
                .ok_or_else(|| broken("a batch ends in the middle of a record"))?;
            self.take_record(&header, record, batch)?;
            rest = after;
        }
        if rest.is_empty() {
            return Ok(());
        }
        Err(broken("a batch has bytes after its records"))
    }

    fn take_record(
        &mut self,
        header: &Header,
        record: &[u8],
        batch: &mut Batch,
    ) -> Result<(), Error> {
        if header.kind == Kind::LOST {
            let Ok(event::Record {
                event: Event::Lost(lost),
                ..
            }) = event::read(record)
            else {
                return Err(broken("a record that tells of a loss is none"));
            };
            if !self.is_wanted(lost.kind) {
                return Ok(());
            }
            self.lost.add(lost.kind, lost.count);
        } else {
            self.received += 1;
            if !self.is_wanted(header.kind) {
                return Ok(());
            }
            let is_first_thread = self.threads && self.first_threads.take(header, record);
            if is_first_thread || self.is_told(header) {
                self.passed_over.add(header.kind, 1);
                return Ok(());
            }
        }
        batch.push_retimed(header, record);
        Ok(())
    }

    /// Whether this is the start of a process that the snapshot told already.
    fn is_told(&mut self, header: &Header) -> bool {
        if self.existing.is_empty() || header.kind != Kind::PROCESS_START {
            return false;
        }
        if header.time > self.existing_until {
            self.existing = HashSet::new();
            return false;
        }
        self.existing
            .contains(&(header.process_id, header.start_time))
    }
}

/// The head of a batch, whose size is that of its bytes.
fn head(bytes: &[u8]) -> Result<Head, Error> {
    let head = Head::read(&mut Reader::new(bytes))
        .map_err(|_cut| broken("a read ends in the middle of a batch's head"))?;
    if usize::try_from(head.size) == Ok(bytes.len()) {
        return Ok(head);
    }
    Err(broken("a batch has not the size it claims"))
}

fn broken(what: &'static str) -> Error {
    Error::Io {
        action: "reading from the driver",
        source: io::Error::new(io::ErrorKind::InvalidData, what),
    }
}
