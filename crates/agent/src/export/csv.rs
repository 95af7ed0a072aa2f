//! Comma-separated values of what is no event: the rows of a tree, the lines of `doctor`. Those of
//! events are [`crate::trail::csv`]'s.

use std::io;

use serde_json::{Map, Value};

use crate::trail::csv::push_cell;

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
        match fields.get(*name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => push_cell(text, out),
            Some(other) => push_cell(serde_json::to_string(other)?, out),
        }
    }
    out.push(b'\n');
    Ok(())
}
