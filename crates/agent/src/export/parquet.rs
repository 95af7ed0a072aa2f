//! The trail as Apache Parquet: a column a field of the log, in its order and under its name, so that a
//! field that is added has its column at once. What a newer version said has no column, as in CSV.
//!
//! What came since the last row group waits here, column by column, and no more of it than
//! [`ROW_COUNT_MAX`] events or [`SIZE_MAX`] bytes. `parquet/column.rs` is what waits.

mod column;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use event::{Kind, ProcessKey};
use foldhash::fast::RandomState;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type};

use crate::shown::escape_controls;
use crate::trail::account::Account;
use crate::trail::json::hex_digits;
use crate::trail::schema::{self, Field};
use crate::trail::visit::Visitor;
use crate::trail::{Event, Name, Text, Time, UserId};

use self::column::Column;

/// Events of a row group. Readers take them one by one, and several at once.
const ROW_COUNT_MAX: usize = 122_880;

/// Bytes that wait for a row group. A few events with long arguments are one as well.
const SIZE_MAX: usize = 64 << 20;

/// What an event takes, whatever it says.
const ROW_SIZE: usize = 16;

/// In the middle between what is written fast and what takes little room.
const LEVEL: i32 = 3;

/// What a point in time is a number of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// As the kernel tells it.
    #[default]
    Nanoseconds,
    /// For readers that have nothing finer, as Spark before 4.0. What else such readers lack is not
    /// used either.
    Microseconds,
}

