//! The rows of a query: a table for a person, JSON, JSON Lines or CSV for a program.

use std::io::{self, Write};
use std::ops::ControlFlow;

use rusqlite::types::ValueRef;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::shown::{Row, escape_controls, width};
use crate::zone;

/// Who takes the rows of a query.
pub trait Taker {
    /// Begins with the names of the columns.
    fn begin(&mut self, columns: &[String]) -> io::Result<()>;

    /// A row, a value a column. Whoever has enough breaks off.
    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<ControlFlow<()>>;

    /// Ends: nothing is held back any more.
    fn end(&mut self) -> io::Result<()>;
}

impl Taker for Output<'_> {
    fn begin(&mut self, columns: &[String]) -> io::Result<()> {
        Output::begin(self, columns)
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<ControlFlow<()>> {
        Output::row(self, values).map(ControlFlow::Continue)
    }

    fn end(&mut self) -> io::Result<()> {
        Output::end(self)
    }
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// One list of objects.
    Json,
    /// An object a line.
    JsonLines,
    /// RFC 4180, with a heading; lines end with a line feed.
    Csv,
}

impl Format {
    /// Every format by its name on the command line.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("table", Self::Table),
        ("json", Self::Json),
        ("jsonl", Self::JsonLines),
        ("csv", Self::Csv),
    ];
}

/// Rows of a table that are held back to learn how wide the columns are.
const MEASURED_COUNT: usize = 1_000;

const BOLD: &str = "\x1b[1m";

/// Where rows go.
pub struct Output<'o> {
    out: &'o mut dyn Write,
    format: Format,
    /// Whether what is written is looked at: characters that a terminal would act on are escaped.
    is_terminal: bool,
    colour: bool,
    /// Where lines of a table are cut.
    width: Option<u16>,
    columns: Vec<String>,
    /// Rows of a table that are held back; `None` once the widths are known.
    measured: Option<Vec<Vec<Cell>>>,
    widths: Vec<usize>,
    row_count: u64,
}

/// A cell of a table.
struct Cell {
    text: String,
    is_number: bool,
}

/// A text of a time as it is here, in a column of the views' own.
fn local_time(value: &ValueRef<'_>, column: &str) -> Option<String> {
    match value {
        ValueRef::Text(text) if column.ends_with("time_text") => {
            zone::local_rfc_3339(std::str::from_utf8(text).ok()?)
        }
        _ => None,
    }
}

impl<'o> Output<'o> {
    /// Rows go to `out`, which is a terminal or not.
    pub fn new(out: &'o mut dyn Write, format: Format, is_terminal: bool) -> Self {
        Self {
            out,
            format,
            is_terminal,
            colour: false,
            width: None,
            columns: Vec::new(),
            measured: Some(Vec::new()),
            widths: Vec::new(),
            row_count: 0,
        }
    }

    /// With a table in colour, or with lines of a table cut to `width`.
    #[must_use]
    pub const fn styled(mut self, colour: bool, width: Option<u16>) -> Self {
        self.colour = colour;
        self.width = width;
        self
    }

    /// Begins with the names of the columns.
    pub fn begin(&mut self, columns: &[String]) -> io::Result<()> {
        self.columns = columns.to_vec();
        match self.format {
            Format::Table => {
                self.widths = columns.iter().map(|name| width(name)).collect();
                Ok(())
            }
            Format::Json => write!(self.out, "["),
            Format::JsonLines => {
                self.columns = unique(columns);
                Ok(())
            }
            Format::Csv => {
                let names: Vec<String> = columns.iter().map(|name| self.csv(name)).collect();
                writeln!(self.out, "{}", names.join(","))
            }
        }
    }

