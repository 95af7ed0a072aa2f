//! Texts, processes, programs and images as the small numbers that stand for them in a segment.

use std::sync::LazyLock;

use event::ProcessKey;
use foldhash::HashMap;
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Result, params_from_iter};

use super::cells::Cells;
use super::layout::{Column, shared_tables};
use super::recent::Recent;
use super::row::SharedRow;
use super::rows::SEPARATOR;
use super::same::Same;
use super::table::{Incoming, Numbered};
use crate::trail::{Event, ImageLoad, Parent, Setting, Text, json};

/// Bytes of texts that are remembered; what is forgotten is found again in the segment.
const TEXTS_SIZE_MAX: usize = 4 << 20;

/// What a text weighs beside its bytes: its entry in the map.
const TEXT_OVERHEAD: usize = 48;

/// Bytes of command lines that are remembered with their commands. They mostly share their memory with
/// the events and the agent's caches.
const LINES_SIZE_MAX: usize = 1 << 20;

/// Processes, programs and images that are remembered, each.
const COUNT_MAX: usize = 16_384;

/// Texts of one hash that are compared at most. More come only from somebody who makes them on
/// purpose; each of his further texts is then stored anew.
const CHAIN_COUNT_MAX: usize = 8;

/// A field that many events in a row have one and the same text in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Repeated {
    ProcessImage,
    ParentImage,
    ParentLine,
    Cgroup,
    Directory,
}

impl Repeated {
    const COUNT: usize = 5;

    /// The field with that name, where it is one of them.
    #[inline]
    pub(super) fn of(name: &str) -> Option<Self> {
        if name == ImageLoad::process_image.name {
            Some(Self::ProcessImage)
        } else if name == Parent::parent_image.name {
            Some(Self::ParentImage)
        } else if name == Parent::parent_command_line.name {
            Some(Self::ParentLine)
        } else if name == Setting::cgroup.name {
            Some(Self::Cgroup)
        } else if name == Setting::working_directory.name {
            Some(Self::Directory)
        } else {
            None
        }
    }
}

/// What has a number already, and what gets one.
#[derive(Debug)]
pub(super) struct Known {
    texts: Recent<Box<[u8]>, i64>,
    strings: Waiting,
    same: Same,
    /// The text that was asked for last of each field whose texts come again and again.
    last: [Option<(Text, i64)>; Repeated::COUNT],
    /// Commands of more than one argument, by their command lines.
    lines: Recent<Text, i64>,
    processes: Recent<(Option<u32>, Option<ProcessKey>), i64>,
    process: Waiting,
    /// Rows of the shared tables, in the order of those.
    shared: Vec<(SharedRows, Waiting)>,
    /// Loads of each image since they were added to its row.
    load_counts: HashMap<i64, i64>,
    buffer: Vec<u8>,
}

/// The numbers of rows of a shared table.
type SharedRows = Recent<Box<[i64]>, i64>;

/// Rows that are not in their table yet. They are remembered, so nobody looks for them there.
#[derive(Debug)]
struct Waiting {
    rows: Numbered,
    /// The generation of those that are remembered when the rows were written last for its sake.
    generation: u64,
}

impl Waiting {
    fn new(table: &'static str, columns: Vec<&'static str>) -> Self {
        Self {
            rows: Numbered::new(table, columns),
            generation: 0,
        }
    }

    fn add(
        &mut self,
        statements: &Statements<'_>,
        fill_fn: impl FnOnce(&mut Cells),
    ) -> Result<i64> {
        let number = self.rows.add(fill_fn);
        if self.rows.is_full() {
            self.flush(statements)?;
        }
        Ok(number)
    }

    /// Before something is looked for in the table: what may be forgotten by now must be there.
    fn settle(&mut self, statements: &Statements<'_>, generation: u64) -> Result<()> {
        if self.generation != generation {
            self.flush(statements)?;
            self.generation = generation;
        }
        Ok(())
    }

    fn flush(&mut self, statements: &Statements<'_>) -> Result<()> {
        self.rows.flush(statements.connection, statements.incoming)
    }
}

