//! Texts, processes, programs and images as the small numbers that stand for them in a segment.

use event::ProcessKey;
use foldhash::HashMap;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Params, Result, ToSql};

use super::recent::Recent;
use super::rows::SEPARATOR;
use crate::trail::{Event, ImageLoad, Program, Text, UserId, json};

/// Bytes of texts that are remembered; what is forgotten is found again in the segment.
const TEXTS_SIZE_MAX: usize = 4 << 20;

/// What a text weighs beside its bytes: its entry in the map.
const TEXT_OVERHEAD: usize = 48;

/// Processes, programs and images that are remembered, each.
const COUNT_MAX: usize = 16_384;

/// Texts of one hash that are compared at most. More come only from somebody who makes them on
/// purpose; each of his further texts is then stored anew.
const CHAIN_COUNT_MAX: usize = 8;

/// What has a number already, and the statements that look for it and add to it.
#[derive(Debug)]
pub(super) struct Known {
    texts: Recent<Box<[u8]>, i64>,
    processes: Recent<(Option<u32>, Option<ProcessKey>), i64>,
    programs: Recent<ProgramRow, i64>,
    images: Recent<ImageRow, i64>,
    /// Loads of each image since they were added to its row.
    load_counts: HashMap<i64, i64>,
    buffer: Vec<u8>,
}

/// A row of `program`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ProgramRow {
    image: Option<i64>,
    command: Option<i64>,
    user: Option<i64>,
    user_id: Option<UserId>,
    script: Option<i64>,
    image_deleted: bool,
    command_line: Option<i64>,
    arguments: Option<i64>,
}

/// A row of `image`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ImageRow {
    image: Option<i64>,
    image_size: i64,
    image_deleted: bool,
    kernel_image: bool,
    existing: bool,
    notes: Option<i64>,
}

/// The statements, made ready once a batch.
pub(super) struct Statements<'c> {
    connection: &'c Connection,
    find_text: CachedStatement<'c>,
    add_text: CachedStatement<'c>,
    find_process: CachedStatement<'c>,
    add_process: CachedStatement<'c>,
}

impl<'c> Statements<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> Result<Self> {
        let prepare = |sql| connection.prepare_cached(sql);
        Ok(Self {
            connection,
            find_text: prepare("SELECT id, text, raw FROM strings WHERE hash = ?1")?,
            add_text: prepare("INSERT INTO strings(hash, text, raw) VALUES (?1, ?2, ?3)")?,
            find_process: prepare(
                "SELECT id FROM process WHERE process_key = ?1 AND process_id IS ?2",
            )?,
            add_process: prepare("INSERT INTO process(process_id, process_key) VALUES (?1, ?2)")?,
        })
    }
}

impl Known {
    /// `is_new` says that the segment has no rows yet. Until something is forgotten, what is not
    /// remembered need not be looked for there.
    pub(super) fn new(is_new: bool) -> Self {
        Self {
            texts: Recent::new(TEXTS_SIZE_MAX, is_new),
            processes: Recent::new(COUNT_MAX, is_new),
            programs: Recent::new(COUNT_MAX, is_new),
            images: Recent::new(COUNT_MAX, is_new),
            load_counts: HashMap::default(),
            buffer: Vec::new(),
        }
    }

    pub(super) fn maybe_text(
        &mut self,
        statements: &mut Statements<'_>,
        text: Option<&Text>,
    ) -> Result<Option<i64>> {
        text.map(|text| self.text(statements, text)).transpose()
    }

    fn text(&mut self, statements: &mut Statements<'_>, text: &Text) -> Result<i64> {
        self.bytes(statements, text.as_bytes(), text.shown(), text.raw())
    }

    fn str(&mut self, statements: &mut Statements<'_>, text: &str) -> Result<i64> {
        self.bytes(statements, text.as_bytes(), text, None)
    }

    fn bytes(
        &mut self,
        statements: &mut Statements<'_>,
        bytes: &[u8],
        shown: &str,
        raw: Option<&[u8]>,
    ) -> Result<i64> {
        let weight = bytes.len().saturating_add(TEXT_OVERHEAD);
        if let Some(id) = self.texts.get(bytes, weight) {
            return Ok(id);
        }
        let hash = hash(bytes);
        let found = if self.texts.is_whole() {
            None
        } else {
            find_text(&mut statements.find_text, hash, shown, raw)?
        };
        let id = match found {
            Some(id) => id,
            None => statements.add_text.insert((hash, shown, raw))?,
        };
        self.texts.insert(bytes.into(), id, weight);
        Ok(id)
    }

