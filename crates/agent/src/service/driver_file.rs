//! Whether a file can be SysTrail's driver: looked at before it is installed, because the kernel's
//! own answer comes only when it is started, and says less.

/// Why a file is not installed as the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is no executable image at all.
    #[error("it is no driver: it does not begin as an executable image does")]
    NoImage,
    /// It is for another processor.
    #[error("it is for another processor (machine {0:#x})")]
    Machine(u16),
    /// It is a program or library.
    #[error("it is no driver but a program or library (subsystem {0})")]
    Subsystem(u16),
    /// It lacks the flag without which Windows refuses process notify routines.
    #[error(
        "it lacks the integrity check flag, without which Windows tells a driver of no process"
    )]
    NoIntegrityCheck,
    /// It is a driver of somebody else.
    #[error("it is a driver, and not SysTrail's")]
    Foreign,
}

/// The most bytes of a driver file.
pub const SIZE_MAX: u64 = 16 << 20;

/// `IMAGE_FILE_MACHINE_*`: what this agent, and so its driver, was built for.
const MACHINE: u16 = if cfg!(target_arch = "aarch64") {
    0xaa64
} else {
    0x8664
};

/// `IMAGE_SUBSYSTEM_NATIVE`
const NATIVE: u16 = 1;

/// `IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY`
const FORCE_INTEGRITY: u16 = 0x80;

/// Looks at the bytes of a file.
pub fn check(bytes: &[u8]) -> Result<(), Unfit> {
    let header = pe_header(bytes).ok_or(Unfit::NoImage)?;
    let u16_at = |offset: usize| -> Result<u16, Unfit> {
        let field = header.get(offset..).and_then(<[u8]>::first_chunk::<2>);
        field.copied().map(u16::from_le_bytes).ok_or(Unfit::NoImage)
    };
    // Offsets of PE32+: the signature has 4 bytes, the file header 20, then the optional header.
    let (machine, subsystem, characteristics) = (u16_at(4)?, u16_at(24 + 68)?, u16_at(24 + 70)?);
    if machine != MACHINE {
        return Err(Unfit::Machine(machine));
    }
    if subsystem != NATIVE {
        return Err(Unfit::Subsystem(subsystem));
    }
    if characteristics & FORCE_INTEGRITY == 0 {
        return Err(Unfit::NoIntegrityCheck);
    }
    let name: Vec<u8> = event::control::DEVICE_NAME
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    if !bytes.windows(name.len()).any(|window| window == name) {
        return Err(Unfit::Foreign);
    }
    Ok(())
}

/// What follows the DOS program: its offset stands at 0x3c.
fn pe_header(bytes: &[u8]) -> Option<&[u8]> {
    let offset = bytes.strip_prefix(b"MZ")?.get(0x3a..)?.first_chunk::<4>()?;
    let offset = usize::try_from(u32::from_le_bytes(*offset)).ok()?;
    bytes
        .get(offset..)
        .filter(|header| header.starts_with(b"PE\0\0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of an image that are looked at.
    fn image(machine: u16, subsystem: u16, characteristics: u16, content: &str) -> Vec<u8> {
        let mut bytes = vec![0; 0x200];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c..0x40].copy_from_slice(&0x80_u32.to_le_bytes());
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
        bytes[0x80 + 92..0x80 + 94].copy_from_slice(&subsystem.to_le_bytes());
        bytes[0x80 + 94..0x80 + 96].copy_from_slice(&characteristics.to_le_bytes());
        bytes.extend(content.encode_utf16().flat_map(u16::to_le_bytes));
        bytes
    }

    #[test]
    fn our_driver_is_taken() {
        let bytes = image(MACHINE, NATIVE, FORCE_INTEGRITY, r"x\Device\SysTrail");
        assert_eq!(check(&bytes), Ok(()));
    }

    #[test]
    fn each_file_that_is_not_ours_is_refused_for_its_own_reason() {
        let ours = r"\Device\SysTrail";
        for (bytes, reason) in [
            (Vec::new(), Unfit::NoImage),
            (b"MZ".to_vec(), Unfit::NoImage),
            (
                image(0x14c, NATIVE, FORCE_INTEGRITY, ours),
                Unfit::Machine(0x14c),
            ),
            (
                image(MACHINE, 3, FORCE_INTEGRITY, ours),
                Unfit::Subsystem(3),
            ),
            (image(MACHINE, NATIVE, 0, ours), Unfit::NoIntegrityCheck),
            (
                image(MACHINE, NATIVE, FORCE_INTEGRITY, "other"),
                Unfit::Foreign,
            ),
        ] {
            assert_eq!(check(&bytes), Err(reason));
        }
    }

    #[test]
    fn a_header_beyond_the_file_is_no_image() {
        let mut bytes = image(MACHINE, NATIVE, FORCE_INTEGRITY, "");
        bytes[0x3c..0x40].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(check(&bytes), Err(Unfit::NoImage));
        bytes[0x3c..0x40].copy_from_slice(&0x1fe_u32.to_le_bytes());
        assert_eq!(check(&bytes), Err(Unfit::NoImage));
    }
}
