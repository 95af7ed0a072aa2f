//! Image paths: from the kernel's order to text, each distinct path kept once.

use std::borrow::Cow;
use std::sync::Arc;

use event::{Flags, Place, Scope, Stamp};
use foldhash::HashMap;

use super::device_path::DevicePaths;
use crate::image_hash::FileKey;
use crate::sys::volumes::Volumes;
use crate::trail::Text;

/// The path that a record's image bytes stand for, without their place.
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

/// A path as the trail tells it. One that does not begin at a root anybody can go to begins with no
/// slash, so that nobody takes it for another: it was cut, or is below a mount that is attached
/// nowhere, or below a root of which no path is known.
pub fn shown(path: &[u8], scope: Scope, is_cut: bool) -> &[u8] {
    let is_relative = is_cut || matches!(scope, Scope::DETACHED | Scope::ROOT);
    let begin = path.iter().take_while(|byte| is_relative && **byte == b'/');
    path.get(begin.count()..).unwrap_or_default()
}

/// The bytes of a path, and its place where the record has one.
pub fn split(bytes: &[u8], flags: Flags) -> (&[u8], Place) {
    let is_placed = flags.contains(Flags::PLACED);
    let placed = is_placed.then(|| Place::split(bytes).ok()).flatten();
    placed.unwrap_or_else(|| (bytes, Place::default()))
}

/// The same of the bytes before a place, and a stamp.
fn split_stamp(bytes: &[u8], flags: Flags) -> (&[u8], Option<Stamp>) {
    let is_stamped = flags.contains(Flags::PLACED.with(Flags::STAMPED));
    let split = is_stamped.then(|| Stamp::split(bytes).ok()).flatten();
    split.map_or((bytes, None), |(path, stamp)| (path, Some(stamp)))
}

/// Which file a record's image bytes lead to, in which state; `None` where the sensor does not know the file.
pub fn file(bytes: &[u8], flags: Flags) -> Option<FileKey> {
    let (bytes, Place { device, inode, .. }) = split(bytes, flags);
    let (_path, stamp) = split_stamp(bytes, flags);
    (device != 0 && inode != 0).then_some(FileKey {
        device,
        inode,
        stamp,
    })
}

/// A path as the trail tells it, with what it leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImagePath {
    /// The path; `None` where it could not be had.
    pub text: Option<Text>,
    /// In whose tree, where not the host's.
    pub scope: Option<Cow<'static, str>>,
    /// The device.
    pub device: Option<Arc<str>>,
    /// The inode.
    pub inode: Option<u64>,
    /// The mount namespace, where not the host's.
    pub mount_namespace: Option<u32>,
}

