//! Any bytes as a chunk of a Windows event log, with checksums that are right or not: never a panic,
//! an end in bounded time and memory, and only events that can be written.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use systrail::replay;
use systrail::trail::json::write_line;

const HEADER_SIZE: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let mut log = vec![0; HEADER_SIZE];
    log[..8].copy_from_slice(b"ElfFile\0");
    let begin = log.len();
    log.extend_from_slice(bytes);
    if let Some(magic) = log.get_mut(begin..begin + 8) {
        magic.copy_from_slice(b"ElfChnk\0");
    }
    let mut log = replay::read(Box::new(Cursor::new(log))).expect("it is a log");
    let mut line = Vec::new();
    for event in log.by_ref().flatten() {
        line.clear();
        write_line(&event, &mut line);
    }
    log.remarks();
});
