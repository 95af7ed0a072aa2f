//! The files of this machine.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt as _};

use event::Stamp;

use super::{Files, OpenFile, Wanted};
use crate::sys::proc::{ImageFile, NotOpened};
use crate::trail::missing;

/// Opens them, as long as they can be found by their path or by a process that uses them.
#[derive(Debug)]
pub struct ImageFiles;

impl Files for ImageFiles {
    fn open(&self, wanted: &Wanted) -> Result<Box<dyn OpenFile>, &'static str> {
        let image = wanted.image.as_ref().map(|text| {
            let bytes = text.raw().unwrap_or_else(|| text.shown().as_bytes());
            bytes.to_vec()
        });
        let sought = ImageFile {
            device: wanted.key.device,
            inode: wanted.key.inode,
            process_id: wanted.process_id,
            path: image.unwrap_or_default(),
            is_deleted: wanted.is_deleted,
            mapping: wanted.mapping,
        };
        match sought.open() {
            Ok(file) => Ok(Box::new(file)),
            Err(NotOpened::Gone) => Err(missing::GONE),
            Err(NotOpened::NotAFile) => Err(missing::NOT_A_FILE),
            Err(NotOpened::Remote) => Err(missing::REMOTE),
        }
    }
}

impl OpenFile for File {
    fn stamp(&self) -> io::Result<Stamp> {
        const SECOND_NS: i64 = 1_000_000_000;
        let status = self.metadata()?;
        let seconds = status.ctime().wrapping_mul(SECOND_NS);
        Ok(Stamp {
            change_time_ns: seconds.wrapping_add(status.ctime_nsec()),
            size: status.size(),
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}
