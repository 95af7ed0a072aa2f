//! Image load and unload.

use crate::wire::{Invalid, Reader, Writer, size_of_text};

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

    /// Writes the fixed fields, for a path of that size.
    #[inline(always)]
    pub fn write_fixed(&self, writer: &mut Writer<'_>, image: u32) {
        writer.u64(self.image_base);
        writer.u64(self.image_size);
        writer.u32(image);
    }

    /// Writes the body.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        self.write_fixed(writer, size_of_text(self.image));
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

/// An image of the header's process was unmapped (Windows).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unload<'a> {
    /// Where the mapping began.
    pub image_base: u64,
    /// Bytes of the mapping.
    pub image_size: u64,
    /// The path of the file, as bytes of the system's own encoding.
    pub image: &'a [u8],
}

impl<'a> Unload<'a> {
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
        writer.u32(size_of_text(self.image));
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

/// How the image is signed (Windows). It follows [`Load`] in the record as its
/// [`Extension`](crate::Extension).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// `SE_SIGNING_LEVEL_*`: 0 is unchecked, 12 is Windows.
    pub level: u16,
    /// `SE_IMAGE_SIGNATURE_TYPE`: 0 is none, 1 embedded, 3 a catalogue.
    pub kind: u16,
}

impl Signature {
    /// Bytes of the extension.
    pub const SIZE: usize = 4;

    /// Writes the extension.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u16(self.level);
        writer.u16(self.kind);
    }

    /// Reads the extension.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            level: reader.u16()?,
            kind: reader.u16()?,
        })
    }
}
