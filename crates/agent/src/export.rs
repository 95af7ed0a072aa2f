//! The trail under the names other systems know: the Elastic Common Schema and the Open
//! Cybersecurity Schema Framework, CSV, and our own JSON Lines.
//!
//! A mapping moves fields of our JSON form by a table; what no name of the schema fits stays under
//! a name of ours (`systrail` in ECS, `unmapped` in OCSF). So no field can be forgotten, and a new
//! one is in every export at once. `docs/EXPORT.md` is the tables for people.

pub(crate) mod csv;
mod ecs;
mod ocsf;

use std::io;

use serde_json::{Map, Value};

use crate::shown::escape_controls;
use crate::trail::Event;
use crate::trail::json::write_line;

pub use self::csv::heading as csv_heading;
pub use self::ecs::VERSION as ECS_VERSION;
pub use self::ocsf::VERSION as OCSF_VERSION;

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As the log has it.
    JsonLines,
    /// A column a field of the log.
    Csv,
    /// Elastic Common Schema, a JSON object a line.
    Ecs,
    /// Open Cybersecurity Schema Framework, a JSON object a line.
    Ocsf,
}

impl Format {
    /// Every format by its name on the command line.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("jsonl", Self::JsonLines),
        ("csv", Self::Csv),
        ("ecs", Self::Ecs),
        ("ocsf", Self::Ocsf),
    ];
}

/// Our name of a field, and where it goes.
pub type Move = (&'static str, &'static str);

/// Where the fields of every event go in ECS and in OCSF; what is in neither list stays ours.
pub const MOVES: [(&str, &[Move]); 2] = [("ecs", ecs::MOVES), ("ocsf", ocsf::MOVES)];

/// Appends `event` as a line.
pub fn write(event: &Event, format: Format, out: &mut Vec<u8>) -> io::Result<()> {
    let mut line = Vec::new();
    write_line(event, &mut line);
    if format == Format::JsonLines {
        out.append(&mut line);
        return Ok(());
    }
    let Value::Object(fields) = serde_json::from_slice(&line)? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let object = match format {
        Format::Csv => return csv::write(&fields, out),
        Format::Ecs => ecs::object(event, fields),
        _ => ocsf::object(event, fields),
    };
    out.extend_from_slice(escape_controls(serde_json::to_string(&object)?).as_bytes());
    out.push(b'\n');
    Ok(())
}

/// Moves fields to where `moves` says.
fn moved(fields: &mut Map<String, Value>, moves: &[Move], to: &mut Map<String, Value>) {
    for (ours, theirs) in moves {
        if let Some(value) = fields.remove(*ours) {
            set(to, theirs, value);
        }
    }
}

/// Puts `value` at a path of names with dots between them.
fn set(object: &mut Map<String, Value>, path: &str, value: impl Into<Value>) {
    match path.split_once('.') {
        None => {
            object.insert(path.to_owned(), value.into());
        }
        Some((name, rest)) => {
            let inner = object
                .entry(name)
                .or_insert_with(|| Value::Object(Map::new()));
            // Tables that put a value where others have an object would lose it here; the tests
            // look for every field.
            if let Value::Object(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

/// The last part of a path, of either system.
fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}
