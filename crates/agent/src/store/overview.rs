//! What is in a store, at a glance.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Guard, ReadError, directory, segment, time_ranges};
use crate::trail::Time;

/// What is in a store.
#[derive(Debug, Default)]
pub struct Overview {
    /// How many segments there are.
    pub segment_count: usize,
    /// Bytes of all of them on the disk.
    pub size: u64,
    /// The time of the newest event, of the newest segment that can be read.
    pub newest: Option<Time>,
    /// Why a segment newer than that cannot be read.
    pub unread: Option<ReadError>,
    /// How many were set aside because they cannot be read.
    pub aside_count: usize,
}

/// How much of a store there is, without a look into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Bytes of all segments on the disk.
    pub size: u64,
    /// When the oldest of them was begun.
    pub begun: Option<SystemTime>,
    /// When the newest was written last.
    pub written: Option<SystemTime>,
}

/// Looks at the files of the store in `directory`.
pub fn kept(directory: &Path) -> Result<Kept, ReadError> {
    let paths = directory::segments(directory)?;
    let sizes = paths.iter().map(|path| directory::size_of(path));
    let written = |path: PathBuf| fs::metadata(path).and_then(|it| it.modified()).ok();
    Ok(Kept {
        size: sizes.fold(0, u64::saturating_add),
        begun: paths.first().and_then(|path| directory::begun(path)),
        written: paths.last().and_then(|path| {
            let log = directory::beside(path, "-wal");
            written(path.clone()).max(written(log))
        }),
    })
}

/// Looks at the store in `directory`.
pub fn overview(directory: &Path, guard: &Guard) -> Result<Overview, ReadError> {
    let paths = directory::segments(directory)?;
    let aside = directory::segments_aside(directory).map_err(|source| ReadError::Io {
        path: directory.to_path_buf(),
        source,
    })?;
    let sizes = paths.iter().map(|path| directory::size_of(path));
    let mut overview = Overview {
        segment_count: paths.len(),
        size: sizes.fold(0, u64::saturating_add),
        aside_count: aside.len(),
        ..Overview::default()
    };
    for path in paths.iter().rev() {
        match newest_event(path, guard) {
            Ok(None) => {}
            Ok(Some(time)) => {
                overview.newest = Some(time);
                break;
            }
            Err(error) if error.is_nothing() => {}
            Err(error) => match guard.interrupted(error) {
                stopped @ ReadError::Stopped(_) => return Err(stopped),
                error => overview.unread = overview.unread.or(Some(error)),
            },
        }
    }
    Ok(overview)
}

fn newest_event(path: &Path, guard: &Guard) -> Result<Option<Time>, ReadError> {
    let (connection, shape) = segment::open_bounded(path, guard)?;
    let times = time_ranges::times(&connection, &shape).map_err(|source| ReadError::Sqlite {
        path: path.to_path_buf(),
        source,
    })?;
    Ok(times.map(|(_, last)| last))
}
