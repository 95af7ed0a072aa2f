//! The log file: JSON Lines, an event a line, rotated and retained.
//!
//! Only whole lines are in the file, but for a crash in the middle of a write: the torn line is
//! ended when the file is opened next, so it is one invalid line and nothing that was there is
//! changed. Whatever the medium does (disk full, read-only, directory deleted, file moved away by
//! another program), the sink counts the events it cannot write, repairs a line half written, tries
//! again with growing pauses, and says each change once. The pipeline tells what a sink loses in
//! `lost` events; those that could not be written themselves are written first when it can write
//! again.
//!
//! `log_file/file.rs` is the file itself, `log_file/rotation.rs` its predecessors,
//! `log_file/syncer.rs` makes them durable, `log_file/compressor.rs` small.

mod compressor;
mod file;
mod recent;
mod rotation;
mod syncer;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::lines::Lines;
use super::outage::{Outage, RETRY_MAX};
use super::{Sink, Tally, is_wrong_path};
use crate::sys::believed::Believed;
use crate::trail::Event;
use crate::trail::json;
use compressor::Compressor;
pub(super) use file::Lock;
use file::{File, refuse_other_than_file};
use syncer::{FileNumber, Syncer};

/// Where the log is and how much of it is kept. A limit that is `None` does not exist.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The file that is written.
    pub path: PathBuf,
    /// Rotate before the file grows beyond this many bytes.
    pub rotate_size: Option<u64>,
    /// Rotate when the file was begun this long ago.
    pub rotate_age: Option<Duration>,
    /// Keep at most this many rotated files.
    pub keep_files: Option<usize>,
    /// Delete rotated files last written longer ago than this.
    pub keep_age: Option<Duration>,
    /// Keep at most this many bytes in all: the rotated files and the current one.
    pub keep_size: Option<u64>,
    /// Compress the rotated files.
    pub compress: bool,
    /// Where root may be led by other users.
    pub others: Others,
}

/// Whether root's log may go where other users could have it go. On Windows, and to who is not
/// root, it makes no difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// A file or a link of another user's, and a directory that everybody may write, are refused.
    #[default]
    Refused,
    /// Whoever asks for it takes the risk.
    Allowed,
}

/// Why a log file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes it.
    #[error("log {} is being written by another process; stop it, or log to another file", path.display())]
    Locked {
        /// The log.
        path: PathBuf,
    },
    /// There is something else at the path.
    #[error("log {} is not a regular file; name one, or use - for standard output", path.display())]
    NotAFile {
        /// The log.
        path: PathBuf,
    },
    /// Another user could have root's log, or has it already.
    #[error(
        "log {}: {exposure}, and root's log does not go where others lead it; remove what is there, \
         or name a file in a directory of root's; `run --allow-writable` takes the risk",
        path.display()
    )]
    Exposed {
        /// The log, or its lock.
        path: PathBuf,
        /// What others could change.
        exposure: String,
    },
    /// The system refuses.
    #[error("log {}: {source}; name a file in a directory that can be written", path.display())]
    Io {
        /// The log, its directory or its lock.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether the path is wrong, and not what is at it or around it now.
    pub fn is_wrong_path(&self) -> bool {
        match self {
            Self::Locked { .. } => false,
            Self::NotAFile { .. } | Self::Exposed { .. } => true,
            Self::Io { source, .. } => is_wrong_path(source),
        }
    }

    /// Whether this is a state of the medium that passes, not a wrong setting.
    fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Io { source, .. } if matches!(
                source.kind(),
                io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::ReadOnlyFilesystem
            )
        )
    }
}

/// How often retention is looked at when nothing rotates.
const RETENTION_INTERVAL: Duration = Duration::from_hours(1);

/// The sink that writes the log file.
#[derive(Debug)]
pub struct LogFile {
    settings: Settings,
    /// Open and good as far as is known; `None` between a failure and the next attempt.
    file: Option<File>,
    /// How many files were opened.
    file_count: FileNumber,
    outage: Outage,
    /// What was written could not be made durable when it was tried last.
    is_volatile: bool,
    /// Rotation is not tried before this; set when it failed.
    rotation_due: Option<Instant>,
    retention_due: Instant,
    believed: Believed,
    lines: Lines,
    syncer: Syncer,
    /// Where rotated files are to be compressed.
    compressor: Option<Compressor>,
    /// The last field: the lock is given up when nothing more happens to the files.
    lock: Option<Lock>,
}

