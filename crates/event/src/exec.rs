//! What a process tried to run and could not.

use crate::wire::{Invalid, Reader, Writer, size_of_text};

/// The kernel refused to run a program (Linux `execve`, `execveat`). The header's process goes on with
/// the program it had, and its thread is the one that asked. What the header's flags say of an image
/// path they say of this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failed<'a> {
    /// Why, as the kernel numbers errors: 2 is `ENOENT`.
    pub error: u32,
    /// The path, as the process gave it.
    pub path: &'a [u8],
}

impl<'a> Failed<'a> {
    /// Bytes of the fixed fields.
    pub const FIXED_SIZE: usize = 8;

    /// Bytes of the body.
    #[inline(always)]
    pub fn size(&self) -> usize {
        Self::FIXED_SIZE.saturating_add(self.path.len())
    }

    /// Writes the fixed fields, for a path of that size.
    #[inline(always)]
    pub fn write_fixed(&self, writer: &mut Writer<'_>, path: u32) {
        writer.u32(self.error);
        writer.u32(path);
    }

    /// Writes the body.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        self.write_fixed(writer, size_of_text(self.path));
        writer.bytes(self.path);
    }

    /// Reads the body.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Invalid> {
        let error = reader.u32()?;
        let size = reader.u32()?;
        Ok(Self {
            error,
            path: reader.bytes(size)?,
        })
    }
}
