//! A row as a source of an event's fields. Each cell is found by the name of its column, is of a
//! segment of any version, and may have been written by anybody.

use std::borrow::Cow;
use std::sync::Arc;

use event::{Kind, ProcessKey};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row};

use super::layout::COMMAND;
use super::rows::{Identity, Known, Result, RowError, Shared, line_of, parts_of, wrong};
use crate::trail::account::Account;
use crate::trail::json::{self, Arguments};
use crate::trail::schema::{Field, Place};
use crate::trail::visit::Source;
use crate::trail::{Program, Text, UserId};

/// The cells before an event's own: id, time, process, notes, parent, shared row.
const COMMON_COUNT: usize = 6;

/// One row, and what it refers to.
pub(super) struct RowSource<'s, 'r> {
    pub(super) known: &'s mut Known,
    pub(super) connection: &'s Connection,
    pub(super) row: &'s Row<'r>,
    /// The columns of the row's own fields, in order.
    pub(super) own: &'s [&'static str],
    /// The shared row, with its cells.
    pub(super) shared: Option<(&'s Shared, &'s [Value])>,
    pub(super) parent: Identity,
    pub(super) process_id: u32,
}

impl RowSource<'_, '_> {
    /// The cell of a column; NULL where there is none.
    fn cell(&self, place: Place, column: &str) -> Result<ValueRef<'_>> {
        if place == Place::Shared {
            let Some((shared, cells)) = self.shared else {
                return Ok(ValueRef::Null);
            };
            let index = shared.fields.iter().position(|name| *name == column);
            let cell = index.and_then(|index| cells.get(index));
            return Ok(cell.map_or(ValueRef::Null, ValueRef::from));
        }
        match self.own.iter().position(|name| *name == column) {
            Some(index) => Ok(self.row.get_ref(COMMON_COUNT + index)?),
            None => Ok(ValueRef::Null),
        }
    }

    fn integer(&self, field: &'static Field) -> Result<Option<i64>> {
        match self.cell(field.place, field.name)? {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(number) => Ok(Some(number)),
            _ => Err(not_a(field, "number")),
        }
    }

    /// The text of a cell: as it is in marks, by its number elsewhere.
    fn text_in(&mut self, place: Place, column: &str) -> Result<Option<Text>> {
        let id = match self.cell(place, column)? {
            ValueRef::Null => return Ok(None),
            // A command, of which the command line is meant.
            ValueRef::Integer(id) if id < 0 => {
                let command = self.known.text(self.connection, id.saturating_neg())?;
                return Ok(Some(line_of(&command)));
            }
            ValueRef::Integer(id) => id,
            ValueRef::Text(text) => return Ok(Some(Text::from_bytes(text))),
            _ => return Err(RowError::Wrong(format!("{column} is no text"))),
        };
        self.known.text(self.connection, id).map(Some)
    }

    /// Command line and arguments where the program has both in one.
    fn command(&mut self, field: &'static Field) -> Result<Option<(Text, Arguments)>> {
        if field.name != Program::arguments.name && field.name != Program::command_line.name {
            return Ok(None);
        }
        let command = self.text_in(field.place, COMMAND)?;
        Ok(command.map(|command| parts_of(&command)))
    }
}

impl Source for RowSource<'_, '_> {
    type Error = RowError;

    fn number(&mut self, field: &'static Field) -> Result<Option<u64>> {
        match field.place {
            Place::Parent => Ok(self.parent.0.map(u64::from)),
            Place::Near => {
                let column = super::layout::near(field);
                let offset = match self.cell(field.place, &column)? {
                    ValueRef::Null => return Ok(None),
                    ValueRef::Integer(offset) => offset,
                    _ => return Err(not_a(field, "number")),
                };
                let process_id = self.process_id;
                let id = offset.checked_add(process_id.into());
                match id.and_then(|id| u64::try_from(id).ok()) {
                    Some(id) => Ok(Some(id)),
                    None => Err(RowError::Wrong(format!(
                        "no id is {offset} from {process_id}"
                    ))),
                }
            }
            _ => Ok(self.integer(field)?.map(i64::cast_unsigned)),
        }
    }