/// Image paths by the bytes of their records, so that the thousandth load of a library allocates
/// nothing.
///
/// # Invariants
/// Each generation holds at most `limit / 2` paths. When the young one is full it becomes the old
/// one and what only the old one held is forgotten: an approximate least-recently-used order that
/// costs a move instead of a list.
#[derive(Debug)]
pub struct ImagePaths {
    young: HashMap<Box<[u8]>, ImagePath>,
    old: HashMap<Box<[u8]>, ImagePath>,
    limit: usize,
    device: Option<(u32, Arc<str>)>,
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
            device: None,
            device_paths: DevicePaths::new(volumes_fn),
        }
    }

    /// The path these bytes stand for, not remembered.
    pub fn read(&mut self, bytes: &[u8], flags: Flags) -> ImagePath {
        let (bytes, place) = split(bytes, flags);
        let (bytes, _stamp) = split_stamp(bytes, flags);
        let text = if flags.contains(Flags::IMAGE_UNAVAILABLE) {
            None
        } else if flags.contains(Flags::UTF_16) {
            let text = Text::from_utf_16(bytes);
            Some(text.shown_as(|path| self.device_paths.dos_path(path)))
        } else {
            let is_cut = flags.contains(Flags::IMAGE_TRUNCATED);
            let path = path(bytes, flags);
            Some(Text::from_bytes(shown(&path, place.scope, is_cut)))
        };
        let device = (place.device != 0).then(|| self.device(&place));
        ImagePath {
            text,
            scope: place.scope.name().map(Cow::Borrowed),
            device,
            inode: Some(place.inode).filter(|inode| *inode != 0),
            mount_namespace: Some(place.mount_namespace).filter(|inode| *inode != 0),
        }
    }

    /// The name of the place's device. Most files are of the one that was told last.
    fn device(&mut self, place: &Place) -> Arc<str> {
        if let Some((number, name)) = &self.device
            && *number == place.device
        {
            return Arc::clone(name);
        }
        let (major, minor) = place.device_numbers();
        let name: Arc<str> = Arc::from(format!("{major}:{minor}"));
        self.device = Some((place.device, Arc::clone(&name)));
        name
    }

    /// The path these bytes stand for. The same bytes are the same path whatever their form: a path
    /// begins with a slash, and components have none. One that was cut or could not be had is not
    /// remembered, for its bytes may be those of another.
    pub fn path(&mut self, bytes: &[u8], flags: Flags) -> ImagePath {
        let special = [
            Flags::IMAGE_TRUNCATED,
            Flags::IMAGE_PARTIAL,
            Flags::IMAGE_UNAVAILABLE,
        ];
        if special.iter().any(|flag| flags.contains(*flag)) {
            return self.read(bytes, flags);
        }
        if let Some(path) = self.young.get(bytes) {
            return path.clone();
        }
        let (bytes, path) = match self.old.remove_entry(bytes) {
            Some(known) => known,
            None => (Box::from(bytes), self.read(bytes, flags)),
        };
        if self.young.len() >= self.limit / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(bytes, path.clone());
        path
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

    fn placed(path: &[u8], place: Place) -> Vec<u8> {
        let mut bytes = [0; Place::SIZE];
        let mut writer = event::wire::Writer::new(&mut bytes);
        place.write(&mut writer);
        [path, &bytes].concat()
    }

    #[test]
    fn a_path_has_what_its_place_says() {
        let mut paths = ImagePaths::new(8, Volumes::default);
        let flags = Flags::LEAF_FIRST.with(Flags::PLACED);
        let place = Place {
            scope: Scope::MOUNT_NAMESPACE,
            device: Place::device_of(8, 1),
            inode: 7,
            mount_namespace: 9,
        };
        let path = paths.path(&placed(b"sh\0bin\0", place), flags);
        assert_eq!(path.text.unwrap().shown(), "/bin/sh");
        assert_eq!(path.scope.as_deref(), Some("mount_namespace"));
        assert_eq!(path.device.as_deref(), Some("8:1"));
        assert_eq!((path.inode, path.mount_namespace), (Some(7), Some(9)));
        let plain = paths.path(&placed(b"sh\0bin\0", Place::default()), flags);
        assert_eq!(plain.text, Some("/bin/sh".into()));
        let nothing = ImagePath {
            text: plain.text.clone(),
            ..ImagePath::default()
        };
        assert_eq!(plain, nothing);
    }

    /// One file written anew is told by the same path.
    #[test]
    fn a_stamp_is_no_part_of_a_path() {
        let mut paths = ImagePaths::new(8, Volumes::default);
        let flags = Flags::LEAF_FIRST.with(Flags::PLACED).with(Flags::STAMPED);
        let place = Place {
            device: 9,
            inode: 7,
            ..Place::default()
        };
        for size in [1, 2] {
            let stamp = Stamp {
                change_time_ns: 5,
                size,
            };
            let mut bytes = [0; Stamp::SIZE];
            stamp.write(&mut event::wire::Writer::new(&mut bytes));
            let stamped = [&b"sh\0bin\0"[..], &bytes].concat();
            let bytes = placed(&stamped, place);
            let path = paths.path(&bytes, flags);
            assert_eq!((path.text, path.inode), (Some("/bin/sh".into()), Some(7)));
            let key = FileKey {
                device: 9,
                inode: 7,
                stamp: Some(stamp),
            };
            assert_eq!(file(&bytes, flags), Some(key));
        }
    }

    /// A path that was cut, and one on a mount that is attached nowhere, were told as if they began
    /// at the root.
    #[test]
    fn a_path_without_a_root_begins_with_no_slash() {
        let mut paths = ImagePaths::new(8, Volumes::default);
        let flags = Flags::LEAF_FIRST.with(Flags::PLACED);
        let mut told = |path: &[u8], scope, more| {
            let place = Place {
                scope,
                ..Place::default()
            };
            let path = paths.path(&placed(path, place), flags.with(more));
            path.text.unwrap().shown().to_owned()
        };
        let cut = Flags::IMAGE_TRUNCATED;
        assert_eq!(told(b"x\0usr\0", Scope::HOST, Flags::NONE), "/usr/x");
        assert_eq!(told(b"x\0usr\0", Scope::HOST, cut), "usr/x");
        assert_eq!(told(b"x\0usr\0", Scope::DETACHED, Flags::NONE), "usr/x");
        // The root of a file system has a slash for its name.
        assert_eq!(told(b"x\0usr\0/\0", Scope::ROOT, Flags::NONE), "usr/x");
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
        assert_eq!(
            paths.path(&path, Flags::UTF_16).text.unwrap().shown(),
            r"C:\ü.exe"
        );
        let mut lone = utf_16(r"\??\C:\");
        lone.extend([0x00, 0xd8]);
        let text = paths.path(&lone, Flags::UTF_16).text.unwrap();
        assert_eq!(text.shown(), "C:\\\u{fffd}");
        assert_eq!(text.raw(), Some(lone.as_slice()));
    }

    #[test]
    fn never_holds_more_than_its_limit_and_stays_right() {
        let mut paths = ImagePaths::new(8, Volumes::default);
        for round in 0..3_u32 {
            for index in 0..100_u32 {
                let name = format!("{index}\0lib\0");
                let path = paths.path(name.as_bytes(), Flags::LEAF_FIRST);
                let text = path.text.unwrap();
                assert_eq!(text.shown(), format!("/lib/{index}"), "round {round}");
                assert!(paths.young.len() + paths.old.len() <= 8);
            }
        }
    }
}
