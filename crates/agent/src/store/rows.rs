//! Rows back to events.
//!
//! A segment may have been written by anybody: every number is checked to fit, every reference to
//! lead somewhere, and what does not is an error that names it.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use event::{Kind, ProcessKey};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::ReadError;
use super::layout::{self, MARK};
use super::row_source::RowSource;
use super::segment::{self, Shape};
use super::time_ranges;
use crate::trail::json::{self, Arguments, Notes};
use crate::trail::{Body, Event, Origin, Text, Time, Whence};

/// Texts, programs and the like that are remembered at most, each; then all are forgotten.
const REMEMBERED_MAX: usize = 16_384;

/// A segment open for reading, and what was read of its texts, processes and programs.
#[derive(Debug)]
pub(super) struct Rows {
    connection: Connection,
    path: PathBuf,
    shape: Shape,
    selects: Vec<Select>,
    known: Known,
}

/// How the events of a kind are read.
#[derive(Debug)]
struct Select {
    kind: Kind,
    /// Ends in a place for conditions.
    sql: String,
    /// The fields after those every event has, in order.
    fields: Vec<&'static str>,
    has_parent: bool,
    shared: Option<Shared>,
    shares_notes: bool,
}

/// How the row of a shared table is read.
#[derive(Debug)]
pub(super) struct Shared {
    table: &'static str,
    sql: String,
    /// The columns, in order; after them the notes, where the table has them.
    pub(super) fields: Vec<&'static str>,
}

/// What was read of what events refer to.
#[derive(Debug)]
pub(super) struct Known {
    stretches: Vec<Stretch>,
    texts: HashMap<i64, Text>,
    processes: HashMap<i64, Identity>,
    shared: HashMap<(&'static str, i64), Arc<[Value]>>,
}

/// What a process is known by.
pub(super) type Identity = (Option<u32>, Option<ProcessKey>);

#[derive(Debug)]
struct Stretch {
    first_id: i64,
    sequence_offset: i64,
    origin: Arc<Origin>,
}

/// Why a row gives no event.
#[derive(Debug)]
pub(super) enum RowError {
    Sqlite(rusqlite::Error),
    Wrong(String),
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

pub(super) type Result<T> = std::result::Result<T, RowError>;

impl Select {
    /// How this segment's events of each kind are read: by the columns it has.
    fn all(shape: &Shape) -> Vec<Self> {
        let of_tables = layout::tables().iter().map(|(kind, table)| {
            let own = table.own.iter().map(|column| &*column.name).collect();
            (*kind, table.name, own, Some(table))
        });
        let marks = layout::mark_columns().iter();
        let marks: Vec<&'static str> = marks.map(|column| &*column.name).collect();
        let of_marks = layout::marks().map(|kind| (kind, MARK, marks.clone(), None));
        of_tables
            .chain(of_marks)
            .filter(|(_, table, ..)| shape.has_table(table))
            .map(|(kind, name, fields, table)| Self::of(shape, kind, name, fields, table))
            .collect()
    }

