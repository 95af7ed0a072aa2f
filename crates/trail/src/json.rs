//! The one JSON form of a trail [`Event`](super::Event): an object on a line of its own, as the log
//! file keeps it and other programs rely on it. `docs/EVENTS.md` describes every field.
//!
//! The form is canonical. Fields have a fixed order, numbers and texts one way to be written; so a
//! line that SysTrail wrote, read and written again, is the same bytes. A line holds no character a
//! terminal or a line splitter would act on (see [`control_characters`](super::control_characters)): those are escaped.
//!
//! Writing is trusted to be fast, reading is trusted with anything: no line, however hostile, makes
//! [`read_line`] panic or use memory out of proportion to the line.

mod fields;
mod line_error;
mod read;
mod write;

pub use line_error::LineError;
pub use read::{read_arguments, read_line, read_notes};
pub(crate) use write::{Line, fields, hex_digits_of, hex_list, shown_list};
pub use write::{hex_digits, write_arguments, write_line, write_notes};

use std::sync::Arc;

use crate::control_characters::is_control;
use crate::{Further, KeptBy, Name, Text, Time};

/// The arguments of a program.
pub type Arguments = Arc<[Text]>;

/// What is to be said about the fields of an event themselves.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// The rule that kept it.
    pub kept_by: Option<Arc<KeptBy>>,
    /// Fields whose text was cut.
    pub truncated: Vec<Name>,
    /// Fields that could not be had, and why.
    pub missing: Vec<(Name, Name)>,
    /// What a newer version said.
    pub further: Further,
}

/// The longest line that is read, line feed not counted. The longest that can be written comes from
/// the largest record there is, 132 KiB of text that is not valid UTF-8: each byte is shown as three,
/// once in `command_line` and once in `arguments`, and twice more as hex in their `_raw` fields.
pub const LINE_SIZE_MAX: usize = 4 * 1024 * 1024;

/// A time as a line has it, without the quotes.
pub(crate) fn time_text(time: Time) -> String {
    let mut quoted = Vec::new();
    write::time(&mut quoted, time);
    // It is all digits and marks.
    let text = String::from_utf8(quoted).unwrap_or_default();
    text.trim_matches('"').to_owned()
}

/// Appends `text` as a JSON string.
pub(crate) fn push_string(out: &mut String, text: &str) {
    let mut bytes = std::mem::take(out).into_bytes();
    write::string(&mut bytes, text);
    // Whole characters were appended to whole characters.
    *out = String::from_utf8(bytes).unwrap_or_default();
}

/// Appends valid JSON without the blanks between its tokens, its texts escaped as ours are.
pub(crate) fn push_compact(out: &mut String, json: &str) {
    let (mut in_string, mut is_escaped) = (false, false);
    for character in json.chars() {
        if !in_string && character.is_ascii_whitespace() {
            continue;
        }
        match character {
            '"' if !is_escaped => in_string = !in_string,
            _ => {}
        }
        is_escaped = in_string && character == '\\' && !is_escaped;
        push_escaped(out, character);
    }
}

/// JSON text in which the characters a terminal or a line splitter would act on are escaped; the
/// line feeds of its layout stay. Correct for any JSON: outside of strings it has no such character.
pub fn escape_controls(text: String) -> String {
    if !text.contains(|character| character != '\n' && is_control(character)) {
        return text;
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => safe.push('\n'),
            other => push_escaped(&mut safe, other),
        }
    }
    safe
}

fn push_escaped(out: &mut String, character: char) {
    if is_control(character) {
        // All of them are below U+FFFF.
        let escape = format!("\\u{:04x}", u32::from(character));
        out.push_str(&escape);
    } else {
        out.push(character);
    }
}
