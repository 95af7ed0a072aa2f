//! What somebody asks in SQL: within the bounds of every query, and no more of the answer than a page can show.
//! An answer that is not whole says so, and why.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use rusqlite::types::ValueRef;
use serde::Serialize;
use serde_json::Value;

use super::processes::left_out;
use crate::query::{self, Error, Query, Taker};
use crate::shown::safe;
use crate::store::{Guard, Window};

/// Rows of an answer.
const ROWS_MAX: u64 = 10_000;

/// Bytes of an answer's texts.
const SIZE_MAX: usize = 8 << 20;

/// Bytes of one text.
const CELL_SIZE_MAX: usize = 64 << 10;

/// Whole numbers of which a script knows every digit.
const EXACT_MAX: u64 = 1 << 53;

/// The answer.
#[derive(Debug, Default, Serialize)]
pub(super) struct Told {
    columns: Vec<String>,
    /// Which of them have numbers.
    numbers: Vec<bool>,
    rows: Vec<Vec<Value>>,
    /// Why it is not whole.
    incomplete: Vec<String>,
    /// What else is to be known.
    notes: Vec<String>,
    took_ms: u128,
    #[serde(skip)]
    size: usize,
    #[serde(skip)]
    cut_count: u64,
}

/// Asks.
pub(super) fn ask(
    directory: &Path,
    window: &Window,
    sql: &str,
    guard: &Guard,
) -> Result<Told, String> {
    let begun = Instant::now();
    let query = Query::open(directory, window, guard).map_err(|error| error.to_string())?;
    let mut told = Told::default();
    match query.run(sql, &mut told) {
        Ok(_count) => {}
        // What came before stays, and is worth something.
        Err(error @ Error::Stopped(_)) if !told.rows.is_empty() => {
            told.incomplete.push(error.to_string());
        }
        Err(error) => return Err(error.to_string()),
    }
    if told.cut_count > 0 {
        let count = crate::quantity::show_count(told.cut_count, "text");
        told.notes.push(format!(
            "{count} longer than 64 KiB: cut, which is marked with …"
        ));
    }
    told.notes.extend(query::remark(sql));
    told.incomplete.extend(left_out(query.reader()));
    told.took_ms = begun.elapsed().as_millis();
    Ok(told)
}

impl Taker for Told {
    fn begin(&mut self, columns: &[String]) -> io::Result<()> {
        self.columns = columns.iter().map(|name| safe(name)).collect();
        self.numbers = vec![false; columns.len()];
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<ControlFlow<()>> {
        // The one more tells that there are more.
        if self.rows.len() as u64 >= ROWS_MAX {
            self.incomplete.push(format!(
                "only the first {ROWS_MAX} rows are here; ask for less"
            ));
            return Ok(ControlFlow::Break(()));
        }
        let mut row = Vec::with_capacity(values.len());
        for (column, value) in values.iter().enumerate() {
            let is_number = matches!(value, ValueRef::Integer(_) | ValueRef::Real(_));
            if let Some(known) = self.numbers.get_mut(column) {
                *known |= is_number;
            }
            row.push(self.cell(value));
        }
        self.rows.push(row);
        if self.size > SIZE_MAX {
            let count = self.rows.len();
            self.incomplete.push(format!(
                "only the first {count} rows are here, which have more than 8 MiB; ask for less"
            ));
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Told {
    fn cell(&mut self, value: &ValueRef<'_>) -> Value {
        self.size += 8;
        match value {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) if number.unsigned_abs() <= EXACT_MAX => (*number).into(),
            ValueRef::Integer(number) => number.to_string().into(),
            ValueRef::Real(number) => (*number).into(),
            ValueRef::Text(_) | ValueRef::Blob(_) => {
                let mut text = query::text_of(value);
                if text.len() > CELL_SIZE_MAX {
                    text.truncate(text.floor_char_boundary(CELL_SIZE_MAX));
                    text.push('…');
                    self.cut_count += 1;
                }
                let text = safe(&text);
                self.size += text.len();
                text.into()
            }
        }
    }
}