/// How the tables are asked and written, for a batch.
pub(super) struct Statements<'c> {
    pub(super) connection: &'c Connection,
    pub(super) incoming: &'c Incoming,
    /// Made ready when they are needed, which they are not while a segment is new.
    find_text: Option<CachedStatement<'c>>,
    find_process: Option<CachedStatement<'c>>,
}

impl<'c> Statements<'c> {
    pub(super) const fn new(connection: &'c Connection, incoming: &'c Incoming) -> Self {
        Self {
            connection,
            incoming,
            find_text: None,
            find_process: None,
        }
    }

    fn find_text(&mut self, bytes: &[u8], shown: &str, raw: Option<&[u8]>) -> Result<Option<i64>> {
        let sql = "SELECT id, text, raw FROM strings WHERE hash = ?1";
        let find = match &mut self.find_text {
            Some(find) => find,
            none => none.insert(self.connection.prepare_cached(sql)?),
        };
        find_text(find, hash(bytes), shown, raw)
    }

    fn find_process(&mut self, process_id: Option<u32>, key: &str) -> Result<Option<i64>> {
        let sql = "SELECT id FROM process WHERE process_key = ?1 AND process_id IS ?2";
        let find = match &mut self.find_process {
            Some(find) => find,
            none => none.insert(self.connection.prepare_cached(sql)?),
        };
        let found = find.query_row((key, process_id), |row| row.get(0));
        found.optional()
    }
}

impl Known {
    /// `is_new` says that the segment has no rows yet. Until something is forgotten, what is not
    /// remembered need not be looked for there.
    pub(super) fn new(is_new: bool) -> Self {
        Self {
            texts: Recent::new(TEXTS_SIZE_MAX, is_new),
            strings: Waiting::new("strings", vec!["hash", "text", "raw"]),
            same: Same::new(),
            last: Default::default(),
            lines: Recent::new(LINES_SIZE_MAX, is_new),
            processes: Recent::new(COUNT_MAX, is_new),
            process: Waiting::new("process", vec!["process_id", "process_key"]),
            shared: SHARED_SQL
                .iter()
                .map(|table| {
                    let waiting = Waiting::new(table.name, table.names.clone());
                    (Recent::new(COUNT_MAX, is_new), waiting)
                })
                .collect(),
            load_counts: HashMap::default(),
            buffer: Vec::new(),
        }
    }

    /// Goes on with what a segment has.
    pub(super) fn resume(connection: &Connection) -> Result<Self> {
        let mut known = Self::new(false);
        for waiting in known.waiting() {
            waiting.rows.resume(connection)?;
        }
        Ok(known)
    }

    /// The columns of each table that rows wait for.
    pub(super) fn widths(&self) -> impl Iterator<Item = usize> {
        let shared = self.shared.iter().map(|(_, waiting)| waiting);
        let waiting = [&self.strings, &self.process].into_iter().chain(shared);
        waiting.map(|waiting| waiting.rows.width())
    }

    /// Writes the rows that wait.
    pub(super) fn flush(&mut self, statements: &Statements<'_>) -> Result<()> {
        self.waiting()
            .try_for_each(|waiting| waiting.flush(statements))
    }

    fn waiting(&mut self) -> impl Iterator<Item = &mut Waiting> {
        let shared = self.shared.iter_mut().map(|(_, waiting)| waiting);
        [&mut self.strings, &mut self.process]
            .into_iter()
            .chain(shared)
    }

    pub(super) fn text(&mut self, statements: &mut Statements<'_>, text: &Text) -> Result<i64> {
        if let Some(id) = self.same.text(text) {
            return Ok(id);
        }
        let id = self.bytes(statements, text.as_bytes(), text.shown(), text.raw())?;
        self.same.learn_text(text, id);
        Ok(id)
    }

    /// The number of a field's text that mostly is the one before.
    pub(super) fn repeated(
        &mut self,
        statements: &mut Statements<'_>,
        field: Repeated,
        text: &Text,
    ) -> Result<i64> {
        let last = self.last.get(field as usize).and_then(Option::as_ref);
        if let Some((last, id)) = last
            && last.is_one_with(text)
        {
            return Ok(*id);
        }
        let id = match field {
            Repeated::ParentLine => self.line(statements, text)?,
            _ => self.text(statements, text)?,
        };
        if let Some(last) = self.last.get_mut(field as usize) {
            *last = Some((text.clone(), id));
        }
        Ok(id)
    }

