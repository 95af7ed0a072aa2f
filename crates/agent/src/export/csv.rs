//! Comma-separated values (RFC 4180, lines ended by a line feed): a column a field of the log, lists
//! and objects as JSON.

use std::io;

use serde_json::{Map, Value};

use crate::trail::schema;

/// The names of the columns, as the first line.
pub fn heading() -> String {
    schema::names().join(",") + "\n"
}

/// Appends the fields of an event as a line.
pub(super) fn write(fields: &Map<String, Value>, out: &mut Vec<u8>) -> io::Result<()> {
    write_columns(schema::names(), fields, out)
}

/// Appends the fields with these names as a line.
pub(crate) fn write_columns(
    names: &[&str],
    fields: &Map<String, Value>,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let text = match fields.get(*name) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text.clone(),
            Some(other) => serde_json::to_string(other)?,
        };
        if text.contains(['"', ',', '\n', '\r']) {
            out.push(b'"');
            out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(text.as_bytes());
        }
    }
    out.push(b'\n');
    Ok(())
}
