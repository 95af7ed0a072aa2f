//! Image load, unload and rundown.

use crate::fields::{Fields, Invalid, PointerSize};

/// An image, as far as an event tells of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Image<'a> {
    /// The process it is mapped in; 0 for the kernel's own.
    pub process_id: u32,
    /// Where it begins.
    pub base: u64,
    /// How large it is.
    pub size: u64,
    /// The checksum in its header; 0 where it is not told.
    pub checksum: u32,
    /// By whom it is signed and where the signature was found (`SE_SIGNING_LEVEL_*`,
    /// `SE_IMAGE_SIGNATURE_TYPE`), where that is told.
    pub signature: Option<(u8, u8)>,
    /// The path, in UTF-16.
    pub path: &'a [u8],
}

impl<'a> Image<'a> {
    /// What the kernel's class tells (`Image_V0` to `Image_Load` of version 3). Version 0 says nothing
    /// of the process: it is the one that told.
    pub(super) fn read(
        version: u8,
        teller: Option<u32>,
        pointer_size: PointerSize,
        fields: &mut Fields<'a>,
    ) -> Result<Self, Invalid> {
        let base = fields.pointer(pointer_size)?;
        let size = if version == 0 {
            u64::from(fields.u32()?)
        } else {
            fields.pointer(pointer_size)?
        };
        let mut image = Self {
            process_id: if version == 0 {
                teller.ok_or(Invalid)?
            } else {
                fields.u32()?
            },
            base,
            size,
            ..Self::default()
        };
        if version >= 2 {
            image.checksum = fields.u32()?;
            let _stamp = fields.u32()?;
            let (level, kind, _reserved) = (fields.u8()?, fields.u8()?, fields.u16()?);
            image.signature = (version >= 3).then_some((level, kind));
            let _default_base = fields.pointer(pointer_size)?;
            fields.bytes(16)?;
        }
        image.path = fields.wide_text()?;
        Ok(image)
    }

    /// What the provider tells.
    pub(super) fn read_provider(
        pointer_size: PointerSize,
        fields: &mut Fields<'a>,
    ) -> Result<Self, Invalid> {
        let base = fields.pointer(pointer_size)?;
        let size = fields.pointer(pointer_size)?;
        let process_id = fields.u32()?;
        let checksum = fields.u32()?;
        let _stamp = fields.u32()?;
        let _default_base = fields.pointer(pointer_size)?;
        Ok(Self {
            process_id,
            base,
            size,
            checksum,
            signature: None,
            path: fields.wide_text()?,
        })
    }
}
