//! The file of an image, opened to be read.
//!
//! A path leads where anybody who may write a directory on it wants it to lead, and an id of a process may be
//! another's by now. So each way to the file is gone without opening what is there, which could wait (a pipe, a
//! device) or do something; what is there must be the very file, on a file system of this machine's own, and
//! regular; and that place is then opened, not the path again.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use event::Place;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat, major, minor};

use super::Process;
use super::name::{PLACE, open_below, open_below_uncached};
use super::place::{Mount, Opened, mount_of};

const ROOT: OFlag = PLACE.union(OFlag::O_DIRECTORY);
const FIRST_PROCESS_ID: u32 = 1;

/// Which file, and what may lead to it.
#[derive(Clone, Debug)]
pub struct ImageFile {
    /// The device, as [`Place::device`] has it.
    pub device: u32,
    /// The inode.
    pub inode: u64,
    /// A process that used it.
    pub process_id: u32,
    /// A path; empty where none is known.
    pub path: Vec<u8>,
    /// Whether no directory had it.
    pub is_deleted: bool,
    /// Where the process has mapped it; it runs it where that is not said.
    pub mapping: Option<(u64, u64)>,
}

/// Why a file was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// Nothing leads to it any more, or it must not be read.
    Gone,
    /// It is no regular file.
    NotAFile,
    /// Another machine or a program serves its file system, and may not answer.
    Remote,
}

/// A way to a file, and the process whose mounts it leads over where they are not ours.
type Way<'w> = (&'w dyn Fn() -> Option<OwnedFd>, &'w Option<OwnedFd>);

impl ImageFile {
    /// Opens it. A regular file on a file system of the machine's own is all that is ever opened.
    ///
    /// # Errors
    /// Says why not.
    pub fn open(&self) -> Result<File, NotOpened> {
        let living = |id| Process::open(id).ok().map(Process::into_living);
        let process = living(self.process_id);
        // A service may have a mount namespace of its own, in which it sees no homes.
        let first = living(FIRST_PROCESS_ID);
        let own_root = || open("/", ROOT, Mode::empty()).ok();
        let root_of = |process: &Option<OwnedFd>| {
            let process = process.as_ref()?;
            openat(process, "root", ROOT, Mode::empty()).ok()
        };
        let below = |root: Option<OwnedFd>| open_below(&root?, &self.path).ok();
        let uncached = |root: Option<OwnedFd>| open_below_uncached(&root?, &self.path).ok();
        // Each with who has its mount. What is found is compared, so that it may be looked for anywhere.
        let ways: [Way<'_>; 6] = [
            (&|| below(own_root()), &None),
            (&|| self.of_process(process.as_ref()?), &process),
            (&|| below(root_of(&process)), &process),
            (&|| below(root_of(&first)), &first),
            // Where the path is in memory no more, directories are read, which may take its time.
            (&|| uncached(own_root()), &None),
            (&|| uncached(root_of(&first)), &first),
        ];
        let mut not_opened = NotOpened::Gone;
        for (way_fn, holder) in ways {
            let Some(place) = way_fn() else {
                continue;
            };
            match self.check(holder.as_ref(), &place) {
                Ok(true) => return reopen(&place),
                Ok(false) => {}
                Err(reason) => not_opened = reason,
            }
        }
        Err(not_opened)
    }

    /// By the link of what the process runs or has mapped.
    fn of_process(&self, process: &OwnedFd) -> Option<OwnedFd> {
        let link = match self.mapping {
            None => "exe".to_owned(),
            Some((begin, end)) => format!("map_files/{begin:x}-{end:x}"),
        };
        let by_link = openat(process, link.as_str(), PLACE, Mode::empty()).ok();
        // A mapping is soon split; what a program maps first is itself.
        by_link.or_else(|| openat(process, "exe", PLACE, Mode::empty()).ok())
    }

    /// Whether this is the file, and may be read. Its file system is asked for nothing before it is known
    /// to be one of the machine's own.
    fn check(&self, holder: Option<&OwnedFd>, place: &OwnedFd) -> Result<bool, NotOpened> {
        let Some(opened) = Opened::of(place) else {
            return Ok(false);
        };
        if opened.inode != Some(self.inode) {
            return Ok(false);
        }
        let device = match mount_of(&opened, holder) {
            Some(Mount {
                is_remote: true,
                device,
                ..
            }) if device == self.device => return Err(NotOpened::Remote),
            Some(mount) => mount.device,
            // The mount of memory with a name is in nobody's list. What else is in none was detached.
            None if self.is_memory() => device_of(place).ok_or(NotOpened::Gone)?,
            None => return Ok(false),
        };
        if device != self.device {
            return Ok(false);
        }
        let status = fstat(place.as_fd()).map_err(|_unreadable| NotOpened::Gone)?;
        let kind = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT;
        if kind != SFlag::S_IFREG {
            return Err(NotOpened::NotAFile);
        }
        Ok(true)
    }

