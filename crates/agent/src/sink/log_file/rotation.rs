//! The log's predecessors: `<log>.20261122T155959.123Z`, named after the moment they were moved
//! aside, so that names sort by age. Which of them are kept is decided here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::civil::{DateTime, DateTimeRound};
use jiff::tz::Offset;
use jiff::{RoundMode, Timestamp, ToSpan as _, Unit};

use super::Settings;
use crate::history;
use crate::sys::believed::Believed;

/// Gives the log a name with the time. The name is later than every other, also when the clock was
/// set back or two rotations fall into a millisecond, so that names sort by age whatever happens.
///
/// Only the holder of the log's lock makes such names, so none appears between the look and the
/// move.
pub(super) fn move_aside(log: &Path, now: SystemTime) -> io::Result<()> {
    let now = utc(now)?;
    let latest = rotated_files(log)?.pop().map(|latest| latest.time);
    let time = match latest {
        Some(latest) if latest >= now => latest.checked_add(1.millisecond()),
        _ => Ok(now),
    };
    let mut target = log.as_os_str().to_owned();
    target.push(time.map_err(io::Error::other)?.strftime(STAMP).to_string());
    fs::rename(log, target)
}

/// Deletes the rotated files that are too old, and those that are beyond the other limits (see
/// [`history`]). Other files are never touched. What cannot be deleted is said and left.
pub(super) fn retain(settings: &Settings, current_size: u64, believed: &mut Believed) {
    let rotated = match rotated_files(&settings.path) {
        Ok(rotated) => rotated,
        Err(error) => {
            tracing::warn!(%error, "rotated logs could not be listed; none is deleted");
            return;
        }
    };
    let now = believed.read();
    let (old, kept): (Vec<_>, Vec<_>) = rotated.into_iter().partition(|file| {
        let keep_age = settings.keep_age;
        keep_age.is_some_and(|limit| believed.is_older(now, file.of.written, limit))
    });
    let limits = history::Limits {
        count: settings.keep_files,
        size: settings.keep_size,
    };
    let files: Vec<_> = kept.iter().map(|file| file.of).collect();
    let surplus = history::surplus(&files, current_size, limits);
    let surplus = surplus.into_iter().filter_map(|index| kept.get(index));
    for file in old.iter().chain(surplus) {
        match fs::remove_file(&file.path) {
            Ok(()) => tracing::debug!(file = %file.path.display(), "rotated log deleted"),
            Err(error) => {
                tracing::warn!(%error, file = %file.path.display(), "rotated log cannot be deleted");
            }
        }
    }
}

/// When the log or one of its predecessors was written last.
pub(super) fn newest(log: &Path) -> Option<SystemTime> {
    let current = fs::metadata(log).and_then(|metadata| metadata.modified());
    let rotated = rotated_files(log).unwrap_or_default();
    let times = rotated.iter().map(|file| file.of.written);
    times.chain(current).max()
}

/// A rotated log.
struct Rotated {
    path: PathBuf,
    time: DateTime,
    of: history::File,
}

/// The rotated files of `log`, the oldest first.
fn rotated_files(log: &Path) -> io::Result<Vec<Rotated>> {
    let Some(name) = log.file_name() else {
        return Ok(Vec::new());
    };
    let directory = log.parent().unwrap_or(log);
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let entry_name = entry.file_name();
        let suffix = entry_name
            .as_encoded_bytes()
            .strip_prefix(name.as_encoded_bytes());
        let Some(time) = suffix.and_then(time_of) else {
            continue;
        };
        // A file that is gone by now needs no deleting.
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            files.push(Rotated {
                path: entry.path(),
                time,
                of: history::File {
                    size: metadata.len(),
                    begun: metadata.created().ok(),
                    written: metadata.modified()?,
                },
            });
        }
    }
    files.sort_by_key(|file| file.time);
    Ok(files)
}

/// `.20261122T155959.123Z`
const STAMP: &str = ".%Y%m%dT%H%M%S.%3fZ";

/// The time in a name, when the name is exactly one that is given here.
fn time_of(suffix: &[u8]) -> Option<DateTime> {
    let suffix = str::from_utf8(suffix).ok()?;
    let time = DateTime::strptime(STAMP, suffix).ok()?;
    (time.strftime(STAMP).to_string() == suffix).then_some(time)
}

/// Whole milliseconds, as names have them.
fn utc(time: SystemTime) -> io::Result<DateTime> {
    let time = Timestamp::try_from(time).map_err(io::Error::other)?;
    let time = Offset::UTC.to_datetime(time);
    let rounding = DateTimeRound::new()
        .smallest(Unit::Millisecond)
        .mode(RoundMode::Trunc);
    time.round(rounding).map_err(io::Error::other)
}
