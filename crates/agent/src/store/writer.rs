//! Writes one segment: events in, rows out, a transaction at a time.
//!
//! Whatever goes wrong, the segment is as the last commit left it; the writer is then of no more
//! use, for it remembers numbers that were taken back, and is to be opened anew.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, OpenFlags, Result};

use super::intern::{Known, Statements};
use super::live::{Live, Process};
use super::segment::{APPLICATION_ID, EVENT_TABLES};
use super::table::Table;
use super::{ReadError, VERSION, directory, segment, views};
use crate::trail::{
    Body, Event, ImageLoad, Lost, ProcessExit, ProcessStart, Program, SensorStop, ThreadStart, Time,
};

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
    known: Known,
    next_id: i64,
    /// The stretch that is written; `None` when the next event begins one.
    stretch: Option<Stretch>,
}

/// What the next event must have to belong to the same stretch.
#[derive(Debug)]
struct Stretch {
    host: Arc<str>,
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
        let mut writer = Self::new(connection, &path, true);
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
        match segment::check(&connection, "main", path) {
            Ok(()) => {}
            Err(ReadError::Blank { .. }) => {
                let mut writer = Self::new(connection, path, true);
                writer.initialise(now, live).map_err(sqlite_error)?;
                return Ok(Some(writer));
            }
            Err(error) => return Err(error),
        }
        let version: u32 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(sqlite_error)?;
        let is_ended: bool = connection
            .query_row("SELECT count(*) FROM meta WHERE name = 'end'", [], |row| {
                row.get(0)
            })
            .map_err(sqlite_error)?;
        if is_ended || version != VERSION {
            return Ok(None);
        }
        let mut writer = Self::new(connection, path, false);
        writer.next_id = writer.last_id().map_err(sqlite_error)?.saturating_add(1);
        Ok(Some(writer))
    }

    fn new(connection: Connection, path: &Path, is_new: bool) -> Self {
        connection.set_prepared_statement_cache_capacity(64);
        Self {
            connection,
            path: path.to_path_buf(),
            known: Known::new(is_new),
            next_id: 1,
            stretch: None,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the segment, those still in its write-ahead log included.
    pub fn size(&self) -> Result<u64> {
        let pragma = |name: &str| -> Result<u32> {
            self.connection
                .prepare_cached(&format!("PRAGMA {name}"))?
                .query_row([], |row| row.get(0))
        };
        Ok(u64::from(pragma("page_count")?).saturating_mul(pragma("page_size")?.into()))
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
            tables: Tables::new(&self.connection)?,
            statements: Statements::prepare(&self.connection)?,
            known: &mut self.known,
        };
        for event in events {
            live.learn(event);
            let id = self.next_id;
            let follows = matches!(
                &self.stretch,
                Some(stretch) if stretch.next_sequence == event.sequence
                    && *stretch.host == *event.origin.host
            );
            if !follows || matches!(event.body, Body::SensorStart(_)) {
                let run_began = live.run_began().unwrap_or(event.time);
                begin_stretch(&self.connection, id, event, run_began)?;
            }
            self.stretch = Some(Stretch {
                host: Arc::clone(&event.origin.host),
                next_sequence: event.sequence.wrapping_add(1),
            });
            batch.write(id, event)?;
            self.next_id = id.saturating_add(1);
            written_fn(event);
        }
        batch.tables.finish()
    }

    /// Ends the segment: nobody will go on with it.
    pub fn end(self, now: Time) -> Result<()> {
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
        transaction.execute_batch(include_str!("schema.sql"))?;
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
        carry(&transaction, &mut self.known, live)?;
        transaction.commit()
    }

    fn last_id(&self) -> Result<i64> {
        let mut last = 0;
        for table in EVENT_TABLES {
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
    let sql = "INSERT INTO stretch(first_id, sequence_offset, host, run_began) \
               VALUES (?1, ?2, ?3, ?4)";
    let offset = event.sequence.cast_signed().wrapping_sub(id);
    let values = (id, offset, &*event.origin.host, run_began.0);
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// Writes down what is known of each process that runs.
fn carry(connection: &Connection, known: &mut Known, live: &Live) -> Result<()> {
    let mut statements = Statements::prepare(connection)?;
    let mut add = connection.prepare_cached(
        "INSERT OR REPLACE INTO process_carried(process, time, parent, program, \
         creator_process_id, creator_thread_id, session_id, existing, exec_count, exec_time, \
         run_began) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for process in live.processes() {
        let Process { start, .. } = process;
        let id = known.process(&mut statements, process.id, process.key)?;
        let parent = (start.parent_process_id, start.parent_process_key);
        add.execute((
            id,
            process.time.map(|time| time.0),
            known.maybe_process(&mut statements, parent)?,
            known.program(&mut statements, &start.program)?,
            start.creator_process_id,
            start.creator_thread_id,
            start.session_id,
            start.existing,
            process.exec_count,
            process.exec_time.map(|time| time.0),
            process.run_began.0,
        ))?;
    }
    Ok(())
}

/// Events on their way into the tables.
struct Batch<'w> {
    tables: Tables<'w>,
    statements: Statements<'w>,
    known: &'w mut Known,
}

/// The tables of events. A mark is a row with texts, and rare.
struct Tables<'c> {
    process_start: Table<'c, 10>,
    process_exec: Table<'c, 5>,
    process_exit: Table<'c, 9>,
    thread_start: Table<'c, 9>,
    thread_exit: Table<'c, 5>,
    image_load: Table<'c, 5>,
    mark: CachedStatement<'c>,
}

impl<'c> Tables<'c> {
    fn new(connection: &'c Connection) -> Result<Self> {
        Ok(Self {
            process_start: Table::new(connection, "process_start"),
            process_exec: Table::new(connection, "process_exec"),
            process_exit: Table::new(connection, "process_exit"),
            thread_start: Table::new(connection, "thread_start"),
            thread_exit: Table::new(connection, "thread_exit"),
            image_load: Table::new(connection, "image_load"),
            mark: connection.prepare_cached(
                "INSERT INTO mark VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?,
        })
    }

    fn finish(self) -> Result<()> {
        self.process_start.finish()?;
        self.process_exec.finish()?;
        self.process_exit.finish()?;
        self.thread_start.finish()?;
        self.thread_exit.finish()?;
        self.image_load.finish()
    }
}

/// What every row of an event begins with: id, time, process.
type Common = (i64, i64, i64);

impl Batch<'_> {
    fn write(&mut self, id: i64, event: &Event) -> Result<()> {
        let process =
            self.known
                .process(&mut self.statements, event.process_id, event.process_key)?;
        let notes = self.known.notes(&mut self.statements, event)?;
        let common = (id, event.time.0, process);
        match &event.body {
            Body::ProcessStart(start) => self.process_start(common, start, notes),
            Body::ProcessExec(exec) => self.process_exec(common, &exec.program, notes),
            Body::ProcessExit(exit) => self.process_exit(common, exit, notes),
            Body::ThreadStart(start) => self.thread_start(common, event.process_id, start, notes),
            Body::ThreadExit(exit) => {
                let (id, time, process) = common;
                let thread_id = Some(exit.thread_id.into());
                let row = [Some(id), Some(time), Some(process), thread_id, notes];
                self.tables.thread_exit.add(row)
            }
            Body::ImageLoad(load) => self.image_load(common, load, notes),
            Body::Lost(lost) => self.lost(common, event, lost, notes),
            Body::SensorStart(start) => {
                self.sensor(common, event, (&start.source, &start.version, None), notes)
            }
            Body::SensorStop(stop) => self.sensor_stop(common, event, stop, notes),
        }
    }

    fn process_start(
        &mut self,
        (id, time, process): Common,
        start: &ProcessStart,
        notes: Option<i64>,
    ) -> Result<()> {
        let parent = (start.parent_process_id, start.parent_process_key);
        let row = [
            Some(id),
            Some(time),
            Some(process),
            self.known.maybe_process(&mut self.statements, parent)?,
            Some(self.known.program(&mut self.statements, &start.program)?),
            start.creator_process_id.map(i64::from),
            start.creator_thread_id.map(i64::from),
            start.session_id.map(i64::from),
            Some(start.existing.into()),
            notes,
        ];
        self.tables.process_start.add(row)
    }

    fn process_exec(
        &mut self,
        (id, time, process): Common,
        program: &Program,
        notes: Option<i64>,
    ) -> Result<()> {
        let program = self.known.program(&mut self.statements, program)?;
        let row = [Some(id), Some(time), Some(process), Some(program), notes];
        self.tables.process_exec.add(row)
    }

    fn process_exit(
        &mut self,
        (id, time, process): Common,
        exit: &ProcessExit,
        notes: Option<i64>,
    ) -> Result<()> {
        let image = self
            .known
            .maybe_text(&mut self.statements, exit.image.as_ref())?;
        let row = [
            Some(id),
            Some(time),
            Some(process),
            exit.exit_code.map(i64::from),
            exit.signal.map(i64::from),
            Some(exit.core_dumped.into()),
            image,
            exit.run_time_ns.map(u64::cast_signed),
            notes,
        ];
        self.tables.process_exit.add(row)
    }

    fn thread_start(
        &mut self,
        (id, time, process): Common,
        process_id: u32,
        start: &ThreadStart,
        notes: Option<i64>,
    ) -> Result<()> {
        let offset = |id: u32| i64::from(id) - i64::from(process_id);
        let row = [
            Some(id),
            Some(time),
            Some(process),
            Some(start.thread_id.into()),
            start.creator_process_id.map(offset),
            start.creator_thread_id.map(offset),
            Some(start.remote.into()),
            start.start_address.map(u64::cast_signed),
            notes,
        ];
        self.tables.thread_start.add(row)
    }

    fn image_load(
        &mut self,
        (id, time, process): Common,
        load: &ImageLoad,
        notes: Option<i64>,
    ) -> Result<()> {
        let image = self.known.image(&mut self.statements, load, notes)?;
        let image_base = load.image_base.cast_signed();
        let row = [
            Some(id),
            Some(time),
            Some(process),
            Some(image),
            Some(image_base),
        ];
        self.tables.image_load.add(row)
    }

    fn lost(
        &mut self,
        (id, time, process): Common,
        event: &Event,
        lost: &Lost,
        notes: Option<i64>,
    ) -> Result<()> {
        const NONE: Option<&str> = None;
        let kind = event.body.kind().0;
        let count = lost.lost_count.cast_signed();
        let (lost_kind, reason) = (lost.lost_kind.0, &*lost.lost_reason);
        let row = (
            id, time, process, kind, lost_kind, count, reason, NONE, NONE, NONE, notes,
        );
        self.tables.mark.execute(row).map(drop)
    }

    fn sensor_stop(
        &mut self,
        common: Common,
        event: &Event,
        stop: &SensorStop,
        notes: Option<i64>,
    ) -> Result<()> {
        let account = serde_json::to_string(&stop.account)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let sensor = (&*stop.source, &*stop.version, Some(&*account));
        self.sensor(common, event, sensor, notes)
    }

    fn sensor(
        &mut self,
        (id, time, process): Common,
        event: &Event,
        (source, version, account): (&str, &str, Option<&str>),
        notes: Option<i64>,
    ) -> Result<()> {
        const NONE: Option<i64> = None;
        let kind = event.body.kind().0;
        let row = (
            id, time, process, kind, NONE, NONE, NONE, source, version, account, notes,
        );
        self.tables.mark.execute(row).map(drop)
    }
}