    fn of(
        shape: &Shape,
        kind: Kind,
        name: &'static str,
        fields: Vec<&'static str>,
        table: Option<&'static layout::Table>,
    ) -> Self {
        let has_parent = table.is_some_and(|table| table.has_parent);
        let shared = table.and_then(|table| table.shared.as_ref());
        let mut columns = vec!["id", "time", "process", "notes"];
        columns.push(if has_parent { "parent" } else { "NULL" });
        columns.push(shared.map_or("NULL", |(table, _)| *table));
        columns.extend(&fields);
        let columns: Vec<&str> = columns
            .into_iter()
            .map(|column| {
                if shape.has(name, column) {
                    column
                } else {
                    "NULL"
                }
            })
            .collect();
        let of_kind = match table {
            Some(_) => String::new(),
            None => format!("kind = {} AND ", kind.0),
        };
        // The unary plus keeps an index of times out of it: the ids are the narrower bound.
        let sql = format!(
            "SELECT {} FROM {name} WHERE {of_kind}id BETWEEN ?1 AND ?2 AND +time BETWEEN ?3 AND ?4",
            columns.join(", ")
        );
        Self {
            kind,
            sql,
            fields,
            has_parent,
            shared: shared.map(|(table, columns)| Shared::of(shape, table, columns)),
            shares_notes: table.is_some_and(layout::Table::shares_notes),
        }
    }
}

impl Shared {
    fn of(shape: &Shape, table: &'static str, columns: &'static [layout::Column]) -> Self {
        let fields: Vec<&'static str> = columns.iter().map(|column| &*column.name).collect();
        let columns: Vec<&str> = fields
            .iter()
            .copied()
            .chain(["notes"])
            .map(|column| {
                if shape.has(table, column) {
                    column
                } else {
                    "NULL"
                }
            })
            .collect();
        let sql = format!("SELECT {} FROM {table} WHERE id = ?1", columns.join(", "));
        Self { table, sql, fields }
    }
}

impl Rows {
    /// Opens a segment; beside it, what of it cannot be shown, in words. What is written to it from
    /// now on is not seen.
    pub(super) fn open(path: &Path) -> std::result::Result<(Self, Option<String>), ReadError> {
        let (connection, shape) = segment::open(path)?;
        let mut rows = Self {
            connection,
            path: path.to_path_buf(),
            selects: Select::all(&shape),
            shape,
            known: Known {
                stretches: Vec::new(),
                texts: HashMap::new(),
                processes: HashMap::new(),
                shared: HashMap::new(),
            },
        };
        rows.look_again()?;
        let incomplete = rows.shape.incomplete();
        Ok((rows, incomplete))
    }

    /// Sees the segment as it is now.
    pub(super) fn look_again(&mut self) -> std::result::Result<(), ReadError> {
        self.look_away()?;
        let known = &mut self.known.stretches;
        read_stretches(&self.connection, &self.shape, known).map_err(|source| ReadError::Sqlite {
            path: self.path.clone(),
            source,
        })
    }

    /// Lets go of what is seen, so that the writer need not keep it: call it before a wait.
    pub(super) fn look_away(&self) -> std::result::Result<(), ReadError> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.connection
            .execute_batch("COMMIT")
            .map_err(|error| RowError::from(error).of(&self.path))
    }

    /// The stretches of these ids: the ids, the sequence of the first, and whence they are.
    pub(super) fn stretches(
        &self,
        ids: RangeInclusive<i64>,
    ) -> impl Iterator<Item = (RangeInclusive<i64>, u64, &Origin)> {
        let all = &self.known.stretches;
        let ends = all
            .iter()
            .skip(1)
            .map(|next| next.first_id.saturating_sub(1));
        let stretches = all.iter().zip(ends.chain([i64::MAX]));
        stretches.filter_map(move |(stretch, end)| {
            let first = stretch.first_id.max(*ids.start());
            let last = end.min(*ids.end());
            let sequence = first.wrapping_add(stretch.sequence_offset).cast_unsigned();
            (first <= last).then_some((first..=last, sequence, &*stretch.origin))
        })
    }

    /// The first and the last id of an event in the bounds, which those between need not be in; `None`
    /// when there is none.
    pub(super) fn ids(
        &self,
        bounds: (i64, i64),
    ) -> std::result::Result<Option<(i64, i64)>, ReadError> {
        time_ranges::ids(&self.connection, &self.shape, bounds)
            .map_err(|error| RowError::from(error).of(&self.path))
    }

    /// The least id of an event from `id` on.
    pub(super) fn id_from(&self, id: i64) -> std::result::Result<Option<i64>, ReadError> {
        let mut least: Option<i64> = None;
        for table in self.shape.event_tables() {
            let sql = format!("SELECT min(id) FROM {table} WHERE id >= ?1");
            let found = self.connection.prepare_cached(&sql);
            let found = found.and_then(|mut statement| statement.query_row([id], |row| row.get(0)));
            let found: Option<i64> = found.map_err(|error| RowError::from(error).of(&self.path))?;
            least = match (least, found) {
                (Some(least), Some(found)) => Some(least.min(found)),
                (least, found) => least.or(found),
            };
        }
        Ok(least)
    }

