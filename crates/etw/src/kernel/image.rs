//! Image load, unload and rundown.

use super::process::IDLE;
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
    /// Whether it is mapped in the kernel.
    pub const fn is_of_kernel(&self) -> bool {
        self.process_id == IDLE || self.base >> 63 == 1
    }

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

    /// Whether its file is called `name`, as the kernel names the process that runs it, whatever the
    /// case. The kernel cuts the names of old versions, and the provider those of exits; `is_cut` says
    /// that this one is cut elsewhere.
    pub fn has_name(&self, name: &[u8], is_cut: bool) -> bool {
        const CUT_SIZES: [usize; 2] = [14, 15];
        if name.is_empty() {
            return false;
        }
        let (units, _odd) = self.path.as_chunks::<2>();
        let backslash = [b'\\', 0];
        let leaf = units.rsplit(|unit| *unit == backslash).next();
        let leaf = leaf.unwrap_or_default();
        let is_cut = is_cut || CUT_SIZES.contains(&name.len());
        let fits = leaf.len() == name.len() || (is_cut && leaf.len() > name.len());
        let same =
            |(unit, byte): (&[u8; 2], &u8)| unit[0].eq_ignore_ascii_case(byte) && unit[1] == 0;
        fits && leaf.iter().zip(name).all(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_the_name_of_its_process_whatever_the_case_and_where_that_is_cut() {
        let wide = |text: &str| -> Vec<u8> {
            let units = text.encode_utf16();
            units.flat_map(u16::to_le_bytes).collect()
        };
        let has_name = |path: &[u8], name| {
            let image = Image {
                path,
                ..Image::default()
            };
            image.has_name(name, false)
        };
        let path = wide(r"\Device\HarddiskVolume3\x\SecurityHealthSystray.exe");
        assert!(has_name(&path, b"securityhealthsystray.exe"));
        assert!(has_name(&path, b"SecurityHealth"));
        assert!(!has_name(&path, b"Security"));
        assert!(!has_name(&path, b""));
        assert!(!has_name(b"", b"a"));
        assert!(has_name(&wide("a.exe"), b"a.exe"));
        assert!(!has_name(&wide(r"x\a.exe"), b"x\\a.exe"));
    }
}