    /// The number of a process; `None` when neither its id nor its key is known.
    pub(super) fn maybe_process(
        &mut self,
        statements: &mut Statements<'_>,
        process: (Option<u32>, Option<ProcessKey>),
    ) -> Result<Option<i64>> {
        if process == (None, None) {
            return Ok(None);
        }
        if let Some(id) = self.processes.get(&process, 1) {
            return Ok(Some(id));
        }
        let (process_id, process_key) = process;
        let digits = process_key.map(|key| json::hex_digits(key.0));
        let key = digits
            .as_ref()
            .and_then(|digits| str::from_utf8(digits).ok());
        // What has no key is no process by itself, only somebody's parent, and need not be found.
        let found = match key {
            Some(key) if !self.processes.is_whole() => statements
                .find_process
                .query_row((key, process_id), |row| row.get(0))
                .optional()?,
            _ => None,
        };
        let id = match found {
            Some(id) => id,
            None => statements.add_process.insert((process_id, key))?,
        };
        self.processes.insert(process, id, 1);
        Ok(Some(id))
    }

    pub(super) fn process(
        &mut self,
        statements: &mut Statements<'_>,
        process_id: u32,
        process_key: ProcessKey,
    ) -> Result<i64> {
        let process = self.maybe_process(statements, (Some(process_id), Some(process_key)))?;
        // An id and a key are there, so there is a number.
        Ok(process.unwrap_or(0))
    }

    pub(super) fn program(
        &mut self,
        statements: &mut Statements<'_>,
        program: &Program,
    ) -> Result<i64> {
        let row = self.program_row(statements, program)?;
        if let Some(id) = self.programs.get(&row, 1) {
            return Ok(id);
        }
        let values = (
            row.image,
            row.command,
            row.user,
            &UserIdColumn(row.user_id.as_ref()),
            row.script,
            row.image_deleted,
            row.command_line,
            row.arguments,
        );
        let id = found_or_added(
            statements.connection,
            self.programs.is_whole(),
            "SELECT id FROM program WHERE image IS ?1 AND command IS ?2 AND user IS ?3 \
             AND user_id IS ?4 AND script IS ?5 AND image_deleted = ?6 \
             AND command_line IS ?7 AND arguments IS ?8",
            "INSERT INTO program(image, command, user, user_id, script, image_deleted, \
             command_line, arguments) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            values,
        )?;
        self.programs.insert(row, id, 1);
        Ok(id)
    }

