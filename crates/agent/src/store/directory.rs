//! The directory of a store: which files in it are segments, and what a new one is called.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::ReadError;
use crate::trail::Time;

/// `20261122T155959.123Z.sqlite`
const NAME: &str = "%Y%m%dT%H%M%S.%3fZ.sqlite";

/// The segments of a store, the oldest first. Other files are passed over.
pub fn segments(directory: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let io_error = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ReadError::NotThere {
            directory: directory.to_path_buf(),
        },
        _ => ReadError::Io {
            path: directory.to_path_buf(),
            source,
        },
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_error)? {
        let name = entry.map_err(io_error)?.file_name();
        if begin_of(&name).is_some() {
            names.push(name);
        }
    }
    // The form of the name makes the order of names that of time.
    names.sort();
    Ok(names.iter().map(|name| directory.join(name)).collect())
}

/// When a segment of that name was begun; `None` when no segment has such a name.
pub(super) fn begin_of(name: &OsStr) -> Option<DateTime> {
    let name = name.to_str()?;
    let time = DateTime::strptime(NAME, name).ok()?;
    (time.strftime(NAME).to_string() == name).then_some(time)
}

/// The name of a segment begun at `time`.
pub(super) fn name_at(time: Time) -> String {
    // Every i64 is inside jiff's range.
    let timestamp = Timestamp::from_nanosecond(time.0.into()).unwrap_or_default();
    Offset::UTC
        .to_datetime(timestamp)
        .strftime(NAME)
        .to_string()
}
