//! An answer that is not whole says so, on standard error always and by its exit code with `--strict`;
//! and it is printed all the same.

use std::fs;
use std::process::Output;

use super::{END, LOST, Store, TRAIL, log_of, output, start_line};

/// The commands that answer from a store, each with a question that the small trail answers.
const COMMANDS: [&[&str]; 4] = [
    &["query", "SELECT kind, process_id, time FROM events"],
    &["tree", END],
    &["show", "1012", END],
    &["export"],
];

/// The name of a segment that is older than that of the small trail.
const OLDER: &str = "20200101T000000.000Z.sqlite";

fn ask(store: &Store, command: &[&str], more: &[&str]) -> Output {
    let arguments = command.iter().chain(more).copied();
    output(arguments.chain(["--store", store.path()]))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The answers of all commands about a store of which something is passed over, as `expected` tells.
/// Those that fail without `--strict` as well are in `fails`.
fn assert_told(store: &Store, expected: &str, fails: &[&str]) {
    for command in COMMANDS {
        let lax = ask(store, command, &[]);
        let code = i32::from(fails.contains(&command[0]));
        assert_eq!(lax.status.code(), Some(code), "{command:?}: {}", said(&lax));
        assert!(said(&lax).contains(expected), "{command:?}: {}", said(&lax));
        assert!(!said(&lax).contains("--strict"), "{}", said(&lax));
        let strict = ask(store, command, &["--strict"]);
        assert_eq!(strict.status.code(), Some(1), "{command:?}");
        assert!(said(&strict).starts_with(&said(&lax)), "{}", said(&strict));
        assert!(!lax.stdout.is_empty(), "{command:?}");
        assert!(strict.stdout == lax.stdout, "{command:?}: what was read");
    }
}

#[test]
fn a_whole_store_is_whole_to_the_strict() {
    let store = Store::small();
    for command in COMMANDS {
        let strict = ask(&store, command, &["--strict"]);
        assert_eq!(strict.status.code(), Some(0), "{}", said(&strict));
        assert_eq!(said(&strict).replace(LOST, ""), "");
    }
}

/// A script could not tell a part from the whole: the exit code was 0.
#[test]
fn a_segment_that_cannot_be_read_fails_the_strict() {
    let store = Store::small();
    let path = store.directory.path().join(OLDER);
    fs::write(&path, "no database").unwrap();
    assert_told(&store, "file is not a database", &["export"]);
    fs::remove_file(&path).unwrap();
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE mine(x)").unwrap();
    drop(foreign);
    assert_told(&store, "is not a segment of a store", &["export"]);
}

/// It was taken for one that a writer had just begun, and left out without a word.
#[test]
fn a_segment_that_was_cut_to_nothing_fails_the_strict() {
    let store = Store::small();
    fs::write(store.directory.path().join(OLDER), "").unwrap();
    assert_told(
        &store,
        "is empty, though later ones were begun",
        &["export"],
    );
}

/// Whoever asked afterwards was not told that it had been there.
#[test]
fn a_segment_that_was_set_aside_fails_the_strict_in_its_time() {
    let store = Store::small();
    let aside = store.directory.path().join(format!("{OLDER}.corrupt"));
    fs::write(aside, "no database").unwrap();
    assert_told(&store, "was set aside: nothing of it is read", &[]);
    // It ended when the next one was begun.
    let segment = systrail::store::segments(store.directory.path())
        .unwrap()
        .remove(0);
    let begun = store.directory.path().join("20250101T000000.000Z.sqlite");
    fs::rename(segment, begun).unwrap();
    for command in COMMANDS {
        let since = ["--since", "2026-01-01T00:00:01Z", "--strict"];
        let later = ask(&store, command, &since);
        assert_eq!(later.status.code(), Some(0), "{}", said(&later));
        assert_eq!(said(&later).replace(LOST, ""), "");
    }
}

#[test]
fn a_segment_that_is_read_in_part_fails_the_strict() {
    let changes = [
        (
            "DROP TABLE image_load",
            "is read without the table image_load",
        ),
        (
            "PRAGMA user_version = 1000; \
             CREATE TABLE file_create(id INTEGER PRIMARY KEY, time INTEGER, process INTEGER); \
             INSERT INTO file_create VALUES (1000, 1, 1), (1001, 2, 1)",
            "without 2 events of the kind file_create, which is a later version's",
        ),
        (
            "PRAGMA user_version = 1000; ALTER TABLE process_start ADD COLUMN colour",
            "without the fields colour of a later version",
        ),
    ];
    for (change, expected) in changes {
        let store = Store::small();
        let segment = systrail::store::segments(store.directory.path())
            .unwrap()
            .remove(0);
        let connection = rusqlite::Connection::open(segment).unwrap();
        connection.execute_batch(change).unwrap();
        drop(connection);
        assert_told(&store, expected, &["export"]);
    }
}

/// Wherever a segment is cut: the whole answer, or a word that it is not.
#[test]
fn a_segment_that_was_cut_short_is_never_taken_for_the_whole() {
    let store = Store::small();
    let whole: Vec<Output> = COMMANDS
        .iter()
        .map(|command| ask(&store, command, &[]))
        .collect();
    let segment = systrail::store::segments(store.directory.path())
        .unwrap()
        .remove(0);
    let bytes = fs::read(&segment).unwrap();
    let cuts = (0..bytes.len())
        .step_by(16_384)
        .flat_map(|at| [at, at + 100]);
    for cut in cuts {
        fs::write(&segment, &bytes[..cut]).unwrap();
        for (command, whole) in COMMANDS.iter().zip(&whole) {
            let asked = ask(&store, command, &[]);
            let is_whole = asked.stdout == whole.stdout && asked.status.success();
            let told = said(&asked).replace(LOST, "");
            assert!(is_whole || !told.is_empty(), "{cut}: {command:?}");
            let strict = ask(&store, command, &["--strict"]);
            let is_told = strict.status.code() == Some(1) || said(&asked).contains("no events");
            assert!(is_whole || is_told, "{cut}: {command:?}: {}", said(&strict));
        }
    }
}

#[test]
fn a_store_without_events_says_so() {
    let store = Store::small();
    let before = ["--until", "2001-01-01"];
    for command in [&COMMANDS[0], &COMMANDS[3]] {
        let asked = ask(&store, command, &before);
        assert_eq!(asked.status.code(), Some(0), "{}", said(&asked));
        assert!(
            said(&asked).contains("has no events of that time"),
            "{command:?}"
        );
    }
    for segment in systrail::store::segments(store.directory.path()).unwrap() {
        fs::remove_file(segment).unwrap();
    }
    for command in [&COMMANDS[0], &COMMANDS[3]] {
        let asked = ask(&store, command, &[]);
        assert_eq!(asked.status.code(), Some(0), "{}", said(&asked));
        assert!(said(&asked).contains("has no events yet"), "{command:?}");
    }
}

/// A log that was not whole gave the strict no tree at all.
#[test]
fn what_can_be_read_of_a_log_is_printed_for_the_strict() {
    let directory = tempfile::tempdir().unwrap();
    let newer = "{\"sequence\":1,\"kind\":\"file_create\"}".to_owned();
    for odd in [newer, "{}".to_owned()] {
        let log = log_of(&directory, &[start_line(1, 5, 5, 9, "x"), odd]);
        let log = log.to_str().unwrap();
        for command in [&["tree"][..], &["show", "5"], &["export"]] {
            let ask = |more: &[&str]| {
                let arguments = command.iter().chain(more).copied();
                output(arguments.chain(["--log", log]))
            };
            let (lax, strict) = (ask(&[]), ask(&["--strict"]));
            assert_eq!(lax.status.code(), Some(0), "{}", said(&lax));
            assert_eq!(strict.status.code(), Some(1), "{}", said(&strict));
            assert!(!lax.stdout.is_empty() && lax.stdout == strict.stdout);
            assert!(said(&strict).contains("--strict"), "{}", said(&strict));
        }
    }
    let whole = output(["tree", "--strict", "--log", TRAIL]);
    assert_eq!(whole.status.code(), Some(0), "{}", said(&whole));
}