    fn program_row(
        &mut self,
        statements: &mut Statements<'_>,
        program: &Program,
    ) -> Result<ProgramRow> {
        let mut row = ProgramRow {
            image: self.maybe_text(statements, program.image.as_ref())?,
            command: None,
            user: None,
            user_id: program.user_id.clone(),
            script: self.maybe_text(statements, program.script.as_ref())?,
            image_deleted: program.image_deleted,
            command_line: None,
            arguments: None,
        };
        if let Some(user) = &program.user {
            row.user = Some(self.str(statements, user)?);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        if let Some(command) = command_of(program, &mut buffer) {
            row.command = Some(self.str(statements, command)?);
        } else {
            row.command_line = self.maybe_text(statements, program.command_line.as_ref())?;
            buffer.clear();
            if let Some(arguments) = &program.arguments {
                json::write_arguments(arguments, &mut buffer);
                row.arguments = Some(self.json(statements, &buffer)?);
            }
        }
        self.buffer = buffer;
        Ok(row)
    }

    /// JSON of our own making, which is UTF-8.
    fn json(&mut self, statements: &mut Statements<'_>, json: &[u8]) -> Result<i64> {
        self.str(statements, &String::from_utf8_lossy(json))
    }

    /// What is to be said about the event's fields; `None` when nothing is.
    pub(super) fn notes(
        &mut self,
        statements: &mut Statements<'_>,
        event: &Event,
    ) -> Result<Option<i64>> {
        if event.truncated.is_empty() && event.missing.is_empty() {
            return Ok(None);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        json::write_notes(event, &mut buffer);
        let id = self.json(statements, &buffer)?;
        self.buffer = buffer;
        Ok(Some(id))
    }

    /// The number of the image a load maps, which is counted.
    pub(super) fn image(
        &mut self,
        statements: &mut Statements<'_>,
        load: &ImageLoad,
        notes: Option<i64>,
    ) -> Result<i64> {
        let row = ImageRow {
            image: self.maybe_text(statements, load.image.as_ref())?,
            image_size: load.image_size.cast_signed(),
            image_deleted: load.image_deleted,
            kernel_image: load.kernel_image,
            existing: load.existing,
            notes,
        };
        let id = match self.images.get(&row, 1) {
            Some(id) => id,
            None => self.add_image(statements, row)?,
        };
        *self.load_counts.entry(id).or_default() += 1;
        Ok(id)
    }

    fn add_image(&mut self, statements: &Statements<'_>, row: ImageRow) -> Result<i64> {
        let values = (
            row.image,
            row.image_size,
            row.image_deleted,
            row.kernel_image,
            row.existing,
            row.notes,
        );
        let id = found_or_added(
            statements.connection,
            self.images.is_whole(),
            "SELECT id FROM image WHERE image IS ?1 AND image_size = ?2 \
             AND image_deleted = ?3 AND kernel_image = ?4 AND existing = ?5 AND notes IS ?6",
            "INSERT INTO image(image, image_size, image_deleted, kernel_image, existing, \
             notes, load_count) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)",
            values,
        )?;
        self.images.insert(row, id, 1);
        Ok(id)
    }

    /// Adds the loads counted since to the images' rows.
    pub(super) fn add_load_counts(&mut self, connection: &Connection) -> Result<()> {
        let sql = "UPDATE image SET load_count = load_count + ?2 WHERE id = ?1";
        let mut update = connection.prepare_cached(sql)?;
        for (image, count) in self.load_counts.drain() {
            update.execute((image, count))?;
        }
        Ok(())
    }
}

fn find_text(
    statement: &mut CachedStatement<'_>,
    hash: i64,
    shown: &str,
    raw: Option<&[u8]>,
) -> Result<Option<i64>> {
    let mut rows = statement.query([hash])?;
    for _ in 0..CHAIN_COUNT_MAX {
        let Some(row) = rows.next()? else { break };
        let is_same = match (row.get_ref(1)?, row.get_ref(2)?) {
            (ValueRef::Text(_), ValueRef::Blob(found)) => raw == Some(found),
            (ValueRef::Text(found), _) => raw.is_none() && found == shown.as_bytes(),
            _ => false,
        };
        if is_same {
            return row.get(0).map(Some);
        }
    }
    Ok(None)
}

/// The row that `find` finds for these values, or that `add` adds. It is not looked for where it
/// `is_new`.
fn found_or_added(
    connection: &Connection,
    is_new: bool,
    find: &str,
    add: &str,
    values: impl Params + Copy,
) -> Result<i64> {
    let found = if is_new {
        None
    } else {
        connection
            .prepare_cached(find)?
            .query_row(values, |row| row.get(0))
            .optional()?
    };
    match found {
        Some(id) => Ok(id),
        None => connection.prepare_cached(add)?.insert(values),
    }
}

/// The arguments with the separator between them, where both command line and arguments can be had
/// from that again: the usual case.
fn command_of<'b>(program: &Program, buffer: &'b mut Vec<u8>) -> Option<&'b str> {
    let arguments = program.arguments.as_ref()?;
    let command_line = program.command_line.as_ref()?.shown();
    let separator = u8::try_from(SEPARATOR).ok()?;
    for (index, argument) in arguments.iter().enumerate() {
        if argument.raw().is_some() || argument.shown().contains(SEPARATOR) {
            return None;
        }
        if index > 0 {
            buffer.push(separator);
        }
        buffer.extend_from_slice(argument.as_bytes());
    }
    let is_joined = buffer.len() == command_line.len()
        && buffer
            .iter()
            .zip(command_line.bytes())
            .all(|(joined, byte)| *joined == byte || *joined == separator && byte == b' ');
    // No argument and one empty argument look the same; and what looks like the separator's escape
    // would be taken for it by the view.
    if !is_joined || arguments.is_empty() || command_line.contains(r"\u001f") {
        return None;
    }
    str::from_utf8(buffer).ok()
}

/// 64-bit FNV-1a, which any program can compute that wants to look a text up.
fn hash(bytes: &[u8]) -> i64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    bytes.iter().fold(OFFSET, add).cast_signed()
}

/// A user id as the column has it: a number or a text.
struct UserIdColumn<'a>(Option<&'a UserId>);

impl ToSql for UserIdColumn<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        match self.0 {
            None => Ok(ToSqlOutput::Borrowed(ValueRef::Null)),
            Some(UserId::Uid(uid)) => uid.to_sql(),
            Some(UserId::Sid(sid)) => (**sid).to_sql(),
        }
    }
}
