//! What holds for every recording: its account, its order, and the lives it tells of.

use std::collections::HashMap;

use event::{ByKind, Event, Flags, Header};
use systrail::sensor::{Batch, Counters};

/// The records of a batch.
pub(crate) fn records(batch: &Batch) -> impl Iterator<Item = (Header, Event<'_>)> {
    batch.records().map(|record| {
        let record = event::read(record).unwrap();
        (record.header, record.event)
    })
}

/// How many events the batch says were lost.
pub(crate) fn lost_count(batch: &Batch) -> u64 {
    records(batch)
        .filter_map(|(_, event)| match event {
            Event::Lost(lost) => Some(lost.count),
            _ => None,
        })
        .sum()
}

/// Whether everything produced, the snapshot aside, was handed over or told as lost, kind by kind.
pub(crate) fn check_account(batches: &[Batch], counters: &Counters) {
    let (mut delivered, mut lost) = (ByKind::default(), ByKind::default());
    for (header, event) in batches.iter().flat_map(records) {
        match event {
            Event::Lost(event) => lost.add(event.kind, event.count),
            _ if header.flags.contains(Flags::EXISTING) => {}
            _ => delivered.add(header.kind, 1),
        }
    }
    assert_eq!(lost, counters.lost);
    for (kind, produced) in counters.produced.iter() {
        assert_eq!(
            *produced,
            delivered.count(kind) + lost.count(kind),
            "{kind}"
        );
    }
}

/// How many records of a recording may be late. The kernel takes a record's time before it hands the
/// record over. Where the host takes the processor away in between, longer than a sensor waits
/// (`sensor/merge.rs`), the record comes after younger ones.
const LATE_COUNT_MAX: usize = 2;

/// Checks that no record is older than one before it, but for those whose processor was taken away.
pub(crate) fn check_order(batches: &[Batch]) {
    let mut youngest = Header::default();
    let mut late = Vec::new();
    for (header, _) in batches.iter().flat_map(records) {
        if header.time < youngest.time {
            late.push((youngest, header));
        } else {
            youngest = header;
        }
    }
    assert!(late.len() <= LATE_COUNT_MAX, "out of order: {late:?}");
}

/// Checks that the stream tells of no process before its start, of none after its exit, and of no
/// start twice.
pub(crate) fn check_lives(batches: &[Batch]) {
    let mut live: HashMap<u32, Header> = HashMap::new();
    for (header, event) in batches.iter().flat_map(records) {
        let id = header.process_id;
        match event {
            Event::ProcessStart(_) => {
                let before = live.insert(id, header);
                assert!(before.is_none(), "{before:?} starts again: {header:?}");
            }
            Event::ProcessExit(_) => {
                assert!(live.remove(&id).is_some(), "ends unknown: {header:?}");
            }
            Event::ProcessExec(_) | Event::ThreadStart(_) | Event::ImageLoad(_) => {
                assert!(live.contains_key(&id), "unknown: {header:?} {event:?}");
            }
            // A thread's exit may be told just after that of its process.
            _ => {}
        }
    }
}
