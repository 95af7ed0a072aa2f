//! The views say what the events said.

use event::Kind;
use proptest::collection::vec;
use proptest::prelude::*;
use rusqlite::types::ValueRef;
use serde_json::{Map, Value};
use systrail::store::{self, Reader};
use systrail::trail::json::write_line;
use systrail::trail::schema::{self, Type};
use systrail::trail::{
    Body, Detection, Event, ImageDetails, ImageLoad, Lost, LostRange, Name, ProcessExec, Program,
    Text, Time,
};

use super::any_event::{event, full_events};
use super::shelf::{Shelf, ask, numbered, of_process, reader, segments};

/// The rows of `events` as the lines of the log would have them.
fn rows(reader: &Reader) -> Vec<Map<String, Value>> {
    let columns = schema::names().join(", ");
    let sql = format!("SELECT {columns} FROM (SELECT time_text, * FROM events)");
    let sql = sql.replacen("time", "time_text", 1);
    let mut statement = reader.connection().prepare(&sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut found = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let mut fields = Map::new();
        for (index, field) in schema::names().iter().enumerate() {
            let value = match row.get_ref(index).unwrap() {
                ValueRef::Null => continue,
                ValueRef::Integer(number) if is_truth(field) => Value::Bool(number == 1),
                ValueRef::Integer(number) => number.into(),
                ValueRef::Text(text) => {
                    let text = std::str::from_utf8(text).unwrap();
                    let is_json = [
                        "arguments",
                        "environment",
                        "environment_raw",
                        "arguments_raw",
                        "account",
                        "truncated",
                        "missing",
                        "rule_tags",
                        "rule_tags_raw",
                        "tags",
                        "tags_raw",
                    ];
                    if is_json.contains(field) {
                        serde_json::from_str(text).unwrap()
                    } else {
                        text.into()
                    }
                }
                other => panic!("{field} is {other:?}"),
            };
            fields.insert((*field).to_owned(), value);
        }
        found.push(fields);
    }
    found
}

fn is_truth(name: &str) -> bool {
    let mut fields = schema::all().iter();
    fields.any(|field| field.name == name && matches!(field.r#type, Type::Truth | Type::Flag))
}

fn lines(events: &[Event]) -> Vec<Map<String, Value>> {
    let line = |event| {
        let mut line = Vec::new();
        write_line(event, &mut line);
        serde_json::from_slice(&line).unwrap()
    };
    events.iter().map(line).collect()
}

fn sorted(mut rows: Vec<Map<String, Value>>) -> Vec<String> {
    rows.iter_mut().for_each(Map::sort_keys);
    let mut rows: Vec<_> = rows
        .into_iter()
        .map(|row| Value::Object(row).to_string())
        .collect();
    rows.sort();
    rows
}

/// What SQL has numbers for: it has none above 2^63, and counts time from 1970 on. A text ends at
/// its first NUL for some of SQLite's functions; no text of an operating system has one.
fn is_plain(event: &Event) -> bool {
    let mut line = Vec::new();
    write_line(event, &mut line);
    let line = String::from_utf8(line).unwrap();
    let small = |number: u64| i64::try_from(number).is_ok();
    let numbers = match &event.body {
        Body::Lost(lost) => small(lost.lost_count),
        Body::ProcessExit(exit) => exit.run_time_ns.is_none_or(small),
        Body::ImageLoad(load) => small(load.image_size) && load.inode.is_none_or(small),
        Body::ImageUnload(unload) => small(unload.image_size),
        Body::ImageDetails(details) => details.inode.is_none_or(small),
        _ => true,
    };
    let program = event.body.program();
    let numbers = numbers && program.and_then(|program| program.inode).is_none_or(small);
    let numbers = numbers && event.origin.run.is_none_or(small);
    numbers && small(event.sequence) && event.time.0 >= 0 && !line.contains("\\u0000")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_row_of_events_says_what_the_line_of_the_log_says(
        events in vec(event().prop_filter("beyond SQL", is_plain), 1..20)
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::in_directory(directory.path());
        shelf.write_events(&events);
        prop_assert_eq!(sorted(rows(&reader(&shelf.path))), sorted(lines(&events)));
    }
}

#[test]
fn a_row_has_every_field_of_its_kind() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write_events(&full_events());
    assert_eq!(
        sorted(rows(&reader(&shelf.path))),
        sorted(lines(&full_events()))
    );
}

#[test]
fn a_view_has_the_columns_it_is_described_with() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(1);
    let reader = reader(&shelf.path);
    for view in store::views() {
        let described: Vec<_> = view.columns.iter().map(|column| column.name).collect();
        let segment = &segments(&shelf.path)[0];
        let segment = rusqlite::Connection::open(segment).unwrap();
        for connection in [&segment, reader.connection()] {
            let sql = format!("SELECT * FROM {}", view.name);
            let statement = connection.prepare(&sql).unwrap();
            assert_eq!(
                statement.column_names().collect::<Vec<_>>(),
                described,
                "{}",
                view.name
            );
        }
    }
    let events: Vec<_> = store::views()[0]
        .columns
        .iter()
        .map(|column| column.name)
        .collect();
    let fields: Vec<_> = events.iter().filter(|name| **name != "time_text").collect();
    assert_eq!(fields, schema::names().iter().collect::<Vec<_>>());
}

