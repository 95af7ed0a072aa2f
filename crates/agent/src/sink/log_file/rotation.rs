//! The log's predecessors: `<log>.20261122T155959.123Z`, named after the moment they were moved
//! aside, so that names sort by age. Which of them are kept is decided here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::Settings;
use super::file::sync_directory_of;

/// Names tried before a rotation fails: a millisecond each.
const NAME_COUNT_MAX: u32 = 1000;

/// Gives the log a name with the time, one no file has yet.
///
/// Only the holder of the log's lock makes such names, so none appears between the look and the
/// move.
pub(super) fn move_aside(log: &Path, now: SystemTime) -> io::Result<PathBuf> {
    for later_ms in 0..NAME_COUNT_MAX {
        let time = now + Duration::from_millis(later_ms.into());
        let target = with_suffix(log, &stamp(time)?);
        if fs::symlink_metadata(&target).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            fs::rename(log, &target)?;
            sync_directory_of(log);
            return Ok(target);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "every name for a rotated log of this second is taken",
    ))
}

/// Deletes the rotated files that are beyond the limits, the oldest first. Other files are never
/// touched. What cannot be deleted is said and left.
pub(super) fn retain(settings: &Settings, current_size: u64, now: SystemTime) {
    let rotated = match rotated_files(&settings.path) {
        Ok(rotated) => rotated,
        Err(error) => {
            tracing::warn!(%error, "rotated logs could not be listed; none is deleted");
            return;
        }
    };
    let mut total_size = current_size;
    for (index, file) in rotated.iter().rev().enumerate() {
        total_size = total_size.saturating_add(file.size);
        let age = now.duration_since(file.modified).unwrap_or_default();
        let is_beyond = settings.keep_files.is_some_and(|limit| index >= limit)
            || settings.keep_age.is_some_and(|limit| age > limit)
            || settings.keep_size.is_some_and(|limit| total_size > limit);
        if !is_beyond {
            continue;
        }
        match fs::remove_file(&file.path) {
            Ok(()) => tracing::debug!(file = %file.path.display(), "rotated log deleted"),
            Err(error) => {
                tracing::warn!(%error, file = %file.path.display(), "rotated log cannot be deleted");
            }
        }
    }
}

/// A rotated log.
struct Rotated {
    path: PathBuf,
    size: u64,
    modified: SystemTime,
}

/// The rotated files of `log`, the oldest first.
fn rotated_files(log: &Path) -> io::Result<Vec<Rotated>> {
    let Some(name) = log.file_name() else {
        return Ok(Vec::new());
    };
    let directory = log
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let entry_name = entry.file_name();
        let suffix = entry_name
            .as_encoded_bytes()
            .strip_prefix(name.as_encoded_bytes());
        let metadata = entry.metadata();
        if let (Some(suffix), Ok(metadata)) = (suffix, metadata)
            && is_stamp(suffix)
            && metadata.is_file()
        {
            files.push(Rotated {
                path: entry.path(),
                size: metadata.len(),
                modified: metadata.modified()?,
            });
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn with_suffix(log: &Path, suffix: &str) -> PathBuf {
    let mut path = log.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// `.20261122T155959.123Z`
fn stamp(time: SystemTime) -> io::Result<String> {
    let time = Timestamp::try_from(time)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(time.strftime(".%Y%m%dT%H%M%S.%3fZ").to_string())
}

fn is_stamp(suffix: &[u8]) -> bool {
    let form = b".ddddddddTdddddd.dddZ";
    suffix.len() == form.len()
        && suffix.iter().zip(form).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            mark => byte == mark,
        })
}
