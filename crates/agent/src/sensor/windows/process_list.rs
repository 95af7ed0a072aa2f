//! The kernel's list of processes (`SystemProcessInformation`), read field by field.
//!
//! Each entry begins with `SYSTEM_PROCESS_INFORMATION`, of which Microsoft documents a part; what is
//! read here has stood at the same offsets of 64-bit Windows since Vista.

use event::wire::{Invalid, Reader};

/// Bytes of an entry's fixed part up to the last field that is read.
const FIXED_SIZE: u32 = 104;

/// Bytes of an entry's fixed part as a whole; its threads follow, then its name.
const ENTRY_SIZE: u32 = 256;

/// Bytes of a thread.
const THREAD_SIZE: u32 = 80;

/// How much later than its process a first thread is made, in 100 ns: Windows makes both in one call.
/// A thread that is made later is another, and the first has ended.
const FIRST_THREAD_LATE: u64 = 100_000;

/// The most entries: process ids are multiples of 4 and the kernel's table holds 16 million.
const ENTRIES_MAX: usize = 1 << 24;

/// The process that stands for idle time; it has no memory, no program and no user.
pub const IDLE: u32 = 0;

/// The process of the kernel's own threads.
pub const SYSTEM: u32 = 4;

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Its first thread, where that still runs and can be told from the others.
    pub first_thread: Option<u32>,
    /// The last part of its image's path, or what the kernel calls it, in UTF-16.
    pub name: Vec<u8>,
}

impl Listed {
    /// Whether it has no user mode. A minimal process, Registry or Memory Compression, runs no file,
    /// so what stands for its image's path is no path.
    pub fn is_kernel(&self, image: &[u8]) -> bool {
        let backslash = u16::from(b'\\').to_le_bytes();
        matches!(self.process_id, IDLE | SYSTEM)
            || !(image.is_empty() || image.starts_with(&backslash))
    }
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
        let next = usize::try_from(next.max(FIXED_SIZE)).unwrap_or(usize::MAX);
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
    // User and kernel time.
    reader.bytes(16)?;
    let name_size = u32::from(reader.u16()?);
    // Room for the name, where it stands, priority.
    reader.bytes(22)?;
    let process_id = reader.u64()?;
    let parent_process_id = reader.u64()?;
    let _handles = reader.u32()?;
    let session_id = reader.u32()?;
    // Memory, paging and transfers.
    let is_whole = reader.bytes(ENTRY_SIZE - FIXED_SIZE).is_ok();
    let oldest = if is_whole && threads > 0 {
        Some(thread(&mut reader)?)
    } else {
        None
    };
    let is_first = |(made, _): &(u64, u32)| {
        create_time != 0 && made.abs_diff(create_time) <= FIRST_THREAD_LATE
    };
    let listed = Listed {
        process_id: id(process_id),
        parent_process_id: id(parent_process_id),
        create_time,
        session_id,
        threads,
        first_thread: oldest.filter(is_first).map(|(_, thread_id)| thread_id),
        name: name(bytes, threads, name_size).unwrap_or_default().to_vec(),
    };
    Ok((listed, next))
}

/// The name, which follows the threads. The address that the entry has of it is of no use: the bytes
/// have been moved.
fn name(entry: &[u8], threads: u32, size: u32) -> Option<&[u8]> {
    let threads_size = threads.checked_mul(THREAD_SIZE)?;
    let mut reader = Reader::new(entry);
    reader.bytes(ENTRY_SIZE.checked_add(threads_size)?).ok()?;
    reader.bytes(size).ok()
}

/// The next thread: when it was made, and its id. The kernel lists the oldest first.
fn thread(reader: &mut Reader<'_>) -> Result<(u64, u32), Invalid> {
    // Kernel and user time.
    reader.bytes(16)?;
    let create_time = reader.u64()?;
    // Wait time, start address, process.
    reader.bytes(24)?;
    Ok((create_time, id(reader.u64()?)))
}

