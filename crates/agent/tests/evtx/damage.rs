//! Logs that were not closed, are cut, or have wrong bytes: what can be read is read, and the rest is
//! told.

use std::fs;

use crate::encoder::{CHUNK_SIZE, Entry, HEADER_SIZE, RECORDS_OFFSET, chunk, header, log, seal};
use crate::{ReadBack, read, said, systrail};

fn exit(process_id: &str) -> Entry {
    Entry::sysmon(5, &[("ProcessId", process_id), ("Image", r"C:\a.exe")])
}

fn ids(read: &ReadBack) -> Vec<u32> {
    read.events.iter().map(|event| event.process_id).collect()
}

fn three_chunks() -> Vec<u8> {
    log(&[&[exit("1"), exit("2")], &[exit("3")], &[exit("4")]])
}

#[test]
fn one_wrong_byte_is_told_by_its_chunk_and_costs_only_its_record() {
    let mut log = three_chunks();
    // In the text of the second record of the first chunk.
    let at = HEADER_SIZE + 0x300;
    log[at] ^= 0xff;
    let read = read(&log);
    assert_eq!(
        read.errors[0],
        "chunk 1 is damaged: the checksum of its records is wrong; of it what can be read is read"
    );
    assert!(ids(&read).ends_with(&[3, 4]), "{:?}", read.errors);
    assert_eq!(
        read.remarks[0],
        "of 1 damaged chunk only what can be read was read"
    );
}

#[test]
fn wrong_checksums_of_headers_are_told() {
    let mut damaged = three_chunks();
    damaged[HEADER_SIZE + CHUNK_SIZE + 0x60] ^= 1;
    damaged[0x18] ^= 1;
    let read = read(&damaged);
    assert_eq!(
        read.errors,
        [
            "the header of the log is damaged: its checksum is wrong; the chunks are read all the \
             same",
            "chunk 2 is damaged: the checksum of its header is wrong; of it what can be read is \
             read"
        ]
    );
    assert_eq!(ids(&read), [1, 2, 3, 4]);
}

/// A log that was not closed has the header of before: it said 1 chunk of 9.
#[test]
fn all_chunks_are_read_whatever_the_header_says() {
    for (said, flags) in [(1, 1), (0, 1), (1, 0)] {
        let mut log = three_chunks();
        log.splice(..HEADER_SIZE, header(said, flags));
        let read = read(&log);
        assert_eq!(ids(&read), [1, 2, 3, 4]);
        assert_eq!(read.errors, Vec::<String>::new());
        let is_told = read
            .remarks
            .iter()
            .any(|remark| remark.contains("was not closed"));
        assert_eq!(is_told, flags == 1);
    }
}

#[test]
fn a_log_that_is_cut_says_how_much_is_lacking() {
    let mut log = three_chunks();
    log.splice(..HEADER_SIZE, header(96, 0));
    let whole = read(&log);
    assert_eq!(ids(&whole), [1, 2, 3, 4]);
    assert_eq!(
        whole.remarks,
        ["the log is cut: its header says 96 chunks, and there are 3"]
    );
    // Within its last chunk as well.
    log.truncate(log.len() - CHUNK_SIZE + RECORDS_OFFSET + 100);
    assert_eq!(ids(&read(&log)), [1, 2, 3]);
    for size in [0, 7, 8, 100, HEADER_SIZE, HEADER_SIZE + 3] {
        assert_eq!(read(&log[..size]).events.len(), 0);
    }
}

/// Windows makes a log larger before it has records for it.
#[test]
fn chunks_that_were_only_reserved_are_no_damage() {
    let mut log = three_chunks();
    log.resize(log.len() + 2 * CHUNK_SIZE, 0);
    log.extend(chunk(5, &[exit("5")]));
    log.splice(..HEADER_SIZE, header(6, 0));
    let read = read(&log);
    assert_eq!(ids(&read), [1, 2, 3, 4, 5]);
    assert_eq!(
        (read.errors.len(), read.remarks.len()),
        (0, 0),
        "{:?}",
        read.remarks
    );
}

#[test]
fn a_chunk_that_does_not_begin_as_one_is_passed_over() {
    let mut log = three_chunks();
    log[HEADER_SIZE + CHUNK_SIZE..][..8].fill(0);
    let read = read(&log);
    assert_eq!(ids(&read), [1, 2, 4]);
    assert_eq!(
        read.errors,
        ["chunk 2 is passed over: it does not begin as a chunk does"]
    );
}

/// Zeros behind the records, as far as the chunk says it has some, ended others in an error.
#[test]
fn zeros_end_the_chunk_and_not_the_reading() {
    let mut log = three_chunks();
    let first = &mut log[HEADER_SIZE..HEADER_SIZE + CHUNK_SIZE];
    let free = u32::from_le_bytes(first[48..52].try_into().unwrap()) + 0x400;
    first[48..52].copy_from_slice(&free.to_le_bytes());
    // More records are to come, as far as it knows.
    first[32..40].copy_from_slice(&9_u64.to_le_bytes());
    seal(first);
    let read = read(&log);
    assert_eq!(ids(&read), [1, 2, 3, 4]);
    assert_eq!(read.errors, Vec::<String>::new());
}

#[test]
fn a_record_that_was_half_written_is_no_event() {
    let mut log = three_chunks();
    let chunk = &mut log[HEADER_SIZE..HEADER_SIZE + CHUNK_SIZE];
    let size = u32::from_le_bytes(chunk[RECORDS_OFFSET + 4..][..4].try_into().unwrap());
    let end = RECORDS_OFFSET + usize::try_from(size).unwrap();
    chunk[end - 4..end].fill(0);
    seal(chunk);
    let read = read(&log);
    assert_eq!(ids(&read), [2, 3, 4]);
    assert_eq!(
        read.errors,
        ["record 1 in chunk 1 is passed over: it was not written to its end: its two sizes differ"]
    );
}

/// A chunk that was written again holds records of before behind the new ones.
#[test]
fn a_record_that_stands_there_twice_is_told_once() {
    let log = [
        header(3, 0),
        chunk(1, &[exit("1"), exit("2")]),
        chunk(2, &[exit("2"), exit("3")]),
    ]
    .concat();
    let read = read(&log);
    assert_eq!(ids(&read), [1, 2, 3]);
    assert!(
        read.remarks.contains(
            &"1 record stood there once more, left over from before: passed over".to_owned()
        ),
        "{:?}",
        read.remarks
    );
}

/// A log that is full begins again at its first chunk.
#[test]
fn a_log_that_began_again_is_read_in_the_order_of_its_records() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("circular");
    let parts = [
        header(3, 0),
        chunk(5, &[exit("5")]),
        chunk(3, &[exit("3")]),
        chunk(4, &[exit("4")]),
    ];
    fs::write(&path, parts.concat()).unwrap();
    let read = crate::finish(systrail::replay::open(&path).unwrap());
    assert_eq!(ids(&read), [3, 4, 5]);
}

#[test]
fn what_is_damaged_fails_a_command_that_is_strict() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("damaged.evtx");
    let mut log = three_chunks();
    log[HEADER_SIZE + 0x60] ^= 1;
    fs::write(&path, &log).unwrap();
    let path = path.to_str().unwrap();
    let output = systrail(&["export", "--log", path]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let output = systrail(&["export", "--log", path, "--strict"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let output = systrail(&["replay", path, "--on-loss", "fail"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
}
