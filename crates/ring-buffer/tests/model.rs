//! Random operations against a `VecDeque`: what goes in comes out, whole and in order, and what
//! does not fit is counted.

#![cfg(not(loom))]

use proptest::prelude::*;
use ring_buffer::{GRANULE_SIZE, Granule, LossCounter, Ring, Room, Word};
use std::collections::VecDeque;

/// How many kinds of records have a loss counter.
const KINDS: usize = 8;

#[derive(Clone, Copy, Debug)]
enum Step {
    Submit { size: usize, kept: bool },
    Discard { size: usize },
    Consume,
    Peek,
}

fn steps(size_max: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..=size_max, any::<bool>()).prop_map(|(size, kept)| Step::Submit { size, kept }),
        1 => (1..=size_max).prop_map(|size| Step::Discard { size }),
        4 => Just(Step::Consume),
        1 => Just(Step::Peek),
    ];
    prop::collection::vec(step, 1..if cfg!(miri) { 20 } else { 400 })
}

/// The oracle: a queue of records, and how many were refused.
#[derive(Default)]
struct Model {
    records: VecDeque<Vec<u8>>,
    lost: u64,
    next_mark: u8,
}

impl Model {
    fn record(&mut self, size: usize) -> Vec<u8> {
        self.next_mark = self.next_mark.wrapping_add(1);
        vec![self.next_mark; size]
    }
}

fn play(ring: &Ring<'_>, model: &mut Model, step: Step) {
    match step {
        Step::Submit { size, kept } => {
            let room = if kept { Room::Kept } else { Room::Common };
            let bytes = model.record(size);
            match ring.reserve(usize::from(kept), room, size) {
                Ok(mut record) => {
                    assert_eq!(record.lost_before(), model.lost);
                    record.bytes_mut().copy_from_slice(&bytes);
                    record.submit();
                    model.records.push_back(bytes);
                }
                Err(_full) => model.lost += 1,
            }
        }
        Step::Discard { size } => match ring.reserve(2, Room::Kept, size) {
            Ok(record) => record.discard(),
            Err(_full) => model.lost += 1,
        },
        Step::Consume => {
            let mut consumer = ring.consumer().unwrap();
            let record = consumer.oldest();
            assert_eq!(
                record.as_ref().map(|record| record.bytes().to_vec()),
                model.records.pop_front()
            );
            if let Some(record) = record {
                record.release();
            }
        }
        Step::Peek => {
            let mut consumer = ring.consumer().unwrap();
            let seen = consumer.oldest().map(|record| record.bytes().to_vec());
            assert_eq!(seen.as_ref(), model.records.front());
        }
    }
    assert_eq!(ring.lost_total(), model.lost);
    assert!(ring.used_size() <= ring.room_size());
    assert!(ring.peak_size() >= ring.used_size());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_goes_in_comes_out(
        count in 4_usize..40,
        kept in 0_usize..3,
        steps in steps(GRANULE_SIZE * 10),
    ) {
        let mut words: Vec<Word> = (0..count).map(|_index| Word::new()).collect();
        let mut granules: Vec<Granule> = (0..count).map(|_index| Granule::new()).collect();
        let losses = [(); KINDS].map(|()| LossCounter::new());
        let ring = Ring::new(&mut words, &mut granules, &losses, kept * GRANULE_SIZE).unwrap();
        let mut model = Model::default();
        for step in steps {
            play(&ring, &mut model, step);
        }
        while !model.records.is_empty() {
            play(&ring, &mut model, Step::Consume);
        }
        prop_assert!(ring.consumer().unwrap().oldest().is_none());
        prop_assert_eq!(ring.used_size(), 0);
    }
}

#[test]
fn the_kept_part_takes_no_common_record() {
    let mut words: Vec<Word> = (0..16).map(|_index| Word::new()).collect();
    let mut granules: Vec<Granule> = (0..16).map(|_index| Granule::new()).collect();
    let losses = [(); KINDS].map(|()| LossCounter::new());
    let ring = Ring::new(&mut words, &mut granules, &losses, 4 * GRANULE_SIZE).unwrap();
    let fill = |kind, room| {
        (0..20)
            .filter(|_turn| ring.reserve(kind, room, 1).is_ok())
            .count()
    };

    assert_eq!(fill(0, Room::Common), 12);
    assert_eq!(fill(1, Room::Kept), 4);
    assert_eq!((ring.lost(0), ring.lost(1)), (8, 16));
}

#[test]
fn unusable_memory_is_refused() {
    let memory = |words: usize, granules: usize, kept| {
        let mut words: Vec<Word> = (0..words).map(|_index| Word::new()).collect();
        let mut granules: Vec<Granule> = (0..granules).map(|_index| Granule::new()).collect();
        let losses = [(); KINDS].map(|()| LossCounter::new());
        Ring::new(&mut words, &mut granules, &losses, kept)
            .map(|_ring| ())
            .err()
    };
    assert_eq!(memory(0, 0, 0), Some(ring_buffer::Unusable::Memory));
    assert_eq!(memory(4, 5, 0), Some(ring_buffer::Unusable::Memory));
    assert_eq!(memory(4, 4, 256), Some(ring_buffer::Unusable::Kept));
    assert_eq!(memory(4, 4, 192), None);
}