    /// Appends the events with these ids, in their order, that are in the time bounds.
    pub(super) fn read(
        &mut self,
        ids: (i64, i64),
        bounds: (i64, i64),
        events: &mut Vec<(i64, Event)>,
    ) -> std::result::Result<(), ReadError> {
        for select in &self.selects {
            let read = read(
                &self.connection,
                &mut self.known,
                select,
                ids,
                bounds,
                events,
            );
            read.map_err(|error| error.of(&self.path))?;
        }
        events.sort_by_key(|(id, _)| *id);
        Ok(())
    }
}

impl RowError {
    fn of(self, path: &Path) -> ReadError {
        let path = path.to_path_buf();
        match self {
            Self::Sqlite(source) => ReadError::Sqlite { path, source },
            Self::Wrong(what) => ReadError::Row { path, what },
        }
    }
}

/// Appends the events that `select` gives.
fn read(
    connection: &Connection,
    known: &mut Known,
    select: &Select,
    ids: (i64, i64),
    bounds: (i64, i64),
    events: &mut Vec<(i64, Event)>,
) -> Result<()> {
    let mut statement = connection.prepare_cached(&select.sql)?;
    let mut rows = statement.query((ids.0, ids.1, bounds.0, bounds.1))?;
    while let Some(row) = rows.next()? {
        let event = known.event(connection, select, row)?;
        events.push((row.get(0)?, event));
    }
    Ok(())
}

/// Appends the stretches that are not known yet.
fn read_stretches(
    connection: &Connection,
    shape: &Shape,
    stretches: &mut Vec<Stretch>,
) -> rusqlite::Result<()> {
    // All that is read later is of this moment: what a writer adds meanwhile is not mixed in.
    connection.execute_batch("BEGIN")?;
    let column = |name| {
        if shape.has("stretch", name) {
            name
        } else {
            "NULL"
        }
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT first_id, sequence_offset, host, {}, {} FROM stretch \
         WHERE ?1 IS NULL OR first_id > ?1 ORDER BY first_id",
        column("host_id"),
        column("run")
    ))?;
    let last = stretches.last().map(|last| last.first_id);
    let mut rows = statement.query([last])?;
    while let Some(row) = rows.next()? {
        let whence = Whence {
            host: row.get(2)?,
            host_id: row.get(3)?,
            run: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
        };
        // Gaps make many stretches of one origin.
        let origin = match stretches.last() {
            Some(last) if **last.origin == whence => Arc::clone(&last.origin),
            _ => Arc::new(Origin::new(whence)),
        };
        stretches.push(Stretch {
            first_id: row.get(0)?,
            sequence_offset: row.get(1)?,
            origin,
        });
    }
    Ok(())
}

impl Known {
    fn event(&mut self, connection: &Connection, select: &Select, row: &Row<'_>) -> Result<Event> {
        let id: i64 = row.get(0)?;
        let stretch = self
            .stretches
            .partition_point(|stretch| stretch.first_id <= id);
        let Some(stretch) = stretch.checked_sub(1).and_then(|n| self.stretches.get(n)) else {
            return Err(RowError::Wrong(format!("event {id} is in no stretch")));
        };
        let sequence = id.wrapping_add(stretch.sequence_offset).cast_unsigned();
        let origin = Arc::clone(&stretch.origin);
        let process: i64 = row.get(2)?;
        let (Some(process_id), Some(process_key)) = self.process(connection, process)? else {
            return Err(RowError::Wrong(format!("event {id} is of no process")));
        };
        let parent = match row.get(4)? {
            Some(parent) if select.has_parent => self.process(connection, parent)?,
            _ => (None, None),
        };
        let shared = match (&select.shared, row.get::<_, Option<i64>>(5)?) {
            (Some(shared), Some(id)) => Some((shared, self.shared(connection, shared, id)?)),
            _ => None,
        };
        let notes = match &shared {
            Some((_, cells)) if select.shares_notes => match cells.last() {
                Some(Value::Integer(id)) => Some(*id),
                _ => None,
            },
            _ => row.get(3)?,
        };
        let mut source = RowSource {
            known: self,
            connection,
            row,
            own: &select.fields,
            shared: shared.as_ref().map(|(shared, cells)| (*shared, &**cells)),
            parent,
            process_id,
        };
        let Some(mut body) = Body::read(select.kind, &mut source)? else {
            let kind = select.kind;
            return Err(RowError::Wrong(format!("{kind} is no kind of an event")));
        };
        let notes = self.notes(connection, notes, &mut body)?;
        Ok(Event {
            sequence,
            time: Time(row.get(1)?),
            origin,
            process_id,
            process_key,
            body,
            kept_by: notes.kept_by,
            truncated: notes.truncated,
            missing: notes.missing,
            further: notes.further,
        })
    }

