//! Writes one segment: events in, rows out, a transaction at a time.
//!
//! Whatever goes wrong, the segment is as the last commit left it; the writer is then of no more
//! use, for it remembers numbers that were taken back, and is to be opened anew.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use event::Kind;
use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Result, params_from_iter};

use super::intern::{Known, Statements};
use super::layout::{self, MARK};
use super::live::{Live, Process};
use super::row::{Cells, MarkWriter};
use super::segment::{APPLICATION_ID, Shape};
use super::table::{Incoming, Table};
use super::{ReadError, VERSION, directory, time_ranges, views};
use crate::trail::schema::Declared as _;
use crate::trail::{Body, Event, Origin, Time};

/// Bytes of pages SQLite keeps in memory for the writer.
const CACHE_SIZE_KIB: u32 = 16 * 1024;

/// Bytes the write-ahead log keeps when it begins anew; a larger file has that much to copy.
pub const WAL_SIZE: u64 = 8 << 20;

/// How long the writer waits where another holds the segment; nobody but the retention thread does.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// A segment that is written.
#[derive(Debug)]
pub struct Writer {
    connection: Connection,
    path: PathBuf,
    incoming: Incoming,
    known: Known,
    /// A table a kind, in the order of [`layout::tables`].
    tables: Vec<Table>,
    next_id: i64,
    /// Bytes of a page, which stay what they are.
    page_size: u64,
    /// The times of the events that no row of `time_range` tells of yet.
    times: time_ranges::Open,
    /// The stretch that is written; `None` when the next event begins one.
    stretch: Option<Stretch>,
}

/// What the next event must have to belong to the same stretch.
#[derive(Debug)]
struct Stretch {
    origin: Arc<Origin>,
    next_sequence: u64,
}

/// Why a segment cannot be opened for writing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be made.
    #[error("segment {}: {source}", path.display())]
    Io {
        /// The segment.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is none, or SQLite refuses.
    #[error(transparent)]
    Segment(#[from] ReadError),
}

impl OpenError {
    /// Whether it is the disk, which may have room again, or another who holds the segment.
    pub fn may_pass(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DiskFull, ReadOnly};
        let Self::Segment(ReadError::Sqlite { source, .. }) = self else {
            return false;
        };
        matches!(
            source.sqlite_error_code(),
            Some(DiskFull | DatabaseBusy | ReadOnly)
        )
    }
}

impl Writer {
    /// Begins a segment with what is known of the processes that run.
    pub fn create(
        directory: &Path,
        now: Time,
        live: &Live,
    ) -> std::result::Result<Self, OpenError> {
        let path = directory.join(directory::name_at(now));
        create_file(&path).map_err(|source| OpenError::Io {
            path: path.clone(),
            source,
        })?;
        let connection = open_file(&path)?;
        let mut writer = Self::new(connection, &path)?;
        let begun = writer.initialise(now, live);
        begun.map_err(|source| ReadError::Sqlite { path, source })?;
        Ok(writer)
    }

    /// Goes on with a segment that was not ended; `None` when it is ended or of another version.
    pub fn resume(
        path: &Path,
        now: Time,
        live: &Live,
    ) -> std::result::Result<Option<Self>, ReadError> {
        let sqlite_error = |source| ReadError::Sqlite {
            path: path.to_path_buf(),
            source,
        };
        let connection = open_file(path)?;
        let shape = match Shape::read(&connection, "main", path) {
            Ok(shape) => shape,
            Err(ReadError::Blank { .. }) => {
                let mut writer = Self::new(connection, path)?;
                writer.initialise(now, live).map_err(sqlite_error)?;
                return Ok(Some(writer));
            }
            Err(error) => return Err(error),
        };
        let is_ended: bool = connection
            .query_row("SELECT count(*) FROM meta WHERE name = 'end'", [], |row| {
                row.get(0)
            })
            .map_err(sqlite_error)?;
        if is_ended || !shape.is_present() {
            return Ok(None);
        }
        let mut writer = Self::new(connection, path)?;
        writer.known = Known::resume(&writer.connection).map_err(sqlite_error)?;
        writer.next_id = writer.last_id().map_err(sqlite_error)?.saturating_add(1);
        writer.times =
            time_ranges::Open::resume(&writer.connection, &shape).map_err(sqlite_error)?;
        Ok(Some(writer))
    }

