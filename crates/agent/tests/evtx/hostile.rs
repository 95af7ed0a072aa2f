//! Any bytes as an event log: never a panic, and an end in bounded time and memory.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::encoder::{CHUNK_SIZE, Entry, HEADER_SIZE, RECORDS_OFFSET, chunk, header, log, seal};
use crate::read;

/// Far more than any of them takes.
const TIME_MAX: Duration = Duration::from_secs(20);

fn exit(process_id: &str) -> Entry {
    Entry::sysmon(5, &[("ProcessId", process_id), ("Image", r"C:\a.exe")])
}

/// Reads a log of one good chunk behind what is hostile.
fn read_before_good(hostile: &[u8]) {
    let log = [&header(2, 0), hostile, &chunk(1_000_000, &[exit("7")])].concat();
    let begin = Instant::now();
    let read = read(&log);
    assert!(begin.elapsed() < TIME_MAX);
    assert_eq!(read.events.last().map(|event| event.process_id), Some(7));
}

/// Older readers hung on a record that is larger than what is left of its chunk.
#[test]
fn a_record_that_says_it_is_larger_than_its_chunk_ends() {
    let mut hostile = chunk(1, &[exit("1"), exit("2")]);
    for size in [0xffff_u32, 0, 1, 27, u32::MAX] {
        hostile[RECORDS_OFFSET + 4..][..4].copy_from_slice(&size.to_le_bytes());
        seal(&mut hostile);
        read_before_good(&hostile);
    }
}

/// Older readers overflowed their stack.
#[test]
fn templates_in_templates_end() {
    let mut hostile = chunk(1, &[exit("1")]);
    let begin = RECORDS_OFFSET + 24;
    let size = CHUNK_SIZE - RECORDS_OFFSET;
    let size_bytes = u32::try_from(size).unwrap().to_le_bytes();
    hostile[RECORDS_OFFSET + 4..][..4].copy_from_slice(&size_bytes);
    hostile[CHUNK_SIZE - 4..].copy_from_slice(&size_bytes);
    hostile[48..52].copy_from_slice(&u32::try_from(CHUNK_SIZE).unwrap().to_le_bytes());
    // An instance of a template whose one value is a stream with an instance, and so on.
    let mut at = begin;
    for left in (0..1_000_u16).rev() {
        hostile[at..at + 4].copy_from_slice(&[0x0f, 1, 1, 0]);
        hostile[at + 4..at + 6].copy_from_slice(&[0x0c, 1]);
        hostile[at + 6..at + 14].fill(0);
        hostile[at + 10..at + 14].copy_from_slice(&u32::try_from(begin).unwrap().to_le_bytes());
        hostile[at + 14..at + 18].copy_from_slice(&1_u32.to_le_bytes());
        let value_size = left.saturating_mul(22);
        hostile[at + 18..at + 20].copy_from_slice(&value_size.to_le_bytes());
        hostile[at + 20..at + 22].copy_from_slice(&[0x21, 0]);
        at += 22;
    }
    seal(&mut hostile);
    read_before_good(&hostile);
}

/// Records without end, of elements in elements.
#[test]
fn elements_in_elements_end() {
    let mut hostile = chunk(1, &[exit("1")]);
    let records = &mut hostile[RECORDS_OFFSET + 28..CHUNK_SIZE - 4];
    for element in records.chunks_exact_mut(10) {
        element.copy_from_slice(&[0x01, 0xff, 0xff, 0, 0, 0x10, 0, 0, 0, 0x02]);
    }
    let size = u32::try_from(CHUNK_SIZE - RECORDS_OFFSET)
        .unwrap()
        .to_le_bytes();
    hostile[RECORDS_OFFSET + 4..][..4].copy_from_slice(&size);
    hostile[CHUNK_SIZE - 4..].copy_from_slice(&size);
    seal(&mut hostile);
    read_before_good(&hostile);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wrong bytes anywhere in a chunk, whose checksums are made right again.
    #[test]
    fn any_bytes_in_a_chunk_are_read_or_refused(
        wrong in proptest::collection::vec((0..4096_usize, any::<u8>()), 1..24),
        is_sealed in any::<bool>(),
    ) {
        let mut hostile = chunk(1, &[exit("1"), exit("2"), exit("3")]);
        for (at, byte) in wrong {
            hostile[at] = byte;
        }
        hostile[..8].copy_from_slice(b"ElfChnk\0");
        if is_sealed {
            seal(&mut hostile);
        }
        read_before_good(&hostile);
    }

    #[test]
    fn any_bytes_behind_a_header_are_read_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..70_000),
        at in 0..HEADER_SIZE,
    ) {
        let mut log = log(&[&[exit("1")]]);
        log.splice(HEADER_SIZE + at.., bytes);
        let begin = Instant::now();
        read(&log);
        prop_assert!(begin.elapsed() < TIME_MAX);
    }
}