    /// The cells of a row of a shared table.
    fn shared(
        &mut self,
        connection: &Connection,
        shared: &Shared,
        id: i64,
    ) -> Result<Arc<[Value]>> {
        if let Some(cells) = self.shared.get(&(shared.table, id)) {
            return Ok(Arc::clone(cells));
        }
        let mut statement = connection.prepare_cached(&shared.sql)?;
        let mut rows = statement.query([id])?;
        let Some(row) = rows.next()? else {
            return Err(dangling(shared.table, id));
        };
        let cells: rusqlite::Result<Arc<[Value]>> = (0..=shared.fields.len())
            .map(|index| row.get(index))
            .collect();
        let cells = cells?;
        remember(&mut self.shared, (shared.table, id), Arc::clone(&cells));
        Ok(cells)
    }

    pub(super) fn text(&mut self, connection: &Connection, id: i64) -> Result<Text> {
        if let Some(text) = self.texts.get(&id) {
            return Ok(text.clone());
        }
        let sql = "SELECT text, raw FROM strings WHERE id = ?1";
        let found: Option<(String, Option<Vec<u8>>)> = connection
            .prepare_cached(sql)?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let text = match found {
            None => return Err(dangling("string", id)),
            Some((text, None)) => Text::from(&*text),
            Some((_, Some(raw))) => Text::from_bytes(&raw),
        };
        remember(&mut self.texts, id, text.clone());
        Ok(text)
    }

    fn process(&mut self, connection: &Connection, id: i64) -> Result<Identity> {
        if let Some(process) = self.processes.get(&id) {
            return Ok(*process);
        }
        let sql = "SELECT process_id, process_key FROM process WHERE id = ?1";
        let found: Option<(Option<u32>, Option<String>)> = connection
            .prepare_cached(sql)?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((process_id, key)) = found else {
            return Err(dangling("process", id));
        };
        let key = match key {
            None => None,
            Some(key) => match ProcessKey::from_hex(&key) {
                Some(key) => Some(key),
                None => return Err(RowError::Wrong(format!("process {id} has no valid key"))),
            },
        };
        remember(&mut self.processes, id, (process_id, key));
        Ok((process_id, key))
    }

    /// What is noted; the fields of the body's that are noted are put into it.
    fn notes(
        &mut self,
        connection: &Connection,
        id: Option<i64>,
        body: &mut Body,
    ) -> Result<Notes> {
        match id {
            None => Ok(Notes::default()),
            Some(id) => {
                let text = self.text(connection, id)?;
                json::read_notes(text.as_bytes(), body).map_err(wrong)
            }
        }
    }
}

/// What stands between the arguments of a command: no keyboard types it and no shell passes it on.
pub(super) const SEPARATOR: char = '\u{1f}';

/// Command line and arguments of a command.
pub(super) fn parts_of(command: &Text) -> (Text, Arguments) {
    let arguments = command.shown().split(SEPARATOR).map(Text::from).collect();
    (line_of(command), arguments)
}

/// The command line of a command.
pub(super) fn line_of(command: &Text) -> Text {
    Text::from(&*command.shown().replace(SEPARATOR, " "))
}

fn remember<K: Eq + Hash, T>(known: &mut HashMap<K, T>, id: K, value: T) {
    if known.len() >= REMEMBERED_MAX {
        known.clear();
    }
    known.insert(id, value);
}

fn dangling(what: &str, id: i64) -> RowError {
    RowError::Wrong(format!("{what} {id} is referred to and not there"))
}

pub(super) fn wrong(error: impl std::fmt::Display) -> RowError {
    RowError::Wrong(error.to_string())
}
