//! The log's predecessors: `<log>.20261122T155959.123Z`, named after the moment they were moved
//! aside, so that names sort by age; with `.zst` behind that once they are compressed. Which of them are kept
//! is decided here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::civil::{DateTime, DateTimeRound};
use jiff::tz::Offset;
use jiff::{RoundMode, Timestamp, ToSpan as _, Unit};

use super::Settings;
use super::compressor::{self, ENDING, Plain, UNFINISHED};
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

/// Puts right what a recorder left that was killed while it compressed: half a file is deleted, and a whole one
/// that has taken the plain one's place gets its ending.
pub(super) fn mend(log: &Path) {
    let mended = entries(log).and_then(|entries| {
        for (path, ending) in entries {
            match ending {
                Ending::Unfinished => fs::remove_file(&path)?,
                Ending::Plain(_) if compressor::is_compressed(&path) => {
                    fs::rename(&path, compressor::with_ending(&path, ENDING))?;
                }
                Ending::Plain(_) | Ending::Compressed(_) => {}
            }
        }
        Ok(())
    });
    if let Err(error) = mended {
        tracing::debug!(%error, "rotated logs were not looked through");
    }
}

/// A rotated log that is not compressed.
pub(super) struct PlainFile {
    pub(super) path: PathBuf,
    pub(super) begun: Option<SystemTime>,
}

/// The rotated files of `log` that are not compressed, the oldest first.
pub(super) fn plain_files(log: &Path) -> Vec<PlainFile> {
    let rotated = rotated_files(log).unwrap_or_default().into_iter();
    let plain = rotated.filter(|file| !file.is_compressed);
    plain
        .map(|file| PlainFile {
            path: file.path,
            begun: file.of.begun,
        })
        .collect()
}

/// A rotated log.
struct Rotated {
    path: PathBuf,
    time: DateTime,
    is_compressed: bool,
    of: history::File,
}

/// What a name has behind the log's.
enum Ending {
    Plain(DateTime),
    Compressed(DateTime),
    Unfinished,
}

impl Ending {
    fn of(suffix: &[u8]) -> Option<Self> {
        if let Some(stamp) = suffix.strip_suffix(UNFINISHED.as_bytes()) {
            return time_of(stamp).map(|_time| Self::Unfinished);
        }
        match suffix.strip_suffix(ENDING.as_bytes()) {
            Some(stamp) => time_of(stamp).map(Self::Compressed),
            None => time_of(suffix).map(Self::Plain),
        }
    }
}

/// The regular files of `log` with an ending that is given here.
fn entries(log: &Path) -> io::Result<Vec<(PathBuf, Ending)>> {
    let Some(name) = log.file_name() else {
        return Ok(Vec::new());
    };
    let directory = log.parent().unwrap_or(log);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let entry_name = entry.file_name();
        let suffix = entry_name
            .as_encoded_bytes()
            .strip_prefix(name.as_encoded_bytes());
        let Some(ending) = suffix.and_then(Ending::of) else {
            continue;
        };
        // A file that is gone by now needs nothing.
        if entry.metadata().is_ok_and(|metadata| metadata.is_file()) {
            found.push((entry.path(), ending));
        }
    }
    Ok(found)
}

/// The rotated files of `log`, the oldest first.
fn rotated_files(log: &Path) -> io::Result<Vec<Rotated>> {
    let mut files = Vec::new();
    for (path, ending) in entries(log)? {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let (time, compressed) = match ending {
            Ending::Plain(time) => (time, None),
            // One that somebody else made is his to delete.
            Ending::Compressed(time) => match Plain::of(&path) {
                Some(plain) => (time, Some(plain)),
                None => continue,
            },
            Ending::Unfinished => continue,
        };
        let plain = compressed.unwrap_or_else(|| Plain {
            size: metadata.len(),
            begun: metadata.created().ok(),
        });
        files.push(Rotated {
            path,
            time,
            is_compressed: compressed.is_some(),
            of: history::File {
                size: metadata.len(),
                filled: plain.size,
                begun: plain.begun,
                written: metadata.modified()?,
            },
        });
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