/// `exec_time` and `run_began` were bare numbers.
#[test]
fn every_time_has_its_text_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write_events(&full_events());
    let reader = reader(&shelf.path);
    let is_time = |name: &str| name == "run_began" || name.rsplit('_').next() == Some("time");
    let mut told = Vec::new();
    for view in store::views() {
        let times = view.columns.iter().map(|column| column.name);
        for name in times.filter(|name| is_time(name)) {
            let sql = format!(
                "SELECT count(*) FROM {} WHERE {name} IS NOT NULL AND {name} \
                 = unixepoch({name}_text) * 1000000000 + substr({name}_text, 21, 9)",
                view.name
            );
            told.push((view.name, name, ask::<i64>(&reader, &sql) > 0));
        }
    }
    let all = [
        ("events", "time", true),
        ("processes", "start_time", true),
        ("processes", "exec_time", true),
        ("processes", "exit_time", true),
        ("processes", "run_began", true),
        ("threads", "start_time", true),
        ("threads", "exit_time", true),
        ("images", "time", true),
        ("detections", "time", true),
        ("losses", "time", true),
    ];
    assert_eq!(told, all);
}

#[test]
fn an_empty_store_has_views_without_rows() {
    let directory = tempfile::tempdir().unwrap();
    let shelf = Shelf::in_directory(directory.path());
    let reader = reader(&shelf.path);
    for view in store::views() {
        let count: i64 = ask(&reader, &format!("SELECT count(*) FROM {}", view.name));
        assert_eq!(count, 0, "{}", view.name);
    }
    assert!(
        reader.passed_over().is_empty(),
        "{:?}",
        reader.passed_over()
    );
}

#[test]
fn image_totals_count_the_loads() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    let load = |sequence: u64, image: &str| {
        let load = ImageLoad {
            image: Some(Text::from(image)),
            image_base: sequence << 12,
            ..ImageLoad::default()
        };
        of_process(sequence, 1, Body::ImageLoad(load))
    };
    shelf.write_events(&[load(1, "/lib/a"), load(2, "/lib/b")]);
    shelf.write_events(&[load(3, "/lib/a")]);
    let reader = reader(&shelf.path);
    let totals = "SELECT group_concat(image || load_count) FROM \
                  (SELECT * FROM image_totals ORDER BY image)";
    assert_eq!(ask::<String>(&reader, totals), "/lib/a2,/lib/b1");
    let counted = "SELECT group_concat(image || n) FROM \
                   (SELECT image, count(*) AS n FROM images GROUP BY image ORDER BY image)";
    assert_eq!(ask::<String>(&reader, counted), "/lib/a2,/lib/b1");
}

#[test]
fn kind_totals_count_the_events() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(50);
    let lost = Lost {
        lost_kind: Kind::THREAD_START,
        lost_count: 17,
        lost_reason: "buffer_full".into(),
        range: LostRange::default(),
    };
    shelf.write_events(&[of_process(51, 1, Body::Lost(lost))]);
    let path = shelf.path.clone();
    shelf.close();
    let joined = |from: &str| format!("SELECT group_concat(kind || ' ' || n) FROM ({from})");
    let totals = joined("SELECT kind, event_count AS n FROM kind_totals ORDER BY kind");
    let counted = joined("SELECT kind, count(*) AS n FROM events GROUP BY kind ORDER BY kind");
    let told: String = ask(&reader(&path), &totals);
    assert!(told.contains("lost 1") && told.contains(','), "{told}");
    assert_eq!(told, ask::<String>(&reader(&path), &counted));
    // Whatever program asks a segment by itself.
    let mut sum = 0;
    for segment in segments(&path) {
        let connection = rusqlite::Connection::open(segment).unwrap();
        let sql = "SELECT sum(event_count) FROM kind_totals";
        sum += connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .unwrap();
    }
    assert_eq!(sum, 51);
}

#[test]
fn losses_are_rows_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    let lost = Lost {
        lost_kind: Kind::THREAD_START,
        lost_count: 17,
        lost_reason: "buffer_full".into(),
        range: LostRange::default(),
    };
    shelf.write_events(&[numbered(1), of_process(2, 1, Body::Lost(lost)), numbered(3)]);
    let reader = reader(&shelf.path);
    let row = "SELECT sequence || ' ' || lost_kind || ' ' || lost_count || ' ' || lost_reason \
               FROM losses";
    assert_eq!(ask::<String>(&reader, row), "2 thread_start 17 buffer_full");
}

