//! The files of a directory of rules, read within limits. What cannot be read is handed on as that, by
//! its name; the others are read all the same.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The most bytes of one file; the largest rules there are have 30 KiB.
pub(super) const FILE_SIZE_MAX: u64 = 1 << 20;
/// The most bytes of all files.
const TEXT_SIZE_MAX: u64 = 256 << 20;
/// The most files, and the most that a directory may have of anything.
pub(super) const FILE_COUNT_MAX: usize = 50_000;
/// How deep directories may be in one another.
pub(super) const DEPTH_MAX: usize = 16;

/// Why a directory of rules cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("rules {}: {source}; name a directory of Sigma rules, or one file", path.display())]
pub struct FolderError {
    path: PathBuf,
    source: io::Error,
}

/// A file of rules: where it is, and its text or why it has none.
pub(super) type RuleFile = (PathBuf, Result<String, String>);

/// Hands every file of rules below `path`, in the order of their names, to `file_fn`; a file by itself
/// is one.
pub(super) fn read(path: &Path, file_fn: &mut dyn FnMut(RuleFile)) -> Result<(), FolderError> {
    let mut text_size = 0;
    walk(path, &mut |path, refusal| {
        let text = match refusal {
            Some(reason) => Err(reason),
            None => read_file(path),
        };
        text_size += text.as_ref().map_or(0, |text| text.len() as u64);
        let text = if text_size > TEXT_SIZE_MAX {
            Err(format!(
                "{TEXT_SIZE_MAX} bytes of rules are read and no more"
            ))
        } else {
            text
        };
        file_fn((path.to_path_buf(), text));
    })
}

/// A number that is another one when a file of rules was added, removed or written. The files are not read.
pub(super) fn state(path: &Path) -> Result<u64, FolderError> {
    let mut hasher = DefaultHasher::new();
    walk(path, &mut |path, refusal| {
        let metadata = fs::metadata(path);
        let written = metadata.as_ref().ok().and_then(|it| it.modified().ok());
        let size = metadata.map_or(0, |it| it.len());
        (path, refusal, written, size).hash(&mut hasher);
    })?;
    Ok(hasher.finish())
}

/// Is handed a file, and why it is not to be read where that is so.
type FileFn<'f> = &'f mut dyn FnMut(&Path, Option<String>);

fn walk(path: &Path, file_fn: FileFn<'_>) -> Result<(), FolderError> {
    let at_path = |source| FolderError {
        path: path.to_path_buf(),
        source,
    };
    let root = fs::canonicalize(path).map_err(at_path)?;
    let mut walk = Walk {
        root: &root,
        file_count: 0,
        file_fn,
    };
    if root.is_dir() {
        walk.directory(path, 0).map_err(at_path)
    } else {
        walk.file(path);
        Ok(())
    }
}

struct Walk<'w> {
    /// The directory, without links.
    root: &'w Path,
    file_count: usize,
    file_fn: FileFn<'w>,
}

impl Walk<'_> {
    fn refuse(&mut self, path: &Path, reason: impl Into<String>) {
        (self.file_fn)(path, Some(reason.into()));
    }

    fn directory(&mut self, path: &Path, depth: usize) -> io::Result<()> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(path)?.take(FILE_COUNT_MAX) {
            paths.push(entry?.path());
        }
        paths.sort();
        for path in paths {
            if self.file_count > FILE_COUNT_MAX {
                break;
            }
            self.entry(&path, depth);
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, depth: usize) {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return self.refuse(path, error.to_string()),
        };
        if metadata.is_symlink() {
            return self.link(path);
        }
        if metadata.is_dir() {
            if depth >= DEPTH_MAX {
                let reason = format!("directories are read {DEPTH_MAX} deep and no deeper");
                return self.refuse(path, reason);
            }
            if let Err(error) = self.directory(path, depth + 1) {
                self.refuse(path, error.to_string());
            }
        } else if is_rules(path) {
            self.file(path);
        }
    }

    /// Of a link that stays inside, the file is read where it is.
    fn link(&mut self, path: &Path) {
        match fs::canonicalize(path) {
            Ok(target) if target.starts_with(self.root) => {}
            Ok(_outside) => self.refuse(path, "a symbolic link that leads out of the directory"),
            Err(error) => self.refuse(path, format!("a symbolic link to nothing: {error}")),
        }
    }

    fn file(&mut self, path: &Path) {
        self.file_count += 1;
        if self.file_count > FILE_COUNT_MAX {
            let reason = format!("{FILE_COUNT_MAX} files are read and no more");
            return self.refuse(path, reason);
        }
        (self.file_fn)(path, None);
    }
}

fn is_rules(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| {
        extension.eq_ignore_ascii_case("yml") || extension.eq_ignore_ascii_case("yaml")
    })
}

fn read_file(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    // Opening a named pipe waits for who writes it.
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let read = file.take(FILE_SIZE_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_SIZE_MAX {
        return Err(format!("larger than {FILE_SIZE_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|_not_unicode| "not UTF-8".to_owned())
}
