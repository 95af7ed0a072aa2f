//! From the names the kernel of the trace has for files to those of people, as far as the trace itself
//! tells where a volume is. What it does not tell keeps the kernel's name: the machine that reads has
//! other volumes.

use crate::dos_path::{self, strip_prefix};

/// Places that are kept; a machine has a few volumes.
const PLACES_MAX: usize = 256;

/// Where places of the kernel's are for people.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// The kernel's name and that of people, each with a backslash at its end.
    places: Vec<(String, String)>,
    /// The directory of Windows, with a backslash at its end: `C:\Windows\`.
    system_root: Option<String>,
}

impl Paths {
    /// A place that the trace tells: `\Device\HarddiskVolume2\` is `C:\`.
    pub(super) fn add_place(&mut self, kernel: &str, dos: &str) {
        let is_place = kernel.len() > 2 && kernel.starts_with('\\') && kernel.ends_with('\\');
        let has_letter = matches!(dos.as_bytes(), [_, b':', ..]) && dos.ends_with('\\');
        if is_place && has_letter && self.places.len() < PLACES_MAX {
            self.places.push((kernel.to_owned(), dos.to_owned()));
        }
    }

    /// The directory of Windows, as the trace tells it.
    pub(super) fn set_system_root(&mut self, directory: &str) {
        if matches!(directory.as_bytes(), [_, b':', b'\\', _, ..]) {
            let directory = directory.trim_end_matches('\\');
            self.system_root = Some(format!("{directory}\\"));
        }
    }

    /// The name people use for `path`.
    pub(super) fn dos_path(&self, path: &str) -> String {
        let path = dos_path::without_global_root(path);
        if let Some(path) = dos_path::of(path) {
            return path;
        }
        let places = self.places.iter();
        let mut of_places = places.filter_map(|(kernel, dos)| {
            let rest = strip_prefix(path, kernel)?;
            Some(format!("{dos}{rest}"))
        });
        of_places
            .next()
            .or_else(|| self.in_system_root(path))
            .unwrap_or_else(|| path.to_owned())
    }

    /// `\SystemRoot\x`, and `\Windows\x` without a volume, which is on that of Windows.
    fn in_system_root(&self, path: &str) -> Option<String> {
        let root = self.system_root.as_deref()?;
        let (_drive, directory) = root.split_at_checked(2)?;
        let rest = strip_prefix(path, r"\SystemRoot\").or_else(|| strip_prefix(path, directory))?;
        Some(format!("{root}{rest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_trace_tells_of_volumes_gives_names_of_people() {
        let mut paths = Paths::default();
        paths.add_place(r"\Device\HarddiskVolume2\", r"C:\");
        paths.add_place(r"\Device\Mup\", r"\\");
        paths.add_place(r"\\", r"\\");
        paths.set_system_root(r"C:\Windows\");
        for (kernel, dos) in [
            (r"\Device\HarddiskVolume2\a\b.exe", r"C:\a\b.exe"),
            (r"\device\harddiskvolume2\a", r"C:\a"),
            (r"\Device\HarddiskVolume20\a", r"\Device\HarddiskVolume20\a"),
            (
                r"\SystemRoot\System32\ntdll.dll",
                r"C:\Windows\System32\ntdll.dll",
            ),
            (
                r"\Windows\System32\ntdll.dll",
                r"C:\Windows\System32\ntdll.dll",
            ),
            (r"\??\C:\a.exe", r"C:\a.exe"),
            (r"\??\UNC\server\share\a.exe", r"\\server\share\a.exe"),
            (r"\Device\Mup\server\share\a.exe", r"\\server\share\a.exe"),
            (
                r"\Device\Mup\DfsClient\;Z:0000000000020d40\server\share\a.exe",
                r"\\server\share\a.exe",
            ),
            (
                r"\Device\Mup\;LanmanRedirector\;Z:00000000000215d7\server\share\a.exe",
                r"\\server\share\a.exe",
            ),
            (r"C:\a.exe", r"C:\a.exe"),
            (r"\??\Volume{6b5c}\a", r"\??\Volume{6b5c}\a"),
            ("", ""),
        ] {
            assert_eq!(paths.dos_path(kernel), dos);
        }
    }

    #[test]
    fn what_it_does_not_tell_keeps_the_kernels_name() {
        let paths = Paths::default();
        for path in [
            r"\Device\HarddiskVolume3\Windows\explorer.exe",
            r"\SystemRoot\system32\ntoskrnl.exe",
            r"\Windows\System32\smss.exe",
        ] {
            assert_eq!(paths.dos_path(path), path);
        }
    }
}
