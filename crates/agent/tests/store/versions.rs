//! Segments of every version there was can be read, by this systrail and by any SQLite tool.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use systrail::store::{VERSION, VIEWS};
use systrail::trail::json::write_line;

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
    let counts = VIEWS.iter().map(|view| {
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
        ("losses", 1),
        ("image_totals", 1),
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

/// Whoever changes a table changes the version, and keeps this dump for a test that the old one is
/// still read.
#[test]
fn the_tables_are_those_of_the_version() {
    let directory = tempfile::tempdir().unwrap();
    let shelf = Shelf::in_directory(directory.path());
    let tables = |connection: &Connection| -> Vec<String> {
        let sql = "SELECT sql FROM sqlite_master WHERE type <> 'view' AND sql IS NOT NULL \
                   ORDER BY name";
        let mut statement = connection.prepare(sql).unwrap();
        let tables = statement.query_map([], |row| row.get(0)).unwrap();
        tables.collect::<Result<_, _>>().unwrap()
    };
    let now = Connection::open(&segments(&shelf.path)[0]).unwrap();
    let golden = Connection::open_in_memory().unwrap();
    golden.execute_batch(VERSION_1).unwrap();
    assert_eq!(VERSION, 1);
    assert_eq!(tables(&now), tables(&golden));
}
