//! Where a path of `/proc` or of a perf record leads to: the file, and in whose tree it is.
//!
//! A mount's id says whether it is in the mount namespace of this process: then the path is the
//! host's. A mount's device is the one the kernel tells of mappings, which `stat` does not on every
//! file system, and it asks no file system for it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::{Mutex, PoisonError};

use event::wire::Writer;
use event::{Flags, Place, Scope};
use nix::fcntl::readlinkat;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::inode;

use super::{host_mount_namespace, namespace, of_host, own_descriptor_info, process::read_in};

/// Bytes read of a list of mounts: far more than the kernel's default limit of 100,000 has.
const MOUNTS_SIZE_MAX: u64 = 64 * 1024 * 1024;

/// Which file of which mount an open descriptor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    mount_id: u64,
    pub(super) inode: Option<u64>,
}

impl Opened {
    /// What the kernel says of a descriptor of this process.
    pub(super) fn of(file: &OwnedFd) -> Option<Self> {
        let info = own_descriptor_info(file.as_raw_fd())?;
        let number = |name| super::field(&info, name)?.parse().ok();
        Some(Self {
            mount_id: number("mnt_id")?,
            // `fdinfo` has it since Linux 5.14.
            inode: number("ino").or_else(|| inode::of(file.as_fd())),
        })
    }

    /// Its mount, where that is one of the host's.
    pub(super) fn host_mount(&self) -> Option<Mount> {
        host_mount(self.mount_id)
    }
}

/// A mount as `mountinfo` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) device: u32,
    /// The files of an overlay are told with the inodes and devices of those below it by some
    /// kernels.
    pub(super) is_overlay: bool,
    /// Another machine or a program serves the file system, and may not answer.
    pub(super) is_remote: bool,
}

/// File systems of other machines, and of hypervisors. Those of programs are called `fuse` and the like.
const REMOTE: [&str; 15] = [
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "lustre", "nfs", "nfs4", "ocfs2",
    "orangefs", "smb3", "vboxsf", "virtiofs",
];

/// The place of an open file that the process with that directory in `/proc` uses.
pub(super) fn place(process: &OwnedFd, file: &OwnedFd) -> Option<Place> {
    let opened = Opened::of(file)?;
    let inode = opened.inode.unwrap_or(0);
    if let Some(mount) = opened.host_mount() {
        return Some(Place {
            device: mount.device,
            inode,
            ..Place::default()
        });
    }
    let elsewhere = scope(process);
    let mount = mount_of(&opened, Some(process));
    Some(Place {
        device: mount.map_or(0, |mount| mount.device),
        inode,
        ..elsewhere
    })
}

/// The mount of an open file: one of the host's, or of the process with that directory in `/proc`.
pub(super) fn mount_of(opened: &Opened, process: Option<&OwnedFd>) -> Option<Mount> {
    opened.host_mount().or_else(|| {
        let mounts = read_in(process?, "mountinfo", MOUNTS_SIZE_MAX).ok()?;
        let mount = parse(&mounts).find(|(id, _)| *id == opened.mount_id);
        mount.map(|(_, mount)| mount)
    })
}

/// In whose tree a file is that is not on the host's mounts.
pub(super) fn scope(process: &OwnedFd) -> Place {
    match mount_namespace(process) {
        Some(inode) if Some(inode) != host_mount_namespace() => Place {
            scope: Scope::MOUNT_NAMESPACE,
            mount_namespace: inode,
            ..Place::default()
        },
        _ => Place {
            scope: Scope::DETACHED,
            ..Place::default()
        },
    }
}

/// The mount namespace of the process with that directory in `/proc`.
fn mount_namespace(process: &OwnedFd) -> Option<u32> {
    namespace(readlinkat(process, "ns/mnt").ok()?.to_str()?)
}

/// A path with its place at the end, as a record has it. `flags` say how good the path is.
pub(super) fn placed(path: &[u8], flags: Flags, place: Place) -> Vec<u8> {
    let mut placed = path.to_vec();
    put_place(&mut placed, flags, place);
    placed
}