    fn new(connection: Connection, path: &Path) -> std::result::Result<Self, ReadError> {
        connection.set_prepared_statement_cache_capacity(64);
        let tables = layout::tables().iter();
        let tables: Vec<_> = tables
            .map(|(_, table)| Table::new(table.name, table.columns()))
            .collect();
        let known = Known::new(true);
        let widths = tables.iter().map(Table::width).chain(known.widths());
        let width = widths.max().unwrap_or(0);
        let sqlite_error = |source| ReadError::Sqlite {
            path: path.to_path_buf(),
            source,
        };
        let incoming = Incoming::new(&connection, width).map_err(sqlite_error)?;
        let page_size: u32 = connection
            .query_row("PRAGMA page_size", [], |row| row.get(0))
            .map_err(sqlite_error)?;
        Ok(Self {
            connection,
            path: path.to_path_buf(),
            incoming,
            known,
            tables,
            next_id: 1,
            page_size: page_size.into(),
            times: time_ranges::Open::default(),
            stretch: None,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the segment, those still in its write-ahead log included.
    pub fn size(&self) -> Result<u64> {
        let mut ask = self.connection.prepare_cached("PRAGMA page_count")?;
        let page_count: u32 = ask.query_row([], |row| row.get(0))?;
        Ok(u64::from(page_count).saturating_mul(self.page_size))
    }

    /// Bytes of its write-ahead log.
    pub fn wal_size(&self) -> u64 {
        let wal = directory::beside(&self.path, "-wal");
        std::fs::metadata(wal).map_or(0, |metadata| metadata.len())
    }

    /// Begins a transaction, which [`commit`](Self::commit) ends and dropping the writer undoes.
    pub fn begin(&mut self) -> Result<()> {
        self.connection
            .prepare_cached("BEGIN IMMEDIATE")?
            .execute([])?;
        Ok(())
    }

    /// Ends the transaction: other connections see what it wrote from now on.
    pub fn commit(&mut self) -> Result<()> {
        self.known.add_load_counts(&self.connection)?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// Writes events, in order; each goes to `written_fn` when it is. `run_began` is when their run
    /// did.
    pub fn write<'e>(
        &mut self,
        events: impl Iterator<Item = &'e Event>,
        live: &mut Live,
        mut written_fn: impl FnMut(&Event),
    ) -> Result<()> {
        let mut batch = Batch {
            tables: &mut self.tables,
            statements: Statements::new(&self.connection, &self.incoming),
            known: &mut self.known,
            cells: Cells::default(),
        };
        for event in events {
            live.learn(event);
            let id = self.next_id;
            let follows = matches!(
                &self.stretch,
                Some(stretch) if stretch.next_sequence == event.sequence
                    && (Arc::ptr_eq(&stretch.origin, &event.origin)
                        || stretch.origin == event.origin)
            );
            if !follows || matches!(event.body, Body::SensorStart(_)) {
                let run_began = live.run_began().unwrap_or(event.time);
                begin_stretch(&self.connection, id, event, run_began)?;
            }
            self.stretch = Some(Stretch {
                origin: Arc::clone(&event.origin),
                next_sequence: event.sequence.wrapping_add(1),
            });
            batch.write(id, event)?;
            self.times.add(&self.connection, id, event.time)?;
            self.next_id = id.saturating_add(1);
            written_fn(event);
        }
        batch.finish()
    }

    /// Ends the segment: nobody will go on with it.
    pub fn end(mut self, now: Time) -> Result<()> {
        let last_id = self.next_id.saturating_sub(1);
        self.times.end(&self.connection, last_id)?;
        let sql = "INSERT OR REPLACE INTO meta(name, value) VALUES ('end', ?1)";
        self.connection.execute(sql, [now.0]).map(drop)
    }

    /// Copies what is committed from the write-ahead log to the database, as far as no reader still
    /// needs the old state.
    pub fn checkpoint(&self) -> Result<()> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_row| Ok(()))
    }

    fn initialise(&mut self, now: Time, live: &Live) -> Result<()> {
        let transaction = self.connection.transaction()?;
        transaction.execute_batch(&layout::create_tables())?;
        transaction.execute_batch(&views::of_segment())?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        let mut add = transaction.prepare("INSERT INTO meta(name, value) VALUES (?1, ?2)")?;
        add.execute(("begin", now.0))?;
        add.execute(("host", &*crate::sys::host::name()))?;
        add.execute(("agent_version", crate::VERSION))?;
        if let Ok(boot_id) = crate::sys::host::boot_id() {
            let boot_id = format!("{:032x}", u128::from_be_bytes(boot_id));
            add.execute(("boot_id", boot_id))?;
        }
        drop(add);
        let statements = Statements::new(&transaction, &self.incoming);
        carry(statements, &mut self.known, live)?;
        transaction.commit()
    }

    fn last_id(&self) -> Result<i64> {
        let mut last = 0;
        for table in layout::event_tables() {
            let sql = format!("SELECT coalesce(max(id), 0) FROM {table}");
            last = last.max(self.connection.query_row(&sql, [], |row| row.get(0))?);
        }
        Ok(last)
    }
}

/// SQLite would create it too, readable by everybody; command lines can hold secrets. Its helper
/// files get the permissions of this one.
fn create_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path).map(drop)
}

