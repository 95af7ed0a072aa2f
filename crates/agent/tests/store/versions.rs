//! Segments of every version there was can be read, by this systrail and by any SQLite tool.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use systrail::store::{self, Window, views};
use systrail::trail::Event;
use systrail::trail::json::{read_line, write_line};
use tempfile::TempDir;

use super::shelf::{Shelf, ask, read_all, reader, segments};

/// What `sqlite3 SEGMENT .dump` printed of a segment of version 1 with every field of every kind,
/// and the numbers in its header.
const VERSION_1: &str = include_str!("version_1.sql");

/// Its events.
const VERSION_1_LINES: &str = include_str!("version_1.jsonl");

fn golden(directory: &Path) -> PathBuf {
    let path = directory.join("store");
    std::fs::create_dir(&path).unwrap();
    let segment = path.join("20261122T100000.000Z.sqlite");
    let connection = Connection::open(segment).unwrap();
    connection.execute_batch(VERSION_1).unwrap();
    path
}

#[test]
fn a_segment_of_version_1_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = golden(directory.path());
    let mut lines = Vec::new();
    for event in read_all(&path) {
        write_line(&event, &mut lines);
    }
    assert_eq!(String::from_utf8(lines).unwrap(), VERSION_1_LINES);

    let reader = reader(&path);
    assert!(reader.passed_over().is_empty());
    let counts = views().iter().map(|view| {
        let columns = view.columns.iter().map(|column| column.name);
        let columns = columns.collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT count(*) FROM (SELECT {columns} FROM {})", view.name);
        (view.name, ask::<i64>(&reader, &sql))
    });
    let expected = [
        ("events", 9),
        ("processes", 1),
        ("threads", 1),
        ("images", 1),
        ("detections", 0),
        ("losses", 1),
        ("image_totals", 1),
        ("kind_totals", 9),
    ];
    assert_eq!(counts.collect::<Vec<_>>(), expected);
}

#[test]
fn recording_goes_on_beside_a_segment_of_version_1() {
    let directory = tempfile::tempdir().unwrap();
    let path = golden(directory.path());
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(3);
    shelf.close();
    assert_eq!(read_all(&path).len(), 9 + 3);
}

/// Segments that each version wrote when it was the newest there was, of the small trail.
const REAL: [&[u8]; 2] = [
    include_bytes!("version_1.sqlite"),
    include_bytes!("version_2.sqlite"),
];

/// What it was made of.
const REAL_LINES: &str = include_str!("../lookback/trail.jsonl");

/// A store with such a segment and one of this version beside it, which has the same events a day
/// later, of other processes.
fn both(directory: &Path, older: &[u8]) -> (PathBuf, String) {
    let mut shelf = Shelf::in_directory(directory);
    let later = REAL_LINES
        .replace("2026-01-01T", "2026-01-02T")
        .replace("2025-12-31T", "2026-01-01T")
        .replace("\"a000000000", "\"b000000000");
    let events: Vec<Event> = later
        .lines()
        .map(|line| read_line(line.as_bytes()).unwrap())
        .collect();
    shelf.write_events(&events);
    let path = shelf.path.clone();
    shelf.close();
    std::fs::write(path.join("20260101T000000.000Z.sqlite"), older).unwrap();
    (path, REAL_LINES.to_owned() + &later)
}

#[test]
fn versions_answer_as_one() {
    for older in REAL {
        answers_as_one(older);
    }
}