impl Unit {
    /// By their names on the command line.
    pub const NAMES: [(&'static str, Self); 2] =
        [("ns", Self::Nanoseconds), ("us", Self::Microseconds)];
}

/// Writes events as a file of Parquet.
#[derive(Debug)]
pub(super) struct Writer {
    file: SerializedFileWriter<Vec<u8>>,
    rows: Rows,
}

/// The events that wait.
#[derive(Debug)]
struct Rows {
    columns: Vec<Column>,
    places: Places,
    unit: Unit,
    count: usize,
    size: usize,
}

impl Writer {
    /// One that has seen no event.
    pub(super) fn new(unit: Unit) -> io::Result<Self> {
        let columns = columns();
        let fields = columns.iter().map(|column| column.r#type(unit));
        let fields = fields.collect::<Result<_>>().map_err(failed)?;
        let schema = Type::group_type_builder("event").with_fields(fields);
        let schema = Arc::new(schema.build().map_err(failed)?);
        let properties = properties(unit).map_err(failed)?;
        let file = SerializedFileWriter::new(Vec::new(), schema, properties).map_err(failed)?;
        Ok(Self {
            file,
            rows: Rows {
                places: Places::of(&columns),
                columns,
                unit,
                count: 0,
                size: 0,
            },
        })
    }

    /// Takes `event`, and appends to `out` what of the file is ready.
    pub(super) fn write(&mut self, event: &Event, out: &mut Vec<u8>) -> io::Result<()> {
        event.visit(&mut Row {
            rows: &mut self.rows,
        });
        self.rows.count += 1;
        self.rows.size += ROW_SIZE;
        if self.rows.count >= ROW_COUNT_MAX || self.rows.size >= SIZE_MAX {
            self.write_row_group().map_err(failed)?;
            self.take(out)?;
        }
        Ok(())
    }

    /// Appends the rest of the file to `out`. Without it no reader takes what is there.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if self.rows.count > 0 {
            self.write_row_group().map_err(failed)?;
        }
        self.file.finish().map_err(failed)?;
        self.take(out)
    }

    fn write_row_group(&mut self) -> Result<()> {
        let mut group = self.file.next_row_group()?;
        for column in &mut self.rows.columns {
            column.write(self.rows.count, &mut group)?;
        }
        group.close()?;
        self.rows.count = 0;
        self.rows.size = 0;
        Ok(())
    }

    fn take(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.file.flush()?;
        out.append(self.file.inner_mut());
        Ok(())
    }
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

/// A column for each name a line can have.
fn columns() -> Vec<Column> {
    let columns = schema::all().iter().flat_map(|field| {
        let raw = field.r#type.has_raw().then(|| Column::raw(field));
        [Some(Column::of(field)), raw]
    });
    columns.flatten().collect()
}

fn properties(unit: Unit) -> Result<WriterPropertiesPtr> {
    let version = KeyValue::new("systrail.schema".to_owned(), schema::VERSION.to_string());
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("systrail version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(vec![version]))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        // Most columns of most events are empty: a page for each 20,000 of them says nothing.
        .set_data_page_row_count_limit(ROW_COUNT_MAX)
        .set_offset_index_disabled(true);
    // They rise from event to event, so no two are the same and each is little more than the last.
    for field in [&Event::sequence, &Event::time] {
        let path = ColumnPath::from(field.name);
        properties = properties.set_column_dictionary_enabled(path.clone(), false);
        if unit == Unit::Nanoseconds {
            properties = properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(Arc::new(properties.build()))
}

/// Which column a field has.
#[derive(Debug)]
struct Places {
    /// By name, as several kinds declare one field each.
    names: HashMap<&'static str, usize>,
    /// By the declaration, which is compared faster.
    known: HashMap<usize, Option<usize>, RandomState>,
}

impl Places {
    fn of(columns: &[Column]) -> Self {
        let names = columns.iter().map(|column| column.name).enumerate();
        Self {
            names: names.map(|(place, name)| (name, place)).collect(),
            known: HashMap::default(),
        }
    }

    fn place(&mut self, field: &'static Field) -> Option<usize> {
        let declaration = std::ptr::from_ref(field).addr();
        let by_name = || self.names.get(field.name).copied();
        *self.known.entry(declaration).or_insert_with(by_name)
    }
}

/// Puts the fields of an event into their columns.
struct Row<'r> {
    rows: &'r mut Rows,
}

impl Row<'_> {
    /// The column of a field, whose cell of this row `put_fn` fills.
    fn put(&mut self, field: &'static Field, put_fn: impl FnOnce(&mut Column, usize) -> usize) {
        let rows = &mut *self.rows;
        if let Some(place) = rows.places.place(field)
            && let Some(column) = rows.columns.get_mut(place)
        {
            rows.size = rows.size.saturating_add(put_fn(column, rows.count));
        }
    }

    /// The same of the column behind it, for the bytes of what is not valid Unicode.
    fn put_raw(&mut self, field: &'static Field, put_fn: impl FnOnce(&mut Column, usize) -> usize) {
        let rows = &mut *self.rows;
        if let Some(place) = rows.places.place(field)
            && let Some(column) = rows.columns.get_mut(place + 1)
        {
            rows.size = rows.size.saturating_add(put_fn(column, rows.count));
        }
    }
}

impl<'e> Visitor<'e> for Row<'_> {
    fn number(&mut self, field: &'static Field, value: u64) {
        // As the store has it: what is beyond 63 bits is negative there too.
        self.put(field, |column, row| {
            column.put_number(row, value.cast_signed())
        });
    }

    fn time(&mut self, field: &'static Field, value: Time) {
        let number = match self.rows.unit {
            Unit::Nanoseconds => value.0,
            Unit::Microseconds => value.0.div_euclid(1_000),
        };
        self.put(field, |column, row| column.put_number(row, number));
    }

    fn truth(&mut self, field: &'static Field, value: bool) {
        self.put(field, |column, row| column.put_truth(row, value));
    }

    fn text(&mut self, field: &'static Field, value: &'e str) {
        self.put(field, |column, row| column.put_text(row, value.as_bytes()));
    }

    fn system_text(&mut self, field: &'static Field, value: &'e Text) {
        self.text(field, value.shown());
        if let Some(bytes) = value.raw() {
            self.put_raw(field, |column, row| column.put_text(row, &hex(bytes)));
        }
    }

    fn texts(&mut self, field: &'static Field, value: &'e [Text]) {
        self.put(field, |column, row| {
            column.put_list(row, value.iter().map(|text| text.shown().as_bytes()))
        });
        if value.iter().any(|text| text.raw().is_some()) {
            self.put_raw(field, |column, row| {
                column.put_list(row, value.iter().map(|text| hex(text.as_bytes())))
            });
        }
    }

    fn key(&mut self, field: &'static Field, value: ProcessKey) {
        let digits = hex_digits(value.0);
        self.put(field, |column, row| column.put_text(row, &digits));
    }

    fn address(&mut self, field: &'static Field, value: u64) {
        let digits = hex_digits(value);
        let begin = digits.iter().position(|digit| *digit != b'0').unwrap_or(15);
        let digits = digits.get(begin..).unwrap_or_default();
        self.put(field, |column, row| {
            column.put_text(row, &[b"0x", digits].concat())
        });
    }

    fn user_id(&mut self, field: &'static Field, value: &'e UserId) {
        match value {
            UserId::Uid(uid) => {
                let mut digits = itoa::Buffer::new();
                let digits = digits.format(*uid);
                self.put(field, |column, row| column.put_text(row, digits.as_bytes()));
            }
            UserId::Sid(sid) => self.text(field, sid),
        }
    }

    fn kind(&mut self, field: &'static Field, value: Kind) {
        if let Some(name) = value.name() {
            self.put(field, |column, row| column.put_text(row, name.as_bytes()));
        } else {
            let name = format!("kind_{}", value.0);
            self.put(field, |column, row| column.put_text(row, name.as_bytes()));
        }
    }

    fn account(&mut self, field: &'static Field, value: &'e Account) {
        // An account, which has names for keys, can be JSON; its names may be a hostile log's.
        if let Ok(account) = serde_json::to_string(value) {
            let account = escape_controls(account);
            self.put(field, |column, row| {
                column.put_text(row, account.as_bytes())
            });
        }
    }

    fn names(&mut self, field: &'static Field, value: &'e [Name]) {
        if !value.is_empty() {
            self.put(field, |column, row| {
                column.put_list(row, value.iter().map(|name| name.as_bytes()))
            });
        }
    }

    fn reasons(&mut self, field: &'static Field, value: &'e [(Name, Name)]) {
        if !value.is_empty() {
            self.put(field, |column, row| column.put_map(row, value));
        }
    }
}

/// The hexadecimal digits of bytes.
fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|byte| {
            let [.., high, low] = hex_digits((*byte).into());
            [high, low]
        })
        .collect()
}

#[cfg(test)]
mod tests;
