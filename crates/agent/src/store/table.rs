//! Rows on their way into a table, all of a batch with one statement.
//!
//! A statement of SQLite has to be compiled for each number of rows that it inserts, its cells are
//! bound one by one, and it opens and closes the cursors of its table and indexes, whatever it inserts.
//! So the rows wait in memory, and SQLite reads them from there, as a virtual table. A cursor that is at
//! the end of a tree already, where most rows go, appends without a search.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::ValueRef;
use rusqlite::vtab::IndexInfo;
use rusqlite::{Connection, Error, Result};

use super::cells::Cells;
use super::virtual_table::{self, AsIs};

/// Rows that wait at most.
const ROW_COUNT_MAX: usize = 4_096;

/// Bytes of texts that wait at most, and one text more.
const SIZE_MAX: usize = 1 << 20;

/// Rows that room is made for at first, and that there must be before what is the same in all of them
/// is taken to stay so.
const ROW_COUNT_FEW: usize = 16;

/// Where SQLite finds the rows that it inserts.
const INCOMING: &str = "incoming";

/// The virtual table that rows come from: those of one table at a time.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    rows: Arc<Mutex<Cells>>,
    /// Columns it has: SQLite looks at each of them for each statement that it compiles.
    column_count: usize,
}

impl Incoming {
    /// One that is as wide as the widest table, which the connection of a writer knows.
    pub(super) fn new(connection: &Connection, column_count: usize) -> Result<Self> {
        let incoming = Self {
            rows: Arc::default(),
            column_count,
        };
        virtual_table::add(connection, INCOMING, incoming.clone())?;
        Ok(incoming)
    }

    /// Runs a statement that reads these rows.
    fn lend<R>(&self, rows: &mut Cells, run_fn: impl FnOnce() -> R) -> R {
        self.swap(rows);
        let ran = run_fn();
        self.swap(rows);
        ran
    }

    fn swap(&self, rows: &mut Cells) {
        let mut here = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *here, rows);
    }
}

impl virtual_table::Table for Incoming {
    type Cursor = Reader;

    fn declaration(&self) -> String {
        let columns: Vec<_> = (0..self.column_count).map(column).collect();
        format!("CREATE TABLE it({})", columns.join(", "))
    }

    fn plan(&self, info: &mut IndexInfo) -> Result<bool> {
        info.set_estimated_cost(1.0);
        Ok(true)
    }

    fn cursor(self: &Arc<Self>) -> Reader {
        Reader {
            incoming: Self::clone(self),
            rows: Cells::default(),
            begin: 0,
        }
    }
}

fn column(number: usize) -> String {
    format!("c{number}")
}

/// Reads the rows, which it has to itself meanwhile.
pub(super) struct Reader {
    incoming: Incoming,
    rows: Cells,
    /// Where the row it is at begins.
    begin: usize,
}

impl virtual_table::Cursor for Reader {
    fn begin(
        &mut self,
        _plan: &str,
        _values: &mut dyn Iterator<Item = ValueRef<'_>>,
    ) -> Result<()> {
        if self.rows.width == 0 {
            self.incoming.swap(&mut self.rows);
        }
        self.begin = 0;
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.begin = self.begin.saturating_add(self.rows.width.max(1));
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.begin >= self.rows.cell_count()
    }

    fn cell(&self, column: usize) -> ValueRef<'_> {
        self.rows.at(self.begin.saturating_add(column))
    }
}

/// The rows go back to whom they are of.
impl Drop for Reader {
    fn drop(&mut self) {
        if self.rows.width > 0 {
            self.incoming.swap(&mut self.rows);
        }
    }
}

/// A table, and its rows that are not inserted yet.
#[derive(Debug)]
pub(super) struct Table {
    name: &'static str,
    /// The columns, each with that of the virtual table.
    columns: Vec<(&'static str, String)>,
    rows: Cells,
    /// The columns that ever had something in a row, a bit each. Most have nothing on a system, and what
    /// an `INSERT` does not name is NULL without being asked for.
    used: u64,
    /// The columns that have had one number in all rows of each batch, a bit each, once there was a
    /// batch to tell by. Such a number is bound once: a cell that SQLite fetches costs it ten times as
    /// much as one that it has.
    constant: Option<u64>,
    /// What inserts these columns.
    insert: String,
}

impl Table {
    pub(super) fn new(name: &'static str, columns: Vec<&'static str>) -> Self {
        Self {
            name,
            rows: Cells::of_width(columns.len()),
            columns: columns
                .into_iter()
                .enumerate()
                .map(|(n, name)| (name, column(n)))
                .collect(),
            used: 0,
            constant: None,
            insert: String::new(),
        }
    }

