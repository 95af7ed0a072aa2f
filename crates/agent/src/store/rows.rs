//! Rows back to events.
//!
//! A segment may have been written by anybody: every number is checked to fit, every reference to
//! lead somewhere, and what does not is an error that names it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use event::{Kind, ProcessKey};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{ReadError, segment};
use crate::trail::json::{self, Arguments, Notes};
use crate::trail::{
    Body, Event, ImageLoad, Lost, Origin, ProcessExec, ProcessExit, ProcessStart, Program,
    SensorStart, SensorStop, Text, ThreadExit, ThreadStart, Time, UserId,
};

/// Texts, programs and the like that are remembered at most, each; then all are forgotten.
const REMEMBERED_MAX: usize = 16_384;

/// A segment open for reading, and what was read of its texts, processes and programs.
#[derive(Debug)]
pub(super) struct Rows {
    connection: Connection,
    path: PathBuf,
    known: Known,
}

/// What was read of what events refer to.
#[derive(Debug)]
struct Known {
    stretches: Vec<Stretch>,
    texts: HashMap<i64, Text>,
    processes: HashMap<i64, Identity>,
    programs: HashMap<i64, Program>,
    images: HashMap<i64, (ImageLoad, Notes)>,
}

/// What a process is known by.
type Identity = (Option<u32>, Option<ProcessKey>);

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

type Result<T> = std::result::Result<T, RowError>;

/// The tables of events with the columns that are read of each; id, time and process come first.
const TABLES: [(&str, &str); 7] = [
    (
        "process_start",
        "notes, parent, program, creator_process_id, creator_thread_id, session_id, existing",
    ),
    ("process_exec", "notes, program"),
    (
        "process_exit",
        "notes, exit_code, signal, core_dumped, image, run_time_ns",
    ),
    (
        "thread_start",
        "notes, thread_id, creator_process_offset, creator_thread_offset, remote, start_address",
    ),
    ("thread_exit", "notes, thread_id"),
    ("image_load", "NULL, image, image_base"),
    (
        "mark",
        "notes, kind, lost_kind, lost_count, lost_reason, source, version, account",
    ),
];

impl Rows {
    /// Opens a segment. What is written to it from now on is not seen.
    pub(super) fn open(path: &Path) -> std::result::Result<Self, ReadError> {
        let connection = segment::open(path)?;
        let stretches = read_stretches(&connection).map_err(|source| ReadError::Sqlite {
            path: path.to_path_buf(),
            source,
        })?;
        Ok(Self {
            connection,
            path: path.to_path_buf(),
            known: Known {
                stretches,
                texts: HashMap::new(),
                processes: HashMap::new(),
                programs: HashMap::new(),
                images: HashMap::new(),
            },
        })
    }

    /// The first and the last id of an event in the bounds; `None` when there is none.
    pub(super) fn ids(
        &self,
        bounds: (i64, i64),
    ) -> std::result::Result<Option<(i64, i64)>, ReadError> {
        let mut span: Option<(i64, i64)> = None;
        for table in segment::EVENT_TABLES {
            let sql = match bounds {
                (i64::MIN, i64::MAX) => format!(
                    "SELECT (SELECT min(id) FROM {table}), (SELECT max(id) FROM {table}) \
                     WHERE ?1 <= ?2"
                ),
                _ => format!("SELECT min(id), max(id) FROM {table} WHERE time BETWEEN ?1 AND ?2"),
            };
            let ends: rusqlite::Result<(Option<i64>, Option<i64>)> =
                self.connection
                    .query_row(&sql, bounds, |row| Ok((row.get(0)?, row.get(1)?)));
            if let (Some(first), Some(last)) = ends.map_err(|error| self.error(error.into()))? {
                let (known_first, known_last) = span.unwrap_or((first, last));
                span = Some((known_first.min(first), known_last.max(last)));
            }
        }
        Ok(span)
    }

