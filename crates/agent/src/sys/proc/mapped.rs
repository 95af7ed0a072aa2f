//! The files that perf records tell as mapped.
//!
//! The kernel puts a path into such a record as the process that maps the file sees it, below its own
//! root and in its own mount namespace, and with it the device and the inode. Only what leads to that
//! very file from here is the host's path.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;

use event::{Flags, Place, Scope};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::Mode;

use super::Process;
use super::name::{PLACE, open_below, split_deleted};
use super::place::{Mount, Opened, place, put_place, scope};

/// Files whose path is known to be the host's: beyond that they are looked at again.
const KNOWN_MAX: usize = 8_192;

/// A mapping as a perf record tells it.
#[derive(Clone, Copy, Debug)]
pub struct Mapped<'a> {
    /// The process.
    pub process_id: u32,
    /// Where the mapping begins.
    pub address: u64,
    /// Its bytes.
    pub size: u64,
    /// The device of its file, as a [`Place`] has it.
    pub device: u32,
    /// The inode of its file.
    pub inode: u64,
    /// How good the path is.
    pub flags: Flags,
    /// The path, without a mark.
    pub path: &'a [u8],
}

/// Finds the host's path of what is mapped.
#[derive(Debug, Default)]
pub struct MappedFiles {
    /// By device and inode.
    known: HashMap<(u32, u64), Box<[u8]>>,
    placed: Vec<u8>,
}

impl MappedFiles {
    /// The path of a mapping, with its place at the end, and how good it is.
    pub fn find(&mut self, mapped: &Mapped<'_>) -> (Flags, &[u8]) {
        let place = Place {
            device: mapped.device,
            inode: mapped.inode,
            ..Place::default()
        };
        let found = if mapped.flags.contains(Flags::IMAGE_UNAVAILABLE) || self.is_known(mapped) {
            Found::AsTold
        } else {
            self.look(mapped)
        };
        let (mut flags, mut place) = (mapped.flags.with(Flags::PLACED), place);
        self.placed.clear();
        match found {
            Found::AsTold => self.placed.extend_from_slice(mapped.path),
            Found::Path(path, scope) => {
                (place.scope, place.mount_namespace) = (scope.scope, scope.mount_namespace);
                self.placed.extend_from_slice(&path);
            }
            Found::Nothing => flags = flags.with(Flags::IMAGE_UNAVAILABLE),
        }
        put_place(&mut self.placed, mapped.flags, place);
        (flags, &self.placed)
    }

    fn is_known(&self, mapped: &Mapped<'_>) -> bool {
        let known = self.known.get(&(mapped.device, mapped.inode));
        known.is_some_and(|path| **path == *mapped.path)
    }

    fn look(&mut self, mapped: &Mapped<'_>) -> Found {
        let here = if mapped.flags.contains(Flags::IMAGE_DELETED) {
            OnHost::Nothing
        } else {
            on_host(mapped.path)
        };
        if mapped.is(here) {
            if self.known.len() >= KNOWN_MAX {
                self.known.clear();
            }
            let file = (mapped.device, mapped.inode);
            self.known.insert(file, mapped.path.into());
            return Found::AsTold;
        }
        if let Some((path, scope)) = mapped.of_process() {
            return Found::Path(path, scope);
        }
        // The process is gone. Where another file has the path it was below another root, of which
        // nobody knows any more. What is not there was most likely removed, as a compiler's files are;
        // but it may have been below another root or in another mount namespace as well, where whoever
        // wants to hide calls his file what a rule leaves out.
        let unknown = Place {
            scope: Scope::UNKNOWN,
            ..Place::default()
        };
        match here {
            OnHost::File(_, mount) if !mount.is_overlay => Found::Nothing,
            OnHost::Link => Found::Nothing,
            OnHost::Nothing if !mapped.is_memory() => Found::Path(mapped.path.to_vec(), unknown),
            OnHost::File(..) | OnHost::Nothing => Found::AsTold,
        }
    }
}

/// What became of a path that a record tells.
enum Found {
    /// It is the host's, or nothing speaks against that.
    AsTold,
    /// This is what we see of it, with the scope of that.
    Path(Vec<u8>, Place),
    /// It is not the host's, and nobody knows whose.
    Nothing,
}