fn open_file(path: &Path) -> std::result::Result<Connection, ReadError> {
    let open = || -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // Closing must not wait for the disk; the retention thread copies what is left.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        if mode != "wal" {
            // Changing the mode is a write to the first page alone. Its rollback journal, left
            // behind by a kill, would keep readers out until somebody writes.
            connection.pragma_update(None, "journal_mode", "MEMORY")?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
        }
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", WAL_SIZE.cast_signed())?;
        connection.pragma_update(None, "cache_size", -i64::from(CACHE_SIZE_KIB))?;
        Ok(connection)
    };
    open().map_err(|source| ReadError::Sqlite {
        path: path.to_path_buf(),
        source,
    })
}

fn begin_stretch(connection: &Connection, id: i64, event: &Event, run_began: Time) -> Result<()> {
    let sql = "INSERT INTO stretch(first_id, sequence_offset, host, host_id, run, run_began) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let offset = event.sequence.cast_signed().wrapping_sub(id);
    let origin = &event.origin;
    let run = origin.run.map(u64::cast_signed);
    let values = (
        id,
        offset,
        &*origin.host,
        origin.host_id.as_deref(),
        run,
        run_began.0,
    );
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// Writes down what is known of each process that runs.
fn carry(mut statements: Statements<'_>, known: &mut Known, live: &Live) -> Result<()> {
    let columns = layout::carried_columns();
    let places = vec!["?"; columns.len()].join(", ");
    let columns = columns.join(", ");
    let sql = format!("INSERT OR REPLACE INTO process_carried({columns}) VALUES ({places})");
    let mut add = statements.connection.prepare_cached(&sql)?;
    let mut cells = Cells::default();
    let start = layout::table_of(Kind::PROCESS_START).and_then(|table| table.shared.as_ref());
    let Some((program, program_columns)) = start else {
        return Ok(());
    };
    for process in live.processes() {
        let Process { start, .. } = process;
        let id = known.process(&mut statements, process.id, process.key)?;
        cells.fill(known, &mut statements, process.id, |writer| {
            start.visit(writer);
        })?;
        let begin = [
            Some(id),
            process.time.map(|time| time.0),
            known.maybe_process(&mut statements, cells.parent)?,
            Some(known.shared(&mut statements, (*program, program_columns), &cells.shared)?),
        ];
        let exec_time = process.exec_time.map(|time| time.0);
        let end = [
            Some(process.exec_count),
            exec_time,
            Some(process.run_began.0),
        ];
        let row = begin.iter().chain(&cells.own).chain(&end);
        add.execute(params_from_iter(row))?;
    }
    known.flush(&statements)
}

/// Events on their way into the tables.
struct Batch<'w> {
    tables: &'w mut [Table],
    statements: Statements<'w>,
    known: &'w mut Known,
    cells: Cells,
}

