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
pub use write::{hex_digits, write_arguments, write_line, write_notes};

use std::borrow::Cow;
use std::sync::Arc;

use super::{Field, Text};

/// The arguments of a program.
pub type Arguments = Arc<[Text]>;

/// What is to be said about the fields of an event themselves.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Fields whose text was cut.
    pub truncated: Vec<Field>,
    /// Fields that could not be had, and why.
    pub missing: Vec<(Field, Cow<'static, str>)>,
}

/// The longest line that is read, line feed not counted. The longest that can be written comes from
/// the largest record there is, 132 KiB of text that is not valid UTF-8: each byte is shown as three,
/// once in `command_line` and once in `arguments`, and twice more as hex in their `_raw` fields.
pub const LINE_SIZE_MAX: usize = 4 * 1024 * 1024;

/// Every field a line can have. A field of another name is a newer version's and is passed over.
pub const FIELDS: [&str; 41] = [
    "sequence",
    "time",
    "kind",
    "host",
    "process_id",
    "process_key",
    "parent_process_id",
    "parent_process_key",
    "creator_process_id",
    "creator_thread_id",
    "image",
    "image_raw",
    "image_deleted",
    "command_line",
    "command_line_raw",
    "arguments",
    "arguments_raw",
    "user",
    "user_id",
    "script",
    "script_raw",
    "session_id",
    "existing",
    "exit_code",
    "signal",
    "core_dumped",
    "run_time_ns",
    "thread_id",
    "remote",
    "start_address",
    "image_base",
    "image_size",
    "kernel_image",
    "lost_kind",
    "lost_count",
    "lost_reason",
    "source",
    "version",
    "account",
    "truncated",
    "missing",
];
