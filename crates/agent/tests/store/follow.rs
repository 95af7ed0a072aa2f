//! A store read from a place on, while it is written, damaged, deleted.

use std::fs;

use systrail::sink::store::{Settings, Store};
use systrail::store::follow::{self, Follower, Position};
use systrail::store::retention::Retention;
use systrail::store::{Gone, Hold};
use systrail::trail::{Event, Origin, Whence};

use super::shelf::{Shelf, numbered, segments, settings, time};

fn small(directory: &std::path::Path) -> Settings {
    Settings {
        segment_size: 1 << 20,
        ..settings(directory)
    }
}

/// Sequences of all there is to be read.
fn rest(follower: &mut Follower) -> Vec<u64> {
    let mut sequences = Vec::new();
    loop {
        let page = follower.page().unwrap();
        if page.is_empty() {
            follower.rest();
            return sequences;
        }
        sequences.extend(page.iter().map(|(_, event)| event.sequence));
    }
}

fn begin(shelf: &Shelf) -> Follower {
    Follower::new(&shelf.path, Position::default())
}

#[test]
fn every_event_is_read_once_while_segments_are_written_and_ended() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::open(small(directory.path()));
    let mut follower = begin(&shelf);
    let mut read = Vec::new();
    while segments(&shelf.path).len() < 4 {
        shelf.write(3_000);
        read.extend(rest(&mut follower));
    }
    assert_eq!(read, (1..=shelf.sequence).collect::<Vec<_>>());
    // Another goes on at the place.
    let mut next = Follower::new(&shelf.path, follower.at().clone());
    shelf.write(10);
    assert_eq!(rest(&mut next).len(), 10);
    assert!(follower.take_skipped().is_empty());
}

/// A reader that waits for a network would have the log grow until the disk is full.
#[test]
fn nothing_of_the_store_is_held_between_two_looks() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(1_000);
    let mut follower = begin(&shelf);
    // The thread that looks after the store holds it for a moment too.
    let path = segments(&shelf.path).remove(0);
    let busy = |patience_ms| -> i64 {
        let connection = rusqlite::Connection::open(&path).unwrap();
        let patience = std::time::Duration::from_millis(patience_ms);
        connection.busy_timeout(patience).unwrap();
        let sql = "PRAGMA wal_checkpoint(RESTART)";
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_ne!(follower.page().unwrap(), []);
    // All that is there may be in the database file by now, and its reader holds the log only for what comes next.
    shelf.write(10);
    assert_eq!(busy(50), 1, "what is read is of one moment");
    rest(&mut follower);
    assert_eq!(busy(10_000), 0, "the log can begin anew");
}

#[test]
fn what_is_damaged_is_skipped_and_told_with_its_range() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(2_000);
    let path = segments(&shelf.path).remove(0);
    let connection = rusqlite::Connection::open(&path).unwrap();
    let damage = "UPDATE thread_exit SET process = 999999 WHERE id BETWEEN 700 AND 702 OR id = 900";
    connection.execute(damage, []).unwrap();
    drop(connection);
    let mut follower = begin(&shelf);
    let read = rest(&mut follower);
    let damaged = [700, 701, 702, 900];
    let expected = (1..=2_000).filter(|sequence| !damaged.contains(sequence));
    assert_eq!(read, expected.collect::<Vec<_>>());
    let skipped = follower.take_skipped();
    let ids: Vec<_> = skipped.iter().map(|skipped| skipped.ids.unwrap()).collect();
    assert_eq!(ids, [(700, 702), (900, 900)]);
    let events = skipped.iter().flat_map(|skipped| &skipped.events);
    let sequences: Vec<_> = events
        .map(|gone| (gone.from, gone.to, gone.count))
        .collect();
    assert_eq!(sequences, [(700, 702, 3), (900, 900, 1)]);
}

#[test]
fn a_segment_that_is_no_database_any_more_is_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::open(small(directory.path()));
    while segments(&shelf.path).len() < 3 {
        shelf.write(3_000);
    }
    shelf.write(1);
    let last = shelf.sequence;
    let path = shelf.path.clone();
    shelf.close();
    let paths = segments(&path);
    fs::write(&paths[1], [0; 8_192]).unwrap();
    let mut follower = Follower::new(&path, Position::default());
    let read = rest(&mut follower);
    assert_eq!((read.first(), read.last()), (Some(&1), Some(&last)));
    let skipped = follower.take_skipped();
    assert_eq!(skipped.len(), 1);
    let name = paths[1].file_name().unwrap();
    assert_eq!(*skipped[0].segment, *name);
}

