//! Who beside the system and its administrators may change a file that is about to run as SYSTEM or
//! in the kernel: from the security descriptors of the file and of the directories above it, as
//! Windows gives them (`SECURITY_DESCRIPTOR_RELATIVE`, MS-DTYP 2.4.6). Pure: bytes in, verdict out.
//!
//! In doubt the verdict is that others may. A right is a right even where an entry before it denies
//! it, an entry of a type that files do not have is not passed over, and what cannot be read is
//! refused.

use event::wire::{Invalid, Reader};

/// What a descriptor belongs to, seen from the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The file itself.
    File,
    /// Its directory: who may put a library beside a program has the program load it.
    Directory,
    /// A directory above that: who may rename what is in it, or it, can put another in its place.
    Above,
}

/// Why a file is not the system's and the administrators' alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exposed {
    /// Somebody else owns it, and may change who may write whenever he likes.
    Owned(Box<[u8]>),
    /// Somebody else may write, delete, or change who may.
    Writable(Box<[u8]>),
    /// There is no list of who may, so everybody may.
    Unlisted,
    /// The list has an entry whose type says nothing about files.
    Unknown(u8),
    /// The bytes are no descriptor.
    Unreadable,
}

impl Exposed {
    /// What is wrong with `place`, in words; `name_fn` names a SID in its binary form.
    pub fn words(&self, place: &str, name_fn: impl Fn(&[u8]) -> String) -> String {
        match self {
            Self::Owned(sid) => format!("{place} belongs to {}", name_fn(sid)),
            Self::Writable(sid) => format!("{} may change {place}", name_fn(sid)),
            Self::Unlisted => format!("everybody may change {place}, for nothing says who may"),
            Self::Unknown(kind) => format!(
                "who may change {place} cannot be told, for its access control list has an entry \
                 of type {kind}"
            ),
            Self::Unreadable => {
                format!(
                    "who may change {place} cannot be told, for its security descriptor is none"
                )
            }
        }
    }
}

impl From<Invalid> for Exposed {
    fn from(_cut: Invalid) -> Self {
        Self::Unreadable
    }
}

/// Rights of Windows (`winnt.h`); a directory has the first three under other names.
mod right {
    /// `FILE_WRITE_DATA`, `FILE_ADD_FILE`
    pub(super) const WRITE_DATA: u32 = 0x2;
    /// `FILE_APPEND_DATA`, `FILE_ADD_SUBDIRECTORY`
    pub(super) const APPEND_DATA: u32 = 0x4;
    pub(super) const DELETE_CHILD: u32 = 0x40;
    /// Suffices to make a file a link to another.
    pub(super) const WRITE_ATTRIBUTES: u32 = 0x100;
    pub(super) const DELETE: u32 = 0x1_0000;
    pub(super) const WRITE_DAC: u32 = 0x4_0000;
    pub(super) const WRITE_OWNER: u32 = 0x8_0000;
    pub(super) const GENERIC_ALL: u32 = 0x1000_0000;
    pub(super) const GENERIC_WRITE: u32 = 0x4000_0000;
}

impl Part {
    /// The rights that others must not have.
    const fn rights(self) -> u32 {
        use right::{
            APPEND_DATA, DELETE, DELETE_CHILD, GENERIC_ALL, GENERIC_WRITE, WRITE_ATTRIBUTES,
            WRITE_DAC, WRITE_DATA, WRITE_OWNER,
        };
        let taking_over = DELETE | WRITE_DAC | WRITE_OWNER | GENERIC_ALL;
        match self {
            Self::File => taking_over | WRITE_DATA | APPEND_DATA | WRITE_ATTRIBUTES | GENERIC_WRITE,
            Self::Directory => {
                taking_over | WRITE_DATA | APPEND_DATA | DELETE_CHILD | GENERIC_WRITE
            }
            // Everybody may make directories in the root of Windows' drive. That moves none that is
            // there already.
            Self::Above => taking_over | DELETE_CHILD,
        }
    }
}

/// Those who may: the relative ids behind `S-1-5-`.
const TRUSTED: [&[u32]; 4] = [
    // SYSTEM
    &[18],
    // BUILTIN\Administrators
    &[32, 544],
    // NT SERVICE\TrustedInstaller, to which Windows' own files and directories belong.
    &[
        80,
        956_008_885,
        3_418_522_649,
        1_831_038_044,
        1_853_292_631,
        2_271_478_464,
    ],
    // The one user of Wine, which is its administrator. Windows gives this SID to nobody: a machine
    // or domain whose own number is 0-0-0 does not exist.
    &[21, 0, 0, 0, 1_000],
];

/// Bits of a descriptor's control field.
const DACL_PRESENT: u16 = 0x4;
const SELF_RELATIVE: u16 = 0x8000;

