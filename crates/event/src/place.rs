//! Where a path leads to: which file that is, and in whose tree the path is told.
//!
//! One name is two files in two mount namespaces, and one file has two names under two roots. A text
//! with a place at its end ([`Flags::PLACED`](crate::Flags::PLACED)) says which it is. A file may also be
//! written anew and stay the same file; a [`Stamp`] tells the one from the other.

use crate::wire::{Invalid, Reader, Writer};

/// In whose tree a path is told. A number that is not known is a scope of a newer sensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope(pub u32);

impl Scope {
    /// The host's: the root and the mount namespace of the recording agent.
    pub const HOST: Self = Self(0);
    /// That of another mount namespace, seen from its root.
    pub const MOUNT_NAMESPACE: Self = Self(1);
    /// That of a mount that is attached nowhere, seen from its root.
    pub const DETACHED: Self = Self(2);
    /// Another root, of which no path is known: a process's own, or a file system's.
    pub const ROOT: Self = Self(3);
    /// None: no directory has the file.
    pub const NONE: Self = Self(4);
    /// Nobody knows: whoever used the file had gone before anybody looked.
    pub const UNKNOWN: Self = Self(5);

    /// The name in the trail; `None` for the host's, which is not marked.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::HOST => return None,
            Self::MOUNT_NAMESPACE => "mount_namespace",
            Self::DETACHED => "detached",
            Self::ROOT => "root",
            Self::NONE => "none",
            _ => "unknown",
        })
    }
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// In whose tree the path is told.
    pub scope: Scope,
    /// The device of the file's file system as the kernel counts it: the minor number in the low 20
    /// bits, the major number above. 0 where it is not known.
    pub device: u32,
    /// The file's inode; 0 where it is not known.
    pub inode: u64,
    /// The inode of the mount namespace, where it is not the host's; else 0.
    pub mount_namespace: u32,
}

const MINOR_BITS: u32 = 20;

impl Place {
    /// Bytes at the end of a text.
    pub const SIZE: usize = 20;

    /// A device by its two numbers, as far as the kernel has room for them.
    pub const fn device_of(major: u32, minor: u32) -> u32 {
        let minor_mask = (1 << MINOR_BITS) - 1;
        (major << MINOR_BITS) | (minor & minor_mask)
    }

    /// The two numbers of the device.
    pub const fn device_numbers(&self) -> (u32, u32) {
        let minor_mask = (1 << MINOR_BITS) - 1;
        (self.device >> MINOR_BITS, self.device & minor_mask)
    }

    /// Writes it.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u32(self.scope.0);
        writer.u32(self.device);
        writer.u64(self.inode);
        writer.u32(self.mount_namespace);
    }

    /// The bytes of a path before its place, and the place.
    ///
    /// # Errors
    /// When the text is too short to have one.
    pub fn split(text: &[u8]) -> Result<(&[u8], Self), Invalid> {
        let too_short = Invalid::Short {
            needed: Self::SIZE,
            left: text.len(),
        };
        let path_size = text.len().checked_sub(Self::SIZE).ok_or(too_short)?;
        let (path, place) = text.split_at_checked(path_size).ok_or(too_short)?;
        let mut reader = Reader::new(place);
        let place = Self {
            scope: Scope(reader.u32()?),
            device: reader.u32()?,
            inode: reader.u64()?,
            mount_namespace: reader.u32()?,
        };
        Ok((path, place))
    }
}

/// The state of a file: what of two states with the same stamp differs, the file system did not tell apart
/// either. It stands before the place of an image path that has one
/// ([`Flags::STAMPED`](crate::Flags::STAMPED)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// When its content, owner or permissions were changed last, in nanoseconds since the Unix epoch.
    pub change_time_ns: i64,
    /// Its bytes.
    pub size: u64,
}

impl Stamp {
    /// Bytes before a place.
    pub const SIZE: usize = 16;

    /// Writes it.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.change_time_ns.cast_unsigned());
        writer.u64(self.size);
    }

    /// The bytes of a path before its stamp, and the stamp. What follows, a place, is split off already.
    ///
    /// # Errors
    /// When the text is too short to have one.
    pub fn split(text: &[u8]) -> Result<(&[u8], Self), Invalid> {
        let too_short = Invalid::Short {
            needed: Self::SIZE,
            left: text.len(),
        };
        let path_size = text.len().checked_sub(Self::SIZE).ok_or(too_short)?;
        let (path, stamp) = text.split_at_checked(path_size).ok_or(too_short)?;
        let mut reader = Reader::new(stamp);
        let stamp = Self {
            change_time_ns: reader.u64()?.cast_signed(),
            size: reader.u64()?,
        };
        Ok((path, stamp))
    }
}
