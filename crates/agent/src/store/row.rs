//! An event as a row of its table: every text, process and program as the number that stands for it.

use event::{Kind, ProcessKey};
use rusqlite::types::Value;
use rusqlite::{Error, Result};

use super::intern::{Known, Repeated, Statements};
use super::layout;
use crate::trail::account::Account;
use crate::trail::schema::{Field, Place};
use crate::trail::visit::Visitor;
use crate::trail::{Name, Program, Text, Time, UserId, json};

/// The cells of one event, used for one after the other.
#[derive(Debug, Default)]
pub(super) struct Cells {
    /// The event's own, in the order of its table's columns.
    pub(super) own: Vec<Option<i64>>,
    /// Those of the shared table.
    pub(super) shared: SharedRow,
    /// What the event says of a parent.
    pub(super) parent: (Option<u32>, Option<ProcessKey>),
}

/// A row of a shared table, in a form that is quick to look for: which cells there are, a bit each,
/// then the cells, 0 where there is none.
#[derive(Debug, Default)]
pub(super) struct SharedRow(Vec<i64>);

impl SharedRow {
    /// A row without cells yet.
    pub(super) fn new() -> Self {
        Self(vec![0])
    }

    fn clear(&mut self) {
        self.0.clear();
        self.0.push(0);
    }

    /// Appends a cell. A table has far fewer than 63 columns; one more would be taken for absent.
    #[inline]
    pub(super) fn push(&mut self, cell: Option<i64>) {
        let bit = 1_i64.checked_shl(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        if let (Some(there), Some(_), Some(bit)) = (self.0.first_mut(), cell, bit) {
            *there |= bit;
        }
        self.0.push(cell.unwrap_or(0));
    }

    /// The row as it is looked for.
    pub(super) fn key(&self) -> &[i64] {
        &self.0
    }

    /// The cells.
    pub(super) fn cells(&self) -> impl Iterator<Item = Option<i64>> {
        let there = self.0.first().copied().unwrap_or(0);
        let cells = self.0.iter().zip(0_u32..).skip(1);
        cells.map(move |(cell, n)| (there >> n.min(63) & 1 == 1).then_some(*cell))
    }
}

impl Cells {
    /// Fills the cells with the fields that `visit_fn` shows of the process with that id.
    pub(super) fn fill<'w, 'c, 'e>(
        &'w mut self,
        known: &'w mut Known,
        statements: &'w mut Statements<'c>,
        process_id: u32,
        visit_fn: impl FnOnce(&mut RowWriter<'w, 'c, 'e>),
    ) -> Result<()> {
        self.own.clear();
        self.shared.clear();
        self.parent = (None, None);
        let mut writer = RowWriter {
            cells: self,
            known,
            statements,
            process_id,
            command_line: None,
            failure: None,
        };
        visit_fn(&mut writer);
        writer.failure.map_or(Ok(()), Err)
    }
}

/// Takes the fields of an event apart into cells.
pub(super) struct RowWriter<'w, 'c, 'e> {
    cells: &'w mut Cells,
    known: &'w mut Known,
    statements: &'w mut Statements<'c>,
    process_id: u32,
    /// The command line, whose cell is filled with those of the arguments: mostly one says both.
    command_line: Option<&'e Text>,
    failure: Option<Error>,
}

#[expect(
    clippy::inline_always,
    reason = "which field it is and where it goes is known only where the whole is inlined"
)]
impl RowWriter<'_, '_, '_> {
    #[inline(always)]
    fn put(&mut self, field: &'static Field, cell: Option<i64>) {
        match field.place {
            Place::Shared => self.cells.shared.push(cell),
            Place::Row => self.cells.own.push(cell),
            Place::Near => {
                let process_id = i64::from(self.process_id);
                self.cells
                    .own
                    .push(cell.map(|id| id.wrapping_sub(process_id)));
            }
            Place::Parent | Place::Noted | Place::Apart => {}
        }
    }

    #[inline(always)]
    fn put_interned(&mut self, field: &'static Field, id: Result<i64>) {
        match id {
            Ok(id) => self.put(field, Some(id)),
            Err(error) => {
                self.put(field, None);
                self.failure.get_or_insert(error);
            }
        }
    }

    /// Fills the cells of command and arguments, and that of the command line, which comes first.
    fn put_command(&mut self, field: &'static Field, arguments: Option<&[Text]>) {
        match self.command(arguments) {
            Ok(cells) => cells
                .into_iter()
                .for_each(|cell| self.cells.shared.push(cell)),
            Err(error) => {
                self.put(field, None);
                self.failure.get_or_insert(error);
            }
        }
    }

    fn command(&mut self, arguments: Option<&[Text]>) -> Result<[Option<i64>; 3]> {
        let command_line = self.command_line.take();
        if let (Some(command_line), Some(arguments)) = (command_line, arguments)
            && let Some(id) = self
                .known
                .command(self.statements, command_line, arguments)?
        {
            return Ok([None, Some(id), None]);
        }
        let command_line = match command_line {
            Some(text) => Some(self.known.text(self.statements, text)?),
            None => None,
        };
        let arguments = match arguments {
            Some(texts) => Some(self.known.texts(self.statements, texts)?),
            None => None,
        };
        Ok([command_line, None, arguments])
    }
}

