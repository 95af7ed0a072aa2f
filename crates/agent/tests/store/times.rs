//! Events of a time are found without an index of every time.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use rusqlite::Connection;
use systrail::store::{self, Window};
use systrail::trail::{Event, Time};

use super::shelf::{Shelf, ask, numbered, reader, segments};

/// What a query that looks at each event finds between these times, and what the store does.
fn compare(path: &Path, times: &[i64], (since, until): (i64, i64)) {
    let expected: Vec<u64> = (1..)
        .zip(times)
        .filter(|(_, time)| (since..=until).contains(*time))
        .map(|(sequence, _)| sequence)
        .collect();
    let window = Window {
        since: Some(Time(since)),
        // A window ends before its end.
        until: until.checked_add(1).map(Time),
    };
    let read = store::events(path, &window).unwrap();
    let read: Vec<u64> = read.map(|event| event.unwrap().sequence).collect();
    assert_eq!(read, expected, "events from {since} to {until}");
    let reader = reader(path);
    for condition in [
        format!("time BETWEEN {since} AND {until}"),
        format!("time >= {since} AND NOT time > {until}"),
        format!("time > {since} - 1 AND time < {until} + 1"),
        format!("time >= {since}.0 AND time <= {until}.0"),
        format!("{since} <= time AND {until} >= time AND process_id = 4242"),
    ] {
        let sql = format!(
            "SELECT coalesce(group_concat(sequence), '') FROM \
             (SELECT sequence FROM events WHERE {condition} ORDER BY sequence)"
        );
        let expected: Vec<String> = expected.iter().map(u64::to_string).collect();
        assert_eq!(
            ask::<String>(&reader, &sql),
            expected.join(","),
            "{condition}"
        );
    }
    if since == until {
        let sql = format!("SELECT count(*) FROM events WHERE time = {since}");
        assert_eq!(
            ask::<i64>(&reader, &sql),
            i64::try_from(expected.len()).unwrap()
        );
    }
}

fn events(times: &[i64], sequence: &mut u64) -> Vec<Event> {
    let events = times.iter().map(|time| {
        *sequence += 1;
        Event {
            time: Time(*time),
            ..numbered(*sequence)
        }
    });
    events.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the order of the times, however often a writer stopped and went on, and where a
    /// segment was written by an older version or has lost its ranges.
    #[test]
    fn every_event_of_a_time_is_found(
        runs in vec(vec(-40_i64..40, 0..1_300), 1..4),
        disorder in 0_i64..40,
        bounds in vec((-400_i64..1_700, 0_i64..400), 1..8),
        change in 0..3,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let (mut times, mut sequence) = (Vec::new(), 0);
        for run in &runs {
            let begin = i64::try_from(times.len()).unwrap();
            let run: Vec<i64> = (begin..).zip(run).map(|(n, off)| n + off * disorder / 40).collect();
            let mut shelf = Shelf::in_directory(directory.path());
            // As the pipeline does: a chunk after the other.
            for chunk in run.chunks(700) {
                shelf.write_events(&events(chunk, &mut sequence));
            }
            shelf.close();
            times.extend(run);
        }
        let path = directory.path().join("store");
        let connection = Connection::open(&segments(&path)[0]).unwrap();
        match change {
            1 => connection.execute_batch(
                "DROP TABLE time_range; PRAGMA user_version = 2; \
                 CREATE INDEX thread_exit_by_time ON thread_exit(time)",
            ),
            2 => connection.execute_batch("DELETE FROM time_range"),
            _ => Ok(()),
        }
        .unwrap();
        drop(connection);
        for (since, count) in bounds {
            compare(&path, &times, (since, since + count));
        }
        compare(&path, &times, (5, 5));
        compare(&path, &times, (i64::MIN + 1, 5));
        compare(&path, &times, (5, i64::MAX - 1));
    }
}

/// What the ranges are for: of a long segment, a short time reads a small part.
#[test]
fn a_short_time_reads_few_rows() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    let times: Vec<i64> = (0..50_000).collect();
    shelf.write_events(&events(&times, &mut 0));
    let path = shelf.path.clone();
    shelf.close();
    let reader = reader(&path);
    let took = |sql: &str| {
        let begin = std::time::Instant::now();
        let count: i64 = ask(&reader, sql);
        (begin.elapsed(), count)
    };
    let _warm = took("SELECT count(kind) FROM events WHERE time >= 0");
    let (whole, all) = took("SELECT count(kind) FROM events WHERE time >= 0");
    let (short, some) = took("SELECT count(kind) FROM events WHERE time BETWEEN 30000 AND 30099");
    assert_eq!((all, some), (50_000, 100));
    assert!(short * 5 < whole, "{short:?} of {whole:?}");
}