    fn truth(&mut self, field: &'static Field) -> Result<Option<bool>> {
        Ok(self.integer(field)?.map(|truth| truth != 0))
    }

    fn text(&mut self, field: &'static Field) -> Result<Option<Cow<'_, str>>> {
        let text = self.text_in(field.place, field.name)?;
        Ok(text.map(|text| Cow::Owned(text.shown().to_owned())))
    }

    fn system_text(&mut self, field: &'static Field) -> Result<Option<Text>> {
        if let Some((command_line, _)) = self.command(field)? {
            return Ok(Some(command_line));
        }
        self.text_in(field.place, field.name)
    }

    fn texts(&mut self, field: &'static Field) -> Result<Option<Arguments>> {
        if let Some((_, arguments)) = self.command(field)? {
            return Ok(Some(arguments));
        }
        match self.text_in(field.place, field.name)? {
            None => Ok(None),
            Some(text) => json::read_arguments(text.as_bytes()).map_err(wrong),
        }
    }

    fn key(&mut self, field: &'static Field) -> Result<Option<ProcessKey>> {
        if field.place == Place::Parent {
            return Ok(self.parent.1);
        }
        match self.cell(field.place, field.name)? {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(key) => Ok(Some(ProcessKey(key.cast_unsigned()))),
            ValueRef::Text(text) => {
                let key = str::from_utf8(text).ok().and_then(ProcessKey::from_hex);
                key.map(Some).ok_or_else(|| not_a(field, "process key"))
            }
            _ => Err(not_a(field, "process key")),
        }
    }

    fn address(&mut self, field: &'static Field) -> Result<Option<u64>> {
        Ok(self.integer(field)?.map(i64::cast_unsigned))
    }

    fn user_id(&mut self, field: &'static Field) -> Result<Option<UserId>> {
        let id = match self.cell(field.place, field.name)? {
            ValueRef::Null => return Ok(None),
            // Version 1 has a SID as it is.
            ValueRef::Text(sid) => {
                let sid = Text::from_bytes(sid);
                return Ok(Some(UserId::Sid(Arc::from(sid.shown()))));
            }
            ValueRef::Integer(id) => id,
            _ => return Err(not_a(field, "user id")),
        };
        if let Ok(uid) = u32::try_from(id) {
            return Ok(Some(UserId::Uid(uid)));
        }
        let Some(id) = id.checked_neg().filter(|id| *id > 0) else {
            return Err(not_a(field, "user id"));
        };
        let sid = self.known.text(self.connection, id)?;
        Ok(Some(UserId::Sid(Arc::from(sid.shown()))))
    }

    fn kind(&mut self, field: &'static Field) -> Result<Option<Kind>> {
        match self.integer(field)? {
            None => Ok(None),
            Some(number) => match u16::try_from(number) {
                Ok(number) => Ok(Some(Kind(number))),
                Err(_too_large) => Err(not_a(field, "kind")),
            },
        }
    }

    fn account(&mut self, field: &'static Field) -> Result<Option<Account>> {
        match self.text_in(field.place, field.name)? {
            None => Ok(None),
            Some(text) => serde_json::from_str(text.shown()).map(Some).map_err(wrong),
        }
    }

    fn lacks(&self, field: &'static Field) -> RowError {
        RowError::Wrong(format!("{} is not there", field.name))
    }

    fn too_large(&self, field: &'static Field, expected: &'static str, value: u64) -> RowError {
        RowError::Wrong(format!(
            "{} is {value} where {expected} should be",
            field.name
        ))
    }
}

fn not_a(field: &'static Field, what: &str) -> RowError {
    RowError::Wrong(format!("{} is no {what}", field.name))
}
