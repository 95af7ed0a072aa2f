//! SQL over the store for people and programs: reading alone, bounded in time, memory and disk.
//!
//! The store's reader brings the views and the fence around them (`store/guard.rs`); here the time
//! bounds are put under the views, errors get a cure, and rows are written (`query/output.rs`).
//! Whatever the query is, nothing but the segments is read and nothing is changed.

pub mod editing;
mod examples;
mod output;
mod regexp;
mod text_times;

use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::{Batch, Connection, ErrorCode};

pub use self::examples::{EXAMPLES, Example};
#[cfg(feature = "web")]
pub(crate) use self::output::text as text_of;
pub use self::output::{Format, Output, Taker};
use self::text_times::Odd;
use crate::moment;
use crate::store::{Guard, ReadError, Reader, Stopped, Window, code_of, views};
use crate::suggestion;
use crate::tree::stored;

/// The longest query.
pub const SQL_SIZE_MAX: usize = 1 << 20;

/// Why a query gave no rows, or not all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not SQL, or names what is not there.
    #[error("{message}{hint}")]
    Sql {
        /// What SQLite says.
        message: String,
        /// What is meant most likely; empty where nobody knows.
        hint: String,
    },
    /// It would do something else than read.
    #[error("a query can only read: {0}")]
    NotReading(String),
    /// There is none, or there are several.
    #[error("{0}")]
    NotOne(&'static str),
    /// It was stopped.
    #[error("{0}")]
    Stopped(Stopped),
    /// The rows could not be written.
    #[error("writing the rows: {0}")]
    Output(#[from] io::Error),
    /// The store cannot be read on.
    #[error("the store cannot be read: {0}")]
    Store(rusqlite::Error),
}

impl Error {
    /// Whether the query itself is at fault.
    pub const fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Sql { .. } | Self::NotReading(_) | Self::NotOne(_)
        )
    }
}

/// A store that is open for queries.
#[derive(Debug)]
pub struct Query {
    reader: Reader,
}

impl Query {
    /// Opens the store's segments of that window. The views have what was in the window alone.
    pub fn open(directory: &Path, window: &Window, guard: &Guard) -> Result<Self, ReadError> {
        let mut reader = stored::open_unfenced(directory, window, guard)?;
        regexp::add(reader.connection())
            .and_then(|()| bound(reader.connection(), window))
            .and_then(|()| reader.fence())
            .map_err(|source| ReadError::Sqlite {
                path: directory.to_path_buf(),
                source,
            })?;
        Ok(Self { reader })
    }

    /// The segments that are asked, and those that are not.
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Asks, and hands over the rows; says how many. What was handed over before an error stays so.
    pub fn run(&self, sql: &str, taker: &mut dyn Taker) -> Result<u64, Error> {
        if sql.len() > SQL_SIZE_MAX {
            return Err(Error::NotOne("the query is longer than a megabyte"));
        }
        let guard = self.reader.guard();
        guard.begin();
        let sql = text_times::with_numbers(sql, moment::now());
        let mut batch = Batch::new(self.reader.connection(), &sql);
        let first = batch.next().map_err(|error| self.explain(error))?;
        let Some(mut statement) = first.filter(|statement| statement.column_count() > 0) else {
            return Err(Error::NotOne("there is no query; write SELECT ..."));
        };
        if !statement.readonly() {
            return Err(Error::NotReading("it would write".to_owned()));
        }
        if batch.next().map_err(|error| self.explain(error))?.is_some() {
            return Err(Error::NotOne("several queries; ask one at a time"));
        }
        let columns = statement.column_names().map(str::to_owned);
        let columns: Vec<String> = columns.collect();
        taker.begin(&columns)?;
        let mut rows = statement.query([]).map_err(|error| self.explain(error))?;
        let mut count = 0;
        while let Some(row) = rows.next().map_err(|error| self.explain(error))? {
            let values = (0..columns.len()).map(|index| row.get_ref(index));
            let values: Result<Vec<_>, _> = values.collect();
            let values = values.map_err(Error::Store)?;
            count += 1;
            guard.pause();
            let wants = taker.row(&values)?;
            guard.resume(count);
            if wants.is_break() {
                break;
            }
        }
        guard.pause();
        taker.end()?;
        Ok(count)
    }

    /// What SQLite's error means here.
    fn explain(&self, error: rusqlite::Error) -> Error {
        if let Some(stopped) = self.reader.guard().stopped(&error) {
            return Error::Stopped(stopped);
        }
        let message = message_of(&error);
        match code_of(&error) {
            Some(ErrorCode::AuthorizationForStatementDenied | ErrorCode::ReadOnly) => {
                Error::NotReading(message)
            }
            // Everything that is wrong with a text is this one code.
            Some(ErrorCode::Unknown) => Error::Sql {
                hint: hint(&message),
                message,
            },
            _ => Error::Store(error),
        }
    }
}