impl Mapped<'_> {
    fn is(&self, here: OnHost) -> bool {
        let OnHost::File(opened, mount) = here else {
            return false;
        };
        mount.device == self.device && opened.inode == Some(self.inode)
    }

    /// Whether it is memory with a name, which was never in a directory.
    fn is_memory(&self) -> bool {
        self.flags.contains(Flags::IMAGE_DELETED)
            && self.path.iter().rposition(|&byte| byte == b'/') == Some(0)
    }

    /// The path and its scope, as long as the process lasts.
    fn of_process(&self) -> Option<(Vec<u8>, Place)> {
        let process = Process::open(self.process_id).ok()?.into_living();
        self.by_link(&process).or_else(|| self.by_root(&process))
    }

    /// By the link of the mapping, which has the path as we see it; not everybody may ask for it.
    fn by_link(&self, process: &OwnedFd) -> Option<(Vec<u8>, Place)> {
        let end = self.address.checked_add(self.size)?;
        let link = format!("map_files/{:x}-{end:x}", self.address);
        let file = openat(process, link.as_str(), PLACE, Mode::empty()).ok()?;
        // The addresses may be another mapping's by now.
        if Opened::of(&file)?.inode? != self.inode {
            return None;
        }
        let path = readlinkat(process, link.as_str()).ok()?.into_vec();
        let (_deleted, path) = split_deleted(&path, |_| false);
        Some((path.to_vec(), place(process, &file)?))
    }

    /// By the root of the process, as we see that.
    fn by_root(&self, process: &OwnedFd) -> Option<(Vec<u8>, Place)> {
        let root = readlinkat(process, "root").ok()?.into_vec();
        let path = [root.strip_suffix(b"/").unwrap_or(&root), self.path].concat();
        if self.is(on_host(&path)) {
            return Some((path, Place::default()));
        }
        let scope = scope(process);
        (scope.scope == Scope::MOUNT_NAMESPACE).then_some((path, scope))
    }
}

/// What has a path on the host, where the kernel knows it without asking a file system.
#[derive(Clone, Copy, Debug)]
enum OnHost {
    File(Opened, Mount),
    /// A link is on the way: no file has this very path.
    Link,
    Nothing,
}

fn on_host(path: &[u8]) -> OnHost {
    let Ok(root) = open("/", PLACE | OFlag::O_DIRECTORY, Mode::empty()) else {
        return OnHost::Nothing;
    };
    let file = match open_below(&root, path) {
        Ok(file) => Opened::of(&file),
        Err(Errno::ELOOP) => return OnHost::Link,
        Err(_none) => None,
    };
    match file.and_then(|file| Some((file, file.host_mount()?))) {
        Some((file, mount)) => OnHost::File(file, mount),
        None => OnHost::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use std::os::linux::fs::MetadataExt as _;
    use std::os::unix::ffi::OsStrExt as _;

    use nix::sys::stat::{major, minor};

    use super::*;

    /// No process has this id: it is above the kernel's largest.
    const NOBODY: u32 = u32::MAX - 1;

    /// A file of a chroot was told by its path there, which another file of the host has.
    #[test]
    fn a_path_that_leads_to_another_file_is_not_the_hosts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join("lib.so");
        std::fs::write(&path, b"").unwrap();
        let file = std::fs::metadata(&path).unwrap();
        let own = std::fs::File::open(&path).unwrap();
        let inode = Opened::of(&own.into()).unwrap().inode;
        let Some(inode) = inode else {
            // A kernel that does not tell it.
            return;
        };
        let device = u32::try_from(major(file.st_dev())).unwrap();
        let device = Place::device_of(device, u32::try_from(minor(file.st_dev())).unwrap());
        let mapped = Mapped {
            process_id: NOBODY,
            address: 0,
            size: 0,
            device,
            inode,
            flags: Flags::NONE,
            path: path.as_os_str().as_bytes(),
        };
        let mut files = MappedFiles::default();
        let mut told = |mapped: &Mapped<'_>| {
            let (flags, bytes) = files.find(mapped);
            let (told, place) = Place::split(bytes).unwrap();
            assert_eq!(place.inode, mapped.inode);
            let is_told = told == mapped.path;
            assert_eq!(flags.contains(Flags::IMAGE_UNAVAILABLE), !is_told);
            is_told.then_some(place.scope)
        };
        let other = Mapped {
            inode: inode + 1,
            ..mapped
        };
        for _ in 0..2 {
            assert_eq!(told(&mapped), Some(Scope::HOST));
            assert_eq!(told(&other), None);
        }
        std::fs::remove_file(&path).unwrap();
        // It was removed, or was never here; an exclude rule that is evaded so must not match.
        assert_eq!(told(&other), Some(Scope::UNKNOWN));
    }

    #[test]
    fn a_mapping_of_this_process_is_found_by_its_link() {
        let process = Process::open(std::process::id()).unwrap();
        let mut checked = 0;
        process
            .images(|flags, load| {
                let (path, place) = Place::split(load.image).unwrap();
                let mapped = Mapped {
                    process_id: std::process::id(),
                    address: load.image_base,
                    size: load.image_size,
                    device: place.device,
                    inode: place.inode,
                    flags: flags.without(Flags::PLACED),
                    path: b"/no/such/file",
                };
                if let Some((found, _)) = mapped.of_process() {
                    assert_eq!(found, path);
                    checked += 1;
                }
            })
            .unwrap();
        // Not everybody may ask.
        assert!(checked > 0 || !nix::unistd::geteuid().is_root());
    }
}
