//! The trail under the names other systems know: the Elastic Common Schema and the Open
//! Cybersecurity Schema Framework, CSV, Parquet, and our own JSON Lines.
//!
//! A field moves to the name its declaration has for the other schema; one that has none stays under
//! a name of ours (`systrail` in ECS, `unmapped` in OCSF). So no field can be forgotten, and a new
//! one is in every export at once. What is more than a move is in `export/`. `docs/EXPORT.md` is the
//! tables for people.

pub(crate) mod csv;
mod ecs;
mod ocsf;
mod parents;
#[cfg(feature = "parquet")]
mod parquet;

use std::io;

use serde_json::{Map, Value};

use crate::shown::escape_controls;
use crate::trail::json::write_line;
use crate::trail::schema::{self, Field};
use crate::trail::{self, Event};

pub use crate::trail::csv::heading as csv_heading;

pub use self::ecs::VERSION as ECS_VERSION;
pub use self::ocsf::VERSION as OCSF_VERSION;
#[cfg(feature = "parquet")]
pub use self::parquet::Unit;

use self::parents::Parents;

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
    /// Apache Parquet, which is no text.
    #[cfg(feature = "parquet")]
    Parquet(Unit),
}

impl Format {
    /// Every format by its name on the command line.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("jsonl", Self::JsonLines),
        ("csv", Self::Csv),
        ("ecs", Self::Ecs),
        ("ocsf", Self::Ocsf),
        #[cfg(feature = "parquet")]
        ("parquet", Self::Parquet(Unit::Nanoseconds)),
    ];

    /// Whether each event is a line, and not only the whole a file.
    pub const fn is_lines(self) -> bool {
        match self {
            Self::JsonLines | Self::Csv | Self::Ecs | Self::Ocsf => true,
            #[cfg(feature = "parquet")]
            Self::Parquet(_) => false,
        }
    }
}

/// Writes one event after the other, in the order of the trail.
#[derive(Debug)]
pub struct Exporter {
    format: Format,
    parents: Parents,
    /// Begun with the first event.
    #[cfg(feature = "parquet")]
    parquet: Option<Box<parquet::Writer>>,
}

impl Exporter {
    /// One that has seen no event.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            parents: Parents::default(),
            #[cfg(feature = "parquet")]
            parquet: None,
        }
    }

    /// Appends `event` as a line, or what there is of the file by now.
    pub fn write(&mut self, event: &Event, out: &mut Vec<u8>) -> io::Result<()> {
        match self.format {
            Format::JsonLines => write_line(event, out),
            Format::Csv => trail::csv::write_line(event, out),
            Format::Ecs => {
                let arguments = self.parents.arguments(event);
                write_object(&ecs::object(event, members(event)?, arguments), out)?;
                self.parents.learn(event);
            }
            Format::Ocsf => write_object(&ocsf::object(event, members(event)?), out)?,
            #[cfg(feature = "parquet")]
            Format::Parquet(unit) => self.parquet(unit)?.write(event, out)?,
        }
        Ok(())
    }

    /// Appends what the file ends with; nothing for lines.
    #[cfg_attr(
        not(feature = "parquet"),
        expect(unused_variables, reason = "lines end with the last event")
    )]
    pub fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match self.format {
            Format::JsonLines | Format::Csv | Format::Ecs | Format::Ocsf => Ok(()),
            #[cfg(feature = "parquet")]
            Format::Parquet(unit) => self.parquet(unit)?.finish(out),
        }
    }

    #[cfg(feature = "parquet")]
    fn parquet(&mut self, unit: Unit) -> io::Result<&mut parquet::Writer> {
        let writer = match self.parquet.take() {
            Some(writer) => writer,
            None => Box::new(parquet::Writer::new(unit)?),
        };
        Ok(self.parquet.insert(writer))
    }
}

/// The fields as the log has them.
fn members(event: &Event) -> io::Result<Map<String, Value>> {
    let mut line = Vec::new();
    write_line(event, &mut line);
    match serde_json::from_slice(&line)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn write_object(object: &Value, out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(escape_controls(serde_json::to_string(object)?).as_bytes());
    out.push(b'\n');
    Ok(())
}

/// Moves the fields of the event's kind to the names `name_fn` has for them.
fn move_declared(
    event: &Event,
    fields: &mut Map<String, Value>,
    name_fn: impl Fn(&'static Field) -> Option<&'static str>,
    to: &mut Map<String, Value>,
) {
    for field in schema::fields_of_event(event.body.kind()) {
        if let Some(theirs) = name_fn(field)
            && let Some(value) = fields.remove(field.name)
        {
            set(to, theirs, value);
        }
    }
}

/// Makes a text of a number, for a schema that has a text there.
fn as_text(fields: &mut Map<String, Value>, field: &Field) {
    if let Some(value) = fields.get_mut(field.name)
        && value.is_number()
    {
        *value = Value::String(value.to_string());
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
            // Names that put a value where others have an object would lose it here; the tests look
            // for every field.
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
