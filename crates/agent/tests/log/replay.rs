//! A log is read back whatever became of it.

use std::io::{self, BufReader, Read};
use std::path::Path;

use systrail::replay::{self, Error, Events};
use systrail::trail::json::{LINE_SIZE_MAX, LineError, write_line};

use super::any_event::{full_events, line_feeds};

fn log() -> Vec<u8> {
    let mut log = Vec::new();
    for event in full_events() {
        write_line(&event, &mut log);
    }
    log
}

/// How many lines were events, and the numbers of those that were not.
fn read(log: &[u8]) -> (usize, Vec<u64>) {
    // A small buffer, so that lines cross its end.
    let mut events = Events::new(BufReader::with_capacity(7, log));
    let mut good = 0;
    let mut bad = Vec::new();
    for event in events.by_ref() {
        match event {
            Ok(_) => good += 1,
            Err(Error::Line { line_number, .. }) => bad.push(line_number),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(events.invalid_count(), bad.len() as u64);
    (good, bad)
}

#[test]
fn gives_back_what_was_written() {
    let log = log();
    let events: Result<Vec<_>, _> = Events::new(&*log).collect();
    assert_eq!(events.unwrap(), full_events());
}

/// An editor or a shell had put it there, and the first event was passed over.
#[test]
fn a_byte_order_mark_at_the_beginning_costs_no_event() {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let (log, count) = (log(), full_events().len());
    assert_eq!(read(&[MARK, &log].concat()), (count, vec![]));
    // Anywhere else it is part of a line, which is then no event.
    assert_eq!(read(&[MARK, MARK, &log].concat()), (count - 1, vec![1]));
    let next = count as u64 + 1;
    assert_eq!(
        read(&[&log, MARK, &log].concat()),
        (2 * count - 1, vec![next])
    );
}

/// A newer version's kind is no damage.
#[test]
fn an_event_of_a_newer_kind_is_told_as_that_and_not_as_invalid() {
    let newer = br#"{"sequence":1,"kind":"file_create","anything":{"any":["thing"]}}"#;
    let log = [newer, &b"\nnonsense\n"[..], &log()].concat();
    let mut events = Events::new(&*log);
    let first = events.next().unwrap().unwrap_err();
    assert_eq!(
        first.to_string(),
        "line 1 is of kind \"file_create\", which a newer systrail reads"
    );
    assert_eq!(events.invalid_count(), 0);
    assert!(matches!(events.next(), Some(Err(Error::Line { .. }))));
    assert_eq!(events.invalid_count(), 1);
    assert_eq!(events.flatten().count(), full_events().len());
}

#[test]
fn a_log_cut_at_any_byte_gives_every_whole_line() {
    let log = log();
    for size in 0..=log.len() {
        let (good, bad) = read(&log[..size]);
        let whole = line_feeds(&log[..size]);
        let torn_is_whole = log.get(size) == Some(&b'\n');
        assert_eq!(good, whole + usize::from(torn_is_whole), "{size}");
        assert!(bad.len() <= 1);
    }
}

#[test]
fn corrupt_lines_are_numbered_and_passed_over() {
    let log = log();
    let damaged = [b"\xff\0\n\n{}\n", &*log, b"[1]\n", &*log, b"{\"torn"].concat();
    let count = full_events().len();
    let lines = [1, 3, 4 + count, 5 + 2 * count].map(|line| line as u64);
    assert_eq!(read(&damaged), (2 * count, lines.to_vec()));
}

#[test]
fn a_line_without_end_is_passed_over_in_bounded_memory() {
    let log = log();
    let endless = io::repeat(b'x').take(100 * 1024 * 1024);
    let input = BufReader::new(endless.chain(&b"\n"[..]).chain(&*log));
    let mut events = Events::new(input);
    let Some(Err(Error::Line {
        line_number,
        source,
    })) = events.next()
    else {
        panic!("the first line is no event");
    };
    assert_eq!(line_number, 1);
    let size = 100 * 1024 * 1024;
    assert!(size > LINE_SIZE_MAX);
    assert_eq!(source, LineError::TooLong { size });
    assert_eq!(events.filter_map(Result::ok).count(), full_events().len());
}

#[test]
fn reading_that_breaks_off_is_said_once() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::TimedOut.into())
        }
    }
    let log = log();
    let mut events = Events::new(BufReader::new(log.chain(Broken)));
    let count = full_events().len();
    let first = events.by_ref().take(count);
    assert_eq!(first.filter_map(Result::ok).count(), count);
    let Some(Err(Error::Read { line_number, .. })) = events.next() else {
        panic!("reading broke off");
    };
    assert_eq!(line_number, count as u64);
    assert!(events.next().is_none());
}

#[test]
fn a_missing_log_is_named() {
    for path in ["/nowhere/systrail.jsonl", "/"] {
        let error = replay::open(Path::new(path)).err().unwrap();
        assert!(error.to_string().contains(path), "{error}");
    }
}