#[expect(
    clippy::inline_always,
    reason = "which field it is and where it goes is known only where the whole is inlined"
)]
impl<'e> Visitor<'e> for RowWriter<'_, '_, 'e> {
    /// They are in the notes of the event.
    fn wants_noted(&self) -> bool {
        false
    }

    #[inline(always)]
    fn absent(&mut self, field: &'static Field) {
        if field.name == Program::arguments.name {
            self.put_command(field, None);
        } else if field.name != Program::command_line.name {
            self.put(field, None);
        }
    }

    #[inline(always)]
    fn number(&mut self, field: &'static Field, value: u64) {
        if field.place == Place::Parent {
            self.cells.parent.0 = u32::try_from(value).ok();
        } else {
            self.put(field, Some(value.cast_signed()));
        }
    }

    fn time(&mut self, field: &'static Field, value: Time) {
        self.put(field, Some(value.0));
    }

    #[inline(always)]
    fn truth(&mut self, field: &'static Field, value: bool) {
        self.put(field, Some(value.into()));
    }

    #[inline(always)]
    fn text(&mut self, field: &'static Field, value: &str) {
        let id = self.known.str(self.statements, value);
        self.put_interned(field, id);
    }

    #[inline(always)]
    fn system_text(&mut self, field: &'static Field, value: &'e Text) {
        if field.name == Program::command_line.name {
            self.command_line = Some(value);
            return;
        }
        let id = match Repeated::of(field.name) {
            Some(repeated) => self.known.repeated(self.statements, repeated, value),
            None => self.known.text(self.statements, value),
        };
        self.put_interned(field, id);
    }

    #[inline(always)]
    fn texts(&mut self, field: &'static Field, value: &[Text]) {
        if field.name == Program::arguments.name {
            self.put_command(field, Some(value));
        } else {
            let id = self.known.texts(self.statements, value);
            self.put_interned(field, id);
        }
    }

    #[inline(always)]
    fn key(&mut self, field: &'static Field, value: ProcessKey) {
        if field.place == Place::Parent {
            self.cells.parent.1 = Some(value);
        } else {
            self.put(field, Some(value.0.cast_signed()));
        }
    }

    #[inline(always)]
    fn address(&mut self, field: &'static Field, value: u64) {
        self.put(field, Some(value.cast_signed()));
    }

    #[inline(always)]
    fn user_id(&mut self, field: &'static Field, value: &UserId) {
        match value {
            UserId::Uid(uid) => self.put(field, Some((*uid).into())),
            // A text's number, below zero: no uid is.
            UserId::Sid(sid) => {
                let id = self.known.str(self.statements, sid);
                self.put_interned(field, id.map(|id| -id));
            }
        }
    }

    fn kind(&mut self, field: &'static Field, value: Kind) {
        self.put(field, Some(value.0.into()));
    }

    fn account(&mut self, field: &'static Field, value: &Account) {
        let json = account_json(value);
        let id = json.and_then(|json| self.known.str(self.statements, &json));
        self.put_interned(field, id);
    }

    /// Told in the notes of the event, whichever field has them.
    fn names(&mut self, _field: &'static Field, _value: &[Name]) {}

    fn reasons(&mut self, _field: &'static Field, _value: &[(Name, Name)]) {}
}

fn account_json(account: &Account) -> Result<String> {
    serde_json::to_string(account).map_err(|error| Error::ToSqlConversionFailure(error.into()))
}

/// The cells of a mark: as [`RowWriter`], but with its texts as they are, and each in the place of
/// its column.
pub(super) struct MarkWriter {
    /// In the order of [`layout::mark_columns`].
    pub(super) cells: Vec<Value>,
}

impl MarkWriter {
    pub(super) fn new() -> Self {
        Self {
            cells: vec![Value::Null; layout::mark_columns().len()],
        }
    }

    fn put(&mut self, field: &'static Field, value: impl Into<Value>) {
        let mut columns = layout::mark_columns().iter();
        let index = columns.position(|column| column.name == field.name);
        if let Some(cell) = index.and_then(|index| self.cells.get_mut(index)) {
            *cell = value.into();
        }
    }
}

impl Visitor<'_> for MarkWriter {
    fn number(&mut self, field: &'static Field, value: u64) {
        self.put(field, value.cast_signed());
    }

    fn time(&mut self, field: &'static Field, value: Time) {
        self.put(field, value.0);
    }

    fn truth(&mut self, field: &'static Field, value: bool) {
        self.put(field, value);
    }

    fn text(&mut self, field: &'static Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn system_text(&mut self, field: &'static Field, value: &Text) {
        self.put(field, value.shown().to_owned());
    }

    fn texts(&mut self, field: &'static Field, value: &[Text]) {
        let mut json = Vec::new();
        json::write_arguments(value, &mut json);
        self.put(field, String::from_utf8_lossy(&json).into_owned());
    }

    fn key(&mut self, field: &'static Field, value: ProcessKey) {
        self.put(field, value.to_string());
    }

    fn address(&mut self, field: &'static Field, value: u64) {
        self.put(field, value.cast_signed());
    }

    fn user_id(&mut self, field: &'static Field, value: &UserId) {
        match value {
            UserId::Uid(uid) => self.put(field, *uid),
            UserId::Sid(sid) => self.put(field, sid.to_string()),
        }
    }

    fn kind(&mut self, field: &'static Field, value: Kind) {
        self.put(field, value.0);
    }

    fn account(&mut self, field: &'static Field, value: &Account) {
        // An account has names for keys, so it can always be written.
        self.put(field, account_json(value).unwrap_or_default());
    }

    fn names(&mut self, _field: &'static Field, _value: &[Name]) {}

    fn reasons(&mut self, _field: &'static Field, _value: &[(Name, Name)]) {}
}
