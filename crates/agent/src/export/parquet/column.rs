//! A column of a row group that is being gathered: what each event says there, and which say anything.
//!
//! Most fields are absent from most events, and an absent one costs nothing here: only the rows that
//! have a value are noted.

use std::io::Write;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::{SerializedColumnWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use super::Unit;
use crate::trail::Name;
use crate::trail::schema::{self, Field};

/// What a value takes beside its bytes: which row has it, and where it is.
const VALUE_SIZE: usize = 12;

/// The form of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A whole number with a sign, of 64 bits.
    Number,
    /// A point in time.
    Time,
    /// True or false.
    Truth,
    /// Unicode.
    Text,
    /// A list of texts.
    List,
    /// Texts with a text each.
    Map,
}

impl Form {
    /// The form of a field of this type.
    pub(super) const fn of(r#type: schema::Type) -> Self {
        match r#type {
            schema::Type::Number => Self::Number,
            schema::Type::Time => Self::Time,
            schema::Type::Truth | schema::Type::Flag => Self::Truth,
            // A key and an address have no room in 63 bits, a user is a number or a text, an account is the
            // JSON of the log.
            schema::Type::Text
            | schema::Type::SystemText
            | schema::Type::Key
            | schema::Type::Address
            | schema::Type::UserId
            | schema::Type::Kind
            | schema::Type::Account => Self::Text,
            schema::Type::Texts | schema::Type::Names => Self::List,
            schema::Type::Reasons => Self::Map,
        }
    }
}

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    form: Form,
    /// The rows that have a value, from 0.
    rows: Vec<u32>,
    /// How many items each of them has, of a list or a map.
    counts: Vec<u32>,
    numbers: Vec<i64>,
    truths: Vec<bool>,
    texts: Texts,
    /// What the texts of a map lead to.
    reasons: Texts,
}

/// Texts one after the other, and where each is. What comes twice in a row, as a host does, is there
/// once. The bytes of a row group are far fewer than 2^32.
#[derive(Debug)]
struct Texts {
    bytes: Vec<u8>,
    places: Vec<(u32, u32)>,
}

/// What rows have, as Parquet says it.
struct Levels {
    /// 0 where there is nothing; the most there is where there is a value.
    definition: Vec<i16>,
    /// 0 where a row begins; of lists alone.
    repetition: Option<Vec<i16>>,
}

