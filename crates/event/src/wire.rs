//! The only code that turns numbers and texts into bytes and back.
//!
//! [`Writer`] runs in kernels: it has no panic path, and a write that does not fit is remembered
//! and shows in [`Writer::finish`]. With sizes known at compile time the checks fold away, which
//! keeps eBPF programs small. [`Reader`] runs in user mode on bytes it does not trust.

use core::fmt;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The bytes end inside a field.
    Short {
        /// How many bytes the field needs.
        needed: usize,
        /// How many were left.
        left: usize,
    },
    /// The size in the header is not the size of the record.
    Size {
        /// The size in the header.
        claimed: u32,
    },
    /// A list has more entries than there can be.
    Count {
        /// How many it claims.
        claimed: u32,
    },
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { needed, left } => {
                write!(
                    formatter,
                    "record ends inside a field: {needed} bytes needed, {left} left"
                )
            }
            Self::Size { claimed } => {
                write!(
                    formatter,
                    "record claims {claimed} bytes, which is not its size"
                )
            }
            Self::Count { claimed } => {
                write!(formatter, "list claims {claimed} entries, more than can be")
            }
        }
    }
}

impl core::error::Error for Invalid {}

/// Reads fields from bytes that may be anything.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `size` bytes.
    pub fn bytes(&mut self, size: u32) -> Result<&'a [u8], Invalid> {
        let left = self.bytes.len();
        let needed = usize::try_from(size).unwrap_or(usize::MAX);
        let (field, rest) = self
            .bytes
            .split_at_checked(needed)
            .ok_or(Invalid::Short { needed, left })?;
        self.bytes = rest;
        Ok(field)
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

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Invalid> {
        let left = self.bytes.len();
        let (field, rest) = self
            .bytes
            .split_first_chunk::<N>()
            .ok_or(Invalid::Short { needed: N, left })?;
        self.bytes = rest;
        Ok(*field)
    }
}

/// The size of a text as the fixed fields tell it. No record has room for one that is longer than
/// 32 bits tell, so that what stands for it is never read.
#[inline(always)]
pub fn size_of_text(text: &[u8]) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

/// Writes fields into a buffer.
///
/// # Invariants
/// `position <= buffer.len()`; once `full` is set nothing more is written.
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    position: usize,
    full: bool,
}

impl<'b> Writer<'b> {
    /// A writer at the start of `buffer`.
    #[inline(always)]
    pub const fn new(buffer: &'b mut [u8]) -> Self {
        Self {
            buffer,
            position: 0,
            full: false,
        }
    }

    /// Appends `bytes`.
    #[inline(always)]
    pub fn bytes(&mut self, bytes: &[u8]) {
        let field = self
            .buffer
            .get_mut(self.position..)
            .and_then(|rest| rest.get_mut(..bytes.len()));
        match field {
            Some(field) if !self.full => {
                field.copy_from_slice(bytes);
                self.position = self.position.saturating_add(bytes.len());
            }
            _ => self.full = true,
        }
    }

    /// Appends two bytes.
    #[inline(always)]
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    /// Appends four bytes.
    #[inline(always)]
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    /// Appends eight bytes.
    #[inline(always)]
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    /// What was written, or `None` when something did not fit.
    #[inline(always)]
    pub fn finish(self) -> Option<&'b [u8]> {
        if self.full {
            None
        } else {
            self.buffer.get(..self.position)
        }
    }
}