#[test]
fn a_place_that_is_gone_is_told_and_reading_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(10);
    let before = Position {
        segment: "20200101T000000.000Z.sqlite".to_owned(),
        id: 7,
    };
    // The clock was set back, and the store begun anew.
    let ahead = Position {
        segment: "20990101T000000.000Z.sqlite".to_owned(),
        id: 7,
    };
    for at in [before, ahead] {
        let mut follower = Follower::new(&shelf.path, at.clone());
        assert_eq!(rest(&mut follower).len(), 10);
        let skipped = follower.take_skipped();
        assert_eq!(
            (&*skipped[0].segment, skipped[0].ids),
            (&*at.segment, Some((8, i64::MAX)))
        );
    }
}

#[test]
fn what_is_behind_a_place_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::open(small(directory.path()));
    while segments(&shelf.path).len() < 3 {
        shelf.write(3_000);
    }
    let all = follow::behind(&shelf.path, &Position::default()).unwrap();
    assert_eq!((all.count, all.oldest), (shelf.sequence, Some(time(1))));
    let at = follow::position_of(&shelf.path, time(5_001))
        .unwrap()
        .unwrap();
    let mut follower = Follower::new(&shelf.path, at.clone());
    let first = follower.page().unwrap()[0].1.sequence;
    assert!(
        (4_400..=5_001).contains(&first),
        "no later than asked for: {first}"
    );
    let some = follow::behind(&shelf.path, &at).unwrap();
    assert_eq!(some.count, shelf.sequence - first + 1);
    assert!(some.size < all.size && some.size > 0);
    assert_eq!(
        follow::position_of(&shelf.path, time(u64::MAX >> 20)).unwrap(),
        None
    );
}

/// An event of a run that has a name.
fn of_run(sequence: u64) -> Event {
    let origin = Origin::new(Whence {
        host: "machine".into(),
        host_id: Some("4711".into()),
        run: Some(42),
    });
    Event {
        origin: std::sync::Arc::new(origin),
        ..numbered(sequence)
    }
}

/// Writes segments until there are so many, and gives the last sequence.
fn fill(sink: &mut Store, path: &std::path::Path, segment_count: usize) -> u64 {
    use systrail::sink::Sink as _;
    let tally = systrail::sink::Tally::default();
    let mut last = 0;
    while segments(path).len() < segment_count {
        let events: Vec<_> = (last + 1..=last + 2_000).map(of_run).collect();
        last += 2_000;
        sink.write(&events, &tally);
        sink.flush(&tally);
    }
    last
}

/// A store of three segments that may keep one of them, with what is needed of it.
fn kept(keep_size: u64) -> (tempfile::TempDir, u64, usize, Vec<Gone>) {
    use systrail::sink::Sink as _;
    let directory = tempfile::tempdir().unwrap();
    let settings = small(directory.path());
    let path = settings.path.clone();
    let mut sink = Store::open(settings.clone()).unwrap();
    let last = fill(&mut sink, &path, 3);
    sink.close(&systrail::sink::Tally::default());
    drop(sink);
    let at = Position {
        segment: segments(&path)[0]
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned(),
        id: 1_000,
    };
    let hold = std::sync::Arc::new(Hold::new(keep_size, at));
    let settings = Settings {
        retention: Retention {
            keep_size: Some(1),
            ..Retention::default()
        },
        ..settings
    };
    let mut sink = Store::open_held(settings, Some(std::sync::Arc::clone(&hold))).unwrap();
    sink.close(&systrail::sink::Tally::default());
    let left = segments(&path).len();
    (directory, last, left, hold.take_gone())
}

#[test]
fn retention_leaves_what_is_needed_up_to_its_limit() {
    let (_directory, _, left, gone) = kept(1 << 30);
    assert_eq!((left, gone), (3, vec![]));
}

#[test]
fn what_goes_although_it_is_needed_is_told_with_its_range() {
    let (directory, _, left, gone) = kept(1);
    assert_eq!(left, 1, "the newest stays");
    let path = directory.path().join("store");
    let mut follower = Follower::new(&path, Position::default());
    let first_left = follower
        .page()
        .unwrap()
        .first()
        .map(|(_, event)| event.sequence);
    let [gone] = &gone[..] else {
        panic!("neighbours are told as one: {gone:?}");
    };
    assert_eq!(
        (gone.host_id.as_deref(), gone.run),
        (Some("4711"), Some(42))
    );
    assert_eq!(gone.from, 1_001, "the others were handed on");
    assert_eq!(gone.reason, "forward_expired");
    assert_eq!(gone.count, gone.to - gone.from + 1);
    assert_eq!(first_left.unwrap_or(gone.to + 1), gone.to + 1);
}

/// Arguments of a few hundred kilobytes are anybody's to give.
#[test]
fn a_page_is_as_large_as_its_lines_allow() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(5_000);
    let mut follower = begin(&shelf);
    let mut page_after = |size| {
        follower.weigh(size);
        follower.page().unwrap().len()
    };
    assert_eq!([page_after(100), page_after(100)], [128, 256]);
    assert_eq!([page_after(2 << 20), page_after(9 << 20)], [256, 8]);
    assert_eq!((0..9).map(|_| page_after(0)).max(), Some(512));
}
