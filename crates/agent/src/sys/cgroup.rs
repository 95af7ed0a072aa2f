//! The path of a control group by its id, in the unified hierarchy (version 2).
//!
//! The id is the inode of the group's directory. A process that is in the group knows the path; where
//! it is gone, the id is also the handle by which the kernel opens the directory (`kernfs`), which needs
//! `CAP_DAC_READ_SEARCH`.

#![expect(unsafe_code, reason = "open_by_handle_at")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::proc;

/// `FILEID_KERNFS` of `include/linux/exportfs.h`: the handle is the id.
const KERNFS: i32 = 0xfe;

/// Bytes of the handle.
const HANDLE_SIZE: u32 = 8;

/// The kernel's `struct file_handle` with the handle of a group.
#[repr(C)]
struct Handle {
    size: u32,
    kind: i32,
    id: u64,
}

/// The unified hierarchy as it is mounted here.
#[derive(Debug)]
pub struct Hierarchy {
    directory: File,
    path: PathBuf,
}

impl Hierarchy {
    /// The one that is mounted; `None` where none is, or this process may not open it.
    pub fn open() -> Option<Self> {
        let path = proc::cgroup_mount()?;
        let directory = File::open(&path).ok()?;
        Some(Self { directory, path })
    }

    /// The path of the group with this id, from the root of the hierarchy; the process was in it.
    ///
    /// # Errors
    /// What the kernel says, such as that there is no such group any more.
    pub fn path(&self, id: u64, process_id: u32) -> io::Result<Vec<u8>> {
        if let Some(path) = proc::cgroup_of(process_id)
            && let Some(inside) = path.strip_prefix(b"/")
            && fs::metadata(self.path.join(OsStr::from_bytes(inside)))
                .is_ok_and(|group| group.ino() == id)
        {
            return Ok(path);
        }
        let group = self.open_group(id)?;
        let path = proc::own_path(group.as_fd().as_raw_fd())?;
        let inside = path.strip_prefix(&self.path).unwrap_or(&path);
        let mut whole = b"/".to_vec();
        whole.extend_from_slice(inside.as_os_str().as_bytes());
        Ok(whole)
    }

    /// The place of the group, which nothing can be done with but to ask for its path.
    fn open_group(&self, id: u64) -> io::Result<OwnedFd> {
        let mut handle = Handle {
            size: HANDLE_SIZE,
            kind: KERNFS,
            id,
        };
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        // SAFETY: the handle is as the kernel has it, with the bytes it says.
        let descriptor = unsafe {
            libc::open_by_handle_at(self.directory.as_raw_fd(), (&raw mut handle).cast(), flags)
        };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was just opened, and nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
    }

    /// Where it is mounted.
    pub fn mounted_at(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No process has this id: it is above the kernel's largest.
    const NOBODY: u32 = u32::MAX - 1;

    #[test]
    fn a_group_is_found_by_its_id_and_not_when_it_is_gone() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        // A system without the unified hierarchy.
        let Some(hierarchy) = Hierarchy::open() else {
            return;
        };
        let name = format!("systrail test {} \x01", std::process::id());
        let path = hierarchy.mounted_at().join(&name);
        fs::create_dir(&path).unwrap();
        let id = fs::metadata(&path).unwrap().ino();
        let found = hierarchy.path(id, NOBODY);
        fs::remove_dir(&path).unwrap();
        assert_eq!(found.unwrap(), format!("/{name}").into_bytes());
        assert!(hierarchy.path(id, NOBODY).is_err());
        let root = fs::metadata(hierarchy.mounted_at()).unwrap().ino();
        assert_eq!(hierarchy.path(root, NOBODY).unwrap(), b"/");
        let own = proc::cgroup_of(std::process::id()).unwrap();
        let inside = OsStr::from_bytes(own.strip_prefix(b"/").unwrap());
        let id = fs::metadata(hierarchy.mounted_at().join(inside))
            .unwrap()
            .ino();
        assert_eq!(hierarchy.path(id, std::process::id()).unwrap(), own);
    }
}