impl Column {
    /// That of a field.
    pub(super) fn of(field: &Field) -> Self {
        Self::new(field.name, Form::of(field.r#type))
    }

    /// That of its bytes, as hexadecimal digits.
    pub(super) fn raw(field: &Field) -> Self {
        Self::new(field.raw_name, Form::of(field.r#type))
    }

    const fn new(name: &'static str, form: Form) -> Self {
        Self {
            name,
            form,
            rows: Vec::new(),
            counts: Vec::new(),
            numbers: Vec::new(),
            truths: Vec::new(),
            texts: Texts::new(),
            reasons: Texts::new(),
        }
    }

    /// What the file calls it.
    pub(super) fn r#type(&self, unit: Unit) -> Result<TypePtr> {
        let optional = |physical, logical| {
            Type::primitive_type_builder(self.name, physical)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(logical)
                .build()
        };
        let unit = match unit {
            Unit::Nanoseconds => TimeUnit::NANOS,
            Unit::Microseconds => TimeUnit::MICROS,
        };
        let r#type = match self.form {
            Form::Number => optional(Physical::INT64, None),
            Form::Time => optional(Physical::INT64, Some(LogicalType::timestamp(true, unit))),
            Form::Truth => optional(Physical::BOOLEAN, None),
            Form::Text => optional(Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Form::List => {
                let items = repeated("list", &["element"])?;
                group(self.name, LogicalType::List, items)
            }
            Form::Map => {
                let items = repeated("key_value", &["key", "value"])?;
                group(self.name, LogicalType::Map, items)
            }
        };
        r#type.map(Arc::new)
    }

    /// Puts a number into a row; says how many bytes that takes. Whatever is not of the form of the column
    /// is put nowhere.
    pub(super) fn put_number(&mut self, row: usize, number: i64) -> usize {
        if !matches!(self.form, Form::Number | Form::Time) {
            return 0;
        }
        self.numbers.push(number);
        self.has(row)
    }

    /// The same of a truth value.
    pub(super) fn put_truth(&mut self, row: usize, truth: bool) -> usize {
        if self.form != Form::Truth {
            return 0;
        }
        self.truths.push(truth);
        self.has(row)
    }

    /// The same of a text.
    pub(super) fn put_text(&mut self, row: usize, text: &[u8]) -> usize {
        if self.form != Form::Text {
            return 0;
        }
        let size = self.texts.push(text);
        self.has(row).saturating_add(size)
    }

    /// The same of a list.
    pub(super) fn put_list<T: AsRef<[u8]>>(
        &mut self,
        row: usize,
        items: impl Iterator<Item = T>,
    ) -> usize {
        if self.form != Form::List {
            return 0;
        }
        let (mut count, mut size) = (0, 0_usize);
        for item in items {
            size = size.saturating_add(self.texts.push(item.as_ref()));
            count += 1;
        }
        self.counts.push(count);
        self.has(row).saturating_add(size)
    }

    /// The same of a map.
    pub(super) fn put_map(&mut self, row: usize, items: &[(Name, Name)]) -> usize {
        if self.form != Form::Map {
            return 0;
        }
        let (mut count, mut size) = (0, 0_usize);
        for (name, reason) in items {
            size = size.saturating_add(self.texts.push(name.as_bytes()));
            size = size.saturating_add(self.reasons.push(reason.as_bytes()));
            count += 1;
        }
        self.counts.push(count);
        self.has(row).saturating_add(size)
    }

    fn has(&mut self, row: usize) -> usize {
        // There are no more rows than a row group has.
        self.rows.push(u32::try_from(row).unwrap_or(u32::MAX));
        VALUE_SIZE
    }

    /// Writes what waits, of so many rows, and forgets it.
    pub(super) fn write<W: Write + Send>(
        &mut self,
        row_count: usize,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<()> {
        let levels = match self.form {
            Form::List | Form::Map => self.levels_of_items(row_count),
            Form::Number | Form::Time | Form::Truth | Form::Text => self.levels(row_count),
        };
        self.rows.clear();
        self.counts.clear();
        let mut writer = next(group)?;
        match self.form {
            Form::Number | Form::Time => {
                let typed = writer.typed::<Int64Type>();
                typed.write_batch(&self.numbers, Some(&levels.definition), None)?;
                self.numbers.clear();
            }
            Form::Truth => {
                let typed = writer.typed::<BoolType>();
                typed.write_batch(&self.truths, Some(&levels.definition), None)?;
                self.truths.clear();
            }
            Form::Text | Form::List => self.texts.write(&mut writer, &levels)?,
            Form::Map => {
                self.texts.write(&mut writer, &levels)?;
                writer.close()?;
                writer = next(group)?;
                self.reasons.write(&mut writer, &levels)?;
            }
        }
        writer.close()
    }

    fn levels(&self, row_count: usize) -> Levels {
        let mut definition = vec![0; row_count];
        for row in &self.rows {
            if let Some(level) = definition.get_mut(*row as usize) {
                *level = 1;
            }
        }
        Levels {
            definition,
            repetition: None,
        }
    }

    /// The levels of lists, of which an empty one is 1 and an item 2.
    fn levels_of_items(&self, row_count: usize) -> Levels {
        let (mut definition, mut repetition) = (Vec::new(), Vec::new());
        let mut next_row = 0;
        for (row, count) in self.rows.iter().zip(&self.counts) {
            let absent_count = (*row as usize).saturating_sub(next_row);
            definition.resize(definition.len() + absent_count, 0);
            definition.extend(std::iter::repeat_n(2, *count as usize));
            if *count == 0 {
                definition.push(1);
            }
            repetition.resize(repetition.len() + absent_count + 1, 0);
            repetition.resize(definition.len(), 1);
            next_row = *row as usize + 1;
        }
        let absent_count = row_count.saturating_sub(next_row);
        definition.resize(definition.len() + absent_count, 0);
        repetition.resize(definition.len(), 0);
        Levels {
            definition,
            repetition: Some(repetition),
        }
    }
}

fn next<'g, W: Write + Send>(
    group: &'g mut SerializedRowGroupWriter<'_, W>,
) -> Result<SerializedColumnWriter<'g>> {
    let column = group.next_column()?;
    column.ok_or_else(|| ParquetError::General("a column is not in the schema".to_owned()))
}

/// The group of a list or a map, which may be absent.
fn group(name: &str, logical: LogicalType, items: TypePtr) -> Result<Type> {
    Type::group_type_builder(name)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(Some(logical))
        .with_fields(vec![items])
        .build()
}

/// What is repeated in it: texts of these names, none of them absent.
fn repeated(name: &str, texts: &[&str]) -> Result<TypePtr> {
    let texts = texts.iter().map(|name| {
        Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(Some(LogicalType::String))
            .build()
            .map(Arc::new)
    });
    let repeated = Type::group_type_builder(name)
        .with_repetition(Repetition::REPEATED)
        .with_fields(texts.collect::<Result<_>>()?)
        .build()?;
    Ok(Arc::new(repeated))
}

impl Texts {
    const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Appends a text; says how many bytes that takes.
    fn push(&mut self, text: &[u8]) -> usize {
        if let Some(last) = self.places.last()
            && self.bytes.get(range(*last)) == Some(text)
        {
            self.places.push(*last);
            return VALUE_SIZE;
        }
        let begin = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(text);
        let end = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.places.push((begin, end));
        text.len().saturating_add(VALUE_SIZE)
    }

    fn write(&mut self, writer: &mut SerializedColumnWriter<'_>, levels: &Levels) -> Result<()> {
        // One piece of memory, of which each text is a part.
        let bytes = ByteArray::from(mem::take(&mut self.bytes));
        let texts = self.places.drain(..).map(|place| {
            let place = range(place);
            bytes.slice(place.start, place.len())
        });
        let texts: Vec<ByteArray> = texts.collect();
        let repetition = levels.repetition.as_deref();
        let typed = writer.typed::<ByteArrayType>();
        typed.write_batch(&texts, Some(&levels.definition), repetition)?;
        Ok(())
    }
}

const fn range((begin, end): (u32, u32)) -> Range<usize> {
    begin as usize..end as usize
}
