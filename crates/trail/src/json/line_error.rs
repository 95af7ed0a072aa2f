//! Why a line is not an event, in words that stay short whatever the line holds.

use std::fmt;

use super::LINE_SIZE_MAX;

/// Why a line is not an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineError {
    /// It is longer than any line can be.
    TooLong {
        /// Bytes of the line.
        size: usize,
    },
    /// It is not one JSON object, or a field of it is twice there or nested where it must not be.
    Json {
        /// What the JSON reader says, with the column.
        message: String,
    },
    /// It is of a kind this version does not know: a newer version's.
    UnknownKind {
        /// The kind, quoted and cut short.
        kind: String,
    },
    /// A field is not there.
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field has a value it cannot have.
    Wrong {
        /// The field.
        field: &'static str,
        /// What should be there.
        expected: &'static str,
        /// What is there, cut short.
        found: String,
    },
}

impl fmt::Display for LineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { size } => write!(
                formatter,
                "line has {size} bytes, more than the {LINE_SIZE_MAX} an event can have"
            ),
            Self::Json { message } => write!(formatter, "not an event: {message}"),
            Self::UnknownKind { kind } => write!(
                formatter,
                "`kind` is {kind}, which this version does not know; a newer systrail reads it"
            ),
            Self::Missing { field } => write!(formatter, "`{field}` is not there"),
            Self::Wrong {
                field,
                expected,
                found,
            } => write!(formatter, "`{field}` is {found} where {expected} should be"),
        }
    }
}

impl std::error::Error for LineError {}

/// `text`, cut to what a message can hold; a hostile line may bring megabytes.
pub(super) fn cut(mut text: String) -> String {
    const COUNT_MAX: usize = 120;
    if let Some((end, _)) = text.char_indices().nth(COUNT_MAX) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}
