//! What a trace tells of the machine: its name, and where people find what the kernel names.

use crate::fields::{Fields, Invalid};

/// A place by the kernel's name and by that of people, both with a backslash at their end, in UTF-16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume<'a> {
    /// The kernel's: `\Device\HarddiskVolume2\`.
    pub kernel: &'a [u8],
    /// That of people: `C:\`.
    pub dos: &'a [u8],
}

impl<'a> Volume<'a> {
    pub(super) fn read(fields: &mut Fields<'a>) -> Result<Self, Invalid> {
        Ok(Self {
            kernel: fields.wide_text()?,
            dos: fields.wide_text()?,
        })
    }
}

/// The directory of the system's programs comes first, that of Windows second.
pub(super) fn read_system_root<'a>(fields: &mut Fields<'a>) -> Result<&'a [u8], Invalid> {
    let _programs = fields.wide_text()?;
    fields.wide_text()
}

/// The name in `SystemConfig_CPU`: behind five numbers, with room for 256 units.
pub(super) fn read_name<'a>(fields: &mut Fields<'a>) -> Result<&'a [u8], Invalid> {
    const NAME_SIZE: usize = 512;
    fields.bytes(5 * 4)?;
    let room = fields.bytes(NAME_SIZE)?;
    // Domain, and what else is known of the processors, are of no use here.
    fields.bytes(fields.rest().len())?;
    let mut name = Fields::new(room);
    name.wide_text()
}
