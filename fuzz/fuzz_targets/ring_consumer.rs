//! Any words and any operations on the driver's ring: the consumer reads nothing outside the room,
//! ends, and sees no record that nobody could have written; a ring that notices stays empty.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ring_buffer::{Granule, LossCounter, Ring, Room, Word};

const COUNT: usize = 16;

/// What the first bytes forge, and what the others do.
type Input<'a> = ([u64; COUNT], &'a [u8]);

fuzz_target!(|input: Input<'_>| {
    let (forged, steps) = input;
    let mut words = forged.map(Word::forged);
    let mut granules: [Granule; COUNT] = std::array::from_fn(|_index| Granule::new());
    let losses = [(); 4].map(|()| LossCounter::new());
    let ring = Ring::new(&mut words, &mut granules, &losses, 128).expect("a usable size");
    for step in steps {
        match step {
            0..128 => produce(&ring, *step),
            128..192 => drop(ring.reserve(2, Room::Kept, usize::from(step - 127))),
            _ => consume(&ring),
        }
    }
    consume(&ring);
    assert!(ring.used_size() <= ring.room_size());
});

fn produce(ring: &Ring<'_>, size: u8) {
    let lost = ring.lost_total();
    match ring.reserve(1, Room::Common, usize::from(size) * 3) {
        Ok(mut record) => {
            record.bytes_mut().fill(size);
            record.submit();
        }
        Err(_full) => assert_eq!(ring.lost_total(), lost + 1),
    }
}

fn consume(ring: &Ring<'_>) {
    let mut consumer = ring.consumer().expect("nobody else consumes");
    for _turn in 0..=COUNT {
        match consumer.oldest() {
            Some(record) => {
                assert!(!record.bytes().is_empty());
                assert!(record.bytes().len() <= ring.room_size());
                record.release();
            }
            None => return,
        }
    }
    panic!("more records than granules");
}
