//! The kernel's list of what is loaded into it (`SystemModuleInformation`), read field by field: the
//! kernel itself and its drivers.
//!
//! It is a number and as many `RTL_PROCESS_MODULE_INFORMATION`s, which Microsoft does not document;
//! they have stood so in 64-bit Windows since its first. `EnumDeviceDrivers`, which is documented,
//! reads the same list and tells less of it: no sizes.

use event::wire::{Invalid, Reader};

/// Bytes of the number with what aligns the entries.
const HEAD_SIZE: u32 = 8;

/// Bytes of an entry's path, the NUL that ends it included.
const PATH_SIZE: u32 = 256;

/// An image in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Where it begins; 0 where Windows tells this user no addresses of the kernel.
    pub base: u64,
    /// Its bytes.
    pub size: u32,
    /// The kernel's name of its file, in the system's code page.
    pub path: Vec<u8>,
}

/// Reads the list.
///
/// # Errors
/// More entries than there are bytes for.
pub fn read(bytes: &[u8]) -> Result<Vec<Loaded>, Invalid> {
    let mut reader = Reader::new(bytes);
    let count = reader.u32()?;
    reader.bytes(HEAD_SIZE - 4)?;
    let mut loaded = Vec::new();
    for _ in 0..count {
        loaded.push(entry(&mut reader)?);
    }
    Ok(loaded)
}

fn entry(reader: &mut Reader<'_>) -> Result<Loaded, Invalid> {
    // Section, and where the image is mapped.
    reader.bytes(16)?;
    let base = reader.u64()?;
    let size = reader.u32()?;
    // Flags, orders of load and start, count, and where the path's last name begins.
    reader.bytes(12)?;
    let path = reader.bytes(PATH_SIZE)?;
    let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Loaded {
        base,
        size,
        path: path.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTRY_SIZE: usize = 296;

    fn list_of(count: u32, paths: &[&str]) -> Vec<u8> {
        let mut bytes = u64::from(count).to_le_bytes().to_vec();
        for path in paths {
            let mut entry = vec![0xcd; ENTRY_SIZE];
            entry[16..24].copy_from_slice(&0xffff_f800_1234_0000_u64.to_le_bytes());
            entry[24..28].copy_from_slice(&0x2_1000_u32.to_le_bytes());
            entry[40..40 + path.len()].copy_from_slice(path.as_bytes());
            if let Some(end) = entry[40..].get_mut(path.len()) {
                *end = 0;
            }
            bytes.extend(entry);
        }
        bytes
    }

    #[test]
    fn every_entry_is_read_with_its_path_up_to_the_nul() {
        let paths = [
            r"\SystemRoot\system32\ntoskrnl.exe",
            r"\??\C:\x\systrail.sys",
        ];
        let loaded = paths.map(|path| Loaded {
            base: 0xffff_f800_1234_0000,
            size: 0x2_1000,
            path: path.as_bytes().to_vec(),
        });
        assert_eq!(read(&list_of(2, &paths)), Ok(loaded.to_vec()));
        assert_eq!(read(&list_of(0, &[])), Ok(Vec::new()));
    }

    #[test]
    fn a_path_without_an_end_stays_within_its_entry() {
        let long = "x".repeat(usize::try_from(PATH_SIZE).unwrap());
        let loaded = read(&list_of(2, &[&long, "b"])).unwrap();
        assert_eq!(loaded[0].path, long.as_bytes());
        assert_eq!(loaded[1].path, b"b");
    }

    #[test]
    fn a_list_that_is_cut_is_refused() {
        let bytes = list_of(2, &["a", "b"]);
        for size in [0, 4, 8, 8 + ENTRY_SIZE, bytes.len() - 1] {
            assert!(read(&bytes[..size]).is_err(), "{size} bytes");
        }
        assert!(read(&list_of(u32::MAX, &["a"])).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let _either = read(&bytes);
        }
    }
}
