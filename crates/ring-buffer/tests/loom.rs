//! All interleavings of the small cases: `cargo xtask loom`.
//!
//! Loom runs each closure once for every schedule and every value a load may see, and fails when
//! two accesses to a granule's bytes are not ordered.

#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use ring_buffer::{Granule, LossCounter, Ring, Room, Word};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the smallest case has at least.
const SCHEDULES_MIN: usize = 10;

/// How many kinds of records have a loss counter.
const KINDS: usize = 4;

/// Runs `body_fn` in every schedule, of which there must be some.
///
/// Loom finds the schedules by looking, at each access, at the last access to the same place, and a
/// producer that loads a position before it swaps it hides the loads of others from that look. So
/// who only loads, the consumer of an empty ring, must come second in the first schedule: in a
/// spawned thread. A test that had this wrong once played one schedule of hundreds and said nothing.
fn explore(body_fn: impl Fn() + Send + Sync + 'static) {
    let schedules = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&schedules);
    loom::model(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        body_fn();
    });
    assert!(schedules.load(Ordering::Relaxed) >= SCHEDULES_MIN);
}

/// A ring for one schedule. Its memory is leaked: it must outlive every thread of the schedule.
fn ring(granules: usize) -> Arc<Ring<'static>> {
    let words: Vec<Word> = (0..granules).map(|_index| Word::new()).collect();
    let granules: Vec<Granule> = (0..granules).map(|_index| Granule::new()).collect();
    let losses: Vec<LossCounter> = (0..KINDS).map(|_kind| LossCounter::new()).collect();
    Arc::new(Ring::new(words.leak(), granules.leak(), losses.leak(), 0).unwrap())
}

/// One record of `size` bytes, each of them `mark`. Whether there was room.
fn produce(ring: &Ring<'_>, mark: u8, size: usize) -> bool {
    match ring.reserve(usize::from(mark), Room::Kept, size) {
        Ok(mut record) => {
            record.bytes_mut().fill(mark);
            record.submit();
            true
        }
        Err(_full) => false,
    }
}

/// The mark of the next record, which must be whole.
fn consume(ring: &Ring<'_>) -> Option<u8> {
    let mut consumer = ring.consumer().unwrap();
    let record = consumer.oldest()?;
    let mark = record.bytes()[0];
    assert!(record.bytes().iter().all(|byte| *byte == mark));
    record.release();
    Some(mark)
}

fn drain(ring: &Ring<'_>) -> Vec<u8> {
    std::iter::from_fn(|| consume(ring)).collect()
}

#[test]
fn two_producers_never_share_room() {
    explore(|| {
        let ring = ring(8);
        let other = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || assert!(produce(&ring, 1, 64)))
        };
        assert!(produce(&ring, 2, 65));
        other.join().unwrap();
        let mut marks = drain(&ring);
        marks.sort_unstable();
        assert_eq!(marks, [1, 2]);
    });
}

#[test]
fn a_record_is_seen_whole_or_not_at_all() {
    explore(|| {
        let ring = ring(8);
        let consumer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || drain(&ring))
        };
        assert!(produce(&ring, 1, 64));
        assert!(produce(&ring, 2, 100));
        let mut marks = consumer.join().unwrap();
        marks.extend(drain(&ring));
        assert_eq!(marks, [1, 2]);
    });
}

#[test]
fn room_is_used_again_only_after_its_record_was_read() {
    explore(|| {
        let ring = ring(4);
        assert!(produce(&ring, 1, 64));
        assert!(produce(&ring, 2, 64));
        assert!(produce(&ring, 3, 64));
        let producer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                let mut stored = vec![];
                for mark in [4, 5] {
                    if produce(&ring, mark, 64) {
                        stored.push(mark);
                    }
                }
                stored
            })
        };
        let mut marks: Vec<u8> = (0..2).filter_map(|_turn| consume(&ring)).collect();
        let stored = producer.join().unwrap();
        marks.extend(drain(&ring));
        assert_eq!(marks, [[1, 2, 3].as_slice(), stored.as_slice()].concat());
        assert_eq!(ring.lost_total(), 2 - u64::try_from(stored.len()).unwrap());
    });
}

#[test]
fn a_record_that_meets_the_end_of_the_room_stays_contiguous() {
    explore(|| {
        let ring = ring(8);
        for mark in 1..=7 {
            assert!(produce(&ring, mark, 64));
            assert_eq!(consume(&ring), Some(mark));
        }
        let consumer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || consume(&ring))
        };
        assert!(produce(&ring, 8, 128));
        let early = consumer.join().unwrap();
        assert_eq!(early.or_else(|| consume(&ring)), Some(8));
        assert_eq!(ring.used_size(), 0);
    });
}

#[test]
fn a_discarded_record_hides_nothing() {
    explore(|| {
        let ring = ring(8);
        let discarder = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || drop(ring.reserve(0, Room::Kept, 64).unwrap()))
        };
        assert!(produce(&ring, 1, 64));
        let early = consume(&ring);
        discarder.join().unwrap();
        assert_eq!(early.or_else(|| consume(&ring)), Some(1));
    });
}

#[test]
fn every_record_is_stored_or_counted() {
    explore(|| {
        let ring = ring(4);
        for _turn in 0..3 {
            assert!(produce(&ring, 0, 64));
        }
        let other = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || produce(&ring, 1, 64))
        };
        let mine = produce(&ring, 2, 64);
        let theirs = other.join().unwrap();
        assert!(mine != theirs, "there was room for one of the two");
        assert_eq!(ring.lost_total(), 1);
        assert_eq!(
            (ring.lost(1), ring.lost(2)),
            (u64::from(mine), u64::from(theirs))
        );
        assert_eq!(drain(&ring).len(), 4);
    });
}

#[test]
fn one_consumer_at_a_time() {
    explore(|| {
        let ring = ring(4);
        assert!(produce(&ring, 1, 64));
        let other = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                ring.consumer()
                    .and_then(|mut consumer| consumer.oldest().map(|record| record.release()))
                    .is_some()
            })
        };
        let mine = ring
            .consumer()
            .and_then(|mut consumer| consumer.oldest().map(|record| record.release()))
            .is_some();
        let theirs = other.join().unwrap();
        assert!(!(mine && theirs), "one record, consumed twice");
    });
}
