//! The inode of an open file, where `fdinfo` does not have it: `statx`, which unlike `fstat` can be told
//! not to ask a server for it.

#![expect(unsafe_code, reason = "statx")]

use std::os::fd::{AsRawFd as _, BorrowedFd};

/// The inode of `file`, as its file system last knew it; `None` where it does not say.
pub fn of(file: BorrowedFd<'_>) -> Option<u64> {
    // SAFETY: all zero is a valid value of this structure, which holds numbers alone.
    let mut status: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: the descriptor is open, the path is an empty string, and the kernel writes one structure
    // to the address of a live one.
    let result = unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            flags,
            libc::STATX_INO,
            &raw mut status,
        )
    };
    (result == 0 && status.stx_mask & libc::STATX_INO != 0).then_some(status.stx_ino)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::linux::fs::MetadataExt as _;

    #[test]
    fn an_open_file_has_the_inode_of_its_metadata() {
        let file = tempfile::tempfile().unwrap();
        let expected = file.metadata().unwrap().st_ino();
        assert_eq!(super::of(file.as_fd()), Some(expected));
    }
}