/// Ids are handles in form: 64 bits of which 32 are used.
fn id(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CREATED: u64 = 7 * 11;

    /// `Registry`, in UTF-16.
    const NAME: &[u8] = b"R\0e\0g\0i\0s\0t\0r\0y\0";

    /// A process of three threads, of which the first has the id after its own.
    fn entry_of(process_id: u64, next: u32) -> Vec<u8> {
        let mut bytes = vec![0; 256 + 3 * 80];
        bytes[0..4].copy_from_slice(&next.to_le_bytes());
        bytes[4..8].copy_from_slice(&3_u32.to_le_bytes());
        bytes[32..40].copy_from_slice(&CREATED.to_le_bytes());
        bytes[56..58].copy_from_slice(&16_u16.to_le_bytes());
        bytes[80..88].copy_from_slice(&process_id.to_le_bytes());
        bytes[88..96].copy_from_slice(&4_u64.to_le_bytes());
        bytes[100..104].copy_from_slice(&1_u32.to_le_bytes());
        for (thread, made) in bytes[256..].chunks_mut(80).zip(0..) {
            let made: u64 = CREATED + 21 + made * 1_000_000;
            thread[16..24].copy_from_slice(&made.to_le_bytes());
            thread[40..48].copy_from_slice(&process_id.to_le_bytes());
            let thread_id = process_id + 1 + made % 7;
            thread[48..56].copy_from_slice(&thread_id.to_le_bytes());
        }
        bytes.extend(NAME);
        bytes
    }

    #[test]
    fn every_entry_is_read() {
        let bytes = [entry_of(100, 512), entry_of(200, 0)].concat();
        let listed = Listed {
            process_id: 100,
            parent_process_id: 4,
            create_time: CREATED,
            session_id: 1,
            threads: 3,
            first_thread: Some(101),
            name: NAME.to_vec(),
        };
        let second = Listed {
            process_id: 200,
            first_thread: Some(201),
            ..listed.clone()
        };
        assert_eq!(read(&bytes), Ok(vec![listed, second]));
    }

    #[test]
    fn a_name_that_is_not_there_is_none() {
        let mut bytes = entry_of(100, 0);
        bytes.truncate(256 + 3 * 80 + NAME.len() - 1);
        assert!(read(&bytes).unwrap()[0].name.is_empty());
        bytes[4..8].fill(0xff);
        assert!(read(&bytes).unwrap()[0].name.is_empty());
    }

    #[test]
    fn a_process_whose_image_is_no_path_is_the_kernels() {
        let of_id = |process_id| Listed {
            process_id,
            ..Listed::default()
        };
        assert!(of_id(IDLE).is_kernel(b"") && of_id(SYSTEM).is_kernel(b""));
        assert!(of_id(100).is_kernel(NAME));
        assert!(!of_id(100).is_kernel(b"\\\0D\0"));
        assert!(!of_id(100).is_kernel(b""), "one that may not be looked at");
    }

    #[test]
    fn a_list_that_is_cut_is_refused() {
        let bytes = entry_of(100, 512);
        assert!(read(&bytes).is_err(), "it says another follows");
        assert!(read(&bytes[..90]).is_err());
        assert!(read(&entry_of(100, 0)[..300]).is_err(), "in a thread");
        assert!(read(&[]).is_err());
    }

    #[test]
    fn a_thread_that_was_made_later_is_not_taken_for_the_first() {
        let mut bytes = entry_of(100, 0);
        // The first has ended: the oldest that is left was made long after the process.
        bytes.drain(256..336);
        bytes[4..8].copy_from_slice(&2_u32.to_le_bytes());
        assert_eq!(read(&bytes).unwrap()[0].first_thread, None);
        bytes[4..8].copy_from_slice(&0_u32.to_le_bytes());
        assert_eq!(read(&bytes).unwrap()[0].first_thread, None);
        // Windows does not say when the system process was made.
        let mut bytes = entry_of(4, 0);
        bytes[32..40].fill(0);
        assert_eq!(read(&bytes).unwrap()[0].first_thread, None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_go_on_for_ever(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let _either = read(&bytes);
        }
    }
}
