//! One segment as a file: how SQLite is asked for it, and whether it is one we can read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{Guard, ReadError, VERSION, layout};
use crate::quantity;

/// `SyTr`, in the header of every segment: what `file` and others tell databases apart by.
pub(super) const APPLICATION_ID: i32 = 0x5379_5472;

/// How long a reader waits for a writer: it has to only while a segment is closed.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens a segment for reading alone and makes sure that it is one.
pub(super) fn open(path: &Path) -> Result<(Connection, Shape), ReadError> {
    let connection = connect(path)?;
    let shape = Shape::read(&connection, "main", path)?;
    Ok((connection, shape))
}

/// The same, bounded from the first byte that is read.
pub(super) fn open_bounded(path: &Path, guard: &Guard) -> Result<(Connection, Shape), ReadError> {
    let connection = connect_bounded(path, guard)?;
    let shape = Shape::read(&connection, "main", path)?;
    Ok((connection, shape))
}

/// The same of one that was looked at before.
pub(super) fn connect_bounded(path: &Path, guard: &Guard) -> Result<Connection, ReadError> {
    let mut connection = connect(path)?;
    guard
        .bound(&mut connection)
        .map_err(|source| ReadError::Sqlite {
            path: path.to_path_buf(),
            source,
        })?;
    Ok(connection)
}

fn connect(path: &Path) -> Result<Connection, ReadError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let sqlite_error = |source| ReadError::Sqlite {
        path: path.to_path_buf(),
        source,
    };
    let connection = Connection::open_with_flags(uri(path), flags).map_err(sqlite_error)?;
    connection
        .busy_timeout(BUSY_TIMEOUT)
        .map_err(sqlite_error)?;
    connection
        .pragma_update(None, "trusted_schema", false)
        .map_err(sqlite_error)?;
    Ok(connection)
}

/// Tables without which nothing in a segment can be read.
const NEEDED: [&str; 4] = ["meta", "stretch", "strings", "process"];

/// Tables of a segment that are looked at, at most: ours, and as many of a later version.
const TABLE_COUNT_MAX: usize = 256;

/// Columns of a table that are looked at, at most: SQLite's own limit is 2,000.
const COLUMN_COUNT_MAX: usize = 512;

/// What a segment has of what a segment can have. Versions live together: what is later than a
/// segment is not in it, what is later than this systrail is passed over and said.
#[derive(Debug, Default)]
pub(super) struct Shape {
    version: u32,
    /// Its tables, each with its columns.
    tables: BTreeMap<String, Vec<String>>,
    /// Events of kinds that only a later version knows, by their table.
    unknown_events: Vec<(String, u64)>,
}

impl Shape {
    /// The shape of the database attached as `schema`, if it is a segment.
    pub(super) fn read(
        connection: &Connection,
        schema: &str,
        path: &Path,
    ) -> Result<Self, ReadError> {
        let sqlite_error = |source| ReadError::Sqlite {
            path: path.to_path_buf(),
            source,
        };
        let path_of = || path.to_path_buf();
        let number = |name: &str| {
            connection
                .query_row(&format!("PRAGMA {schema}.{name}"), [], |row| row.get(0))
                .map_err(sqlite_error)
        };
        let application_id: i64 = number("application_id")?;
        let version: i64 = number("user_version")?;
        let is_blank = || is_blank(connection, schema).map_err(sqlite_error);
        if application_id == 0 && version == 0 && is_blank()? {
            return Err(ReadError::Blank { path: path_of() });
        }
        if application_id != i64::from(APPLICATION_ID) || version < 1 {
            return Err(ReadError::NotASegment { path: path_of() });
        }
        let mut shape = Self {
            version: u32::try_from(version).unwrap_or(u32::MAX),
            tables: tables(connection, schema).map_err(sqlite_error)?,
            unknown_events: Vec::new(),
        };
        let mut needed = NEEDED.into_iter();
        if let Some(table) = needed.find(|table| !shape.has_table(table)) {
            return Err(ReadError::NoTable {
                path: path_of(),
                table: table.to_owned(),
            });
        }
        if shape.version > VERSION {
            shape.unknown_events = shape
                .count_unknown(connection, schema)
                .map_err(sqlite_error)?;
        }
        Ok(shape)
    }

