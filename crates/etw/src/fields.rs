//! Reads the fields of a trace from bytes that may be anything.

use std::fmt;

use crate::guid::Guid;

/// The bytes end inside a field, or the field is not what it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// How large a pointer is where an event was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointerSize {
    /// Four bytes.
    Four,
    /// Eight bytes.
    Eight,
}

impl PointerSize {
    /// In bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Four => Self::Eight,
            Self::Eight => Self::Four,
        }
    }
}

/// Takes field after field from the front of some bytes.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields at the beginning of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not taken yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `size` bytes.
    pub fn bytes(&mut self, size: usize) -> Result<&'a [u8], Invalid> {
        let (field, rest) = self.rest.split_at_checked(size).ok_or(Invalid)?;
        self.rest = rest;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Invalid> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(Invalid)?;
        self.rest = rest;
        Ok(*field)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, Invalid> {
        self.array().map(|[byte]| byte)
    }

    /// The next two bytes as a number.
    pub fn u16(&mut self) -> Result<u16, Invalid> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes as a number.
    pub fn u32(&mut self) -> Result<u32, Invalid> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes as a number.
    pub fn u64(&mut self) -> Result<u64, Invalid> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next eight bytes as a number that may be negative.
    pub fn i64(&mut self) -> Result<i64, Invalid> {
        self.array().map(i64::from_le_bytes)
    }

    /// A pointer, or a number of its size.
    pub fn pointer(&mut self, size: PointerSize) -> Result<u64, Invalid> {
        match size {
            PointerSize::Four => self.u32().map(u64::from),
            PointerSize::Eight => self.u64(),
        }
    }

    /// A GUID.
    pub fn guid(&mut self) -> Result<Guid, Invalid> {
        self.array().map(Guid)
    }

    /// A text of bytes up to a zero, which is taken with it.
    pub fn narrow_text(&mut self) -> Result<&'a [u8], Invalid> {
        let size = self.rest.iter().position(|byte| *byte == 0);
        let text = self.bytes(size.ok_or(Invalid)?)?;
        self.bytes(1)?;
        Ok(text)
    }

    /// A text in UTF-16 up to a zero, which is taken with it.
    pub fn wide_text(&mut self) -> Result<&'a [u8], Invalid> {
        let (units, _odd) = self.rest.as_chunks::<2>();
        let count = units.iter().position(|unit| *unit == [0, 0]);
        let text = self.bytes(2 * count.ok_or(Invalid)?)?;
        self.bytes(2)?;
        Ok(text)
    }

    /// A SID as Windows stores it: revision, number of its parts, authority, parts.
    pub fn sid(&mut self) -> Result<Sid<'a>, Invalid> {
        let [revision, count, ..] = self.rest else {
            return Err(Invalid);
        };
        if *revision != Sid::REVISION || *count > Sid::PARTS_MAX {
            return Err(Invalid);
        }
        let size = Sid::FIXED_SIZE + 4 * usize::from(*count);
        Ok(Sid {
            bytes: self.bytes(size)?,
        })
    }
}

/// A security identifier.
///
/// # Invariants
/// `bytes` are a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sid<'a> {
    bytes: &'a [u8],
}

/// As Windows writes it: `S-1-5-18`.
impl fmt::Display for Sid<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((head, parts)) = self.bytes.split_first_chunk::<8>() else {
            return Ok(());
        };
        let [revision, _count, authority @ ..] = head;
        let authority = authority.iter();
        let authority = authority.fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        write!(formatter, "S-{revision}-{authority}")?;
        let (parts, _none) = parts.as_chunks::<4>();
        let mut parts = parts.iter().map(|part| u32::from_le_bytes(*part));
        parts.try_for_each(|part| write!(formatter, "-{part}"))
    }
}

impl<'a> Sid<'a> {
    /// The only revision there is (`SID_REVISION`).
    const REVISION: u8 = 1;
    /// The most parts one has (`SID_MAX_SUB_AUTHORITIES`).
    const PARTS_MAX: u8 = 15;
    const FIXED_SIZE: usize = 8;

    /// The bytes as Windows stores them.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The last part: of a mandatory label the level of integrity.
    pub fn last_part(&self) -> Option<u32> {
        let parts = self.bytes.get(Self::FIXED_SIZE..)?;
        parts
            .last_chunk::<4>()
            .map(|part| u32::from_le_bytes(*part))
    }
}