    /// A row, a value a column.
    pub fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        if !zone::is_local() {
            return self.row_as_it_is(values);
        }
        let local: Vec<Option<String>> = values
            .iter()
            .zip(&self.columns)
            .map(|(value, column)| local_time(value, column))
            .collect();
        let values = values.iter().zip(&local);
        let values = values.map(|(value, local)| match local {
            Some(text) => ValueRef::Text(text.as_bytes()),
            None => *value,
        });
        let values: Vec<ValueRef<'_>> = values.collect();
        self.row_as_it_is(&values)
    }

    fn row_as_it_is(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        self.row_count += 1;
        match self.format {
            Format::Table => self.table_row(values),
            Format::Json => {
                let separator = if self.row_count > 1 { ",\n" } else { "\n" };
                let object = self.object(values)?;
                write!(self.out, "{separator}{object}")
            }
            Format::JsonLines => {
                let object = self.object(values)?;
                writeln!(self.out, "{object}")
            }
            Format::Csv => {
                let cells: Vec<String> =
                    values.iter().map(|value| self.csv(&text(value))).collect();
                writeln!(self.out, "{}", cells.join(","))
            }
        }
    }

    /// Ends: nothing is held back any more.
    pub fn end(&mut self) -> io::Result<()> {
        match self.format {
            Format::Table => self.print_measured()?,
            Format::Json => writeln!(self.out, "\n]")?,
            Format::JsonLines | Format::Csv => {}
        }
        self.out.flush()
    }

    fn object(&self, values: &[ValueRef<'_>]) -> io::Result<String> {
        let names = unique(&self.columns).into_iter();
        let object = Object(names.zip(values.iter().map(json)).collect());
        Ok(escape_controls(serde_json::to_string(&object)?))
    }

    fn table_row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        let cell = |value: &ValueRef<'_>| Cell {
            text: text(value),
            is_number: matches!(value, ValueRef::Integer(_) | ValueRef::Real(_)),
        };
        let cells: Vec<Cell> = values.iter().map(cell).collect();
        let Some(measured) = &mut self.measured else {
            return self.print(&cells);
        };
        for (known, cell) in self.widths.iter_mut().zip(&cells) {
            *known = (*known).max(width(&cell.text));
        }
        measured.push(cells);
        if measured.len() >= MEASURED_COUNT {
            self.print_measured()?;
        }
        Ok(())
    }

    /// Prints the heading and what was held back.
    fn print_measured(&mut self) -> io::Result<()> {
        let Some(measured) = self.measured.take() else {
            return Ok(());
        };
        let numbers = |column: usize| {
            let first = measured.first().and_then(|cells| cells.get(column));
            first.is_some_and(|cell| cell.is_number)
        };
        let names = self.columns.iter().enumerate();
        let heading: Vec<Cell> = names
            .map(|(column, name)| Cell {
                text: name.clone(),
                is_number: numbers(column),
            })
            .collect();
        self.print_in(&heading, if self.colour { BOLD } else { "" })?;
        measured.iter().try_for_each(|cells| self.print(cells))
    }

    fn print(&mut self, cells: &[Cell]) -> io::Result<()> {
        self.print_in(cells, "")
    }

    fn print_in(&mut self, cells: &[Cell], colour: &'static str) -> io::Result<()> {
        let mut line = Vec::new();
        let mut row = Row::new(&mut line, self.width);
        row.colour(colour);
        let last = cells.len().saturating_sub(1);
        for (column, (cell, known)) in cells.iter().zip(&self.widths).enumerate() {
            let blanks = " ".repeat(known.saturating_sub(width(&cell.text)));
            if cell.is_number {
                row.text(&blanks);
            }
            row.text(&cell.text);
            if column < last {
                if !cell.is_number {
                    row.text(&blanks);
                }
                row.text("  ");
            }
        }
        row.end();
        self.out.write_all(&line)
    }

    /// A field of CSV: in quotes where it has what divides fields and lines.
    fn csv(&self, text: &str) -> String {
        let shown = if self.is_terminal {
            let mut line = Vec::new();
            let mut row = Row::new(&mut line, None);
            row.text(text);
            String::from_utf8_lossy(&line).into_owned()
        } else {
            text.to_owned()
        };
        if shown.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", shown.replace('"', "\"\""))
        } else {
            shown
        }
    }
}

/// The names, later ones of the same name with a number: an object has each name once.
fn unique(columns: &[String]) -> Vec<String> {
    let name = |(index, name): (usize, &String)| {
        let before = columns[..index]
            .iter()
            .filter(|other| *other == name)
            .count();
        match before {
            0 => name.clone(),
            _ => format!("{name}:{before}"),
        }
    };
    columns.iter().enumerate().map(name).collect()
}

/// A row as a JSON object in the order of its columns, which a map of `serde_json` does not keep.
struct Object(Vec<(String, Value)>);

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn json(value: &ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => (*number).into(),
        // What is no number in JSON (infinity) becomes null.
        ValueRef::Real(number) => (*number).into(),
        ValueRef::Text(_) | ValueRef::Blob(_) => text(value).into(),
    }
}

/// A value as text: nothing for NULL, hex for bytes.
pub(crate) fn text(value: &ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Blob(bytes) => hex(bytes),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)])
        .collect()
}