    /// Whether the same can be asked of both.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.tables == other.tables
    }

    /// Whether the segment has this table.
    pub(super) fn has_table(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    /// Whether its table has this column.
    pub(super) fn has(&self, table: &str, column: &str) -> bool {
        let columns = self.tables.get(table);
        columns.is_some_and(|columns| columns.iter().any(|known| known == column))
    }

    /// The tables of events that it has.
    pub(super) fn event_tables(&self) -> impl Iterator<Item = &'static str> {
        layout::event_tables().filter(|table| self.has_table(table))
    }

    /// Whether it has every table and column that this version writes.
    pub(super) fn is_present(&self) -> bool {
        self.version == VERSION
            && layout::all_tables().all(|table| {
                let columns = layout::known_columns(table).unwrap_or_default();
                columns.iter().all(|(column, _)| self.has(table, column))
            })
    }

    /// What of it cannot be shown, in words; `None` where nothing is left out.
    pub(super) fn incomplete(&self) -> Option<String> {
        let mut parts = Vec::new();
        for (table, count) in &self.unknown_events {
            let events = quantity::show_count(*count, "event");
            parts.push(format!(
                "{events} of the kind {table}, which is a later version's"
            ));
        }
        let unknown = self.unknown_columns();
        if !unknown.is_empty() {
            parts.push(format!(
                "the fields {} of a later version",
                unknown.join(", ")
            ));
        }
        for table in layout::all_tables() {
            let Some(columns) = layout::known_columns(table) else {
                continue;
            };
            // A table is as old as its oldest column.
            let since = columns.iter().map(|(_, since)| *since).min();
            if !self.has_table(table) {
                if since.is_some_and(|since| since <= self.version) {
                    parts.push(format!("the table {table}, which is not there"));
                }
                continue;
            }
            for (column, since) in columns {
                if since <= self.version && !self.has(table, column) {
                    parts.push(format!("the column {table}.{column}, which is not there"));
                }
            }
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Columns of tables we know that only a later version has.
    fn unknown_columns(&self) -> Vec<&str> {
        let mut unknown = Vec::new();
        for (table, columns) in &self.tables {
            let Some(known) = layout::known_columns(table).filter(|_| self.version > VERSION)
            else {
                continue;
            };
            for column in columns {
                let is_known = known.iter().any(|(name, _)| name == column);
                if !is_known && !unknown.contains(&&**column) {
                    unknown.push(&**column);
                }
            }
        }
        unknown
    }

    /// The events in tables that only a later version knows.
    fn count_unknown(
        &self,
        connection: &Connection,
        schema: &str,
    ) -> rusqlite::Result<Vec<(String, u64)>> {
        let mut counts = Vec::new();
        for (table, columns) in &self.tables {
            let is_of_events = ["id", "time", "process"]
                .iter()
                .all(|name| columns.iter().any(|column| column == name));
            if layout::known_columns(table).is_some() || !is_of_events {
                continue;
            }
            let sql = format!("SELECT count(*) FROM {schema}.{}", quoted(table));
            let count: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
            if count > 0 {
                counts.push((table.clone(), count.unsigned_abs()));
            }
        }
        Ok(counts)
    }
}

/// Every table with its columns. Views are not among them: one in the place of a table could be made
/// to never end.
fn tables(
    connection: &Connection,
    schema: &str,
) -> rusqlite::Result<BTreeMap<String, Vec<String>>> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut names = connection.prepare(&format!(
        "SELECT name FROM {schema}.sqlite_master WHERE type = 'table' LIMIT {TABLE_COUNT_MAX}"
    ))?;
    let mut columns = connection.prepare(&format!(
        "SELECT name FROM pragma_table_info(?1, '{schema}') LIMIT {COLUMN_COUNT_MAX}"
    ))?;
    let mut rows = names.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let of_table = columns.query_map([&name], |row| row.get(0))?;
        tables.insert(name, of_table.collect::<rusqlite::Result<_>>()?);
    }
    Ok(tables)
}

/// A name from a file, as SQL takes it whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn is_blank(connection: &Connection, schema: &str) -> rusqlite::Result<bool> {
    let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {schema}.sqlite_master)");
    connection.query_row(&sql, [], |row| row.get(0))
}

/// The path as a URI that opens it for reading alone.
pub(super) fn uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            other => {
                let _infallible = write!(uri, "%{other:02x}");
            }
        }
    }
    uri.push_str("?mode=ro");
    uri
}
