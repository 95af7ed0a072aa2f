//! A folder of event logs, as somebody copied them off machines.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::file::EventLog;
use crate::quantity::show_count;
use crate::replay::Progress;
use crate::replay::format::Remark;

/// The most logs that are read as one: of each that tells of the same time a chunk's records are held.
/// A machine has about 400.
const LOGS_MAX: usize = 1_024;

/// The logs of a folder.
pub(super) struct Folder {
    path: PathBuf,
    pub(super) logs: Vec<EventLog>,
    /// What has the name of an event log and is none, or cannot be read.
    refused: Vec<(PathBuf, io::Error)>,
    other_count: u64,
}

impl Folder {
    /// Looks at the files of a folder. A log is told by its content.
    pub(super) fn read(path: &Path) -> io::Result<(Self, Progress)> {
        let mut paths: Vec<PathBuf> = fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()?;
        // Which log comes first of those that begin at one time does not depend on the system.
        paths.sort();
        paths.retain(|path| path.metadata().is_ok_and(|metadata| metadata.is_file()));
        let sizes = paths.iter().flat_map(|path| path.metadata());
        let progress = Progress::of_size(sizes.map(|metadata| metadata.len()).sum());
        let mut folder = Self {
            path: path.to_path_buf(),
            logs: Vec::new(),
            refused: Vec::new(),
            other_count: 0,
        };
        for path in paths {
            let has_name = path
                .extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case("evtx"));
            match EventLog::at(path.clone(), Some(progress.clone())) {
                Ok(log) => folder.logs.push(log),
                Err(error) if has_name => folder.refused.push((path, error)),
                Err(_other) => folder.other_count += 1,
            }
        }
        match folder.logs.len() {
            0 => Err(io::Error::other(
                "it is a directory, and none of its files is a Windows event log",
            )),
            count if count > LOGS_MAX => Err(io::Error::other(format!(
                "it is a directory with {count} Windows event logs, and at most {LOGS_MAX} are read \
                 as one; move some of them away"
            ))),
            _ => Ok((folder, progress)),
        }
    }

    /// What is to be said of files that are not read.
    pub(super) fn remarks(&self) -> Vec<Remark> {
        let refused = self.refused.iter().map(|(path, error)| {
            let why = match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    "its content is not that of an event log".to_owned()
                }
                _ => error.to_string(),
            };
            Remark {
                text: format!("{} is passed over: {why}", path.display()),
                passed_over_count: 1,
            }
        });
        let others = (self.other_count > 0).then(|| Remark {
            text: format!(
                "{} in {} not read, being no event logs",
                show_count(self.other_count, "file"),
                self.path.display()
            ),
            passed_over_count: 0,
        });
        refused.chain(others).collect()
    }
}
