//! A test for the scratch copy of `cargo xtask grow`: the made-up field and kind are wherever
//! fields and kinds are, though nothing but their declarations was written.

use std::path::Path;
use std::time::Duration;

use event::{Flags, Header, Kind, image, process};
use serde_json::Value;
use systrail::enrich::{Enricher, Limits};
use systrail::export::{Exporter, Format};
use systrail::rules::Rules;
use systrail::sink::store::{Settings, Store};
use systrail::sink::{Sink as _, Tally};
use systrail::store::retention::Retention;
use systrail::store::{self, Guard, Reader, Window};
use trail::value::Value as FieldValue;
use trail::{Event, Further, Origin, Text, Time, csv, json, schema};

const PROCESS_ID: u32 = 4242;

/// A process starts, then an image of it grows: records, read and enriched as the agent does.
fn events() -> Vec<Event> {
    let start = event::Event::ProcessStart(process::Start {
        image: b"/bin/true",
        ..process::Start::default()
    });
    let grow = event::Event::ImageGrow(image::Grow {
        grown_size: 77,
        grown_name: b"ivy",
    });
    let mut enricher = Enricher::new([7; 16], Rules::default(), Limits::default());
    [start, grow]
        .into_iter()
        .zip(1..)
        .map(|(happened, sequence)| {
            let header = Header {
                process_id: PROCESS_ID,
                start_time: 10_000_000,
                time: 10_000_000 + sequence,
                flags: Flags::default(),
                ..Header::default()
            };
            let mut buffer = [0; 4096];
            let bytes = event::write(header, &happened, &mut buffer).unwrap();
            let enriched = enricher.enrich(&event::read(bytes).unwrap()).unwrap();
            Event {
                sequence,
                time: Time(1_795_276_799_000_000_000 + i64::try_from(sequence).unwrap()),
                origin: Origin::of_host("atlas"),
                process_id: enriched.process_id,
                process_key: enriched.process_key,
                body: enriched.body,
                kept_by: None,
                truncated: enriched.truncated,
                missing: enriched.missing,
                further: Further::default(),
            }
        })
        .collect()
}

/// The names of what was made up.
const GROWN: [&str; 3] = ["grown_colour", "grown_size", "grown_name"];

#[test]
fn the_schema_has_them() {
    assert!(Kind::ALL.contains(&Kind::IMAGE_GROW));
    assert_eq!(Kind::from_name("image_grow"), Some(Kind::IMAGE_GROW));
    for name in GROWN {
        assert!(schema::names().contains(&name), "{name}");
    }
}

#[test]
fn a_field_is_found_by_its_name() {
    let [start, grow]: [Event; 2] = events().try_into().unwrap();
    let green = Text::from("green");
    assert!(matches!(
        start.field("grown_colour"),
        Some(FieldValue::SystemText(text)) if *text == green
    ));
    assert!(matches!(
        grow.field("grown_size"),
        Some(FieldValue::Number(77))
    ));
}

#[test]
fn a_line_is_read_back_as_it_was_written() {
    for event in events() {
        let mut line = Vec::new();
        json::write_line(&event, &mut line);
        let text = String::from_utf8(line.clone()).unwrap();
        assert!(text.contains("\"grown_"), "{text}");
        let read = json::read_line(line.trim_ascii_end()).unwrap();
        assert_eq!(read, event);
        assert!(
            read.further.is_empty(),
            "nothing of it is a newer version's"
        );
    }
}

#[test]
fn csv_has_a_column_for_each() {
    let heading = csv::heading();
    let names: Vec<&str> = heading.trim_end().split(',').collect();
    let lines: Vec<String> = events()
        .iter()
        .map(|event| {
            let mut line = Vec::new();
            csv::write_line(event, &mut line);
            String::from_utf8(line).unwrap()
        })
        .collect();
    for (name, line, value) in [
        ("grown_colour", 0, "green"),
        ("grown_size", 1, "77"),
        ("grown_name", 1, "ivy"),
    ] {
        let place = names.iter().position(|it| *it == name).unwrap();
        let cell = lines[line].trim_end().split(',').nth(place);
        assert_eq!(cell, Some(value), "{name}");
    }
}

#[test]
fn exports_have_them_under_our_own_name() {
    let [start, grow]: [Event; 2] = events().try_into().unwrap();
    for (format, ours) in [(Format::Ecs, "systrail"), (Format::Ocsf, "unmapped")] {
        let object = |event: &Event| -> Value {
            let mut line = Vec::new();
            Exporter::new(format).write(event, &mut line).unwrap();
            serde_json::from_slice(&line).unwrap()
        };
        assert_eq!(object(&start)[ours]["grown_colour"], "green");
        assert_eq!(object(&grow)[ours]["grown_size"], 77);
        assert_eq!(object(&grow)[ours]["grown_name"], "ivy");
    }
}

#[test]
fn parquet_has_columns_for_them() {
    let format = Format::NAMES.iter().find(|(name, _)| *name == "parquet");
    let mut exporter = Exporter::new(format.unwrap().1);
    let mut file = Vec::new();
    for event in events() {
        exporter.write(&event, &mut file).unwrap();
    }
    exporter.finish(&mut file).unwrap();
    for name in ["grown_colour", "grown_size", "grown_name"] {
        let mut parts = file.windows(name.len());
        assert!(parts.any(|part| part == name.as_bytes()), "{name}");
    }
}

#[test]
fn the_store_keeps_them_and_shows_them_in_sql() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let mut sink = Store::open(settings(&path)).unwrap();
    let tally = Tally::default();
    let events = events();
    sink.write(&events, &tally);
    sink.close(&tally);

    let read: Result<Vec<Event>, _> = store::events(&path, &Window::default()).unwrap().collect();
    assert_eq!(read.unwrap(), events);

    let reader = Reader::open(&path, &Window::default(), &Guard::default()).unwrap();
    let ask = |sql: &str| -> String {
        let connection = reader.connection();
        let row = connection.query_row(sql, [], |row| row.get(0));
        row.unwrap_or_else(|error| panic!("{sql}: {error}"))
    };
    for (sql, value) in [
        (
            "SELECT grown_colour FROM events WHERE kind = 'process_start'",
            "green",
        ),
        (
            "SELECT grown_size || grown_name FROM events WHERE kind = 'image_grow'",
            "77ivy",
        ),
        ("SELECT grown_colour FROM processes", "green"),
    ] {
        assert_eq!(ask(sql), value, "{sql}");
    }
}

fn settings(path: &Path) -> Settings {
    Settings {
        path: path.to_owned(),
        segment_size: 1 << 20,
        segment_age: Duration::from_hours(1),
        retention: Retention::default(),
    }
}
