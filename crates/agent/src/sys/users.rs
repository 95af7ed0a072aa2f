//! Names of users: those of `/etc/passwd`, and those of the whole user database (NSS), which may be
//! a network away.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use foldhash::HashMap;
use nix::errno::Errno;
use nix::unistd::{Uid, User};

/// The name of a uid; `None` when there is none. May take any time.
///
/// # Errors
/// When the database does not answer.
pub fn name_of_uid(user_id: u32) -> io::Result<Option<String>> {
    match User::from_uid(Uid::from_raw(user_id)) {
        Ok(user) => Ok(user.map(|user| user.name)),
        // What getpwuid_r(3) lists as said of an id that nobody has.
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// There are no SIDs on this system.
///
/// # Errors
/// None.
pub fn name_of_sid(_sid: &[u8]) -> io::Result<Option<String>> {
    Ok(None)
}

/// Whether this machine knows the user; where it cannot tell, it may. May take any time.
pub fn exists(name: &str) -> bool {
    !matches!(User::from_name(name), Ok(None))
}

/// The most bytes of `/etc/passwd` that are read. Who stands behind them is left to the database.
const SIZE_MAX: u64 = 4 * 1024 * 1024;

/// The users of `/etc/passwd`, which is where almost every machine has all of them.
#[derive(Debug)]
pub struct LocalUsers {
    path: PathBuf,
    read: Option<Version>,
    names: HashMap<u32, Arc<str>>,
}

/// What changes when the file does, whether it is written or another is put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Default for LocalUsers {
    fn default() -> Self {
        Self::of_file("/etc/passwd")
    }
}

impl LocalUsers {
    /// The users of another file of that form; none were read yet.
    pub fn of_file(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            read: None,
            names: HashMap::default(),
        }
    }

    /// The name of a uid, where the file had it when it was read last.
    pub fn name(&self, user_id: u32) -> Option<&Arc<str>> {
        self.names.get(&user_id)
    }

    /// Reads the file where it has changed, and tells whether it has. One that cannot be read
    /// leaves the names that it had.
    pub fn refresh(&mut self) -> bool {
        let version = fs::metadata(&self.path).ok().map(|file| Version::of(&file));
        if version == self.read {
            return false;
        }
        match self.read_file() {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "users could not be read");
                false
            }
        }
    }

    fn read_file(&mut self) -> io::Result<()> {
        let file = File::open(&self.path)?;
        // Before it is read: what is written meanwhile makes it another version.
        let version = Version::of(&file.metadata()?);
        let mut text = Vec::new();
        file.take(SIZE_MAX).read_to_end(&mut text)?;
        if text.len() as u64 == SIZE_MAX {
            // The last line is cut.
            let whole = text.iter().rposition(|byte| *byte == b'\n');
            text.truncate(whole.unwrap_or_default());
        }
        self.names = names_of(&text);
        self.read = Some(version);
        Ok(())
    }
}

impl Version {
    fn of(file: &fs::Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            // Unlike the time of modification, nobody can set it back.
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// The names in a file of the form of passwd(5). Of several lines with one id the first is the one
/// the system takes.
fn names_of(text: &[u8]) -> HashMap<u32, Arc<str>> {
    let mut names = HashMap::default();
    for line in text.split(|byte| *byte == b'\n') {
        if let Some((user_id, name)) = user_of(line) {
            names.entry(user_id).or_insert_with(|| Arc::from(name));
        }
    }
    names
}

/// The user of one line; `None` for a comment, and for what refers to NIS (`+name`, `-name`).
fn user_of(line: &[u8]) -> Option<(u32, String)> {
    let mut fields = line.split(|byte| *byte == b':');
    let (name, _password, user_id) = (fields.next()?, fields.next()?, fields.next()?);
    let is_user = name.first().is_some_and(|first| !b"+-#".contains(first));
    let user_id = str::from_utf8(user_id).ok()?.parse().ok()?;
    is_user.then(|| (user_id, String::from_utf8_lossy(name).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_an_id_names_it_and_what_is_no_user_is_passed_over() {
        let names = names_of(
            b"root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:/bin/sh\n+nis:x:7:7:::\n#off:x:8:8:::\n\
              :x:9:9:::\ncut:x\nodd:x:-1:0:::\nna\xefve:x:10:10:::\nlast:x:11:11::/:/bin/sh",
        );
        let mut users: Vec<_> = names.iter().map(|(id, name)| (*id, &**name)).collect();
        users.sort_unstable();
        assert_eq!(users, [(0, "root"), (10, "na\u{fffd}ve"), (11, "last")]);
    }

    #[test]
    fn a_file_is_read_again_when_it_was_written_or_replaced_and_not_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        fs::write(&path, "a:x:5:5:::\n").unwrap();
        let mut users = LocalUsers::of_file(&path);
        assert!(users.refresh());
        assert!(!users.refresh());
        let new = directory.path().join("passwd.new");
        fs::write(&new, "b:x:5:5:::\n").unwrap();
        fs::rename(&new, &path).unwrap();
        assert!(users.refresh());
        assert_eq!(users.name(5).map(|name| &**name), Some("b"));
        // As it is for a moment while some tool changes it.
        fs::remove_file(&path).unwrap();
        assert!(!users.refresh());
        assert_eq!(users.name(5).map(|name| &**name), Some("b"));
    }
}