impl Batch<'_> {
    fn write(&mut self, id: i64, event: &Event) -> Result<()> {
        let process =
            self.known
                .process(&mut self.statements, event.process_id, event.process_key)?;
        let notes = self.known.notes(&mut self.statements, event)?;
        let kind = event.body.kind();
        let mut tables = layout::tables().iter().zip(&mut *self.tables);
        let Some(((_, layout), table)) = tables.find(|((of, _), _)| *of == kind) else {
            return self.mark((id, event.time.0, process), event, notes);
        };
        self.cells.fill(
            self.known,
            &mut self.statements,
            event.process_id,
            |writer| event.body.visit(writer),
        )?;
        let parent = if layout.has_parent {
            let parent = self.cells.parent;
            Some(self.known.maybe_process(&mut self.statements, parent)?)
        } else {
            None
        };
        let shares_notes = layout.shares_notes();
        let shared = match &layout.shared {
            None => None,
            Some((name, columns)) => {
                if shares_notes {
                    self.cells.shared.push(notes);
                }
                let id = self.known.shared(
                    &mut self.statements,
                    (*name, columns),
                    &self.cells.shared,
                )?;
                if kind == Kind::IMAGE_LOAD {
                    self.known.count_load(id);
                }
                Some(Some(id))
            }
        };
        let own = &self.cells.own;
        table.add(|row| {
            row.push_numbers(&[Some(id), Some(event.time.0), Some(process)]);
            row.push_numbers(parent.as_slice());
            row.push_numbers(shared.as_slice());
            row.push_numbers(own);
            if !shares_notes {
                row.push_number(notes);
            }
        });
        if table.is_full() {
            table.flush(self.statements.connection, self.statements.incoming)?;
        }
        Ok(())
    }

    /// Events about the recording itself are rare and have texts in their rows.
    fn mark(
        &mut self,
        (id, time, process): (i64, i64, i64),
        event: &Event,
        notes: Option<i64>,
    ) -> Result<()> {
        let mut writer = MarkWriter::new();
        event.body.visit(&mut writer);
        let kind = i64::from(event.body.kind().0);
        let common = [id, time, process, kind].map(Value::Integer);
        let notes = notes.map_or(Value::Null, Value::Integer);
        let row = common.into_iter().chain(writer.cells).chain([notes]);
        let mut add = self.statements.connection.prepare_cached(mark_sql())?;
        add.execute(params_from_iter(row)).map(drop)
    }

    fn finish(self) -> Result<()> {
        let Statements {
            connection,
            incoming,
            ..
        } = self.statements;
        for table in self.tables {
            table.flush(connection, incoming)?;
        }
        self.known.flush(&self.statements)
    }
}

fn mark_sql() -> &'static str {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        let own = layout::mark_columns().iter().map(|column| &*column.name);
        let mut columns = vec!["id", "time", "process", "kind"];
        columns.extend(own);
        columns.push("notes");
        let places = vec!["?"; columns.len()].join(", ");
        format!(
            "INSERT INTO {MARK}({}) VALUES ({places})",
            columns.join(", ")
        )
    });
    &SQL
}
