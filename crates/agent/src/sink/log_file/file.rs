//! One open log file and the lock on it: whole lines in, or an error and the file as it was.

use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::recent::Recent;
use super::syncer::{FileNumber, Syncer};
use super::{OpenError, Others};
use crate::sink::lines::{Lines, WriteFailed};
#[cfg(target_os = "linux")]
use crate::sys::place;

/// A log file open for appending.
///
/// # Invariants
/// It ends with a line feed or is empty, unless a write failed and the repair did too; then it is
/// not written again before it was opened anew.
#[derive(Debug)]
pub(super) struct File {
    inner: fs::File,
    number: FileNumber,
    size: u64,
    began: SystemTime,
    is_dirty: bool,
    recent: Recent,
    /// Whether another program made it shorter than we wrote it.
    was_cut: bool,
}

impl File {
    /// Opens or creates the file, and its directory, and ends a line a crash has torn.
    pub(super) fn open(path: &Path, number: FileNumber, others: Others) -> Result<Self, OpenError> {
        create_directory_of(path)?;
        let at_path = |source| OpenError::Io {
            path: path.to_path_buf(),
            source,
        };
        refuse_other_than_file(path)?;
        let file = others.open(appending().read(true), path)?;
        let metadata = file.metadata().map_err(at_path)?;
        if !metadata.is_file() {
            return Err(OpenError::NotAFile {
                path: path.to_path_buf(),
            });
        }
        let mut file = Self {
            inner: file,
            number,
            size: metadata.len(),
            // Not every file system knows when a file was created.
            began: metadata
                .created()
                .unwrap_or_else(|_unknown| SystemTime::now()),
            is_dirty: false,
            recent: Recent::default(),
            was_cut: false,
        };
        file.end_torn_line(path).map_err(at_path)?;
        Ok(file)
    }

    fn end_torn_line(&mut self, path: &Path) -> io::Result<()> {
        if self.size == 0 {
            return Ok(());
        }
        let mut last = [0];
        self.inner.seek(SeekFrom::End(-1))?;
        self.inner.read_exact(&mut last)?;
        if last == *b"\n" {
            return Ok(());
        }
        tracing::warn!(
            log = %path.display(),
            "last line of the log was torn by a crash; it is left as one invalid line"
        );
        self.inner.write_all(b"\n")?;
        self.size += 1;
        self.is_dirty = true;
        Ok(())
    }

    /// Bytes in the file.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// How long ago the file was begun.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed().unwrap_or_default()
    }

    /// Whether `path` still leads to this file. Learns its size too, which another program may have
    /// changed.
    pub(super) fn is_at(&mut self, path: &Path) -> bool {
        let (Ok(there), Ok(here)) = (fs::metadata(path), self.inner.metadata()) else {
            return false;
        };
        self.was_cut |= here.len() < self.size;
        self.size = here.len();
        is_same_file(&there, &here)
    }

    /// Where another program has cut the file, begins it with what may be in neither the file nor a
    /// copy that was made of it before. Tells whether it was cut.
    pub(super) fn mend_cut(&mut self) -> io::Result<bool> {
        if !std::mem::take(&mut self.was_cut) {
            return Ok(false);
        }
        let lines = self.recent.lines();
        // What came after the cut is the end of what is remembered, unless that was too much.
        let is_remembered = usize::try_from(self.size).is_ok_and(|size| size <= lines.len());
        if is_remembered {
            self.inner.set_len(0)?;
            self.size = 0;
        }
        self.is_dirty = true;
        self.inner.write_all(&lines)?;
        self.size = self
            .size
            .saturating_add(u64::try_from(lines.len()).unwrap_or(u64::MAX));
        Ok(true)
    }

    /// Appends lines. When not all can be written, the file is cut back to the last whole line.
    pub(super) fn append(&mut self, lines: &Lines) -> Result<(), WriteFailed> {
        self.is_dirty = true;
        match lines.write_to(&mut self.inner) {
            Ok(()) => {
                self.size = self.size.saturating_add(lines.size());
                self.recent.add(lines.bytes(), Instant::now());
                Ok(())
            }
            Err(failed) => {
                if failed.torn_size > 0 {
                    self.cut_back(failed.torn_size);
                }
                Err(failed)
            }
        }
    }

    /// Takes the last `size` bytes off: half a line this process has just written.
    fn cut_back(&mut self, size: usize) {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        let cut = self
            .inner
            .metadata()
            .and_then(|metadata| self.inner.set_len(metadata.len().saturating_sub(size)));
        if let Err(error) = cut {
            // It is a torn line now, as after a crash, and is ended when the file is opened next.
            tracing::debug!(%error, "half a line could not be taken off the log");
        }
    }

    /// Has made durable what was written, where anything was.
    pub(super) fn sync(&mut self, syncer: &Syncer) -> io::Result<()> {
        if self.is_dirty {
            syncer.request(self.number, &self.inner)?;
            self.is_dirty = false;
        }
        Ok(())
    }
}

