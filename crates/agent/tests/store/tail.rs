//! Following a store while it is written.

use std::fs;
use std::time::{Duration, Instant};

use systrail::store::{ReadError, Tail};

use super::shelf::{Shelf, ask_segment, segments, settings};

/// The numbers of all events that there are by now.
fn follow(tail: &mut Tail) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let events = tail.poll().unwrap();
        if events.is_empty() {
            return numbers;
        }
        numbers.extend(events.iter().map(|event| event.sequence));
    }
}

#[test]
fn tells_what_is_recorded_from_then_on_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(5);
    let mut tail = Tail::from_end(&shelf.path).unwrap();
    assert_eq!(follow(&mut tail), [0; 0]);
    shelf.write(3);
    assert_eq!(follow(&mut tail), [6, 7, 8]);
    // More than a page.
    shelf.write(10_000);
    assert!(follow(&mut tail).into_iter().eq(9..=10_008));
    assert_eq!(follow(&mut tail), [0; 0]);
}

#[test]
fn follows_through_segments_and_what_of_them_was_deleted_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::open(systrail::sink::store::Settings {
        segment_size: 1,
        ..settings(directory.path())
    });
    shelf.write(1);
    let mut tail = Tail::from_end(&shelf.path).unwrap();
    for _ in 0..4 {
        shelf.write(2);
    }
    let before = segments(&shelf.path);
    assert!(before.len() > 3, "each commit has a segment");
    assert_eq!(follow(&mut tail), [2, 3, 4, 5, 6, 7, 8, 9]);
    for _ in 0..4 {
        shelf.write(1);
    }
    let after = segments(&shelf.path);
    fs::remove_file(&after[before.len()]).unwrap();
    let numbers = follow(&mut tail);
    assert!(numbers.len() < 4 && numbers.ends_with(&[13]), "{numbers:?}");
}

#[test]
fn a_store_that_is_gone_is_an_error_and_one_that_comes_back_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(1);
    let path = shelf.path.clone();
    let mut tail = Tail::from_end(&path).unwrap();
    shelf.close();
    fs::remove_dir_all(&path).unwrap();
    let gone = tail.poll();
    assert!(matches!(gone, Err(ReadError::NotThere { .. })), "{gone:?}");
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(2);
    assert_eq!(follow(&mut tail), [1, 2]);
}

/// A reader that holds what it saw keeps the write-ahead log from being used again, so that it grows.
#[test]
fn the_writer_is_not_held_up_between_two_looks() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(100);
    let mut tail = Tail::from_end(&shelf.path).unwrap();
    shelf.write(100);
    assert_eq!(follow(&mut tail).len(), 100);
    shelf.write(100);
    let segment = &segments(&shelf.path)[0];
    // The store's own thread may be at the same just now.
    let deadline = Instant::now() + Duration::from_secs(20);
    while ask_segment::<i64>(segment, "PRAGMA wal_checkpoint(TRUNCATE)") != 0 {
        assert!(Instant::now() < deadline, "nobody holds what was seen");
        std::thread::yield_now();
    }
    assert_eq!(follow(&mut tail).len(), 100);
}
