//! One segment as a file: how SQLite is asked for it, and whether it is one we can read.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{Guard, ReadError, VERSION};
use crate::trail::Time;

/// `SyTr`, in the header of every segment: what `file` and others tell databases apart by.
pub(super) const APPLICATION_ID: i32 = 0x5379_5472;

/// How long a reader waits for a writer: it has to only while a segment is closed.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The tables that have events, with times.
pub(super) const EVENT_TABLES: [&str; 7] = [
    "process_start",
    "process_exec",
    "process_exit",
    "thread_start",
    "thread_exit",
    "image_load",
    "mark",
];

/// The tables that events refer to.
const DIMENSIONS: [&str; 7] = [
    "meta",
    "stretch",
    "strings",
    "process",
    "program",
    "image",
    "process_carried",
];

/// Opens a segment for reading alone and makes sure that it is one.
pub(super) fn open(path: &Path) -> Result<Connection, ReadError> {
    let connection = connect(path)?;
    check(&connection, "main", path)?;
    Ok(connection)
}

/// The same, bounded from the first byte that is read.
pub(super) fn open_bounded(path: &Path, guard: &Guard) -> Result<Connection, ReadError> {
    let mut connection = connect(path)?;
    guard
        .bound(&mut connection)
        .map_err(|source| ReadError::Sqlite {
            path: path.to_path_buf(),
            source,
        })?;
    check(&connection, "main", path)?;
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

/// Whether the database attached as `schema` is a segment of a version we know.
pub(super) fn check(connection: &Connection, schema: &str, path: &Path) -> Result<(), ReadError> {
    let sqlite_error = |source| ReadError::Sqlite {
        path: path.to_path_buf(),
        source,
    };
    let number = |name: &str| {
        connection
            .query_row(&format!("PRAGMA {schema}.{name}"), [], |row| row.get(0))
            .map_err(sqlite_error)
    };
    let application_id: i64 = number("application_id")?;
    let version: i64 = number("user_version")?;
    if application_id == 0 && version == 0 && is_blank(connection, schema).map_err(sqlite_error)? {
        return Err(ReadError::Blank {
            path: path.to_path_buf(),
        });
    }
    if application_id != i64::from(APPLICATION_ID) || version < 1 {
        return Err(ReadError::NotASegment {
            path: path.to_path_buf(),
        });
    }
    if version > i64::from(VERSION) {
        return Err(ReadError::Newer {
            path: path.to_path_buf(),
            version: u32::try_from(version).unwrap_or(u32::MAX),
        });
    }
    if !has_tables(connection, schema).map_err(sqlite_error)? {
        return Err(ReadError::NotASegment {
            path: path.to_path_buf(),
        });
    }
    Ok(())
}

/// Whether every table that is read is a table. A view in its place could be made to never end.
fn has_tables(connection: &Connection, schema: &str) -> rusqlite::Result<bool> {
    let mut found = connection.prepare(&format!(
        "SELECT 1 FROM {schema}.sqlite_master WHERE type = 'table' AND name = ?1"
    ))?;
    for table in EVENT_TABLES.iter().chain(&DIMENSIONS) {
        if !found.exists([table])? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_blank(connection: &Connection, schema: &str) -> rusqlite::Result<bool> {
    let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {schema}.sqlite_master)");
    connection.query_row(&sql, [], |row| row.get(0))
}

/// The first and the last time of an event in the database attached as `schema`.
pub(super) fn times(
    connection: &Connection,
    schema: &str,
) -> rusqlite::Result<Option<(Time, Time)>> {
    let mut span: Option<(i64, i64)> = None;
    for table in EVENT_TABLES {
        // Two questions, because SQLite takes only one end from an index at a time.
        let end = |which: &str| -> rusqlite::Result<Option<i64>> {
            let sql = format!("SELECT {which}(time) FROM {schema}.{table}");
            connection.query_row(&sql, [], |row| row.get(0))
        };
        if let (Some(first), Some(last)) = (end("min")?, end("max")?) {
            let (known_first, known_last) = span.unwrap_or((first, last));
            span = Some((known_first.min(first), known_last.max(last)));
        }
    }
    Ok(span.map(|(first, last)| (Time(first), Time(last))))
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
