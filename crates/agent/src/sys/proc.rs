//! What `/proc` tells. No other module reads it, so each of its files is parsed in one place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::pid_namespace;

mod image_file;
mod mapped;
mod maps;
mod name;
mod place;
mod process;

pub use image_file::{ImageFile, NotOpened};
pub use mapped::{Mapped, MappedFiles};
pub use name::image_of_name;
pub use process::{Process, Program, Stat, User, login_as_of, program_as_of};

/// The clock tick in which start times are told (`USER_HZ` is 100 on every architecture this runs
/// on), in nanoseconds.
pub const TICK_NS: u64 = 10_000_000;

/// The ids of all processes there are now.
pub fn process_ids() -> io::Result<Vec<u32>> {
    ids_in(fs::read_dir("/proc")?)
}

fn ids_in(directory: fs::ReadDir) -> io::Result<Vec<u32>> {
    let mut ids = Vec::new();
    for entry in directory {
        if let Some(id) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// The id under which this process is told.
pub fn own_id() -> Option<u32> {
    let own = fs::read_link("/proc/self").ok()?;
    own.to_str()?.parse().ok()
}

/// The control group of a process in the unified hierarchy, as a path from its root.
pub fn cgroup_of(process_id: u32) -> Option<Vec<u8>> {
    let groups = fs::read(format!("/proc/{process_id}/cgroup")).ok()?;
    let mut lines = groups.split(|byte| *byte == b'\n');
    let path = lines.find_map(|line| line.strip_prefix(b"0::"))?;
    Some(path.to_vec())
}

/// The path of what this process has open.
pub fn own_path(descriptor: i32) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{descriptor}"))
}

/// Where the unified hierarchy of control groups is mounted as a whole.
pub fn cgroup_mount() -> Option<PathBuf> {
    cgroup_mount_in(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

fn cgroup_mount_in(mounts: &str) -> Option<PathBuf> {
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, path) = (fields.next()?, fields.next()?);
        // After the fields of which there may be any number.
        let file_system = fields.skip_while(|field| *field != "-").nth(1)?;
        (file_system == "cgroup2" && root == "/").then_some(path)
    });
    mount.map(PathBuf::from)
}

/// What the link of this process's pid namespace says.
pub fn own_pid_namespace() -> io::Result<PathBuf> {
    fs::read_link("/proc/self/ns/pid")
}

/// The inode of the host's mount namespace.
pub fn host_mount_namespace() -> Option<u32> {
    namespace(fs::read_link(of_host().join("ns/mnt")).ok()?.to_str()?)
}

/// The directory of a process whose mounts are the host's. A service has mounts of its own (`PrivateTmp=`), so
/// that is the first process, where it can be looked at; this one where it cannot.
fn of_host() -> &'static Path {
    static ANSWER: OnceLock<&'static Path> = OnceLock::new();
    ANSWER.get_or_init(|| {
        let first = Path::new("/proc/1");
        if pid_namespace::is_proc_initial() && fs::read_link(first.join("ns/mnt")).is_ok() {
            first
        } else {
            Path::new("/proc/self")
        }
    })
}

/// The inode that a link of a namespace names: `mnt:[4026531841]`.
fn namespace(link: &str) -> Option<u32> {
    let (_kind, inode) = link.split_once(":[")?;
    inode.strip_suffix(']')?.parse().ok()
}

/// Whether there are namespaces at all.
pub fn tells_namespaces() -> bool {
    Path::new("/proc/self/ns").exists()
}

/// A line of this process's `status`, by the name before its colon.
pub fn own_status(name: &str) -> Option<String> {
    field(&fs::read_to_string("/proc/self/status").ok()?, name)
}

/// A line of what the kernel says of one of this process's file descriptors.
pub fn own_descriptor(descriptor: i32, name: &str) -> Option<String> {
    field(&own_descriptor_info(descriptor)?, name)
}

fn own_descriptor_info(descriptor: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()
}

/// The soft limit with this name of `limits`.
pub fn own_limit(name: &str) -> Option<String> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// The name of the calling thread.
pub fn own_thread_name() -> io::Result<Vec<u8>> {
    let mut name = fs::read("/proc/thread-self/comm")?;
    name.retain(|&byte| byte != b'\n');
    Ok(name)
}

/// A setting of the kernel, by its path under `/proc/sys/kernel`.
pub fn kernel_setting(name: &str) -> io::Result<String> {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{name}"))?;
    Ok(text.trim().to_owned())
}

/// The process that holds the lock on the whole file with this inode.
pub fn lock_holder(inode: u64) -> Option<u32> {
    let locks = locks().ok()?;
    locks.lines().find_map(|line| {
        // 1: FLOCK ADVISORY WRITE 4711 fe:00:123 0 EOF
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "FLOCK", _, _, process_id, file, ..] = fields[..] else {
            return None;
        };
        // Not the device: some file systems have another one here.
        let is_it = file.rsplit(':').next()?.parse() == Ok(inode);
        is_it.then(|| process_id.parse().ok()).flatten()
    })
}

/// The list of locks, of one moment: of one that is read in pieces, an entry that goes between two reads
/// takes another with it. The kernel gives a page at a time at the most, so a list of many locks is read
/// twice until both are the same.
fn locks() -> io::Result<String> {
    const TRIES: usize = 8;
    let mut before = None;
    for _ in 0..TRIES {
        let mut file = fs::File::open("/proc/locks")?;
        let mut list = vec![0; 4096];
        let mut size = 0;
        let mut reads = 0;
        while let Some(room) = list.get_mut(size..) {
            let read = io::Read::read(&mut file, room)?;
            if read == 0 {
                break;
            }
            (size, reads) = (size + read, reads + 1);
            list.resize(size + 4096, 0);
        }
        list.truncate(size);
        let list = String::from_utf8(list).map_err(io::Error::other)?;
        if reads <= 1 || before.as_ref() == Some(&list) {
            return Ok(list);
        }
        before = Some(list);
    }
    Ok(before.unwrap_or_default())
}

/// The rest of the line that begins with `name` and a colon.
fn field(text: &str, name: &str) -> Option<String> {
    let rest = |line: &str| {
        Some(
            line.strip_prefix(name)?
                .strip_prefix(':')?
                .trim()
                .to_owned(),
        )
    };
    text.lines().find_map(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_where_it_is_mounted_as_a_whole() {
        let mounts = "30 1 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      31 30 0:26 /part /mnt rw shared:9 - cgroup2 cgroup2 rw\n\
                      32 30 0:26 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        let found = cgroup_mount_in(mounts);
        assert_eq!(found.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(
            cgroup_mount_in("30 1 0:25 / / rw - ext4 /dev/sda rw\n"),
            None
        );
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let status = "Name:\tx\nSigIgnored:\t2\nSigIgn:\t0000000000000001\n";
        assert_eq!(field(status, "SigIgn").as_deref(), Some("0000000000000001"));
        assert_eq!(field(status, "Sig"), None);
    }
}