impl LogFile {
    /// Opens the log, creating it and its directory where they are not there.
    ///
    /// A disk that is full or read-only is not an error: the log is written as soon as it can be.
    pub fn open(mut settings: Settings) -> Result<Self, OpenError> {
        // What is open already was chosen by who opened it, wherever it is.
        if settings.path.starts_with("/dev") || settings.path.starts_with("/proc") {
            settings.others = Others::Allowed;
        }
        settings.others.check(&settings.path)?;
        let at_path = |source| OpenError::Io {
            path: settings.path.clone(),
            source,
        };
        let path = resolved(&settings.path).map_err(at_path)?;
        let syncer = Syncer::start().map_err(at_path)?;
        settings.path = path;
        let believed = Believed::since(rotation::newest(&settings.path));
        let mut log = Self {
            settings,
            file: None,
            file_count: 0,
            outage: Outage::default(),
            is_volatile: false,
            rotation_due: None,
            retention_due: Instant::now(),
            believed,
            lines: Lines::default(),
            syncer,
            compressor: None,
            lock: None,
        };
        match log.reopen() {
            Ok(()) => {
                rotation::mend(&log.settings.path);
                log.retain();
            }
            Err(error) if error.may_pass() => log.fail(&error),
            Err(error) => return Err(error),
        }
        if log.settings.compress {
            let path = &log.settings.path;
            let compressor = Compressor::start(path).map_err(|source| OpenError::Io {
                path: path.clone(),
                source,
            })?;
            compressor.request();
            log.compressor = Some(compressor);
        }
        Ok(log)
    }

    /// The file that is written.
    pub fn path(&self) -> &Path {
        &self.settings.path
    }

    /// Takes the lock and opens the file, whatever of the two is not held.
    fn reopen(&mut self) -> Result<(), OpenError> {
        let path = &self.settings.path;
        if !self.lock.as_ref().is_some_and(Lock::is_in_place) {
            self.lock = None;
            // A lock that is made for nothing stays beside what is there, in /dev for one.
            refuse_other_than_file(path)?;
            self.lock = Some(Lock::take(path, self.settings.others)?);
        }
        self.file_count += 1;
        self.file = Some(File::open(path, self.file_count, self.settings.others)?);
        if let Some(directory) = path.parent() {
            self.syncer.request_directory(directory);
        }
        Ok(())
    }

    /// The file, ready for `size` more bytes, or `None` while it fails.
    fn ready(&mut self, size: u64) -> Option<&mut File> {
        if self.outage.waits() {
            return None;
        }
        self.let_go_of_moved_file();
        self.mend_cut_file();
        if self.file.is_none()
            && let Err(error) = self.reopen()
        {
            self.fail(&error);
            return None;
        }
        self.rotate_when_due(size);
        self.file.as_mut()
    }

    /// When another program has moved or deleted the file, its path gets a new one.
    fn let_go_of_moved_file(&mut self) {
        if let Some(file) = &mut self.file
            && !file.is_at(&self.settings.path)
        {
            tracing::info!(
                log = %self.settings.path.display(),
                "log file was moved or deleted; a new one is begun"
            );
            self.sync();
            self.file = None;
        }
    }

    /// When another program has cut the file, as `logrotate` does with `copytruncate`, it begins with
    /// the lines of the last seconds.
    fn mend_cut_file(&mut self) {
        let Some(file) = &mut self.file else { return };
        let log = self.settings.path.display();
        match file.mend_cut() {
            Ok(false) => {}
            Ok(true) => tracing::warn!(
                %log,
                "log was cut by another program; it begins with the lines of the last 5 s, which a \
                 copy of it may have too; rotate it by rename, or leave that to systrail"
            ),
            Err(error) => self.fail(&error),
        }
    }

    fn rotate_when_due(&mut self, size: u64) {
        let Some(file) = &mut self.file else { return };
        let too_large = self
            .settings
            .rotate_size
            .is_some_and(|limit| file.size().saturating_add(size) > limit);
        let too_old = self
            .settings
            .rotate_age
            .is_some_and(|limit| file.age() >= limit);
        let waits = self.rotation_due.is_some_and(|due| Instant::now() < due);
        if file.size() == 0 || !(too_large || too_old) || waits {
            if self.retention_due <= Instant::now() {
                self.retain();
            }
            return;
        }
        self.rotate();
    }

