//! Tables that SQLite reads through us: what SQLite wants of memory and pointers, and two safe
//! traits behind it (<https://sqlite.org/vtab.html>).
#![expect(
    unsafe_code,
    reason = "whoever implements rusqlite's traits promises SQLite a layout in memory"
)]

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;
use std::sync::Arc;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::vtab::{
    Context, Filters, IndexInfo, Module, VTab, VTabConfig, VTabConnection, VTabCursor,
    sqlite3_vtab, sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Error, Result};

/// A table that can be read.
pub(super) trait Table: Send + Sync + 'static {
    type Cursor: Cursor;

    /// Its `CREATE TABLE` statement, of which SQLite takes the columns.
    fn declaration(&self) -> String;

    /// Chooses what of a condition it will look after by itself, and writes down for
    /// [`Cursor::begin`] how. SQLite checks all of it once more. `false` says that it cannot be asked so,
    /// and SQLite is to find another way.
    fn plan(&self, info: &mut IndexInfo) -> Result<bool>;

    fn cursor(self: &Arc<Self>) -> Self::Cursor;
}

/// A place in a table.
pub(super) trait Cursor {
    /// Goes to the first row by that plan; it asked for these values.
    fn begin(&mut self, plan: &str, values: &mut dyn Iterator<Item = ValueRef<'_>>) -> Result<()>;

    /// Goes to the next row.
    fn next(&mut self) -> Result<()>;

    /// Whether it is behind the last row.
    fn is_done(&self) -> bool;

    /// The cell of the row it is at.
    fn cell(&self, column: usize) -> ValueRef<'_>;
}

/// Lets `connection` know `table` by a name.
pub(super) fn add<T: Table>(connection: &Connection, name: &str, table: T) -> Result<()> {
    connection.create_module(name, &Modules::<T>::MODULE, Some(Arc::new(table)))
}

/// A value as it is, whatever bytes it has.
pub(super) struct AsIs<'v>(pub(super) ValueRef<'v>);

impl ToSql for AsIs<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

struct Modules<T>(PhantomData<T>);

impl<T: Table> Modules<T> {
    /// There without a statement that makes it.
    const MODULE: Module<'static, Base<T>> = Module::eponymous_only_module();
}

/// What SQLite has a pointer to: its own part comes first.
#[repr(C)]
struct Base<T> {
    base: sqlite3_vtab,
    table: Arc<T>,
}

// SAFETY: `repr(C)` puts SQLite's part first.
unsafe impl<T: Table> VTab<'_> for Base<T> {
    type Aux = Arc<T>;
    type Cursor = BaseCursor<T::Cursor>;

    fn connect(
        connection: &mut VTabConnection,
        table: Option<&Arc<T>>,
        _module: &[u8],
        _database: &[u8],
        _name: &[u8],
        _arguments: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        // It only reads, so that views may stand on it.
        connection.config(VTabConfig::Innocuous)?;
        let table = table.ok_or_else(|| Error::ModuleError("there is no table".to_owned()))?;
        let declaration = CString::new(table.declaration())?;
        let base = Self {
            base: sqlite3_vtab::default(),
            table: Arc::clone(table),
        };
        Ok((Cow::Owned(declaration), base))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        self.table.plan(info)
    }

    fn open(&mut self) -> Result<Self::Cursor> {
        Ok(BaseCursor {
            base: sqlite3_vtab_cursor::default(),
            cursor: self.table.cursor(),
            row: 0,
        })
    }
}

/// As [`Base`], of a cursor.
#[repr(C)]
struct BaseCursor<C> {
    base: sqlite3_vtab_cursor,
    cursor: C,
    /// Counts the rows, of which none has a number of its own.
    row: i64,
}

// SAFETY: `repr(C)` puts SQLite's part first.
unsafe impl<C: Cursor> VTabCursor for BaseCursor<C> {
    fn filter(&mut self, _number: c_int, plan: Option<&str>, values: &Filters<'_>) -> Result<()> {
        self.row = 0;
        self.cursor
            .begin(plan.unwrap_or_default(), &mut values.iter())
    }

    fn next(&mut self) -> Result<()> {
        self.row = self.row.wrapping_add(1);
        self.cursor.next()
    }

    fn eof(&self) -> bool {
        self.cursor.is_done()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        let column = usize::try_from(column).unwrap_or(usize::MAX);
        context.set_result(AsIs(self.cursor.cell(column)))
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.row)
    }
}
