//! The kernel's list of processes (`SystemProcessInformation`), read field by field.
//!
//! Each entry begins with `SYSTEM_PROCESS_INFORMATION`, of which Microsoft documents a part; what is
//! read here has stood at the same offsets of 64-bit Windows since Vista.

use event::wire::{Invalid, Reader};

/// Bytes of an entry's fixed part up to the last field that is read.
const FIXED_SIZE: usize = 104;

/// The most entries: process ids are multiples of 4 and the kernel's table holds 16 million.
const ENTRIES_MAX: usize = 1 << 24;

/// One process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub process_id: u32,
    /// The id its parent had.
    pub parent_process_id: u32,
    /// When it was created, in 100 ns since 1601.
    pub create_time: u64,
    /// Its session.
    pub session_id: u32,
    /// How many threads it has.
    pub threads: u32,
}

/// Reads the list.
///
/// # Errors
/// An entry that does not fit the bytes.
pub fn read(bytes: &[u8]) -> Result<Vec<Listed>, Invalid> {
    let mut listed = Vec::new();
    let mut rest = bytes;
    for _ in 0..ENTRIES_MAX {
        let (process, next) = entry(rest)?;
        listed.push(process);
        if next == 0 {
            break;
        }
        let next = usize::try_from(next).unwrap_or(usize::MAX).max(FIXED_SIZE);
        rest = rest.get(next..).unwrap_or_default();
    }
    Ok(listed)
}

/// One entry, and how far the next one is; 0 for the last.
fn entry(bytes: &[u8]) -> Result<(Listed, u32), Invalid> {
    let mut reader = Reader::new(bytes);
    let next = reader.u32()?;
    let threads = reader.u32()?;
    // Private working set, hard faults, most threads, cycles.
    reader.bytes(24)?;
    let create_time = reader.u64()?;
    // User and kernel time, name, priority.
    reader.bytes(40)?;
    let process_id = reader.u64()?;
    let parent_process_id = reader.u64()?;
    let _handles = reader.u32()?;
    let session_id = reader.u32()?;
    // Ids are handles in form: 64 bits of which 32 are used.
    let id = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let listed = Listed {
        process_id: id(process_id),
        parent_process_id: id(parent_process_id),
        create_time,
        session_id,
        threads,
    };
    Ok((listed, next))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry_of(process_id: u64, next: u32) -> Vec<u8> {
        let mut bytes = vec![0; 256];
        bytes[0..4].copy_from_slice(&next.to_le_bytes());
        bytes[4..8].copy_from_slice(&3_u32.to_le_bytes());
        bytes[32..40].copy_from_slice(&77_u64.to_le_bytes());
        bytes[80..88].copy_from_slice(&process_id.to_le_bytes());
        bytes[88..96].copy_from_slice(&4_u64.to_le_bytes());
        bytes[100..104].copy_from_slice(&1_u32.to_le_bytes());
        bytes
    }

    #[test]
    fn every_entry_is_read() {
        let bytes = [entry_of(100, 256), entry_of(200, 0)].concat();
        let listed = Listed {
            process_id: 100,
            parent_process_id: 4,
            create_time: 77,
            session_id: 1,
            threads: 3,
        };
        let second = Listed {
            process_id: 200,
            ..listed
        };
        assert_eq!(read(&bytes), Ok(vec![listed, second]));
    }

    #[test]
    fn a_list_that_is_cut_is_refused() {
        let bytes = entry_of(100, 256);
        assert!(read(&bytes).is_err(), "it says another follows");
        assert!(read(&bytes[..90]).is_err());
        assert!(read(&[]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_go_on_for_ever(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let _either = read(&bytes);
        }
    }
}