    /// Columns it has.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Adds a row, which `fill_fn` appends, a cell a column; it is in the table after
    /// [`flush`](Self::flush) at the latest.
    #[inline]
    pub(super) fn add(&mut self, fill_fn: impl FnOnce(&mut Cells)) {
        self.rows.expect(4 * ROW_COUNT_FEW);
        fill_fn(&mut self.rows);
        debug_assert!(
            self.rows.cell_count().is_multiple_of(self.columns.len()),
            "a row of {} has a cell a column",
            self.name
        );
        let used = self.used | self.rows.used_by_last();
        if used != self.used {
            self.used = used;
            self.insert.clear();
        }
    }

    /// Whether so many rows wait that they should be inserted.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.rows.count() >= ROW_COUNT_MAX || self.rows.size() >= SIZE_MAX
    }

    /// Rows that wait.
    pub(super) fn count(&self) -> usize {
        self.rows.count()
    }

    /// Inserts the rows that wait.
    pub(super) fn flush(&mut self, connection: &Connection, incoming: &Incoming) -> Result<()> {
        let count = self.rows.count();
        if count == 0 {
            return Ok(());
        }
        let constant = match self.constant {
            None if count < ROW_COUNT_FEW => None,
            // The last bit stands for several columns.
            None => Some(self.rows.same_in_all(self.used & !(1 << 63))),
            Some(constant) => Some(self.rows.same_in_all(constant)),
        };
        if constant != self.constant {
            self.constant = constant;
            self.insert.clear();
        }
        let constant = constant.unwrap_or(0);
        if self.insert.is_empty() {
            self.insert = insert(self.name, &self.columns, self.used, constant);
        }
        let mut insert = connection.prepare_cached(&self.insert)?;
        let constants = (0..self.columns.len()).filter(|column| is_in(constant, *column));
        for (place, column) in (1..).zip(constants) {
            insert.raw_bind_parameter(place, AsIs(self.rows.at(column)))?;
        }
        let inserted = incoming.lend(&mut self.rows, || insert.raw_execute())?;
        self.rows.clear();
        self.rows.shrink(SIZE_MAX);
        if inserted == count {
            Ok(())
        } else {
            Err(Error::StatementChangedRows(inserted))
        }
    }
}

/// Whether a column is among these.
fn is_in(columns: u64, column: usize) -> bool {
    columns >> column.min(63) & 1 == 1
}

/// What inserts those of the columns that are used; the constant ones are parameters. Whatever fails,
/// the transaction is given up, so nothing need be kept to undo a statement by itself.
fn insert(table: &str, columns: &[(&str, String)], used: u64, constant: u64) -> String {
    // A row without anything still names a column.
    let used = used.max(1);
    let mut names = format!("INSERT OR ROLLBACK INTO {table}(");
    let mut cells = String::with_capacity(512);
    let mut separator = "";
    for (n, (name, cell)) in columns.iter().enumerate() {
        if !is_in(used, n) {
            continue;
        }
        names.push_str(separator);
        names.push_str(name);
        cells.push_str(separator);
        cells.push_str(if is_in(constant, n) { "?" } else { cell });
        separator = ",";
    }
    names.push_str(") SELECT ");
    names.push_str(&cells);
    names.push_str(" FROM ");
    names.push_str(INCOMING);
    names
}

/// A table whose rows have the numbers from 1 on, and its rows that are not inserted yet.
#[derive(Debug)]
pub(super) struct Numbered {
    table: Table,
    /// The number of the next row.
    next: i64,
}

impl Numbered {
    pub(super) fn new(name: &'static str, columns: Vec<&'static str>) -> Self {
        Self {
            table: Table::new(name, columns),
            next: 1,
        }
    }

    /// Goes on behind the rows that are in the table.
    pub(super) fn resume(&mut self, connection: &Connection) -> Result<()> {
        let sql = format!("SELECT coalesce(max(id), 0) FROM {}", self.table.name);
        let last: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
        self.next = last.saturating_add(1);
        Ok(())
    }

    /// Adds a row and gives its number.
    #[inline]
    pub(super) fn add(&mut self, fill_fn: impl FnOnce(&mut Cells)) -> i64 {
        self.table.add(fill_fn);
        let number = self.next;
        self.next = number.saturating_add(1);
        number
    }

    /// See [`Table::width`].
    pub(super) fn width(&self) -> usize {
        self.table.width()
    }

    /// See [`Table::is_full`].
    pub(super) fn is_full(&self) -> bool {
        self.table.is_full()
    }

    /// Adds to the number in the last column of the row with that number, where it still waits.
    pub(super) fn count_up(&mut self, number: i64) -> bool {
        let behind = usize::try_from(self.next.saturating_sub(number)).ok();
        let rows = &mut self.table.rows;
        let index = behind.and_then(|behind| rows.count().checked_sub(behind));
        let place = rows.width.saturating_sub(1);
        index.is_some_and(|row| rows.count_up(row, place))
    }

