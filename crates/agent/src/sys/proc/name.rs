//! Names the kernel writes with two meanings, decided by a look at what is there.
//!
//! It appends ` (deleted)` to the path of a file that has no name any more and escapes no name that
//! ends so itself; in `maps` it writes a newline as `\012` and leaves a backslash as it is. A path
//! that names the very file, by its inode, is no more than its name.
//!
//! A path is anybody's, so looking must neither follow links nor wait for a file system that does
//! not answer: only what the kernel has in memory counts, and it has the name of a file in use.

use std::borrow::Cow;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use event::Flags;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, fstat};

use super::own_descriptor;

/// What the kernel appends to the path of a file that has no name any more.
const DELETED: &[u8] = b" (deleted)";

/// How it writes the path of a file that was moved out of the directory that is mounted.
pub(super) const NO_WAY: &[u8] = b"/";

/// How it writes a newline in `maps`.
const NEWLINE: &[u8] = b"\\012";

/// `RESOLVE_CACHED` of `include/uapi/linux/openat2.h` (Linux 5.12).
const RESOLVE_CACHED: u64 = 0x20;

/// Opens nothing but the place.
pub(super) const PLACE: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);

/// The file that a mapping with this name maps, as perf records and `maps` name it; `None` for the
/// vDSO and anonymous memory (which is the unnamed `/dev/zero` where it is shared). `is_path_fn`
/// says whether the file has this very path.
pub fn image_of_name(
    name: &[u8],
    is_path_fn: impl FnOnce(&[u8]) -> bool,
) -> Option<(Flags, &[u8])> {
    match name {
        b"//anon" => None,
        // A file whose path the kernel could not put together.
        b"//toolong" | b"//enomem" | NO_WAY => Some((Flags::IMAGE_UNAVAILABLE, b"")),
        name if name.starts_with(b"/") => {
            let (flags, path) = split_deleted(name, is_path_fn);
            let is_memory = path == b"/dev/zero" && flags == Flags::IMAGE_DELETED;
            (!is_memory).then_some((flags, path))
        }
        _ => None,
    }
}

/// A path as the kernel prints it, without the mark of a file that has no name any more.
pub(super) fn split_deleted(path: &[u8], is_path_fn: impl FnOnce(&[u8]) -> bool) -> (Flags, &[u8]) {
    match path.strip_suffix(DELETED) {
        Some(before) if !is_path_fn(path) => (Flags::IMAGE_DELETED, before),
        _ => (Flags::NONE, path),
    }
}

/// Whether this name of `maps` may have been another before the kernel wrote it there.
pub(super) fn may_be_escaped(name: &[u8]) -> bool {
    name.windows(NEWLINE.len()).any(|bytes| bytes == NEWLINE)
}

/// A name of `maps` as it was. Where a file has the path as it is written nothing was escaped, and
/// otherwise every newline was; a name that has both a newline and its digits takes more looks than
/// are worth it.
pub(super) fn unescaped(name: &[u8], is_path_fn: impl FnOnce(&[u8]) -> bool) -> Cow<'_, [u8]> {
    if !may_be_escaped(name) || is_path_fn(name) {
        return Cow::Borrowed(name);
    }
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(NEWLINE) {
            plain.push(b'\n');
            rest = after;
        } else {
            plain.push(byte);
            rest = after;
        }
    }
    Cow::Owned(plain)
}

/// Whether the file with this inode has this path, for a process with that directory in `/proc`
/// or for us: the kernel tells paths as whoever maps or reads them sees them.
pub(super) fn has_path(process: Option<&OwnedFd>, path: &[u8], inode: u64) -> bool {
    let flags = PLACE | OFlag::O_DIRECTORY;
    let theirs = process.and_then(|directory| openat(directory, "root", flags, Mode::empty()).ok());
    let ours = open("/", flags, Mode::empty()).ok();
    [theirs, ours].into_iter().flatten().any(|root| {
        let file = open_below(&root, path).ok();
        file.and_then(|file| self::inode(&file)) == Some(inode)
    })
}

/// The file with a path below a directory: the place alone, without following links.
///
/// # Errors
/// [`Errno::ELOOP`] where a link is on the way, which the kernel puts into no path.
pub(super) fn open_below(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = path.strip_prefix(b"/").ok_or(Errno::EINVAL)?;
    let flags = PLACE | OFlag::O_NOFOLLOW;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::from_bits_retain(RESOLVE_CACHED));
    match openat2(root, path, how) {
        // A kernel without the call, or without the flag.
        Err(Errno::ENOSYS | Errno::EINVAL) => openat(root, path, flags, Mode::empty()),
        answer => answer,
    }
}

/// The same where the path may be out of memory: file systems are asked, and may take their time.
///
/// # Errors
/// As of [`open_below`].
pub(super) fn open_below_uncached(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = path.strip_prefix(b"/").ok_or(Errno::EINVAL)?;
    let flags = PLACE | OFlag::O_NOFOLLOW;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    match openat2(root, path, how) {
        Err(Errno::ENOSYS) => openat(root, path, flags, Mode::empty()),
        answer => answer,
    }
}

/// The inode of an open file. `fdinfo` has it since Linux 5.14 and asks no file system for it.
pub(super) fn inode(file: &OwnedFd) -> Option<u64> {
    match own_descriptor(file.as_raw_fd(), "ino") {
        Some(inode) => inode.parse().ok(),
        None => Some(fstat(file.as_fd()).ok()?.st_ino),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_a_newline_where_no_file_is_called_so() {
        let name = b"/a\\012b\\01";
        assert_eq!(*unescaped(name, |_| false), *b"/a\nb\\01");
        assert_eq!(*unescaped(name, |path| path == name), *name);
        assert_eq!(*unescaped(b"/a\\01", |_| false), *b"/a\\01");
    }
}