    /// Whether it is memory with a name, which was never in a directory.
    fn is_memory(&self) -> bool {
        self.is_deleted && self.path.iter().rposition(|&byte| byte == b'/') == Some(0)
    }
}

fn device_of(place: &OwnedFd) -> Option<u32> {
    let device = fstat(place.as_fd()).ok()?.st_dev;
    let number = |number: u64| u32::try_from(number).ok();
    Some(Place::device_of(
        number(major(device))?,
        number(minor(device))?,
    ))
}

/// Opens what a descriptor leads to, leaving the time of its last use as it is where we may.
fn reopen(place: &OwnedFd) -> Result<File, NotOpened> {
    let link = format!("/proc/self/fd/{}", place.as_raw_fd());
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let try_with = |more| open(link.as_str(), flags | more, Mode::empty());
    let file = match try_with(OFlag::O_NOATIME) {
        Err(Errno::EPERM) => try_with(OFlag::empty()),
        answer => answer,
    };
    file.map(File::from).map_err(|_unreadable| NotOpened::Gone)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    use nix::sys::stat::mknod;
    use nix::unistd::mkfifo;

    use super::*;

    /// No process has this id: it is above the kernel's largest.
    const NOBODY: u32 = u32::MAX - 1;

    fn sought(path: &Path) -> ImageFile {
        let place = open(path, PLACE, Mode::empty()).unwrap();
        let opened = Opened::of(&place).unwrap();
        ImageFile {
            device: mount_of(&opened, None).unwrap().device,
            inode: opened.inode.unwrap(),
            process_id: NOBODY,
            path: path.as_os_str().as_encoded_bytes().to_vec(),
            is_deleted: false,
            mapping: None,
        }
    }

    #[test]
    fn a_file_is_opened_by_its_path_and_no_other_in_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, "one").unwrap();
        let one = sought(&path);
        let mut text = String::new();
        one.open().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "one");
        // The first keeps its inode, so that the other has one of its own.
        std::fs::rename(&path, directory.path().join("y")).unwrap();
        std::fs::write(&path, "two").unwrap();
        assert_eq!(one.open().unwrap_err(), NotOpened::Gone);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("y", &path).unwrap();
        assert_eq!(one.open().unwrap_err(), NotOpened::Gone, "a link is none");
    }

    /// Opening a pipe waits for who writes it, and opening a device may do anything.
    #[test]
    fn what_is_no_regular_file_is_never_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        mkfifo(&path, Mode::S_IRUSR).unwrap();
        assert_eq!(sought(&path).open().unwrap_err(), NotOpened::NotAFile);
        assert_eq!(
            sought(directory.path()).open().unwrap_err(),
            NotOpened::NotAFile
        );
        let path = directory.path().join("device");
        // Only root makes one.
        if mknod(&path, SFlag::S_IFCHR, Mode::S_IRUSR, 0).is_ok() {
            assert_eq!(sought(&path).open().unwrap_err(), NotOpened::NotAFile);
        }
    }

    /// Malware deletes itself when it runs.
    #[test]
    fn a_deleted_program_is_opened_by_who_runs_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sleep");
        std::fs::copy("/bin/sleep", &path).unwrap();
        let size = path.metadata().unwrap().size();
        let mut deleted = sought(&path);
        let mut child = std::process::Command::new(&path).arg("60").spawn().unwrap();
        std::fs::remove_file(&path).unwrap();
        (deleted.process_id, deleted.is_deleted) = (child.id(), true);
        let opened = deleted.open();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(opened.unwrap().metadata().unwrap().size(), size);
        assert_eq!(deleted.open().unwrap_err(), NotOpened::Gone);
    }

    #[test]
    fn memory_with_a_name_is_opened_by_who_has_mapped_it() {
        let name = c"systrail test";
        let memory =
            nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::empty()).unwrap();
        let mut file = File::from(memory);
        std::io::Write::write_all(&mut file, b"code").unwrap();
        let status = file.metadata().unwrap();
        let number = |number: u64| u32::try_from(number).unwrap();
        // By the link of a descriptor here, as of a mapping there.
        let place = ImageFile {
            device: Place::device_of(number(major(status.dev())), number(minor(status.dev()))),
            inode: status.ino(),
            process_id: NOBODY,
            path: b"/memfd:systrail test".to_vec(),
            is_deleted: true,
            mapping: None,
        };
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let opened = open(link.as_str(), PLACE, Mode::empty()).unwrap();
        assert_eq!(place.check(None, &opened), Ok(true));
        let detached = ImageFile {
            path: b"dir/x".to_vec(),
            ..place.clone()
        };
        assert_eq!(
            detached.check(None, &opened),
            Ok(false),
            "of no mount that is known"
        );
        let mut text = String::new();
        reopen(&opened).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "code");
    }
}
