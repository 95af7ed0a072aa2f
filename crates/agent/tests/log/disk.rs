//! Disks that are full or read-only.

use std::path::Path;
use std::process::Command;

/// A file system of a size, gone when dropped.
pub(crate) struct Disk {
    directory: tempfile::TempDir,
}

impl Disk {
    /// `None` without the right to mount, which is an error where all tests must run.
    pub(crate) fn mount(options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let is_mounted = mount(
            &["-t", "tmpfs", "-o", options, "systrail-test"],
            directory.path(),
        );
        let must_run = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(is_mounted || !must_run, "mounting takes root, which CI has");
        is_mounted.then_some(Self { directory })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// Mounts as `mount` does with these arguments; says whether that went well.
pub(crate) fn mount(arguments: &[&str], directory: &Path) -> bool {
    let output = Command::new("mount")
        .args(arguments)
        .arg(directory)
        .output();
    output.is_ok_and(|output| output.status.success())
}
