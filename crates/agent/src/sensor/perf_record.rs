//! The records of a perf ring buffer, read from bytes that may be anything.
//!
//! The kernel writes numbers in the host's byte order; every host this builds for is
//! little-endian, as `event::wire` is. What this version does not know is [`Body::Other`], never an
//! error: a newer kernel may add record types and append fields.

use event::wire::{Invalid, Reader};
use event::{Flags, Header, Place, image};

use crate::sys::proc::{Mapped, MappedFiles, Process, image_of_name};

/// Bytes every record begins with: type, misc, size.
pub const HEADER_SIZE: usize = 8;

/// Bytes of the sample fields every record ends with: process, thread, time, processor.
const SAMPLE_SIZE: usize = 24;

const TYPE_LOST: u32 = 2;
const TYPE_COMM: u32 = 3;
const TYPE_EXIT: u32 = 4;
const TYPE_FORK: u32 = 7;
const TYPE_MMAP2: u32 = 10;

/// Set in `misc` of the name an exec gave.
const MISC_COMM_EXEC: u16 = 1 << 13;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// `CLOCK_BOOTTIME` nanoseconds.
    pub time: u64,
    /// What it tells.
    pub body: Body<'a>,
}

/// What a record tells. Process is what the kernel calls `tgid`, thread is its `pid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A mapping that is executable.
    Mapping(Mapping<'a>),
    /// A task was renamed by an exec.
    Exec {
        /// The process that runs a new program.
        process_id: u32,
    },
    /// A task was created.
    Fork(Task),
    /// A task ended; `by_process_id` is the parent then.
    Exit(Task),
    /// The buffer had no room for this many records before this one.
    Lost(u64),
    /// Anything else.
    Other,
}

/// An executable mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// The process.
    pub process_id: u32,
    /// The thread that mapped it.
    pub thread_id: u32,
    /// Where it begins.
    pub address: u64,
    /// Its bytes.
    pub size: u64,
    /// The device of its file, as a [`Place`] has it.
    pub device: u32,
    /// The inode of its file.
    pub inode: u64,
    /// What the kernel calls it: a path, or a name in brackets.
    pub name: &'a [u8],
}

/// A task that was created or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its process.
    pub process_id: u32,
    /// Its thread.
    pub thread_id: u32,
    /// The process that created it; on exit its parent.
    pub by_process_id: u32,
    /// The thread that created it; on exit nothing useful.
    pub by_thread_id: u32,
}

/// The size the record at the start of `bytes` claims, where a header is there and the claim can
/// be true at all.
pub fn claimed_size(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(bytes);
    reader.u32().ok()?;
    reader.u16().ok()?;
    let size = usize::from(reader.u16().ok()?);
    (size >= HEADER_SIZE && size % 8 == 0).then_some(size)
}

/// Reads one record that fills `bytes`.
pub fn read(bytes: &[u8]) -> Result<Record<'_>, Invalid> {
    let body_size = bytes.len().saturating_sub(SAMPLE_SIZE);
    let (body, sample) = bytes.split_at(body_size);
    let mut reader = Reader::new(sample);
    let (_process_id, _thread_id) = (reader.u32()?, reader.u32()?);
    let time = reader.u64()?;
    let mut reader = Reader::new(body);
    let (kind, misc, _size) = (reader.u32()?, reader.u16()?, reader.u16()?);
    let body = match kind {
        TYPE_MMAP2 => Body::Mapping(read_mapping(&mut reader, body)?),
        TYPE_COMM if misc & MISC_COMM_EXEC != 0 => Body::Exec {
            process_id: reader.u32()?,
        },
        TYPE_FORK => Body::Fork(read_task(&mut reader)?),
        TYPE_EXIT => Body::Exit(read_task(&mut reader)?),
        TYPE_LOST => {
            let _event_id = reader.u64()?;
            Body::Lost(reader.u64()?)
        }
        _ => Body::Other,
    };
    Ok(Record { time, body })
}

/// Bytes of a mapping record before the name, header included.
const MAPPING_NAME_OFFSET: usize = 72;

