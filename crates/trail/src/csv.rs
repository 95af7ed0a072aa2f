//! Comma-separated values (RFC 4180, lines ended by a line feed): a column a field of the log, in
//! its order. Lists and objects are the JSON the log has for them. What a newer version said has no
//! column.

use std::ops::Range;

use event::{Kind, ProcessKey};

use crate::account::Account;
use crate::json::{Line, hex_digits_of, hex_list, shown_list};
use crate::schema::{self, Field};
use crate::visit::Visitor;
use crate::{Event, Name, Text, Time, UserId};

/// The names of the columns, as the first line.
pub fn heading() -> String {
    schema::names().join(",") + "\n"
}

/// Appends the event as a line.
pub fn write_line(event: &Event, out: &mut Vec<u8>) {
    let mut row = Row {
        text: Vec::new(),
        cells: vec![0..0; schema::names().len()],
    };
    event.visit(&mut row);
    for (index, cell) in row.cells.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_cell(row.text.get(cell).unwrap_or_default(), out);
    }
    out.push(b'\n');
}

/// Appends a text as a cell, in quotes where it needs them.
pub fn push_cell(text: impl AsRef<[u8]>, out: &mut Vec<u8>) {
    let text = text.as_ref();
    if !text.iter().any(|byte| b"\",\n\r".contains(byte)) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for byte in text {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// An event's cells, in the order of the columns; kinds have their fields in orders of their own.
struct Row {
    text: Vec<u8>,
    cells: Vec<Range<usize>>,
}

impl Row {
    fn cell(&mut self, name: &str, write_fn: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.text.len();
        write_fn(&mut self.text);
        let mut columns = schema::names().iter().zip(&mut self.cells);
        if let Some((_, cell)) = columns.find(|(column, _)| **column == name) {
            *cell = begin..self.text.len();
        }
    }

    /// A cell that holds what the log has, without the quotes of a text.
    fn as_in_log(&mut self, field: &'static Field, write_fn: impl FnOnce(&mut Line<'_>)) {
        let mut member = Vec::new();
        write_fn(&mut Line(&mut member));
        let value = member.get(field.json.len()..).unwrap_or_default();
        let value = match value {
            [b'"', text @ .., b'"'] => text,
            other => other,
        };
        self.cell(field.name, |out| out.extend_from_slice(value));
    }
}

impl<'e> Visitor<'e> for Row {
    fn number(&mut self, field: &'static Field, value: u64) {
        self.as_in_log(field, |line| line.number(field, value));
    }

    fn time(&mut self, field: &'static Field, value: Time) {
        self.as_in_log(field, |line| line.time(field, value));
    }

    fn truth(&mut self, field: &'static Field, value: bool) {
        self.as_in_log(field, |line| line.truth(field, value));
    }

    fn text(&mut self, field: &'static Field, value: &'e str) {
        self.cell(field.name, |out| out.extend_from_slice(value.as_bytes()));
    }

    fn system_text(&mut self, field: &'static Field, value: &'e Text) {
        self.text(field, value.shown());
        if let Some(bytes) = value.raw() {
            self.cell(field.raw_name, |out| out.extend(hex_digits_of(bytes)));
        }
    }

    fn texts(&mut self, field: &'static Field, value: &'e [Text]) {
        self.cell(field.name, |out| shown_list(out, value));
        if value.iter().any(|text| text.raw().is_some()) {
            self.cell(field.raw_name, |out| hex_list(out, value));
        }
    }

    fn key(&mut self, field: &'static Field, value: ProcessKey) {
        self.as_in_log(field, |line| line.key(field, value));
    }

    fn address(&mut self, field: &'static Field, value: u64) {
        self.as_in_log(field, |line| line.address(field, value));
    }

    fn user_id(&mut self, field: &'static Field, value: &'e UserId) {
        match value {
            UserId::Uid(uid) => self.number(field, (*uid).into()),
            UserId::Sid(sid) => self.text(field, sid),
        }
    }

    fn kind(&mut self, field: &'static Field, value: Kind) {
        self.as_in_log(field, |line| line.kind(field, value));
    }

    fn account(&mut self, field: &'static Field, value: &'e Account) {
        self.as_in_log(field, |line| line.account(field, value));
    }

    fn names(&mut self, field: &'static Field, value: &'e [Name]) {
        self.as_in_log(field, |line| line.names(field, value));
    }

    fn reasons(&mut self, field: &'static Field, value: &'e [(Name, Name)]) {
        self.as_in_log(field, |line| line.reasons(field, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    /// The cells of the event this line is, with the names of their columns.
    fn cells(line: &str) -> Vec<(&'static str, String)> {
        let event = json::read_line(line.as_bytes()).unwrap();
        let mut out = Vec::new();
        write_line(&event, &mut out);
        let row = String::from_utf8(out).unwrap();
        let mut cells = vec![String::new()];
        let mut is_quoted = false;
        for character in row.trim_end_matches('\n').chars() {
            is_quoted ^= character == '"';
            if character == ',' && !is_quoted {
                cells.push(String::new());
            } else if let Some(cell) = cells.last_mut() {
                cell.push(character);
            }
        }
        assert_eq!(cells.len(), schema::names().len());
        let named = schema::names().iter().copied().zip(cells);
        named.filter(|(_, cell)| !cell.is_empty()).collect()
    }

    fn cell(text: &str) -> String {
        let mut out = Vec::new();
        push_cell(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_cell_is_quoted_only_where_it_must_be() {
        assert_eq!(cell("make -j2; 'x'"), "make -j2; 'x'");
        assert_eq!(cell("a,b"), "\"a,b\"");
        assert_eq!(cell("say \"x\""), "\"say \"\"x\"\"\"");
        assert_eq!(cell("a\nb\r"), "\"a\nb\r\"");
    }

    #[test]
    fn texts_are_plain_and_lists_are_as_in_the_log() {
        let cells = cells(
            r#"{"sequence":7,"time":"2026-11-22T15:59:59.000000007Z","kind":"process_exec","host":"atlas","process_id":4242,"process_key":"0123456789abcdef","image":"/\u001b\ufffd","image_raw":"2f1bff","arguments":["a","\u001b"],"user_id":"S-1-5-18","missing":{"user":"unknown","command_line":"gone"},"newer":1}"#,
        );
        let expected = [
            ("sequence", "7"),
            ("time", "2026-11-22T15:59:59.000000007Z"),
            ("kind", "process_exec"),
            ("host", "atlas"),
            ("process_id", "4242"),
            ("process_key", "0123456789abcdef"),
            ("image", "/\u{1b}\u{fffd}"),
            ("image_raw", "2f1bff"),
            ("arguments", r#""[""a"",""\u001b""]""#),
            ("user_id", "S-1-5-18"),
            (
                "missing",
                r#""{""user"":""unknown"",""command_line"":""gone""}""#,
            ),
        ];
        let expected = expected.map(|(name, cell)| (name, cell.to_owned()));
        assert_eq!(cells, expected);
    }

    #[test]
    fn every_kind_has_its_fields_in_the_same_columns() {
        let load = cells(
            r#"{"sequence":1,"time":"2026-11-22T15:59:59.000000007Z","kind":"image_load","host":"h","process_id":1,"process_key":"0000000000000001","image":"/a,b","image_base":"0x7f00","image_size":1,"kernel_image":false,"existing":true}"#,
        );
        assert!(load.contains(&("image_base", "0x7f00".to_owned())));
        assert!(load.contains(&("image", "\"/a,b\"".to_owned())));
        assert!(load.contains(&("existing", "true".to_owned())));
    }
}