    /// Moves the file aside and begins a new one. When that fails the old one is written on.
    fn rotate(&mut self) {
        self.sync();
        let path = &self.settings.path;
        if let Err(error) = rotation::move_aside(path, SystemTime::now()) {
            if self.rotation_due.is_none() {
                tracing::warn!(
                    %error,
                    log = %path.display(),
                    "log file cannot be rotated and grows on; check its directory's permissions"
                );
            }
            self.rotation_due = Some(Instant::now() + RETRY_MAX);
            return;
        }
        self.rotation_due = None;
        self.file = None;
        match self.reopen() {
            Ok(()) => self.retain(),
            Err(error) => self.fail(&error),
        }
        if let Some(compressor) = &self.compressor {
            compressor.request();
        }
    }

    fn retain(&mut self) {
        self.retention_due = Instant::now() + RETENTION_INTERVAL;
        let current_size = self.file.as_ref().map_or(0, File::size);
        let _held = self.compressor.as_ref().map(Compressor::hold);
        rotation::retain(&self.settings, current_size, &mut self.believed);
    }

    /// Writes the gathered lines, or counts them as lost.
    fn write_lines(&mut self, tally: &Tally) {
        if self.lines.is_empty() {
            return;
        }
        let size = self.lines.size();
        let lines = std::mem::take(&mut self.lines);
        let written_count = match self.ready(size).map(|file| file.append(&lines)) {
            None => 0,
            Some(Ok(())) => {
                self.recover();
                lines.count()
            }
            Some(Err(failed)) => {
                self.fail(&failed.error);
                failed.line_count
            }
        };
        self.lines = lines;
        let lost_count = self.lines.settle(written_count, tally);
        self.outage.add_lost(lost_count);
    }

    /// Gives up the file and sets the next attempt. Said once, until it recovers.
    fn fail(&mut self, error: &impl std::error::Error) {
        self.sync();
        self.file = None;
        if self.outage.fail() {
            tracing::warn!(
                %error,
                log = %self.settings.path.display(),
                "log cannot be written; its events are lost and counted until it can be"
            );
        }
    }

    /// Has made durable what was written.
    fn sync(&mut self) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.sync(&self.syncer)
        {
            self.set_volatile(Some(&error));
        }
        self.say_durability();
    }

    fn say_durability(&mut self) {
        if let Some(outcome) = self.syncer.take_outcome() {
            self.set_volatile(outcome.err().as_ref());
        }
    }

    /// Says each change once. Writing goes on: what cannot be made durable is still read by others,
    /// and lost only in a crash.
    fn set_volatile(&mut self, error: Option<&io::Error>) {
        let log = self.settings.path.display();
        match (error, self.is_volatile) {
            (Some(error), false) => {
                tracing::warn!(%error, %log, "log cannot be made durable; a crash may cost its end");
            }
            (None, true) => tracing::warn!(%log, "log is made durable again"),
            _ => {}
        }
        self.is_volatile = error.is_some();
    }

    fn recover(&mut self) {
        if let Some(lost_count) = self.outage.recover() {
            tracing::warn!(
                lost = lost_count,
                log = %self.settings.path.display(),
                "log is written again"
            );
        }
    }
}

impl Sink for LogFile {
    fn name(&self) -> &'static str {
        "log"
    }

    fn write(&mut self, events: &[Event], tally: &Tally) {
        for event in events {
            self.lines.push(event, json::write_line);
            if self.lines.is_full() {
                self.write_lines(tally);
            }
        }
        self.write_lines(tally);
    }

    fn flush(&mut self, _tally: &Tally) {
        self.sync();
    }

    fn close(&mut self, tally: &Tally) {
        // A loss that is owed still is written now or never.
        self.lines.push_owed(json::write_line);
        self.outage.retry_now();
        self.write_lines(tally);
        // Cut after the last line was written, in the middle of being copied.
        self.let_go_of_moved_file();
        self.mend_cut_file();
        self.sync();
        self.file = None;
        self.compressor = None;
        self.syncer.finish();
        self.say_durability();
        self.lock = None;
    }
}

/// The most links that are followed one after the other, as Linux does.
const LINK_COUNT_MAX: usize = 40;

/// The path that stands for the same file for as long as the agent runs, wherever it runs. A link is
/// followed once: what is moved aside, locked and counted must be the file, not the link to it.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    if path.is_symlink()
        && let Ok(file) = path.canonicalize()
    {
        return Ok(file);
    }
    // A link to what is not there yet.
    let mut path = std::path::absolute(path)?;
    for _ in 0..LINK_COUNT_MAX {
        let Ok(target) = path.read_link() else { break };
        path = path.parent().unwrap_or_else(|| Path::new("/")).join(target);
    }
    Ok(path)
}
