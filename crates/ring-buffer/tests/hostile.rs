//! A lying peer: words that claim what was never reserved. No claim may reach memory outside the
//! room, hang the consumer or make records that nobody wrote.

#![cfg(not(loom))]

use proptest::prelude::*;
use ring_buffer::{GRANULE_SIZE, Granule, LossCounter, Ring, Room, Word};

/// How many kinds of records have a loss counter.
const KINDS: usize = 8;

const COUNT: usize = 16;

/// The word of lap 1 that claims `size` bytes; its layout is drawn in `word.rs`.
fn claim(size: u64, discarded: bool) -> u64 {
    (1 << 20) | (u64::from(discarded) << 19) | size
}

/// Consumes what a ring whose words were forged before the first record shows.
fn consume_all(ring: &Ring<'_>) -> Vec<Vec<u8>> {
    let mut consumer = ring.consumer().unwrap();
    let mut records = vec![];
    for _turn in 0..=COUNT {
        match consumer.oldest() {
            Some(record) => {
                records.push(record.bytes().to_vec());
                record.release();
            }
            None => return records,
        }
    }
    panic!("more records than granules");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 2000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_words_reach_outside_the_reserved_room(
        forged in prop::collection::vec(
            prop_oneof![
                any::<u64>(),
                (0..2_u64 << 19).prop_map(|low| (1 << 20) | low),
                (0..20 * GRANULE_SIZE as u64).prop_map(|size| claim(size, false)),
                (0..20 * GRANULE_SIZE as u64).prop_map(|size| claim(size, true)),
            ],
            COUNT,
        ),
        reserved in 0..COUNT,
    ) {
        let mut words: Vec<Word> = forged.into_iter().map(Word::forged).collect();
        let mut granules: Vec<Granule> = (0..COUNT).map(|_index| Granule::new()).collect();
        let losses = [(); KINDS].map(|()| LossCounter::new());
        let ring = Ring::new(&mut words, &mut granules, &losses, 0).unwrap();
        // Reserved and forgotten: the words at their place are the forged ones.
        for _turn in 0..reserved {
            std::mem::forget(ring.reserve(0, Room::Kept, 1).unwrap());
        }
        let seen: usize = consume_all(&ring).iter().map(|record| record.len().div_ceil(GRANULE_SIZE)).sum();
        prop_assert!(seen <= reserved);
    }
}

#[test]
fn a_forged_word_stops_the_ring_and_every_further_record_counts_as_lost() {
    let mut words: Vec<Word> = (0..COUNT)
        .map(|_index| Word::forged(claim(20 * 64, false)))
        .collect();
    let mut granules: Vec<Granule> = (0..COUNT).map(|_index| Granule::new()).collect();
    let losses = [(); KINDS].map(|()| LossCounter::new());
    let ring = Ring::new(&mut words, &mut granules, &losses, 0).unwrap();
    std::mem::forget(ring.reserve(3, Room::Kept, 64).unwrap());

    assert_eq!(consume_all(&ring), Vec::<Vec<u8>>::new());

    assert!(ring.is_corrupt());
    assert!(ring.reserve(3, Room::Kept, 64).is_err());
    assert_eq!(ring.lost(3), 1);
    assert!(ring.consumer().unwrap().oldest().is_none());
}

#[test]
fn sizes_that_are_none_are_refused_and_counted() {
    let mut words: Vec<Word> = (0..COUNT).map(|_index| Word::new()).collect();
    let mut granules: Vec<Granule> = (0..COUNT).map(|_index| Granule::new()).collect();
    let losses = [(); KINDS].map(|()| LossCounter::new());
    let ring = Ring::new(&mut words, &mut granules, &losses, 0).unwrap();
    for size in [0, ring.record_size_max() + 1, usize::MAX] {
        assert!(ring.reserve(100, Room::Kept, size).is_err());
    }
    assert_eq!(ring.lost(100), 3);
    assert_eq!(ring.used_size(), 0);
}
