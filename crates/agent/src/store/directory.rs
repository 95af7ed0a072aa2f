//! The directory of a store: which files in it are segments, and what a new one is called.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::ReadError;
use crate::trail::Time;

/// `20261122T155959.123Z.sqlite`
const NAME: &str = "%Y%m%dT%H%M%S.%3fZ.sqlite";

/// What in a directory has the name of a segment, the oldest first.
#[derive(Debug, Default)]
pub struct Named {
    /// Regular files: the segments.
    pub segments: Vec<PathBuf>,
    /// What is none. To open a pipe is to wait for its other end, and a device need have no end.
    pub others: Vec<PathBuf>,
}

/// The segments of a store, the oldest first.
pub fn segments(directory: &Path) -> Result<Vec<PathBuf>, ReadError> {
    named(directory).map(|named| named.segments)
}

/// Whether a recorder writes the store now, where the system tells it.
#[cfg(target_os = "linux")]
pub fn is_written(directory: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let lock = fs::metadata(directory.join("store.lock"));
    lock.is_ok_and(|lock| crate::sys::proc::lock_holder(lock.ino()).is_some())
}

/// The same where the system does not tell: it may be.
#[cfg(not(target_os = "linux"))]
pub fn is_written(_directory: &Path) -> bool {
    true
}

/// What has the name of a segment; nothing is said about what is none.
pub fn named(directory: &Path) -> Result<Named, ReadError> {
    let io_error = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ReadError::NotThere {
            directory: directory.to_path_buf(),
        },
        _ => ReadError::Io {
            path: directory.to_path_buf(),
            source,
        },
    };
    let mut named = Named::default();
    for entry in fs::read_dir(directory).map_err(io_error)? {
        let name = entry.map_err(io_error)?.file_name();
        if begin_of(&name).is_some() {
            let path = directory.join(name);
            if is_other(&path)
                || HELPERS
                    .iter()
                    .any(|suffix| is_other(&beside(&path, suffix)))
            {
                named.others.push(path);
            } else {
                named.segments.push(path);
            }
        }
    }
    // The form of the name makes the order of names that of time.
    named.segments.sort();
    named.others.sort();
    Ok(named)
}

/// Whether there is something that is no regular file. What is gone by now, or cannot be looked at, is
/// told by whoever opens it.
fn is_other(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(metadata) => !metadata.is_file(),
        Err(_) => path.is_symlink(),
    }
}

/// When a segment of that name was begun; `None` when no segment has such a name.
pub fn begin_of(name: &OsStr) -> Option<DateTime> {
    let name = name.to_str()?;
    let time = DateTime::strptime(NAME, name).ok()?;
    (time.strftime(NAME).to_string() == name).then_some(time)
}

/// When the segment at that path was begun, also one that was set aside.
pub(super) fn begun(path: &Path) -> Option<SystemTime> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(CORRUPT).unwrap_or(name);
    let time = begin_of(OsStr::new(name))?;
    Offset::UTC.to_timestamp(time).ok().map(SystemTime::from)
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

/// What SQLite adds to the name of a database for its helper files. We leave no rollback journal, but
/// SQLite looks for one.
const HELPERS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What is added to the name of a segment that cannot be read.
const CORRUPT: &str = ".corrupt";

/// The segment with `suffix` after its name.
pub(super) fn beside(segment: &Path, suffix: &str) -> PathBuf {
    let mut path = segment.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Bytes of a segment on the disk, its helper files included.
pub(super) fn size_of(segment: &Path) -> u64 {
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    HELPERS
        .iter()
        .map(|suffix| size(&beside(segment, suffix)))
        .fold(size(segment), u64::saturating_add)
}

/// Deletes a segment, the helper files first: alone they are of no use to anybody.
pub(super) fn delete(segment: &Path) -> io::Result<()> {
    for suffix in HELPERS {
        match fs::remove_file(beside(segment, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::remove_file(segment)
}

/// Gives a segment that cannot be read a name under which nobody looks for one, and its helper
/// files the names that go with it.
pub fn set_aside(segment: &Path) -> io::Result<PathBuf> {
    let aside = beside(segment, CORRUPT);
    for suffix in HELPERS {
        match fs::rename(beside(segment, suffix), beside(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(segment, &aside)?;
    Ok(aside)
}

/// The segments that were set aside and may have events since then, the oldest first: the others
/// ended before, when the next one was begun.
pub(super) fn set_aside_since(directory: &Path, since: i64) -> io::Result<Vec<PathBuf>> {
    let aside = segments_aside(directory)?;
    if aside.is_empty() {
        return Ok(aside);
    }
    let mut begun: Vec<i128> = Vec::new();
    for entry in fs::read_dir(directory)? {
        begun.extend(begun_at(&entry?.path()));
    }
    let may_have = |path: &PathBuf| {
        let own = begun_at(path);
        let later = begun.iter().filter(|begun| Some(**begun) > own);
        later.min().is_none_or(|next| *next >= i128::from(since))
    };
    Ok(aside.into_iter().filter(may_have).collect())
}

/// When a segment was begun, one that was set aside included, in nanoseconds since the epoch.
fn begun_at(path: &Path) -> Option<i128> {
    let is_aside = path.extension() == Some(OsStr::new("corrupt"));
    let name = if is_aside {
        path.file_stem()
    } else {
        path.file_name()
    };
    let begun = Offset::UTC.to_timestamp(begin_of(name?)?).ok()?;
    Some(begun.as_nanosecond())
}

/// The segments that were set aside, the oldest first; not what never was one.
pub(super) fn segments_aside(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_aside = path.extension() == Some(OsStr::new("corrupt"))
            && path.file_stem().and_then(begin_of).is_some()
            && path.is_file()
            && !path.is_symlink();
        if is_aside {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
