//! The store: the trail in SQLite, so that "what happened" has an answer.
//!
//! A store is a directory of segments. Each segment is one SQLite database that stands by itself:
//! its events, the texts and processes they refer to, and the views people ask. One process writes,
//! any number read, also with other programs. `docs/STORE.md` draws the format.
//!
//! `store/layout.rs` and `views.rs` say what a segment is. Writing is `writer.rs`, which
//! `sink/store.rs` drives; reading is `reader.rs` (SQL over all segments, by `union.rs`) and
//! `events.rs` (events as they were recorded) and `follow.rs` (the same while it is written). Old segments stay readable: what a later version
//! adds is absent in them.

#[cfg(feature = "web")]
mod activity;
mod cells;
mod directory;
mod events;
pub mod follow;
mod guard;
mod hold;
mod intern;
mod kin;
mod layout;
mod live;
mod overview;
mod reader;
mod recent;
pub mod retention;
mod row;
mod row_source;
mod rows;
mod same;
mod segment;
mod segments;
mod table;
mod tail;
mod time_ranges;
mod union;
mod views;
mod virtual_table;
mod writer;

use std::io;
use std::path::PathBuf;

use crate::trail::Time;

#[cfg(feature = "web")]
pub use activity::{Activity, Range, activity};
pub use directory::{Named, begin_of, is_written, named, segments, set_aside};
pub use events::{Events, events};
pub(crate) use guard::code_of;
pub(crate) use guard::temporary_directory;
pub use guard::{Guard, Limits, Stopped};
pub use hold::{Gone, Hold};
pub use live::Live;
pub use overview::{Kept, Overview, kept, overview};
pub use reader::{PassedOver, Reader, last_run, never_asked};
pub use tail::Tail;
pub use views::{Column, View, views};
pub use writer::{OpenError, WAL_SIZE, Writer};

/// The version of the segments that are written. Those of every other are read as far as they are
/// understood.
pub const VERSION: u32 = trail::schema::VERSION;

/// A span of time: from `since` on, before `until`. An end that is `None` is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The first moment in it.
    pub since: Option<Time>,
    /// The first moment after it.
    pub until: Option<Time>,
}

impl Window {
    /// The bounds as numbers: the first nanosecond in it, and the last.
    fn bounds(&self) -> (i64, i64) {
        let since = self.since.map_or(i64::MIN, |time| time.0);
        let last = self.until.map_or(i64::MAX, |time| time.0.saturating_sub(1));
        (since, last)
    }
}

/// Why a store or a segment of it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such directory.
    #[error("no store at {}; record one with `systrail run`, or name its directory with --store", directory.display())]
    NotThere {
        /// The directory.
        directory: PathBuf,
    },
    /// The system refuses.
    #[error("store {}: {source}{}", path.display(), cure(source))]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a segment, of which a part is not shown.
    #[error("segment {} is read without {what}", path.display())]
    Incomplete {
        /// The segment.
        path: PathBuf,
        /// What is not shown.
        what: String,
    },
    /// It is a segment without a table that everything else refers to.
    #[error("segment {} has no table {table}, without which nothing in it can be read", path.display())]
    NoTable {
        /// The segment.
        path: PathBuf,
        /// The table.
        table: String,
    },
    /// It was begun just now, or its writer was killed before the first event.
    #[error("segment {} has nothing in it yet", path.display())]
    Blank {
        /// The segment.
        path: PathBuf,
    },
    /// It has nothing in it, and it is not the newest.
    #[error("segment {} is empty, though later ones were begun: what it had is gone", path.display())]
    Emptied {
        /// The segment.
        path: PathBuf,
    },
    /// A writer found it damaged and set it aside.
    #[error("segment {} is damaged and was set aside: nothing of it is read", path.display())]
    SetAside {
        /// The segment, under the name it has now.
        path: PathBuf,
    },
    /// It is a database, but not of ours.
    #[error("{} is not a segment of a store; move it elsewhere", path.display())]
    NotASegment {
        /// The file.
        path: PathBuf,
    },
    /// It has a segment's name and is a pipe, a device, a directory or a link to nothing, or one of its
    /// helper files is.
    #[error("{} is passed over: a segment and its helper files are regular files; move it elsewhere", path.display())]
    NotAFile {
        /// What has the name.
        path: PathBuf,
    },
    /// SQLite refuses, or the segment is damaged.
    #[error("segment {}: {source}", path.display())]
    Sqlite {
        /// The segment.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// It was stopped.
    #[error("{0}")]
    Stopped(Stopped),
    /// A row that is no event.
    #[error("segment {}: {what}", path.display())]
    Row {
        /// The segment.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl ReadError {
    /// Whether the file itself is damaged, so that trying again is of no use.
    pub fn is_corrupt(&self) -> bool {
        match self {
            Self::Sqlite { source, .. } => is_corruption(source),
            Self::NotASegment { .. } | Self::NoTable { .. } | Self::Row { .. } => true,
            _ => false,
        }
    }
}

impl ReadError {
    /// Whether there is nothing to read: retention has just deleted the segment, or a writer has
    /// just created it and has not come to its first event.
    fn is_nothing(&self) -> bool {
        match self {
            Self::Blank { .. } => true,
            Self::Sqlite { path, .. } | Self::Io { path, .. } => !path.exists(),
            _ => false,
        }
    }

    /// The same of a segment after which another was begun. A writer fills an empty one before it
    /// begins the next.
    fn of_older(self) -> Self {
        match self {
            Self::Blank { path } => Self::Emptied { path },
            other => other,
        }
    }
}

/// Whether SQLite says that the file is no database or a damaged one. One that was cut within a page
/// ends too early for it: a short read.
pub fn is_corruption(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_DATA, SQLITE_IOERR_SHORT_READ};
    let Some(error) = error.sqlite_error() else {
        return false;
    };
    let is_damaged_file = [
        SQLITE_IOERR_SHORT_READ,
        SQLITE_IOERR_CORRUPTFS,
        SQLITE_IOERR_DATA,
    ];
    matches!(
        error.code,
        rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase
    ) || is_damaged_file.contains(&error.extended_code)
}

/// What to do about an error of the system.
fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; read it as who records it, which for the service is root, or name another with --store"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Permission denied` alone says nothing of what to do.
    #[test]
    fn a_store_that_may_not_be_read_has_a_cure() {
        let told = |kind: io::ErrorKind| {
            let path = PathBuf::from("/var/lib/systrail/store");
            let source = kind.into();
            ReadError::Io { path, source }.to_string()
        };
        assert!(told(io::ErrorKind::PermissionDenied).ends_with("or name another with --store"));
        assert!(!told(io::ErrorKind::NotADirectory).contains(';'));
    }

    /// SQLite says so of a text that goes on after the end of the file.
    #[test]
    fn a_file_that_ends_too_early_is_damaged_and_a_disk_that_fails_is_not() {
        let error = |code| {
            let code = rusqlite::ffi::Error::new(code);
            rusqlite::Error::SqliteFailure(code, None)
        };
        assert!(is_corruption(&error(
            rusqlite::ffi::SQLITE_IOERR_SHORT_READ
        )));
        assert!(is_corruption(&error(rusqlite::ffi::SQLITE_CORRUPT_INDEX)));
        assert!(!is_corruption(&error(rusqlite::ffi::SQLITE_IOERR_READ)));
        assert!(!is_corruption(&error(rusqlite::ffi::SQLITE_FULL)));
    }
}