/// The right to write one log: a lock on the file `<log>.lock`.
///
/// The log itself cannot carry it. It is moved aside while it is written, and a lock on Windows
/// would keep readers out.
#[derive(Debug)]
pub(in crate::sink) struct Lock {
    file: fs::File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock. It is given up when dropped, or when the process ends in whatever way.
    pub(in crate::sink) fn take(log: &Path, others: Others) -> Result<Self, OpenError> {
        create_directory_of(log)?;
        let mut path = log.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        if refuse_other_than_file(&path).is_err() {
            let source = io::Error::other("it is not a regular file, as a lock is; remove it");
            return Err(OpenError::Io { path, source });
        }
        let file = others.open(&mut appending(), &path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, path }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
                path: log.to_path_buf(),
            }),
            Err(TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
        }
    }

    /// Whether others still find the lock where they look for it.
    pub(in crate::sink) fn is_in_place(&self) -> bool {
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(here)) => is_same_file(&there, &here),
            _ => false,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A child that is just being forked holds the file for a moment more; it must not hold the
        // lock. An error leaves it to the end of the last such child.
        let _unlocked = self.file.unlock();
    }
}

impl Others {
    /// Refuses a path that others could lead elsewhere.
    #[cfg(target_os = "linux")]
    pub(super) fn check(self, path: &Path) -> Result<(), OpenError> {
        if self.are_refused() {
            exposed(path, place::of_log(path))?;
        }
        Ok(())
    }

    /// Here the directory is prepared before anything is opened in it.
    #[cfg(not(target_os = "linux"))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "its twin for another system looks and can fail"
    )]
    pub(super) const fn check(self, _path: &Path) -> Result<(), OpenError> {
        Ok(())
    }

    /// Opens a file, and looks at what was opened: what the path leads to may have changed since it
    /// was checked.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(clippy::unused_self, reason = "on Linux it matters")
    )]
    fn open(self, options: &mut OpenOptions, path: &Path) -> Result<fs::File, OpenError> {
        let at_path = |source| OpenError::Io {
            path: path.to_path_buf(),
            source,
        };
        #[cfg(target_os = "linux")]
        if self.are_refused() {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits());
            let file = options.open(path).map_err(at_path)?;
            let metadata = file.metadata().map_err(at_path)?;
            exposed(path, place::of_open_log(path, &metadata))?;
            return Ok(file);
        }
        options.open(path).map_err(at_path)
    }

    #[cfg(target_os = "linux")]
    fn are_refused(self) -> bool {
        self == Self::Refused && place::is_root()
    }
}

#[cfg(target_os = "linux")]
fn exposed(path: &Path, exposure: Option<place::Exposure>) -> Result<(), OpenError> {
    match exposure {
        None => Ok(()),
        Some(exposure) => Err(OpenError::Exposed {
            path: path.to_path_buf(),
            exposure: exposure.to_string(),
        }),
    }
}

/// Opening a named pipe would wait for its reader, and a device is not to be created anew.
pub(super) fn refuse_other_than_file(path: &Path) -> Result<(), OpenError> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(OpenError::NotAFile {
            path: path.to_path_buf(),
        }),
        _ => Ok(()),
    }
}

/// Opens for appending and creates with permissions for the owner and, to read, the group: command
/// lines can hold secrets.
fn appending() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options
}

fn create_directory_of(path: &Path) -> Result<(), OpenError> {
    let Some(directory) = directory_of(path) else {
        return Ok(());
    };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o750);
    builder.create(directory).map_err(|source| OpenError::Io {
        path: directory.to_path_buf(),
        source,
    })
}

fn directory_of(path: &Path) -> Option<&Path> {
    path.parent()
        .filter(|directory| !directory.as_os_str().is_empty())
}

#[cfg(unix)]
fn is_same_file(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    one.dev() == other.dev() && one.ino() == other.ino()
}

/// Windows moves no file that is open as this one is.
#[cfg(not(unix))]
fn is_same_file(_one: &fs::Metadata, _other: &fs::Metadata) -> bool {
    true
}
