//! Image load.

use crate::wire::{Invalid, Reader, Writer};

/// A file was mapped executable into the header's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load<'a> {
    /// Where the mapping begins.
    pub image_base: u64,
    /// Bytes of the mapping.
    pub image_size: u64,
    /// The path of the file, as bytes of the system's own encoding.
    pub image: &'a [u8],
}

impl<'a> Load<'a> {
    /// Bytes of the fixed fields.
    pub const FIXED_SIZE: usize = 20;

    /// Bytes of the body.
    #[inline(always)]
    pub fn size(&self) -> usize {
        Self::FIXED_SIZE.saturating_add(self.image.len())
    }

    /// Writes the body.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.image_base);
        writer.u64(self.image_size);
        writer.size(self.image);
        writer.bytes(self.image);
    }

    /// Reads the body.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Invalid> {
        let (image_base, image_size) = (reader.u64()?, reader.u64()?);
        let size = reader.u32()?;
        Ok(Self {
            image_base,
            image_size,
            image: reader.bytes(size)?,
        })
    }
}