    /// Inserts the rows that wait, which SQLite gives the numbers that are behind the last: those that
    /// were given here.
    pub(super) fn flush(&mut self, connection: &Connection, incoming: &Incoming) -> Result<()> {
        if self.table.count() == 0 {
            return Ok(());
        }
        self.table.flush(connection, incoming)?;
        let last = connection.last_insert_rowid();
        if last.checked_add(1) == Some(self.next) {
            Ok(())
        } else {
            Err(Error::StatementChangedRows(0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> (Connection, Incoming) {
        let connection = Connection::open_in_memory().unwrap();
        let incoming = Incoming::new(&connection, 4).unwrap();
        (connection, incoming)
    }

    #[test]
    fn inserts_every_row_however_many_there_are() {
        let (connection, incoming) = connection();
        let sql = "CREATE TABLE t(id INTEGER PRIMARY KEY, never, time, text)";
        connection.execute_batch(sql).unwrap();
        let mut table = Table::new("t", vec!["id", "never", "time", "text"]);
        let mut ids = 0..;
        for count in [0, 1, 7, 2_000] {
            for id in ids.by_ref().take(count) {
                table.add(|row| {
                    row.push_number(Some(id));
                    row.push_number(None);
                    row.push_number((id % 2 == 0).then_some(-id));
                    row.push(ValueRef::Text(id.to_string().as_bytes()));
                });
            }
            table.flush(&connection, &incoming).unwrap();
            assert_eq!(table.count(), 0);
        }
        assert!(!table.insert.contains("never"), "{}", table.insert);
        let mut read = connection
            .prepare("SELECT id, never, time, text FROM t")
            .unwrap();
        let rows = read.query_map([], |row| {
            let never: Option<i64> = row.get(1)?;
            assert_eq!(never, None);
            Ok((row.get(0)?, row.get(2)?, row.get(3)?))
        });
        let rows: Vec<(i64, Option<i64>, String)> = rows.unwrap().map(Result::unwrap).collect();
        let expected = (0..ids.start).map(|id| (id, (id % 2 == 0).then_some(-id), id.to_string()));
        assert_eq!(rows, expected.collect::<Vec<_>>());
    }

    /// What was the same in all rows of a batch may be another in the next, or not the same any more.
    #[test]
    fn what_was_constant_may_change() {
        let (connection, incoming) = connection();
        let sql = "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, c)";
        connection.execute_batch(sql).unwrap();
        let mut table = Table::new("t", vec!["id", "a", "b", "c"]);
        let mut expected = Vec::new();
        for batch in 0..6_i64 {
            for n in 0..20 {
                let a = (batch != 2).then_some(batch);
                let b = if batch < 3 { 5 } else { n };
                let c = (batch > 3).then_some(7);
                let id = batch * 100 + n;
                table.add(|row| row.push_numbers(&[Some(id), a, Some(b), c]));
                expected.push((id, a, Some(b), c));
            }
            table.flush(&connection, &incoming).unwrap();
        }
        assert!(table.insert.contains("SELECT c0,?,c2"), "{}", table.insert);
        let mut read = connection.prepare("SELECT * FROM t ORDER BY id").unwrap();
        let row_of =
            |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let rows = read.query_map([], row_of).unwrap();
        assert_eq!(rows.map(Result::unwrap).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_numbers_that_are_given_are_those_of_the_rows() {
        let (connection, incoming) = connection();
        let sql = "CREATE TABLE t(id INTEGER PRIMARY KEY, text, count)";
        connection.execute_batch(sql).unwrap();
        let mut given = Vec::new();
        for _resumed in 0..3 {
            let mut table = Numbered::new("t", vec!["text", "count"]);
            table.resume(&connection).unwrap();
            for flushed in 0..3_i64 {
                for n in 0..=flushed {
                    let text = format!("{flushed} {n}");
                    let number = table.add(|row| {
                        row.push(ValueRef::Text(text.as_bytes()));
                        row.push_number(Some(0));
                    });
                    given.push((number, text, n));
                    assert!((0..n).all(|_| table.count_up(number)));
                }
                table.flush(&connection, &incoming).unwrap();
                assert!(!table.count_up(1), "it does not wait any more");
            }
        }
        let mut read = connection.prepare("SELECT id, text, count FROM t").unwrap();
        let rows = read.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        assert_eq!(rows.unwrap().map(Result::unwrap).collect::<Vec<_>>(), given);
    }

    #[test]
    fn a_row_of_somebody_else_in_between_is_an_error() {
        let (connection, incoming) = connection();
        let sql = "CREATE TABLE t(id INTEGER PRIMARY KEY, text)";
        connection.execute_batch(sql).unwrap();
        let mut table = Numbered::new("t", vec!["text"]);
        table.add(|row| row.push(ValueRef::Text(b"ours")));
        connection
            .execute("INSERT INTO t(text) VALUES ('theirs')", [])
            .unwrap();
        assert!(table.flush(&connection, &incoming).is_err());
    }
}