fn answers_as_one(older: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let (path, lines) = both(directory.path(), older);
    let mut read = Vec::new();
    for event in read_all(&path) {
        write_line(&event, &mut read);
    }
    assert_eq!(String::from_utf8(read).unwrap(), lines);
    let reader = reader(&path);
    assert!(
        reader.passed_over().is_empty(),
        "{:?}",
        reader.passed_over()
    );
    for view in views() {
        let sql = format!("SELECT count(*) FROM {}", view.name);
        let both: i64 = ask(&reader, &sql);
        let one = if view.name.ends_with("_totals") {
            both
        } else {
            both / 2
        };
        // The versions of these segments had no such kind.
        let is_later = view.name == "detections";
        assert!(
            is_later != (both > 0) && (one == both || one * 2 == both),
            "{}: {both}",
            view.name
        );
    }
    // Whatever the version, a day apart is all that tells them from each other.
    let columns = "sequence, kind, process_id, command_line, arguments, image, user_id, missing, \
                   account, remote, start_address, image_base, lost_kind, lost_reason";
    let sql = format!(
        "SELECT count(*) FROM (\
             SELECT {columns}, time + 86400000000000 FROM events WHERE process_key LIKE 'a%' \
             EXCEPT SELECT {columns}, time FROM events WHERE process_key LIKE 'b%')"
    );
    assert_eq!(ask::<i64>(&reader, &sql), 0); // The first day by its time alone.
    let sql = "SELECT count(*) FROM events WHERE time < 1767225600000000000 + 86400000000000 / 2";
    assert_eq!(ask::<i64>(&reader, sql), 38);
}

/// The only segment of a store after `change`, with what a reader says of it.
fn changed(change: &str) -> (TempDir, PathBuf, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    let lines = REAL_LINES.lines();
    let events: Vec<Event> = lines
        .map(|line| read_line(line.as_bytes()).unwrap())
        .collect();
    shelf.write_events(&events);
    let path = shelf.path.clone();
    shelf.close();
    let connection = Connection::open(&segments(&path)[0]).unwrap();
    // SQLite checks them when a column goes.
    let views = "DROP VIEW events; DROP VIEW processes; DROP VIEW threads; DROP VIEW images; \
                 DROP VIEW losses; DROP VIEW image_totals; DROP VIEW kind_totals;";
    connection
        .execute_batch(&(views.to_owned() + change))
        .unwrap();
    drop(connection);
    let reader = reader(&path);
    let told = reader.passed_over().iter().map(|over| over.why.to_string());
    let told = told.collect();
    (directory, path, told)
}

fn count(path: &Path, sql: &str) -> i64 {
    ask(&reader(path), sql)
}

const ALL: &str = "SELECT count(*) FROM events";

/// A segment without the table of one kind was "not a segment of a store": 0 rows, exit code 0.
#[test]
fn a_segment_without_a_table_is_read_but_for_that() {
    for (table, lacks) in [
        ("image_load", 5),
        ("thread_exit", 1),
        ("process_carried", 0),
        ("time_range", 0),
    ] {
        let (_directory, path, told) = changed(&format!("DROP TABLE {table}"));
        assert_eq!(count(&path, ALL), 38 - lacks, "{table}");
        assert_eq!(
            count(&path, "SELECT count(*) FROM processes"),
            10,
            "{table}"
        );
        let events = store::events(&path, &Window::default()).unwrap();
        let (read, errors): (Vec<_>, Vec<_>) = events.partition(Result::is_ok);
        assert_eq!(
            (read.len(), errors.len()),
            (usize::try_from(38 - lacks).unwrap(), 1)
        );
        assert_eq!(told.len(), 1, "{told:?}");
        let said = format!("is read without the table {table}, which is not there");
        assert!(told[0].ends_with(&said), "{told:?}");
    }
}

/// One column less made `tree` and `query` fail for the whole store, newer segments included.
#[test]
fn a_segment_without_a_column_is_read_with_null_for_it() {
    let change = "ALTER TABLE process_exit DROP COLUMN run_time_ns; \
                  ALTER TABLE program DROP COLUMN script";
    let (_directory, path, told) = changed(change);
    assert_eq!(count(&path, ALL), 38);
    let sql = "SELECT count(*) FROM processes WHERE run_time_ns IS NULL AND script IS NULL";
    assert_eq!(count(&path, sql), 10);
    let events = store::events(&path, &Window::default()).unwrap();
    assert_eq!(events.flatten().count(), 38);
    assert_eq!(told.len(), 1, "{told:?}");
    for column in ["process_exit.run_time_ns", "program.script"] {
        assert!(
            told[0].contains(&format!("the column {column}")),
            "{told:?}"
        );
    }
}

