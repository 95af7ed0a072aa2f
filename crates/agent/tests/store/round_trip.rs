//! What is written comes back as it was.

use proptest::collection::vec;
use proptest::prelude::*;
use systrail::sink::Sink as _;
use systrail::store::{self, Window};
use systrail::trail::json::write_line;
use systrail::trail::{Body, Event, Parent, ProcessExec, Program, Text, Time};

use super::any_event::{event, full_events};
use super::shelf::{Shelf, numbered, of_process, read_all, sequences, time};

fn lines(events: &[Event]) -> String {
    let mut lines = Vec::new();
    for event in events {
        write_line(event, &mut lines);
    }
    String::from_utf8(lines).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_events_come_back_as_they_were(events in vec(event(), 1..40)) {
        let directory = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::in_directory(directory.path());
        shelf.write_events(&events);
        let path = shelf.path.clone();
        let tally = shelf.close();
        prop_assert_eq!(tally.written(), u64::try_from(events.len()).unwrap());
        let read = read_all(&path);
        prop_assert_eq!(&read, &events);
        prop_assert_eq!(lines(&read), lines(&events));
    }
}

#[test]
fn every_field_of_every_kind_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    let events = full_events();
    shelf.write_events(&events);
    assert_eq!(read_all(&shelf.path), events);
}

#[test]
fn what_looks_like_the_usual_command_comes_back_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    let event = |(command_line, arguments): (&[u8], &[&[u8]])| {
        let texts = arguments.iter().map(|bytes| Text::from_bytes(bytes));
        let program = Program {
            command_line: Some(Text::from_bytes(command_line)),
            arguments: Some(texts.collect()),
            ..Program::default()
        };
        let exec = ProcessExec {
            program,
            ..ProcessExec::default()
        };
        of_process(1, 1, Body::ProcessExec(exec.into()))
    };
    let commands: [(&[u8], &[&[u8]]); 9] = [
        (b"a b", &[b"a", b"b"]),
        (b"a b", &[b"a b"]),
        (b"a b c", &[b"a", b"b"]),
        (b"a", &[b"a", b""]),
        (b"", &[]),
        (b"", &[b""]),
        (b"a\x1fb", &[b"a", b"b"]),
        (b"a\\u001fb", &[b"a\\u001fb"]),
        (b"caf\xe9", &["caf\u{fffd}".as_bytes()]),
    ];
    let events = commands.map(event);
    shelf.write_events(&events);
    assert_eq!(read_all(&shelf.path), events);
}

// Each command line of a parent stood there twice, once as that one's own.
#[test]
fn a_parents_command_line_is_stored_as_its_own_was() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    let exec = |sequence, line: &str, arguments: &[&str], parent: &str| {
        let exec = ProcessExec {
            program: Program {
                command_line: Some(line.into()),
                arguments: Some(arguments.iter().copied().map(Text::from).collect()),
                ..Program::default()
            },
            parent: Parent {
                parent_command_line: Some(parent.into()),
                ..Parent::default()
            },
            ..ProcessExec::default()
        };
        of_process(sequence, 1, Body::ProcessExec(exec.into()))
    };
    let events = [
        exec(1, "make -j 2", &["make", "-j", "2"], "init"),
        exec(2, "sh", &["sh"], "make -j 2"),
        exec(3, "ls", &["ls"], "sh"),
        // Looks like a command that is stored as such, and is none.
        exec(4, "ls", &["ls"], "make\u{1f}-j\u{1f}2"),
    ];
    shelf.write_events(&events);
    let path = shelf.path.clone();
    shelf.close();
    assert_eq!(read_all(&path), events);
    let [segment] = &super::shelf::segments(&path)[..] else {
        panic!("one segment");
    };
    let count = "SELECT count(*) FROM strings WHERE text = 'make -j 2'";
    assert_eq!(super::shelf::ask_segment::<i64>(segment, count), 0);
    let lines = "SELECT group_concat(parent_command_line, '|') FROM \
                 (SELECT parent_command_line FROM events ORDER BY sequence)";
    let shown: String = super::shelf::ask(&super::shelf::reader(&path), lines);
    assert_eq!(shown, "init|make -j 2|sh|make\u{1f}-j\u{1f}2");
}

#[test]
fn events_come_in_the_order_they_were_recorded_across_segments() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = super::shelf::settings(directory.path());
    settings.segment_size = 1;
    let mut shelf = Shelf::open(settings);
    for _ in 0..5 {
        shelf.write(3_000);
    }
    let path = shelf.path.clone();
    shelf.close();
    assert!(super::shelf::segments(&path).len() >= 5);
    assert_eq!(sequences(&path), (1..=15_000).collect::<Vec<u64>>());
}

#[test]
fn a_window_gives_the_events_in_it_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(10_000);
    let read = |since: Option<Time>, until: Option<Time>| -> Vec<u64> {
        let events = store::events(&shelf.path, &Window { since, until }).unwrap();
        events.map(|event| event.unwrap().sequence).collect()
    };
    assert_eq!(read(Some(time(9_998)), None), [9_998, 9_999, 10_000]);
    assert_eq!(read(None, Some(time(3))), [1, 2]);
    assert_eq!(read(Some(time(5_000)), Some(time(5_001))), [5_000]);
    assert!(read(Some(time(10_001)), None).is_empty());
    assert!(read(Some(time(9)), Some(time(9))).is_empty());
}

#[test]
fn the_next_run_goes_on_with_the_segment_of_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(3);
    let path = shelf.path.clone();
    shelf.close();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(2);
    shelf.close();
    assert_eq!(super::shelf::segments(&path).len(), 1);
    assert_eq!(sequences(&path), [1, 2, 3, 1, 2]);
}

#[test]
fn a_text_is_stored_once_in_a_segment_also_over_runs() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    for _run in 0..3 {
        let mut shelf = Shelf::in_directory(directory.path());
        shelf.write_events(&full_events());
        shelf.write_events(&full_events());
        shelf.close();
    }
    let [segment] = &super::shelf::segments(&path)[..] else {
        panic!("one segment");
    };
    let twice: i64 = super::shelf::ask_segment(
        segment,
        "SELECT count(*) FROM (SELECT 1 FROM strings GROUP BY text, raw HAVING count(*) > 1)",
    );
    assert_eq!(twice, 0);
    let programs: i64 = super::shelf::ask_segment(segment, "SELECT count(*) FROM program");
    assert_eq!(programs, 2, "with a script and without");
}

#[test]
fn other_connections_see_what_was_flushed_while_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    let mut written = 0;
    for step in 1..=20 {
        shelf.write(step);
        written += step;
        let reader = super::shelf::reader(&shelf.path);
        let count: u64 = super::shelf::ask::<i64>(&reader, "SELECT count(*) FROM events")
            .try_into()
            .unwrap();
        assert_eq!(count, written);
    }
    // Not flushed yet: not seen yet, and seen when it is.
    shelf.sink.write(&[numbered(9_999)], &shelf.tally);
    assert!(!sequences(&shelf.path).contains(&9_999));
    shelf.sink.flush(&shelf.tally);
    assert!(sequences(&shelf.path).contains(&9_999));
}
