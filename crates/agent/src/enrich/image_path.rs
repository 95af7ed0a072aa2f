//! Image paths: from the kernel's order to text, each distinct path kept once.

use event::Flags;
use foldhash::HashMap;

use super::device_path::DevicePaths;
use crate::sys::volumes::Volumes;
use crate::trail::Text;

/// The path that a record's image bytes stand for.
///
/// With [`Flags::LEAF_FIRST`] the bytes are path components, each ended by a NUL byte, the file's
/// own name first; otherwise they are the path itself.
pub fn path(bytes: &[u8], flags: Flags) -> Vec<u8> {
    if !flags.contains(Flags::LEAF_FIRST) {
        return bytes.to_vec();
    }
    let mut path = Vec::with_capacity(bytes.len() + 1);
    let components = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    for component in components.rsplit(|byte| *byte == 0) {
        path.push(b'/');
        path.extend_from_slice(component);
    }
    path
}

/// Texts of image paths by the bytes of their records, so that the thousandth load of a library
/// allocates nothing.
///
/// # Invariants
/// Each generation holds at most `limit / 2` paths. When the young one is full it becomes the old
/// one and what only the old one held is forgotten: an approximate least-recently-used order that
/// costs a move instead of a list.
#[derive(Debug)]
pub struct ImagePaths {
    young: HashMap<Box<[u8]>, Text>,
    old: HashMap<Box<[u8]>, Text>,
    limit: usize,
    device_paths: DevicePaths,
}

impl ImagePaths {
    /// An empty cache of at most `limit` paths. `volumes_fn` tells the drive letters of a Windows
    /// machine.
    pub fn new(limit: usize, volumes_fn: fn() -> Volumes) -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
            limit,
            device_paths: DevicePaths::new(volumes_fn),
        }
    }

    /// The text of the path these bytes stand for, not remembered.
    pub fn read(&mut self, bytes: &[u8], flags: Flags) -> Text {
        if flags.contains(Flags::UTF_16) {
            return Text::from_utf_16(bytes).shown_as(|path| self.device_paths.dos_path(path));
        }
        Text::from_bytes(&path(bytes, flags))
    }

    /// The text of the path these bytes stand for. The same bytes are the same path whatever their
    /// form: a path begins with a slash, and components have none.
    pub fn text(&mut self, bytes: &[u8], flags: Flags) -> Text {
        if let Some(text) = self.young.get(bytes) {
            return text.clone();
        }
        let (bytes, text) = match self.old.remove_entry(bytes) {
            Some(known) => known,
            None => (Box::from(bytes), self.read(bytes, flags)),
        };
        if self.young.len() >= self.limit / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(bytes, text.clone());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_components_into_a_path() {
        assert_eq!(
            path(b"true\0bin\0usr\0", Flags::LEAF_FIRST),
            b"/usr/bin/true"
        );
        assert_eq!(path(b"memfd:x\0", Flags::LEAF_FIRST), b"/memfd:x");
        assert_eq!(path(b"", Flags::LEAF_FIRST), b"/");
        assert_eq!(path(b"/usr/bin/true", Flags::NONE), b"/usr/bin/true");
    }

    #[test]
    fn a_windows_path_is_text_with_a_drive_letter() {
        let mut paths = ImagePaths::new(8, || Volumes {
            drives: vec![(r"\Device\HarddiskVolume3".to_owned(), "C:".to_owned())],
            system_root: None,
        });
        let utf_16 =
            |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        let path = utf_16(r"\Device\HarddiskVolume3\ü.exe");
        assert_eq!(paths.text(&path, Flags::UTF_16).shown(), r"C:\ü.exe");
        let mut lone = utf_16(r"\??\C:\");
        lone.extend([0x00, 0xd8]);
        let text = paths.text(&lone, Flags::UTF_16);
        assert_eq!(text.shown(), "C:\\\u{fffd}");
        assert_eq!(text.raw(), Some(lone.as_slice()));
    }

    #[test]
    fn never_holds_more_than_its_limit_and_stays_right() {
        let mut paths = ImagePaths::new(8, Volumes::default);
        for round in 0..3_u32 {
            for index in 0..100_u32 {
                let name = format!("{index}\0lib\0");
                let text = paths.text(name.as_bytes(), Flags::LEAF_FIRST);
                assert_eq!(text.shown(), format!("/lib/{index}"), "round {round}");
                assert!(paths.young.len() + paths.old.len() <= 8);
            }
        }
    }
}