/// The flag of an entry that is only for what is made below.
const INHERIT_ONLY: u8 = 0x8;

/// Types of entries that allow: `ACCESS_ALLOWED_ACE`, and the one with a condition, which may hold.
const ALLOWING: [u8; 2] = [0x0, 0x9];

/// Types of entries that deny.
const DENYING: [u8; 4] = [0x1, 0x6, 0xa, 0xc];

/// Looks at the descriptor of one part of a path.
///
/// # Errors
/// Who else may change it; of several the first.
pub fn check(descriptor: &[u8], part: Part) -> Result<(), Exposed> {
    let mut reader = Reader::new(descriptor);
    // Revision and padding.
    reader.bytes(2)?;
    let control = reader.u16()?;
    let owner = reader.u32()?;
    // Group and SACL say nothing about who may.
    reader.bytes(8)?;
    let list = reader.u32()?;
    if control & SELF_RELATIVE == 0 {
        return Err(Exposed::Unreadable);
    }
    let owner = Sid::first(at(descriptor, owner)?)?;
    if !owner.is_trusted() {
        return Err(Exposed::Owned(owner.0.into()));
    }
    if control & DACL_PRESENT == 0 || list == 0 {
        return Err(Exposed::Unlisted);
    }
    check_list(at(descriptor, list)?, part.rights())
}

/// What stands at an offset, of which 0 means that there is nothing.
fn at(descriptor: &[u8], offset: u32) -> Result<&[u8], Exposed> {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    match descriptor.get(offset..) {
        Some(rest) if offset != 0 => Ok(rest),
        _ => Err(Exposed::Unreadable),
    }
}

/// An ACL: whether any of its entries gives one of `rights` to somebody who is not trusted.
fn check_list(list: &[u8], rights: u32) -> Result<(), Exposed> {
    const HEAD_SIZE: u16 = 8;
    let mut reader = Reader::new(list);
    reader.bytes(2)?;
    let size = reader.u16()?;
    let count = reader.u16()?;
    reader.bytes(2)?;
    let entries = size.checked_sub(HEAD_SIZE).ok_or(Exposed::Unreadable)?;
    let mut entries = Reader::new(reader.bytes(entries.into())?);
    for _ in 0..count {
        check_entry(&mut entries, rights)?;
    }
    Ok(())
}

fn check_entry(entries: &mut Reader<'_>, rights: u32) -> Result<(), Exposed> {
    const HEAD_SIZE: u16 = 4;
    let (kind, flags) = match entries.bytes(2)? {
        [kind, flags] => (*kind, *flags),
        _ => return Err(Exposed::Unreadable),
    };
    let size = entries.u16()?;
    let size = size.checked_sub(HEAD_SIZE).ok_or(Exposed::Unreadable)?;
    let body = entries.bytes(size.into())?;
    if flags & INHERIT_ONLY != 0 || DENYING.contains(&kind) {
        return Ok(());
    }
    if !ALLOWING.contains(&kind) {
        return Err(Exposed::Unknown(kind));
    }
    let (mask, sid) = body.split_first_chunk().ok_or(Exposed::Unreadable)?;
    let (mask, sid) = (u32::from_le_bytes(*mask), Sid::first(sid)?);
    if mask & rights == 0 || sid.is_trusted() || sid.is_owner_rights() {
        return Ok(());
    }
    Err(Exposed::Writable(sid.0.into()))
}

/// A SID in its binary form, as long as it says.
#[derive(Clone, Copy, Debug)]
struct Sid<'a>(&'a [u8]);

impl<'a> Sid<'a> {
    /// The SID that `bytes` begin with: revision, number of relative ids, the authority in 6 bytes,
    /// the relative ids.
    fn first(bytes: &'a [u8]) -> Result<Self, Exposed> {
        let sid = bytes
            .get(1)
            .and_then(|count| bytes.get(..8 + usize::from(*count) * 4));
        sid.map(Self).ok_or(Exposed::Unreadable)
    }

    fn is(self, authority: u8, relative_ids: &[u32]) -> bool {
        let Some((head, ids)) = self.0.split_first_chunk::<8>() else {
            return false;
        };
        let is_same = |(bytes, id): (&[u8; 4], &u32)| u32::from_le_bytes(*bytes) == *id;
        let ids = ids.as_chunks::<4>().0;
        head[0] == 1
            && head[2..] == [0, 0, 0, 0, 0, authority]
            && ids.len() == relative_ids.len()
            && ids.iter().zip(relative_ids).all(is_same)
    }

    fn is_trusted(self) -> bool {
        TRUSTED.iter().any(|ids| self.is(5, ids))
    }

    /// Stands for the owner, who was looked at.
    fn is_owner_rights(self) -> bool {
        self.is(3, &[4])
    }
}

#[cfg(test)]
mod tests;