    pub(super) fn str(&mut self, statements: &mut Statements<'_>, text: &str) -> Result<i64> {
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
        let found = if self.texts.is_whole() {
            None
        } else {
            self.strings.settle(statements, self.texts.generation())?;
            statements.find_text(bytes, shown, raw)?
        };
        let id = match found {
            Some(id) => id,
            None => self.strings.add(statements, |row| {
                row.push_number(Some(hash(bytes)));
                row.push(ValueRef::Text(shown.as_bytes()));
                row.push(raw.map_or(ValueRef::Null, ValueRef::Blob));
            })?,
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
            Some(key) if !self.processes.is_whole() => {
                let generation = self.processes.generation();
                self.process.settle(statements, generation)?;
                statements.find_process(process_id, key)?
            }
            _ => None,
        };
        let id = match found {
            Some(id) => id,
            None => self.process.add(statements, |row| {
                row.push_number(process_id.map(i64::from));
                row.push(key.map_or(ValueRef::Null, |key| ValueRef::Text(key.as_bytes())));
            })?,
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

    /// The number of a row of a shared table; its cells are those of `own`, behind them `notes` where
    /// the table has them.
    pub(super) fn shared(
        &mut self,
        statements: &mut Statements<'_>,
        (name, own): (&'static str, &[Column]),
        row: &SharedRow,
    ) -> Result<i64> {
        let mut tables = SHARED_SQL.iter().zip(&mut self.shared);
        let Some((table, (known, waiting))) = tables.find(|(table, _)| table.name == name) else {
            return Err(rusqlite::Error::InvalidParameterName(name.to_owned()));
        };
        // Kinds that share a table may have other fields of it; what one lacks is NULL.
        let whole: SharedRow;
        let row = if own.len() == table.columns.len() {
            row
        } else {
            whole = whole_row(table.columns, own, row);
            &whole
        };
        if let Some(id) = known.get(row.key(), 1) {
            return Ok(id);
        }
        let found = if known.is_whole() {
            None
        } else {
            waiting.settle(statements, known.generation())?;
            let mut find = statements.connection.prepare_cached(&table.find)?;
            find.query_row(params_from_iter(row.cells()), |row| row.get(0))
                .optional()?
        };
        let id = match found {
            Some(id) => id,
            None => waiting.add(statements, |cells| {
                row.cells().for_each(|cell| cells.push_number(cell));
                if table.counts_loads {
                    cells.push_number(Some(0));
                }
            })?,
        };
        known.insert(row.key().into(), id, 1);
        Ok(id)
    }

    /// Counts a load of the image with that number.
    pub(super) fn count_load(&mut self, image: i64) {
        let mut tables = SHARED_SQL.iter().zip(&mut self.shared);
        let images = tables.find(|(table, _)| table.counts_loads);
        if images.is_some_and(|(_, (_, waiting))| waiting.rows.count_up(image)) {
            return;
        }
        *self.load_counts.entry(image).or_default() += 1;
    }

    /// The command of a process: its arguments with the separator between them, where both command
    /// line and arguments can be had from that again.
    pub(super) fn command(
        &mut self,
        statements: &mut Statements<'_>,
        command_line: &Text,
        arguments: &[Text],
    ) -> Result<Option<i64>> {
        if let Some(id) = self.same.command(command_line, arguments) {
            return Ok(Some(id));
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let id = match command_of(command_line, arguments, &mut buffer) {
            Some(command) => Some(self.str(statements, command)?),
            None => None,
        };
        if let Some(id) = id
            && arguments.len() > 1
            && self
                .lines
                .get(command_line, line_weight(command_line))
                .is_none()
        {
            let weight = line_weight(command_line);
            self.lines.insert(command_line.clone(), id, weight);
        }
        self.buffer = buffer;
        if let Some(id) = id {
            self.same.learn_command(command_line, arguments, id);
        }
        Ok(id)
    }

    /// The command line of another process. It mostly stands there as that one's command: then it is
    /// the number of that, below zero.
    fn line(&mut self, statements: &mut Statements<'_>, line: &Text) -> Result<i64> {
        match self.lines.get(line, line_weight(line)) {
            Some(command) => Ok(-command),
            None => self.text(statements, line),
        }
    }

    /// A list of texts as a JSON object, their bytes with them where they are no Unicode.
    pub(super) fn texts(&mut self, statements: &mut Statements<'_>, texts: &[Text]) -> Result<i64> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        json::write_arguments(texts, &mut buffer);
        let id = self.json(statements, &buffer)?;
        self.buffer = buffer;
        Ok(id)
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
        let says_nothing =
            event.truncated.is_empty() && event.missing.is_empty() && event.further.is_empty();
        if says_nothing && event.kept_by.is_none() && !event.body.has_noted() {
            return Ok(None);
        }
        if let Some(id) = self.same.notes(event) {
            return Ok(Some(id));
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        json::write_notes(event, &mut buffer);
        let id = self.json(statements, &buffer)?;
        self.buffer = buffer;
        self.same.learn_notes(event, id);
        Ok(Some(id))
    }

    /// Adds the loads counted since to the images' rows.
    pub(super) fn add_load_counts(&mut self, connection: &Connection) -> Result<()> {
        if self.load_counts.is_empty() {
            return Ok(());
        }
        let sql = "UPDATE image SET load_count = load_count + ?2 WHERE id = ?1";
        let mut update = connection.prepare_cached(sql)?;
        for (image, count) in self.load_counts.drain() {
            update.execute((image, count))?;
        }
        Ok(())
    }
}

fn line_weight(line: &Text) -> usize {
    line.size().saturating_add(TEXT_OVERHEAD)
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

/// A row of all `columns` of a table, made of one of those of `own` and what stands behind them.
fn whole_row(columns: &[Column], own: &[Column], row: &SharedRow) -> SharedRow {
    let cells: Vec<Option<i64>> = row.cells().collect();
    let mut whole = SharedRow::new();
    for column in columns {
        let index = own.iter().position(|own| own.name == column.name);
        whole.push(index.and_then(|index| cells.get(index).copied().flatten()));
    }
    for cell in cells.get(own.len()..).unwrap_or_default() {
        whole.push(*cell);
    }
    whole
}

/// A shared table with its statements, made once.
struct SharedSql {
    name: &'static str,
    columns: &'static [Column],
    /// The columns that it is filled by.
    names: Vec<&'static str>,
    /// Whether its last column counts the loads.
    counts_loads: bool,
    find: String,
}

static SHARED_SQL: LazyLock<Vec<SharedSql>> = LazyLock::new(|| {
    let tables = shared_tables().iter().map(|(name, columns)| {
        let mut names: Vec<&'static str> = columns.iter().map(|column| &*column.name).collect();
        let counts_loads = *name == "image";
        names.extend(counts_loads.then_some("notes"));
        let conditions: Vec<_> = names.iter().map(|name| format!("{name} IS ?")).collect();
        let find = format!("SELECT id FROM {name} WHERE {}", conditions.join(" AND "));
        names.extend(counts_loads.then_some("load_count"));
        SharedSql {
            name,
            columns,
            names,
            counts_loads,
            find,
        }
    });
    tables.collect()
});

/// The arguments with the separator between them, where both command line and arguments can be had
/// from that again: the usual case.
fn command_of<'b>(
    command_line: &Text,
    arguments: &[Text],
    buffer: &'b mut Vec<u8>,
) -> Option<&'b str> {
    // What looks like the separator's escape would be taken for it by the view.
    let mut rest = command_line.shown();
    if command_line.raw().is_some() || rest.contains(SEPARATOR) || rest.contains(r"\u001f") {
        return None;
    }
    for (index, argument) in arguments.iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(' ')?;
            buffer.push(u8::try_from(SEPARATOR).ok()?);
        }
        if argument.raw().is_some() {
            return None;
        }
        rest = rest.strip_prefix(argument.shown())?;
        buffer.extend_from_slice(argument.as_bytes());
    }
    // No argument and one empty argument look the same.
    if arguments.is_empty() || !rest.is_empty() {
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