/// Appends its place to a path.
pub(super) fn put_place(path: &mut Vec<u8>, flags: Flags, mut place: Place) {
    // Memory with a name is on a mount of the kernel's own and was never in a directory, of which
    // the mark of a deleted file tells enough.
    let is_memory = flags.contains(Flags::IMAGE_DELETED)
        && path.iter().rposition(|&byte| byte == b'/') == Some(0);
    if is_memory && place.scope == Scope::DETACHED {
        place.scope = Scope::HOST;
    }
    let mut bytes = [0; Place::SIZE];
    let mut writer = Writer::new(&mut bytes);
    place.write(&mut writer);
    path.extend_from_slice(&bytes);
}

/// The mounts of this process's mount namespace.
struct Mounts {
    list: File,
    by_id: HashMap<u64, Mount>,
}

static MOUNTS: Mutex<Option<Mounts>> = Mutex::new(None);

/// The mount with this id, where it is in the host's mount namespace.
fn host_mount(id: u64) -> Option<Mount> {
    let mut mounts = MOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let result = match mounts.as_mut() {
        Some(mounts) => mounts.follow(),
        None => Mounts::read().map(|read| *mounts = Some(read)),
    };
    if result.is_err() {
        *mounts = None;
    }
    mounts.as_ref()?.by_id.get(&id).copied()
}

impl Mounts {
    fn read() -> io::Result<Self> {
        let mut mounts = Self {
            list: File::open(of_host().join("mountinfo"))?,
            by_id: HashMap::new(),
        };
        mounts.read_again()?;
        Ok(mounts)
    }

    /// Reads them again where they have changed, which the kernel tells a poll.
    fn follow(&mut self) -> io::Result<()> {
        let mut changed = [PollFd::new(self.list.as_fd(), PollFlags::POLLPRI)];
        poll(&mut changed, PollTimeout::ZERO)?;
        let is_changed = PollFlags::POLLPRI | PollFlags::POLLERR;
        let [changed] = changed;
        if changed
            .revents()
            .is_some_and(|told| told.intersects(is_changed))
        {
            self.list.rewind()?;
            self.read_again()?;
        }
        Ok(())
    }

    fn read_again(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        (&self.list).take(MOUNTS_SIZE_MAX).read_to_end(&mut bytes)?;
        self.by_id = parse(&bytes).collect();
        Ok(())
    }
}

/// The mounts of a `mountinfo` with their ids.
fn parse(bytes: &[u8]) -> impl Iterator<Item = (u64, Mount)> {
    bytes
        .split(|&byte| byte == b'\n')
        .filter_map(|line| parse_line(&String::from_utf8_lossy(line)))
}

fn parse_line(line: &str) -> Option<(u64, Mount)> {
    // 36 35 98:0 /of/it /where options optional... - ext4 source options
    let mut fields = line.split(' ');
    let id = fields.next()?.parse().ok()?;
    let (major, minor) = fields.nth(1)?.split_once(':')?;
    let device = Place::device_of(major.parse().ok()?, minor.parse().ok()?);
    let is_root = fields.nth(1)? == "/";
    let kind = fields.skip_while(|field| *field != "-").nth(1)?;
    // Where that of the whole system does not answer nothing goes on.
    let is_remote = !is_root && (REMOTE.contains(&kind) || kind.starts_with("fuse"));
    let mount = Mount {
        device,
        is_overlay: kind == "overlay",
        is_remote,
    };
    Some((id, mount))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_has_its_id_its_device_and_its_kind() {
        let list = b"36 35 98:2 / /mnt/a\\040b rw,noatime master:1 - ext3 /dev/x rw\n\
            37 1 0:50 / / rw - overlay overlay rw\nnone\n\
            38 1 0:51 / /home rw - nfs4 a:/b rw\n39 1 0:52 / /x rw - fuse.sshfs c rw\n\
            40 1 0:53 / / rw - virtiofs root rw\n";
        let mounts: Vec<_> = parse(list).collect();
        let mount = |major, minor, is_overlay, is_remote| Mount {
            device: Place::device_of(major, minor),
            is_overlay,
            is_remote,
        };
        let expected = [
            (36, mount(98, 2, false, false)),
            (37, mount(0, 50, true, false)),
            (38, mount(0, 51, false, true)),
            (39, mount(0, 52, false, true)),
            (40, mount(0, 53, false, false)),
        ];
        assert_eq!(mounts, expected);
    }
}