#[test]
fn without_what_everything_refers_to_a_segment_is_passed_over() {
    let (_directory, path, told) = changed("DROP TABLE strings");
    assert_eq!(count(&path, ALL), 0);
    assert!(told[0].contains("has no table strings"), "{told:?}");
}

/// A view in the place of a table could be made to never end.
#[test]
fn a_view_with_the_name_of_a_table_is_not_looked_at() {
    let change = "DROP TABLE thread_exit; CREATE VIEW thread_exit AS WITH RECURSIVE n(n) AS \
                  (SELECT 1 UNION ALL SELECT n + 1 FROM n) \
                  SELECT n AS id, n AS time, 1 AS process, n AS thread_id, NULL AS notes FROM n";
    let (_directory, path, told) = changed(change);
    assert_eq!(count(&path, ALL), 37);
    assert!(told[0].contains("the table thread_exit"), "{told:?}");
}

/// A view of a segment that was damaged, or somebody else's, blinded every query.
#[test]
fn the_views_of_a_segment_are_not_looked_at() {
    let change = "CREATE VIEW events AS SELECT 1 AS x; \
                  CREATE VIEW processes AS SELECT * FROM no_such_table";
    let (_directory, path, told) = changed(change);
    assert_eq!((count(&path, ALL), told.len()), (38, 0), "{told:?}");
    assert_eq!(count(&path, "SELECT count(*) FROM processes"), 10);
}

#[test]
fn what_a_later_version_has_beyond_ours_is_said_and_counted() {
    let change = "PRAGMA user_version = 1000; \
        CREATE TABLE file_create(id INTEGER PRIMARY KEY, time INTEGER, process INTEGER, path); \
        INSERT INTO file_create VALUES (1000, 1, 1, 'a'), (1001, 2, 1, 'b'); \
        ALTER TABLE process_start ADD COLUMN colour; \
        CREATE TABLE colours(id INTEGER PRIMARY KEY, name)";
    let (_directory, path, told) = changed(change);
    assert_eq!(count(&path, ALL), 38);
    assert_eq!(told.len(), 1, "{told:?}");
    let parts = [
        "2 events of the kind file_create, which is a later version's",
        "the fields colour of a later version",
    ];
    for part in parts {
        assert!(told[0].contains(part), "{part}: {told:?}");
    }
}

#[test]
fn what_others_add_to_a_segment_of_ours_does_no_harm() {
    let change = "ALTER TABLE process_start ADD COLUMN colour; CREATE TABLE mine(x)";
    let (_directory, path, told) = changed(change);
    assert_eq!((count(&path, ALL), told.len()), (38, 0), "{told:?}");
}

#[test]
fn a_writer_does_not_go_on_with_a_segment_that_lacks_a_column() {
    let (directory, path, _told) = changed("ALTER TABLE process_exit DROP COLUMN signal");
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(1);
    shelf.close();
    assert_eq!(segments(&path).len(), 2);
}

/// Whoever changes what version 1 had makes its segments unreadable: what came later is beside it.
#[test]
fn the_tables_of_version_1_are_there_with_all_their_columns() {
    let directory = tempfile::tempdir().unwrap();
    let shelf = Shelf::in_directory(directory.path());
    let columns = |connection: &Connection| -> BTreeSet<(String, String)> {
        let sql = "SELECT t.name, c.name FROM sqlite_master AS t, pragma_table_info(t.name) AS c \
                   WHERE t.type = 'table'";
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        columns.unwrap().collect::<Result<_, _>>().unwrap()
    };
    let now = Connection::open(&segments(&shelf.path)[0]).unwrap();
    let golden = Connection::open_in_memory().unwrap();
    golden.execute_batch(VERSION_1).unwrap();
    let (now, golden) = (columns(&now), columns(&golden));
    assert_eq!(golden.difference(&now).collect::<Vec<_>>(), [] as [&_; 0]);
}
