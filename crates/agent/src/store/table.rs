//! Rows on their way into a table of events, several with one statement.
//!
//! A statement opens the cursors of its table and of each index and closes them again, whatever it
//! inserts; rows that share it share that. And a cursor that is at the end of a tree already, where
//! most rows go, appends without a search.

use rusqlite::{CachedStatement, Connection, Result, params_from_iter};

/// Rows one statement inserts. With more, a statement takes longer to compile than a small trail
/// gains by it, and more rows of a small batch are left over.
const ROW_COUNT: usize = 8;

/// The statements that insert into a table, made once.
#[derive(Debug)]
pub(super) struct Inserts {
    column_count: usize,
    one: String,
    many: String,
}

impl Inserts {
    pub(super) fn new(table: &str, columns: &[&str]) -> Self {
        let row = format!("({})", vec!["?"; columns.len()].join(","));
        let into = format!("INSERT INTO {table}({}) VALUES", columns.join(","));
        Self {
            column_count: columns.len(),
            many: into.clone() + &[&*row; ROW_COUNT].join(","),
            one: into + &row,
        }
    }
}

/// A table of numbers, and its rows that are not inserted yet.
pub(super) struct Table<'c> {
    connection: &'c Connection,
    inserts: &'c Inserts,
    /// One row after the other.
    rows: Vec<Option<i64>>,
    /// Made ready when it is needed.
    insert_many: Option<CachedStatement<'c>>,
}

impl<'c> Table<'c> {
    pub(super) const fn new(connection: &'c Connection, inserts: &'c Inserts) -> Self {
        Self {
            connection,
            inserts,
            rows: Vec::new(),
            insert_many: None,
        }
    }

    /// Adds a row, which `fill_fn` appends, a cell a column; it is in the table after
    /// [`finish`](Self::finish) at the latest.
    pub(super) fn add(&mut self, fill_fn: impl FnOnce(&mut Vec<Option<i64>>)) -> Result<()> {
        fill_fn(&mut self.rows);
        debug_assert!(
            self.rows.len().is_multiple_of(self.inserts.column_count),
            "a row has a cell a column: {}",
            self.inserts.one
        );
        if self.rows.len() < ROW_COUNT * self.inserts.column_count {
            return Ok(());
        }
        let insert = match &mut self.insert_many {
            Some(insert) => insert,
            None => self
                .insert_many
                .insert(self.connection.prepare_cached(&self.inserts.many)?),
        };
        insert.execute(params_from_iter(&self.rows))?;
        self.rows.clear();
        Ok(())
    }

    /// Inserts the rows that are left.
    pub(super) fn finish(self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut insert = self.connection.prepare_cached(&self.inserts.one)?;
        for row in self.rows.chunks(self.inserts.column_count) {
            insert.execute(params_from_iter(row))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserts_every_row_however_many_there_are() {
        for count in [0, 1, ROW_COUNT - 1, ROW_COUNT, 2 * ROW_COUNT + 3] {
            let connection = Connection::open_in_memory().unwrap();
            connection
                .execute_batch("CREATE TABLE t(other, time, id)")
                .unwrap();
            let inserts = Inserts::new("t", &["id", "time"]);
            let mut table = Table::new(&connection, &inserts);
            let ids = 0..i64::try_from(count).unwrap();
            for id in ids.clone() {
                table.add(|row| row.extend([Some(id), Some(-id)])).unwrap();
            }
            table.finish().unwrap();
            let mut read = connection.prepare("SELECT id, time FROM t").unwrap();
            let rows = read.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
            let rows: Vec<(i64, i64)> = rows.unwrap().map(Result::unwrap).collect();
            assert_eq!(rows, ids.map(|id| (id, -id)).collect::<Vec<_>>());
        }
    }
}