#[test]
fn detections_are_rows_of_their_own_and_among_the_events() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    let detection = Detection {
        matched_sequence: 1,
        rule_id: None,
        rule_title: "A shell from nowhere".into(),
        rule_level: "high".into(),
        rule_author: Some("Ada".into()),
        rule_tags: Some(vec![Text::from("attack.execution"), Text::from("\"x\"")].into()),
    };
    shelf.write_events(&[numbered(1), of_process(2, 1, detection.into()), numbered(3)]);
    let reader = reader(&shelf.path);
    let row = "sequence || ' ' || matched_sequence || ' ' || rule_title || ' ' || rule_level \
               || ' ' || rule_author || ' ' || rule_tags || ' ' || (rule_id IS NULL)";
    let expected = "2 1 A shell from nowhere high Ada [\"attack.execution\",\"\\\"x\\\"\"] 1";
    let events = format!("SELECT {row} FROM events WHERE kind = 'detection'");
    for sql in [format!("SELECT {row} FROM detections"), events] {
        assert_eq!(ask::<String>(&reader, &sql), expected);
    }
}

/// An event that is a second older for each number, and says why it has no hash.
fn without_hash(sequence: u64, body: impl Into<Body>, reason: &'static str) -> Event {
    let missing: [(Name, Name); 2] = ["sha256", "build_id"].map(|it| (it.into(), reason.into()));
    Event {
        time: Time(1_000_000_000 * i64::try_from(sequence).unwrap()),
        missing: missing.into(),
        ..of_process(sequence, 1, body.into())
    }
}

#[test]
fn a_hash_that_was_told_later_is_in_the_rows_that_waited_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    let (device, inode) = (Some("8:1".into()), Some(7));
    let load = || ImageLoad {
        image: Some("/lib/a".into()),
        device: device.clone(),
        inode,
        ..ImageLoad::default()
    };
    let exec = ProcessExec {
        program: Program {
            image: Some("/bin/a".into()),
            device: device.clone(),
            inode: Some(8),
            ..Program::default()
        },
        ..ProcessExec::default()
    };
    let details = |sequence: u64, inode: u64, changed: u64, sha256: &str| {
        let details = ImageDetails {
            device: device.clone(),
            inode: Some(inode),
            change_time_ns: Some(changed * 1_000_000_000),
            sha256: Some(sha256.into()),
            build_id: Some(format!("of {sha256}").into()),
            ..ImageDetails::default()
        };
        Event {
            missing: Vec::new(),
            ..without_hash(sequence, details, "")
        }
    };
    let other = ImageLoad {
        device: Some("8:2".into()),
        ..load()
    };
    shelf.write_events(&[
        without_hash(1, exec, "pending"),
        without_hash(2, load(), "pending"),
        without_hash(3, load(), "busy"),
        without_hash(4, other, "pending"),
        details(5, 8, 0, "exec"),
        // Changed after the load: it is not what was mapped.
        details(6, 7, 3, "later"),
        details(7, 7, 2, "load"),
        details(8, 7, 1, "another"),
        without_hash(9, load(), "pending"),
    ]);
    let reader = reader(&shelf.path);
    let segment = rusqlite::Connection::open(&segments(&shelf.path)[0]).unwrap();
    for connection in [reader.connection(), &segment] {
        let one =
            |sql: &str| -> String { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
        let all = "group_concat(sequence || coalesce(' ' || sha256 || ' ' || build_id, ''))";
        let ordered = |view: &str| format!("(SELECT * FROM {view} ORDER BY sequence)");
        let images = one(&format!("SELECT {all} FROM {}", ordered("images")));
        assert_eq!(images, "2 load of load,3,4,9");
        let events = format!("SELECT {all} FROM {}", ordered("events WHERE sequence < 4"));
        assert_eq!(one(&events), "1 exec of exec,2 load of load,3");
        let process = one("SELECT sha256 || ' ' || build_id FROM processes");
        assert_eq!(process, "exec of exec");
        // What the event itself said stays.
        let missing = "SELECT missing FROM events WHERE sequence = 2";
        assert!(one(missing).contains("pending"));
    }
}

#[test]
fn a_loss_that_nobody_counted_by_kind_is_of_any() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    let lost = Lost {
        lost_kind: Kind::ANY,
        lost_count: 7,
        lost_reason: "buffer_full".into(),
        range: LostRange::default(),
    };
    shelf.write_events(&[of_process(1, 1, Body::Lost(lost))]);
    let reader = reader(&shelf.path);
    let row = "SELECT lost_kind FROM losses";
    assert_eq!(ask::<String>(&reader, row), "any");
}

#[test]
fn a_reader_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(1);
    let reader = reader(&shelf.path);
    for sql in [
        "DELETE FROM events",
        "DELETE FROM all_events",
        "DROP TABLE all_events",
        "DROP VIEW temp.events",
        "UPDATE all_processes SET image = 1",
        "INSERT INTO all_losses(sequence) VALUES (1)",
    ] {
        let written = reader.connection().execute_batch(sql);
        let count: i64 = ask(&reader, "SELECT count(*) FROM events");
        assert!(written.is_err() && count == 1, "{sql}: {written:?}");
    }
}
