//! What is written is read back by the library's own reader, which knows nothing of ours; `DuckDB` reads it in
//! `tests/lookback/parquet.rs`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;

use event::Kind;
use parquet::basic::{LogicalType, TimeUnit};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field as Read;
use serde_json::{Value, json};

use super::column::Form;
use super::*;
use crate::trail::{Body, Further, json};

const TRAIL: &str = include_str!("../../../tests/lookback/trail.jsonl");
const NIGHT: &str = include_str!("../../../tests/lookback/night.jsonl");

fn events(log: &str) -> Vec<Event> {
    let lines = log.lines();
    lines
        .map(|line| json::read_line(line.as_bytes()).unwrap())
        .collect()
}

fn written(events: &[Event], unit: Unit) -> Vec<u8> {
    let mut writer = Writer::new(unit).unwrap();
    let mut out = Vec::new();
    for event in events {
        writer.write(event, &mut out).unwrap();
    }
    writer.finish(&mut out).unwrap();
    out
}

fn reader(bytes: &[u8]) -> SerializedFileReader<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    SerializedFileReader::new(file).unwrap()
}

/// A cell as JSON; a point in time is its number.
fn value(read: &Read) -> Value {
    match read {
        Read::Null => Value::Null,
        Read::Bool(truth) => json!(truth),
        Read::Long(number) | Read::TimestampMicros(number) => json!(number),
        Read::Str(text) => json!(text),
        Read::ListInternal(list) => list.elements().iter().map(value).collect(),
        Read::MapInternal(map) => {
            let entries = map.entries().iter();
            let entries = entries.map(|(name, reason)| match name {
                Read::Str(name) => (name.clone(), value(reason)),
                other => panic!("{other:?}"),
            });
            Value::Object(entries.collect())
        }
        other => panic!("{other:?}"),
    }
}

/// The cells that are there of each row.
fn rows(file: &[u8]) -> Vec<BTreeMap<String, Value>> {
    let reader = reader(file);
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| {
        let row = row.unwrap();
        let cells = row
            .get_column_iter()
            .map(|(name, cell)| (name.clone(), value(cell)));
        cells.filter(|(_, value)| !value.is_null()).collect()
    })
    .collect()
}

/// What a line of the log says, in the forms that columns have.
fn cells(event: &Event) -> BTreeMap<String, Value> {
    let mut line = Vec::new();
    // What a newer version said has no column.
    let known = Event {
        further: Further::default(),
        ..event.clone()
    };
    json::write_line(&known, &mut line);
    let line: serde_json::Map<String, Value> = serde_json::from_slice(&line).unwrap();
    let cells = line.into_iter().map(|(name, value)| {
        let value = match &*name {
            "time" => json!(event.time.0),
            "user_id" => json!(value.to_string().trim_matches('"')),
            "account" => json!(value.to_string()),
            _ => value,
        };
        (name, value)
    });
    cells.collect()
}

#[test]
fn every_field_of_every_event_is_read_back() {
    for log in [TRAIL, NIGHT] {
        let events = events(log);
        let read = rows(&written(&events, Unit::Nanoseconds));
        assert_eq!(read.len(), events.len());
        for (mut row, event) in read.into_iter().zip(&events) {
            let mut expected = cells(event);
            // The order of what is in an account is the log's in one and the alphabet's in the other.
            if let Some(account) = row.remove("account") {
                let account = account.as_str().unwrap();
                let account: Value = serde_json::from_str(account).unwrap();
                let told = expected.remove("account").unwrap();
                let told: Value = serde_json::from_str(told.as_str().unwrap()).unwrap();
                assert_eq!(account, told);
            }
            assert_eq!(row, expected);
        }
    }
}

#[test]
fn the_schema_says_utc_and_the_unit() {
    for (unit, expected) in [
        (Unit::Nanoseconds, TimeUnit::NANOS),
        (Unit::Microseconds, TimeUnit::MICROS),
    ] {
        let reader = reader(&written(&events(NIGHT), unit));
        let metadata = reader.metadata().file_metadata();
        let schema = metadata.schema_descr();
        let time = schema
            .columns()
            .iter()
            .find(|column| column.name() == "time");
        let logical = time.unwrap().logical_type_ref();
        assert_eq!(logical, Some(&LogicalType::timestamp(true, expected)));
        let names = schema.root_schema().get_fields().iter();
        let names: Vec<_> = names.map(|field| field.name()).collect();
        assert_eq!(names, schema::names());
        // Spark 3.2 knows no other encodings.
        let old = ["PLAIN", "RLE", "PLAIN_DICTIONARY", "RLE_DICTIONARY"];
        let groups = reader.metadata().row_groups().iter();
        let others = groups
            .flat_map(RowGroupMetaData::columns)
            .flat_map(ColumnChunkMetaData::encodings)
            .filter(|encoding| !old.contains(&&*encoding.to_string()));
        assert_eq!(others.count() > 0, unit == Unit::Nanoseconds);
    }
}

#[test]
fn microseconds_are_rounded_down_before_1970_as_well() {
    let mut events = events(NIGHT);
    events.truncate(3);
    for (event, time) in events.iter_mut().zip([-1, -1_000, 1_999]) {
        event.time = Time(time);
    }
    let times = rows(&written(&events, Unit::Microseconds));
    let times: Vec<_> = times.iter().map(|row| row["time"].clone()).collect();
    assert_eq!(times, [json!(-1), json!(-1), json!(1)]);
}

/// A column has one form, whichever kind an event is of; a field of another would be missing.
#[test]
fn what_kinds_call_by_one_name_has_one_form() {
    for field in schema::all() {
        for kind in Kind::ALL {
            let others = schema::fields_of_event(*kind).filter(|other| other.name == field.name);
            for other in others {
                assert_eq!(
                    Form::of(other.r#type),
                    Form::of(field.r#type),
                    "{}",
                    field.name
                );
            }
        }
    }
}

#[test]
fn what_waits_is_bounded() {
    let mut event = events(NIGHT).swap_remove(5);
    let mut writer = Writer::new(Unit::Nanoseconds).unwrap();
    let mut out = Vec::new();
    for sequence in 0..=ROW_COUNT_MAX as u64 {
        event.sequence = sequence;
        writer.write(&event, &mut out).unwrap();
        assert!(writer.rows.count < ROW_COUNT_MAX && writer.rows.size < SIZE_MAX);
    }
    let size = 1 << 20;
    let mut large = events(NIGHT);
    let large = large.iter_mut().find_map(|event| match &mut event.body {
        Body::ProcessExec(_) => Some(event.clone()),
        _ => None,
    });
    let mut large = large.unwrap();
    for sequence in 0..SIZE_MAX as u64 / size + 10 {
        // Texts that are the last one's are kept once.
        let text = Text::from_bytes(&vec![u8::try_from(sequence).unwrap(); 1 << 20]);
        if let Body::ProcessExec(exec) = &mut large.body {
            exec.program.command_line = Some(text);
        }
        writer.write(&large, &mut out).unwrap();
    }
    writer.finish(&mut out).unwrap();
    let reader = reader(&out);
    let groups = reader.metadata().row_groups().iter();
    let counts: Vec<_> = groups.map(RowGroupMetaData::num_rows).collect();
    assert_eq!(counts.len(), 3, "{counts:?}");
    assert_eq!(usize::try_from(counts[0]), Ok(ROW_COUNT_MAX));
    assert!(counts[1] < 70, "{counts:?}");
}

#[test]
fn nothing_is_a_file_as_well() {
    assert_eq!(rows(&written(&[], Unit::Nanoseconds)).len(), 0);
}