    /// The least id of an event from `id` on.
    pub(super) fn id_from(&self, id: i64) -> std::result::Result<Option<i64>, ReadError> {
        let mut least: Option<i64> = None;
        for table in segment::EVENT_TABLES {
            let sql = format!("SELECT min(id) FROM {table} WHERE id >= ?1");
            let found = self.connection.prepare_cached(&sql);
            let found = found.and_then(|mut statement| statement.query_row([id], |row| row.get(0)));
            let found: Option<i64> = found.map_err(|error| self.error(error.into()))?;
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
        for (table, columns) in TABLES {
            self.read_table(table, columns, ids, bounds, events)
                .map_err(|error| self.error(error))?;
        }
        events.sort_by_key(|(id, _)| *id);
        Ok(())
    }

    fn error(&self, error: RowError) -> ReadError {
        let path = self.path.clone();
        match error {
            RowError::Sqlite(source) => ReadError::Sqlite { path, source },
            RowError::Wrong(what) => ReadError::Row { path, what },
        }
    }

    fn read_table(
        &mut self,
        table: &str,
        columns: &str,
        ids: (i64, i64),
        bounds: (i64, i64),
        events: &mut Vec<(i64, Event)>,
    ) -> Result<()> {
        // The unary plus keeps the index of times out of it: the ids are the narrower bound.
        let sql = format!(
            "SELECT id, time, process, {columns} FROM {table} \
             WHERE id BETWEEN ?1 AND ?2 AND +time BETWEEN ?3 AND ?4"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query((ids.0, ids.1, bounds.0, bounds.1))?;
        while let Some(row) = rows.next()? {
            let event = self.known.event(&self.connection, table, row)?;
            events.push((row.get(0)?, event));
        }
        Ok(())
    }
}

fn read_stretches(connection: &Connection) -> rusqlite::Result<Vec<Stretch>> {
    // All that is read later is of this moment: what a writer adds meanwhile is not mixed in.
    connection.execute_batch("BEGIN")?;
    let mut statement = connection
        .prepare("SELECT first_id, sequence_offset, host FROM stretch ORDER BY first_id")?;
    let stretches = statement.query_map([], |row| {
        Ok(Stretch {
            first_id: row.get(0)?,
            sequence_offset: row.get(1)?,
            origin: Origin::of_host(row.get::<_, Arc<str>>(2)?),
        })
    })?;
    stretches.collect()
}

impl Known {
    fn event(&mut self, connection: &Connection, table: &str, row: &Row<'_>) -> Result<Event> {
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
        let notes = self.notes(connection, row.get(3)?)?;
        let (body, notes) = self.body(connection, table, row, process_id, notes)?;
        Ok(Event {
            sequence,
            time: Time(row.get(1)?),
            origin,
            process_id,
            process_key,
            body,
            truncated: notes.truncated,
            missing: notes.missing,
            further: notes.further,
        })
    }

    /// What happened. An image load brings its own notes.
    fn body(
        &mut self,
        connection: &Connection,
        table: &str,
        row: &Row<'_>,
        process_id: u32,
        notes: Notes,
    ) -> Result<(Body, Notes)> {
        let body = match table {
            "process_start" => Body::ProcessStart(Box::new(self.process_start(connection, row)?)),
            "process_exec" => Body::ProcessExec(Box::new(ProcessExec {
                program: self.program(connection, row.get(4)?)?,
            })),
            "process_exit" => Body::ProcessExit(self.process_exit(connection, row)?),
            "thread_start" => Body::ThreadStart(thread_start(row, process_id)?),
            "thread_exit" => Body::ThreadExit(ThreadExit {
                thread_id: row.get(4)?,
            }),
            "image_load" => {
                let (mut load, notes) = self.image(connection, row.get(4)?)?;
                load.image_base = row.get::<_, i64>(5)?.cast_unsigned();
                return Ok((Body::ImageLoad(load), notes));
            }
            _ => mark(row)?,
        };
        Ok((body, notes))
    }

    fn process_start(&mut self, connection: &Connection, row: &Row<'_>) -> Result<ProcessStart> {
        let (parent_process_id, parent_process_key) = match row.get(4)? {
            Some(parent) => self.process(connection, parent)?,
            None => (None, None),
        };
        let program = self.program(connection, row.get(5)?)?;
        Ok(ProcessStart {
            parent_process_id,
            parent_process_key,
            creator_process_id: row.get(6)?,
            creator_thread_id: row.get(7)?,
            program,
            session_id: row.get(8)?,
            existing: row.get(9)?,
        })
    }

    fn process_exit(&mut self, connection: &Connection, row: &Row<'_>) -> Result<ProcessExit> {
        Ok(ProcessExit {
            exit_code: row.get(4)?,
            signal: row.get(5)?,
            core_dumped: row.get(6)?,
            image: self.maybe_text(connection, row.get(7)?)?,
            run_time_ns: row.get::<_, Option<i64>>(8)?.map(i64::cast_unsigned),
        })
    }

    fn maybe_text(&mut self, connection: &Connection, id: Option<i64>) -> Result<Option<Text>> {
        id.map(|id| self.text(connection, id)).transpose()
    }

    fn text(&mut self, connection: &Connection, id: i64) -> Result<Text> {
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

    fn notes(&mut self, connection: &Connection, id: Option<i64>) -> Result<Notes> {
        match self.maybe_text(connection, id)? {
            None => Ok(Notes::default()),
            Some(text) => json::read_notes(text.as_bytes()).map_err(wrong),
        }
    }

    fn program(&mut self, connection: &Connection, id: i64) -> Result<Program> {
        if let Some(program) = self.programs.get(&id) {
            return Ok(program.clone());
        }
        let sql = "SELECT image, image_deleted, command, command_line, arguments, user, user_id,                    script FROM program WHERE id = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([id])?;
        let Some(row) = rows.next()? else {
            return Err(dangling("program", id));
        };
        let command = self.maybe_text(connection, row.get(2)?)?;
        let (command_line, arguments) = match command {
            Some(command) => {
                let (command_line, arguments) = parts_of(&command);
                (Some(command_line), Some(arguments))
            }
            None => (
                self.maybe_text(connection, row.get(3)?)?,
                self.arguments(connection, row.get(4)?)?,
            ),
        };
        let user = self.maybe_text(connection, row.get(5)?)?;
        let program = Program {
            image: self.maybe_text(connection, row.get(0)?)?,
            image_deleted: row.get(1)?,
            command_line,
            arguments,
            user: user.map(|user| Arc::from(user.shown())),
            user_id: user_id(row)?,
            script: self.maybe_text(connection, row.get(7)?)?,
        };
        remember(&mut self.programs, id, program.clone());
        Ok(program)
    }

    fn arguments(&mut self, connection: &Connection, id: Option<i64>) -> Result<Option<Arguments>> {
        match self.maybe_text(connection, id)? {
            None => Ok(None),
            Some(text) => json::read_arguments(text.as_bytes()).map_err(wrong),
        }
    }

    /// An image as it is mapped, but for where.
    fn image(&mut self, connection: &Connection, id: i64) -> Result<(ImageLoad, Notes)> {
        if let Some(known) = self.images.get(&id) {
            return Ok(known.clone());
        }
        let sql = "SELECT image, image_deleted, image_size, kernel_image, existing, notes                    FROM image WHERE id = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([id])?;
        let Some(row) = rows.next()? else {
            return Err(dangling("image", id));
        };
        let load = ImageLoad {
            image: self.maybe_text(connection, row.get(0)?)?,
            image_deleted: row.get(1)?,
            image_base: 0,
            image_size: row.get::<_, i64>(2)?.cast_unsigned(),
            kernel_image: row.get(3)?,
            existing: row.get(4)?,
        };
        let notes = self.notes(connection, row.get(5)?)?;
        remember(&mut self.images, id, (load.clone(), notes.clone()));
        Ok((load, notes))
    }
}

fn thread_start(row: &Row<'_>, process_id: u32) -> Result<ThreadStart> {
    let creator = |index| -> Result<Option<u32>> {
        let Some(offset) = row.get::<_, Option<i64>>(index)? else {
            return Ok(None);
        };
        let id = offset.checked_add(process_id.into());
        id.and_then(|id| u32::try_from(id).ok())
            .map(Some)
            .ok_or_else(|| RowError::Wrong(format!("no id is {offset} from {process_id}")))
    };
    Ok(ThreadStart {
        thread_id: row.get(4)?,
        creator_process_id: creator(5)?,
        creator_thread_id: creator(6)?,
        remote: row.get(7)?,
        start_address: row.get::<_, Option<i64>>(8)?.map(i64::cast_unsigned),
    })
}

/// An event about the recording itself.
fn mark(row: &Row<'_>) -> Result<Body> {
    let text = |index| row.get::<_, String>(index);
    Ok(match Kind(row.get(4)?) {
        Kind::LOST => Body::Lost(Lost {
            lost_kind: Kind(row.get(5)?),
            lost_count: row.get::<_, i64>(6)?.cast_unsigned(),
            lost_reason: text(7)?.into(),
        }),
        Kind::SENSOR_START => Body::SensorStart(SensorStart {
            source: text(8)?.into(),
            version: text(9)?.into(),
        }),
        Kind::SENSOR_STOP => Body::SensorStop(Box::new(SensorStop {
            source: text(8)?.into(),
            version: text(9)?.into(),
            account: serde_json::from_str(&text(10)?).map_err(wrong)?,
        })),
        other => return Err(RowError::Wrong(format!("{other} is no kind of a mark"))),
    })
}

fn user_id(row: &Row<'_>) -> Result<Option<UserId>> {
    use rusqlite::types::ValueRef;
    Ok(match row.get_ref(6)? {
        ValueRef::Null => None,
        ValueRef::Text(_) => Some(UserId::Sid(row.get(6)?)),
        _ => Some(UserId::Uid(row.get(6)?)),
    })
}

/// What stands between the arguments of a command: no keyboard types it and no shell passes it on.
pub(super) const SEPARATOR: char = '\u{1f}';

/// Command line and arguments of a command.
fn parts_of(command: &Text) -> (Text, Arguments) {
    let command_line = command.shown().replace(SEPARATOR, " ");
    let arguments = command.shown().split(SEPARATOR).map(Text::from).collect();
    (Text::from(&*command_line), arguments)
}

fn remember<T>(known: &mut HashMap<i64, T>, id: i64, value: T) {
    if known.len() >= REMEMBERED_MAX {
        known.clear();
    }
    known.insert(id, value);
}

fn dangling(what: &str, id: i64) -> RowError {
    RowError::Wrong(format!("{what} {id} is referred to and not there"))
}

fn wrong(error: impl std::fmt::Display) -> RowError {
    RowError::Wrong(error.to_string())
}
