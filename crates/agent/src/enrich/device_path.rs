//! Windows paths: from the name the kernel has for a file to the one people use.
//!
//! `\Device\HarddiskVolume3\Windows\notepad.exe` is `C:\Windows\notepad.exe` where volume 3 has that
//! letter; `\??\C:\x` and `\SystemRoot\x` are names of the same kind. What has no drive letter keeps
//! the kernel's name, which is right and unique.

use std::time::{Duration, Instant};

use crate::dos_path;
use crate::sys::volumes::Volumes;

/// The shortest time between two readings of the drive letters because of an unknown volume.
const READ_INTERVAL: Duration = Duration::from_secs(10);

/// Turns the kernel's names into those of people.
#[derive(Debug)]
pub struct DevicePaths {
    volumes: Volumes,
    read_fn: fn() -> Volumes,
    read: Option<Instant>,
}

impl DevicePaths {
    /// Paths of the volumes that `read_fn` tells; it is asked when a volume is not known, for one
    /// may be mounted at any time.
    pub fn new(read_fn: fn() -> Volumes) -> Self {
        Self {
            volumes: Volumes::default(),
            read_fn,
            read: None,
        }
    }

    /// The name people use for `path`.
    pub fn dos_path(&mut self, path: &str) -> String {
        let path = dos_path::without_global_root(path);
        if let Some(path) = self.known(path) {
            return path;
        }
        let now = Instant::now();
        let is_recent = |read: Instant| now.duration_since(read) < READ_INTERVAL;
        if !self.read.is_some_and(is_recent) {
            self.read = Some(now);
            self.volumes = (self.read_fn)();
        }
        self.known(path).unwrap_or_else(|| path.to_owned())
    }

    fn known(&self, path: &str) -> Option<String> {
        if let Some(path) = dos_path::of(path) {
            return Some(path);
        }
        let system_root = self.volumes.system_root.as_deref();
        let system_root = system_root.map(|directory| (r"\SystemRoot", directory));
        let drives = self.volumes.drives.iter();
        let drives = drives.map(|(device, letter)| (device.as_str(), letter.as_str()));
        system_root
            .into_iter()
            .chain(drives)
            .find_map(|(kernel, dos)| {
                let rest = dos_path::strip_prefix(path, kernel)?;
                (rest.is_empty() || rest.starts_with('\\')).then(|| format!("{dos}{rest}"))
            })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn volumes() -> Volumes {
        Volumes {
            drives: vec![
                (r"\Device\HarddiskVolume3".to_owned(), "C:".to_owned()),
                (r"\Device\HarddiskVolume30".to_owned(), "D:".to_owned()),
            ],
            system_root: Some(r"C:\Windows".to_owned()),
        }
    }

    #[test]
    fn the_kernels_names_become_those_of_people() {
        let mut paths = DevicePaths::new(volumes);
        for (kernel, dos) in [
            (r"\Device\HarddiskVolume3\a\b.exe", r"C:\a\b.exe"),
            (r"\device\harddiskvolume3\a", r"C:\a"),
            (r"\Device\HarddiskVolume30\a", r"D:\a"),
            (r"\SystemRoot\System32\x.sys", r"C:\Windows\System32\x.sys"),
            (r"\??\C:\a.exe", r"C:\a.exe"),
            (r"\??\UNC\server\share\a.exe", r"\\server\share\a.exe"),
            (r"\Device\Mup\server\share\a.exe", r"\\server\share\a.exe"),
            (r"C:\a.exe", r"C:\a.exe"),
            (r"\??\c:", "c:"),
            (
                r"\Device\Mup\;LanmanRedirector\;Z:00000000000215d7\server\share\a.exe",
                r"\\server\share\a.exe",
            ),
            (r"\??\GLOBALROOT\Device\HarddiskVolume3\a.exe", r"C:\a.exe"),
            (
                r"\??\GLOBALROOT\??\globalroot\SystemRoot\a.exe",
                r"C:\Windows\a.exe",
            ),
        ] {
            assert_eq!(paths.dos_path(kernel), dos);
        }
    }

    #[test]
    fn what_has_no_letter_keeps_the_kernels_name() {
        let mut paths = DevicePaths::new(volumes);
        for path in [
            r"\Device\HarddiskVolume4\a",
            r"\Device\HarddiskVolume",
            r"\Device\HarddiskVolume3x\a",
            r"\SystemRootless",
            "\\",
            "",
            "\\\u{fffd}\u{fffd}x",
        ] {
            assert_eq!(paths.dos_path(path), path);
        }
    }

    /// A program that was started by such a name lost the half of it that says where it is, and what
    /// was left looked like a path relative to nothing.
    #[test]
    fn a_name_that_is_neither_a_drive_nor_a_share_stays_whole() {
        let mut paths = DevicePaths::new(volumes);
        for path in [
            r"\??\Volume{6b5c1b4e-0000-0000-0000-100000000000}\a.exe",
            r"\??\pipe\a",
            r"\??\Global\C:\a.exe",
            r"\??\CC:\a",
            r"\??\C:a",
            r"\??\",
            r"\??\GLOBALROOTx\a",
        ] {
            assert_eq!(paths.dos_path(path), path);
        }
        let shadow = r"\Device\HarddiskVolumeShadowCopy1\a.exe";
        let global = format!(r"\??\GLOBALROOT{shadow}");
        assert_eq!(paths.dos_path(&global), shadow);
    }

    #[test]
    fn an_unknown_volume_is_asked_for_once_in_a_while() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let mut paths = DevicePaths::new(|| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            volumes()
        });
        for _ in 0..100 {
            paths.dos_path(r"\Device\HarddiskVolume9\a");
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);
    }
}