/// What is to be said of a query that is answered, but most likely not as it is meant: a time that
/// is compared with a text that is none, or given to a function that takes seconds.
pub fn remark(sql: &str) -> Option<String> {
    let sql = text_times::with_numbers(sql, moment::now());
    Some(match text_times::find(&sql)? {
        Odd::Compared(column, text) => format!(
            "{column} is a number, nanoseconds since 1970, and less than every text: comparing it \
             with {text}, which is no time, is the same for all rows; write '2026-11-28T19:44:00Z', \
             '10m' (that long ago), or give --since and --until"
        ),
        Odd::Given(column, function) => format!(
            "{column} is in nanoseconds, of which {function}() makes NULL; give it {column}_text, \
             or {column} / 1000000000 with 'unixepoch'"
        ),
    })
}

/// What SQLite says, without the code and the query.
fn message_of(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

/// What other tools call our columns.
const SYNONYMS: [(&str, &str); 20] = [
    ("pid", "process_id"),
    ("tgid", "process_id"),
    ("ppid", "parent_process_id"),
    ("parent_pid", "parent_process_id"),
    ("tid", "thread_id"),
    ("cmd", "command_line"),
    ("cmdline", "command_line"),
    ("command", "command_line"),
    ("commandline", "command_line"),
    ("argv", "arguments"),
    ("exe", "image"),
    ("path", "image"),
    ("uid", "user_id"),
    ("sid", "user_id"),
    ("username", "user"),
    ("timestamp", "time"),
    ("ts", "time"),
    ("hostname", "host"),
    ("event_type", "kind"),
    ("duration", "run_time_ns"),
];

/// What is meant most likely, or where it is to be found.
fn hint(message: &str) -> String {
    let after = |prefix: &str| message.split_once(prefix).map(|(_, name)| name.trim());
    let names: Vec<&'static str> = views().iter().map(|view| view.name).collect();
    if let Some(table) = after("no such table: ") {
        return match suggestion::closest(&table.to_lowercase(), &names) {
            Some(near) => format!("; did you mean {near}?"),
            None => format!("; there are {}", names.join(", ")),
        };
    }
    if let Some(column) = after("no such column: ") {
        // `p.comand_line`, and SQLite's own remark about quotes.
        let column = column.split(' ').next().unwrap_or(column);
        let column = column.rsplit('.').next().unwrap_or(column).to_lowercase();
        if let Some((_, ours)) = SYNONYMS.iter().find(|(theirs, _)| *theirs == column) {
            return format!("; did you mean {ours}?");
        }
        let columns = views().iter().flat_map(|view| &view.columns);
        let columns: Vec<&'static str> = columns.map(|column| column.name).collect();
        return match suggestion::closest(&column, &columns) {
            Some(near) if near == column => {
                let views: Vec<&str> = views()
                    .iter()
                    .filter(|view| view.columns.iter().any(|known| known.name == near))
                    .map(|view| view.name)
                    .collect();
                format!("; it is a column of {}", views.join(", "))
            }
            Some(near) => format!("; did you mean {near}?"),
            None => "; systrail query --schema has the columns".to_owned(),
        };
    }
    if message.ends_with("syntax error") {
        return "; a query is SQL, such as SELECT * FROM events; more with systrail query --examples"
            .to_owned();
    }
    String::new()
}

/// Puts the window's bounds under the views, so that no query has to say them. Conditions go down
/// to the segments' indexes from there.
fn bound(connection: &Connection, window: &Window) -> rusqlite::Result<()> {
    if *window == Window::default() {
        return Ok(());
    }
    connection.execute_batch("PRAGMA query_only = OFF")?;
    for view in views() {
        let Some(condition) = condition(view.name, window) else {
            continue;
        };
        let name = view.name;
        let whole: String = connection.query_row(
            "SELECT sql FROM sqlite_temp_master WHERE type = 'view' AND name = ?1",
            [name],
            |row| row.get(0),
        )?;
        let Some((_, body)) = whole.split_once(" AS ") else {
            continue;
        };
        connection.execute_batch(&format!(
            "DROP VIEW temp.{name}; \
             CREATE TEMP VIEW {name} AS SELECT * FROM ({body}) WHERE {condition}"
        ))?;
    }
    connection.execute_batch("PRAGMA query_only = ON")
}

/// Which rows of a view are in the window; `None` where rows have no time.
fn condition(view: &str, window: &Window) -> Option<String> {
    let (begins, ends) = match view {
        "processes" | "threads" => ("start_time", "exit_time"),
        "image_totals" | "kind_totals" => return None,
        _ => ("time", "time"),
    };
    // What has no end was there to the end, what has no beginning from the beginning.
    let or_null = if begins == ends { "" } else { " IS NOT FALSE" };
    let since = window
        .since
        .map(|since| format!("({ends} >= {}){or_null}", since.0));
    let until = window
        .until
        .map(|until| format!("({begins} < {}){or_null}", until.0));
    let conditions: Vec<String> = since.into_iter().chain(until).collect();
    Some(conditions.join(" AND "))
}

/// How long a query may take when nobody says: longer than any that is meant to be waited for, and
/// not for ever.
pub const TIMEOUT: Duration = Duration::from_mins(5);
