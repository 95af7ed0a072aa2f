//! Many threads at once: the account balances, records are whole, each producer's come in order.
//! `cargo xtask tsan` runs this under `ThreadSanitizer`.

#![cfg(not(loom))]

use ring_buffer::{Granule, LossCounter, Ring, Room, Word};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// How many kinds of records have a loss counter.
const KINDS: usize = 8;

const PRODUCERS: usize = 4;
const RECORDS: u64 = if cfg!(miri) { 60 } else { 50_000 };

/// A record: producer, number, then filling that follows from both.
fn fill(bytes: &mut [u8], producer: u64, number: u64) {
    bytes[..8].copy_from_slice(&producer.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes[16..].fill(filling(producer, number));
}

fn filling(producer: u64, number: u64) -> u8 {
    (number.wrapping_mul(31) ^ producer).to_le_bytes()[0]
}

/// Sizes from 16 bytes to some granules, different for neighbours.
fn size_of(producer: u64, number: u64) -> usize {
    16 + usize::try_from((number * 37 + producer * 101) % 300).unwrap()
}

fn check(bytes: &[u8]) -> (u64, u64) {
    let producer = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let number = u64::from_le_bytes(bytes[8..16].try_into().unwrap());
    assert_eq!(bytes.len(), size_of(producer, number));
    assert!(
        bytes[16..]
            .iter()
            .all(|byte| *byte == filling(producer, number))
    );
    (producer, number)
}

/// Gives how many records were discarded.
fn produce(ring: &Ring<'_>, producer: u64) -> u64 {
    let mut discarded = 0;
    for number in 1..=RECORDS {
        let kind = usize::try_from(producer).unwrap();
        let Ok(mut record) = ring.reserve(kind, Room::Common, size_of(producer, number)) else {
            // A full ring is the consumer's turn.
            thread::yield_now();
            continue;
        };
        fill(record.bytes_mut(), producer, number);
        if number % 13 == 0 {
            record.discard();
            discarded += 1;
        } else {
            record.submit();
        }
    }
    discarded
}

/// Reads until `done` and the ring is empty; gives how many records each producer delivered.
fn consume(ring: &Ring<'_>, done: &AtomicBool) -> [u64; PRODUCERS] {
    let mut delivered = [0; PRODUCERS];
    let mut newest = [0; PRODUCERS];
    loop {
        let last_round = done.load(Ordering::Acquire);
        let mut consumer = ring.consumer().unwrap();
        while let Some(record) = consumer.oldest() {
            let (producer, number) = check(record.bytes());
            let index = usize::try_from(producer).unwrap();
            assert!(newest[index] < number, "a producer's records change places");
            newest[index] = number;
            delivered[index] += 1;
            record.release();
        }
        if last_round {
            return delivered;
        }
        thread::yield_now();
    }
}

#[test]
fn the_account_balances_with_many_producers() {
    let count = 256;
    let mut words: Vec<Word> = (0..count).map(|_index| Word::new()).collect();
    let mut granules: Vec<Granule> = (0..count).map(|_index| Granule::new()).collect();
    let losses = [(); KINDS].map(|()| LossCounter::new());
    let ring = Ring::new(&mut words, &mut granules, &losses, 1024).unwrap();
    let done = AtomicBool::new(false);

    let (delivered, discarded) = thread::scope(|scope| {
        let consumer = scope.spawn(|| consume(&ring, &done));
        let producers: Vec<_> = (0_u64..)
            .take(PRODUCERS)
            .map(|producer| {
                let ring = &ring;
                scope.spawn(move || produce(ring, producer))
            })
            .collect();
        let discarded: Vec<u64> = producers
            .into_iter()
            .map(|producer| producer.join().unwrap())
            .collect();
        done.store(true, Ordering::Release);
        (consumer.join().unwrap(), discarded)
    });

    for (producer, (delivered, discarded)) in delivered.into_iter().zip(discarded).enumerate() {
        assert_eq!(delivered + discarded + ring.lost(producer), RECORDS);
    }
    assert_eq!(ring.used_size(), 0);
}