fn read_mapping<'a>(reader: &mut Reader<'_>, body: &'a [u8]) -> Result<Mapping<'a>, Invalid> {
    let (process_id, thread_id) = (reader.u32()?, reader.u32()?);
    let (address, size) = (reader.u64()?, reader.u64()?);
    let (_offset, major, minor) = (reader.u64()?, reader.u32()?, reader.u32()?);
    let inode = reader.u64()?;
    let padded = body.get(MAPPING_NAME_OFFSET..).ok_or(Invalid::Short {
        needed: MAPPING_NAME_OFFSET,
        left: body.len(),
    })?;
    let name = padded.split(|&byte| byte == 0).next().unwrap_or(padded);
    Ok(Mapping {
        process_id,
        thread_id,
        address,
        size,
        device: Place::device_of(major, minor),
        inode,
        name,
    })
}

fn read_task(reader: &mut Reader<'_>) -> Result<Task, Invalid> {
    let (process_id, by_process_id) = (reader.u32()?, reader.u32()?);
    let (thread_id, by_thread_id) = (reader.u32()?, reader.u32()?);
    Ok(Task {
        process_id,
        thread_id,
        by_process_id,
        by_thread_id,
    })
}

impl Mapping<'_> {
    /// The image this mapping loads, or `None` where it maps no file.
    pub fn image<'f>(&self, files: &'f mut MappedFiles) -> Option<(Flags, image::Load<'f>)> {
        let (flags, path) = image_of_name(self.name, |path| {
            Process::has_path(self.process_id, path, self.inode)
        })?;
        let (flags, image) = files.find(&Mapped {
            process_id: self.process_id,
            address: self.address,
            size: self.size,
            device: self.device,
            inode: self.inode,
            flags,
            path,
        });
        let load = image::Load {
            image_base: self.address,
            image_size: self.size,
            image,
        };
        Some((flags, load))
    }

    /// The header of the load of that image at `time`.
    pub fn load_header(&self, time: u64, flags: Flags) -> Header {
        Header {
            flags,
            time,
            process_id: self.process_id,
            thread_id: self.thread_id,
            ..Header::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::MetadataExt as _;

    use nix::sys::stat::{major, minor};
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u32, misc: u16, fields: &[u8]) -> Vec<u8> {
        let size = u16::try_from(HEADER_SIZE + fields.len() + SAMPLE_SIZE).unwrap();
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&misc.to_le_bytes());
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(fields);
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&77_u64.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes
    }

    fn mapping(name: &[u8]) -> Vec<u8> {
        mapping_of(name, [u32::MAX; 2], u64::MAX)
    }

    fn mapping_of(name: &[u8], device: [u32; 2], inode: u64) -> Vec<u8> {
        let mut fields = Vec::new();
        fields.extend_from_slice(&10_u32.to_le_bytes());
        fields.extend_from_slice(&11_u32.to_le_bytes());
        fields.extend_from_slice(&0x1000_u64.to_le_bytes());
        fields.extend_from_slice(&0x2000_u64.to_le_bytes());
        fields.extend_from_slice(&[0xff; 8]);
        for number in device {
            fields.extend_from_slice(&number.to_le_bytes());
        }
        fields.extend_from_slice(&inode.to_le_bytes());
        fields.extend_from_slice(&[0xff; 16]);
        fields.extend_from_slice(name);
        fields.resize(fields.len().next_multiple_of(8) + 8, 0);
        record(TYPE_MMAP2, 2, &fields)
    }

    fn image_of(name: &[u8]) -> Option<(Flags, Vec<u8>)> {
        image_in(&mapping(name))
    }

    fn image_in(bytes: &[u8]) -> Option<(Flags, Vec<u8>)> {
        let Body::Mapping(mapping) = read(bytes).unwrap().body else {
            panic!("not a mapping");
        };
        let mut files = MappedFiles::default();
        let (flags, load) = mapping.image(&mut files)?;
        let (path, _place) = Place::split(load.image).unwrap();
        Some((flags.without(Flags::PLACED), path.to_vec()))
    }

    #[test]
    fn a_mapped_file_is_an_image() {
        let bytes = mapping(b"/usr/lib/libc.so.6");
        assert_eq!(claimed_size(&bytes), Some(bytes.len()));
        let record = read(&bytes).unwrap();
        assert_eq!(record.time, 77);
        assert_eq!(
            record.body,
            Body::Mapping(Mapping {
                process_id: 10,
                thread_id: 11,
                address: 0x1000,
                size: 0x2000,
                device: Place::device_of(u32::MAX, u32::MAX),
                inode: u64::MAX,
                name: b"/usr/lib/libc.so.6",
            })
        );
        assert_eq!(
            image_of(b"/usr/lib/libc.so.6"),
            Some((Flags::NONE, b"/usr/lib/libc.so.6".to_vec()))
        );
    }

    #[test]
    fn a_deleted_file_and_a_memfd_keep_their_names() {
        assert_eq!(
            image_of(b"/tmp/gone (deleted)"),
            Some((Flags::IMAGE_DELETED, b"/tmp/gone".to_vec()))
        );
        assert_eq!(
            image_of(b"/memfd:jit (deleted)"),
            Some((Flags::IMAGE_DELETED, b"/memfd:jit".to_vec()))
        );
    }

    // A library whose own name ends like the kernel's mark was told as deleted, under half its name.
    #[test]
    fn a_file_that_is_named_like_a_deleted_one_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        let path = path.join("lib.so (deleted)");
        std::fs::write(&path, b"").unwrap();
        let file = std::fs::metadata(&path).unwrap();
        let (inode, device) = (file.ino(), file.dev());
        let device = [major(device), minor(device)].map(|part| u32::try_from(part).unwrap());
        let name = path.as_os_str().as_bytes();
        let image = image_in(&mapping_of(name, device, inode));
        assert_eq!(image, Some((Flags::NONE, name.to_vec())));
        // Another file has that name; the one that was mapped had the name before the mark.
        let image = image_in(&mapping_of(name, device, inode + 1));
        let before = name.strip_suffix(b" (deleted)").unwrap();
        assert_eq!(image, Some((Flags::IMAGE_DELETED, before.to_vec())));
    }

    #[test]
    fn memory_without_a_file_is_no_image() {
        for name in [
            &b"[vdso]"[..],
            b"[stack]",
            b"//anon",
            b"anon_inode:[perf_event]",
            b"/dev/zero (deleted)",
            b"",
        ] {
            assert_eq!(image_of(name), None, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn a_path_the_kernel_cannot_tell_is_unavailable() {
        // The last is that of a file which was moved out of the directory that is mounted.
        for name in [&b"//toolong"[..], b"//enomem", b"/"] {
            let unavailable = (Flags::IMAGE_UNAVAILABLE, Vec::new());
            assert_eq!(image_of(name), Some(unavailable));
        }
    }

    #[test]
    fn only_the_name_an_exec_gave_is_an_exec() {
        let fields = [9_u32.to_le_bytes(), 9_u32.to_le_bytes(), [b'x', 0, 0, 0]].concat();
        let named = record(TYPE_COMM, 0, &fields);
        assert_eq!(read(&named).unwrap().body, Body::Other);
        let executed = record(TYPE_COMM, MISC_COMM_EXEC, &fields);
        assert_eq!(read(&executed).unwrap().body, Body::Exec { process_id: 9 });
    }

    #[test]
    fn a_size_that_cannot_be_is_refused() {
        let mut bytes = mapping(b"/a");
        for size in [0_u16, 4, 7, 13] {
            bytes[6..8].copy_from_slice(&size.to_le_bytes());
            assert_eq!(claimed_size(&bytes), None);
        }
        assert_eq!(claimed_size(&bytes[..5]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_at_all_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _claim = claimed_size(&bytes);
            if let Ok(Record { body: Body::Mapping(mapping), .. }) = read(&bytes) {
                let _image = mapping.image(&mut MappedFiles::default());
            }
        }

        #[test]
        fn a_cut_record_is_refused_or_read_short(cut in 0_usize..120) {
            let bytes = mapping(b"/usr/bin/true");
            let _read = read(bytes.get(..cut).unwrap_or(&bytes));
        }
    }
}
