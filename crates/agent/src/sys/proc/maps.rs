//! What a process has mapped: `/proc/PID/maps`.

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;

use event::{Flags, Place, Scope, image};
use nix::fcntl::{openat, readlinkat};
use nix::sys::stat::Mode;

use super::Process;
use super::name::{PLACE, has_path, image_of_name, may_be_escaped, unescaped};
use super::place::{place, placed, scope};

/// Bytes of `maps` read of one process: 65,530 mappings (the kernel's default limit) of 1 KiB.
const MAPS_SIZE_MAX: u64 = 64 * 1024 * 1024;

impl Process {
    /// Hands over every image that is mapped now.
    pub fn images(&self, mut image_fn: impl FnMut(Flags, image::Load<'_>)) -> io::Result<()> {
        let (thread, maps) = self.read_memory("maps", MAPS_SIZE_MAX)?;
        let directory = thread.as_ref().unwrap_or(&self.directory);
        for line in maps.split(|&byte| byte == b'\n') {
            let Some(mapping) = parse_mapping(line) else {
                continue;
            };
            let name = mapped_name(directory, &mapping);
            let has_path = |path: &[u8]| has_path(Some(directory), path, mapping.inode);
            if let Some((flags, image)) = image_of_name(&name, has_path) {
                let load = image::Load {
                    image_base: mapping.base,
                    image_size: mapping.size,
                    image: &placed(image, flags, mapping.place(directory)),
                };
                image_fn(flags.with(Flags::PLACED), load);
            }
        }
        Ok(())
    }
}

/// A line of `maps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapping<'a> {
    /// Its addresses, as its line has them.
    range: &'a [u8],
    base: u64,
    size: u64,
    device: u32,
    inode: u64,
    name: &'a [u8],
}

impl Mapping<'_> {
    /// What is mapped, of the process with that directory. Where nobody may ask for the mapping's own
    /// file, it is taken for one of the process's mount namespace.
    fn place(&self, directory: &OwnedFd) -> Place {
        let told = Place {
            device: self.device,
            inode: self.inode,
            ..Place::default()
        };
        let range = std::str::from_utf8(self.range).unwrap_or_default();
        let link = format!("map_files/{range}");
        let found = match openat(directory, link.as_str(), PLACE, Mode::empty()) {
            Ok(file) => place(directory, &file),
            Err(_not_ours) => Some(scope(directory)).filter(|it| it.scope != Scope::DETACHED),
        };
        let found = found.unwrap_or_default();
        Place {
            scope: found.scope,
            mount_namespace: found.mount_namespace,
            ..told
        }
    }
}

/// The executable mapping a line of `maps` tells of.
fn parse_mapping(line: &[u8]) -> Option<Mapping<'_>> {
    // start-end perms offset device inode, then blanks, then the name to the end of the line.
    let mut rest = line;
    let mut fields = [&b""[..]; 5];
    for field in &mut fields {
        let end = rest.iter().position(|&byte| byte == b' ')?;
        *field = &rest[..end];
        rest = &rest[end + 1..];
    }
    let [range, permissions, _, device, inode] = fields;
    if permissions.get(2) != Some(&b'x') {
        return None;
    }
    let (start, end) = std::str::from_utf8(range).ok()?.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let (major, minor) = std::str::from_utf8(device).ok()?.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let name_start = rest.iter().position(|&byte| byte != b' ')?;
    Some(Mapping {
        range,
        base: start,
        size: end.checked_sub(start)?,
        device: Place::device_of(number(major)?, number(minor)?),
        inode: std::str::from_utf8(inode).ok()?.parse().ok()?,
        name: &rest[name_start..],
    })
}

/// What the file of a mapping is called: `maps` writes a newline as it may itself be in a name, and
/// the link of the mapping, which only a process has, leads to the name as it is.
fn mapped_name<'a>(directory: &OwnedFd, mapping: &Mapping<'a>) -> Cow<'a, [u8]> {
    if !may_be_escaped(mapping.name) {
        return Cow::Borrowed(mapping.name);
    }
    let link = std::str::from_utf8(mapping.range).unwrap_or_default();
    match readlinkat(directory, &*format!("map_files/{link}")) {
        Ok(name) => Cow::Owned(name.into_vec()),
        Err(_gone) => unescaped(mapping.name, |path| {
            has_path(Some(directory), path, mapping.inode)
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_executable_mappings_count() {
        let line = b"7f00-7f80 r-xp 00001000 fe:00 123       /usr/lib/a b.so (deleted)";
        assert_eq!(
            parse_mapping(line),
            Some(Mapping {
                range: b"7f00-7f80",
                base: 0x7f00,
                size: 0x80,
                device: Place::device_of(0xfe, 0),
                inode: 123,
                name: b"/usr/lib/a b.so (deleted)",
            })
        );
        assert_eq!(parse_mapping(b"7f00-7f80 rw-p 00001000 fe:00 123 /a"), None);
        assert_eq!(parse_mapping(b"7f00-7f80 r-xp 00000000 00:00 0 "), None);
    }

    proptest! {
        #[test]
        fn no_bytes_at_all_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _mapping = parse_mapping(&bytes);
            let _name = unescaped(&bytes, |_| false);
        }
    }
}
