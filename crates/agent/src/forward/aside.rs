//! Events that a receiver refuses one by one: kept in `forward.refused.jsonl` in the store's
//! directory, as the log's lines, so that they can be looked at, and sent by other means.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The file's name.
const NAME: &str = "forward.refused.jsonl";

/// What it is called when a new one is begun; the one before that goes.
const OLD: &str = "forward.refused.1.jsonl";

/// Bytes of a file, at most, beside the event that goes over it.
const SIZE_MAX: u64 = 16 << 20;

/// Where refused events of the store in `directory` are kept.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

/// Keeps lines.
pub(super) fn keep(directory: &Path, lines: &[u8]) -> io::Result<()> {
    let path = path(directory);
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() >= SIZE_MAX) {
        fs::rename(&path, directory.join(OLD))?;
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    let mut file = options.open(&path)?;
    file.write_all(lines)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_within_a_limit() {
        let directory = tempfile::tempdir().unwrap();
        let keep = |lines: &[u8]| keep(directory.path(), lines).unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..40 {
            keep(&line);
        }
        keep(b"the newest\n");
        let names = fs::read_dir(directory.path()).unwrap();
        let sizes: u64 = names
            .map(|name| name.unwrap().metadata().unwrap().len())
            .sum();
        assert!(sizes <= 2 * (SIZE_MAX + (1 << 20)), "{sizes}");
        let newest = fs::read(path(directory.path())).unwrap();
        assert!(newest.ends_with(b"the newest\n"));
    }
}
