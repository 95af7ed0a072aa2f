//! The files of this machine.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::{FileExt, MetadataExt as _, OpenOptionsExt as _};

use event::Stamp;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_OPEN_REPARSE_POINT,
};

use super::place;
use super::{Files, OpenFile, Wanted};
use crate::trail::missing;

/// Opens them by the path that is told.
#[derive(Debug)]
pub struct ImageFiles;

impl Files for ImageFiles {
    fn open(&self, wanted: &Wanted) -> Result<Box<dyn OpenFile>, &'static str> {
        let image = wanted.image.as_ref().ok_or(missing::GONE)?;
        let path = place::verbatim(image.shown())?;
        // A link itself, and not where it leads: that could be another machine.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
            .open(path);
        let file = file.map_err(|_refused| missing::GONE)?;
        let status = file.metadata().map_err(|_unreadable| missing::GONE)?;
        if !status.is_file() {
            return Err(missing::NOT_A_FILE);
        }
        if status.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0 {
            return Err(missing::REMOTE);
        }
        Ok(Box::new(file))
    }
}

impl OpenFile for File {
    fn stamp(&self) -> io::Result<Stamp> {
        /// From 1601 to 1970, in units of 100 ns.
        const EPOCH: u64 = 116_444_736_000_000_000;
        let status = self.metadata()?;
        let since_1970 = status.last_write_time().saturating_sub(EPOCH);
        Ok(Stamp {
            change_time_ns: i64::try_from(since_1970.saturating_mul(100)).unwrap_or(i64::MAX),
            size: status.file_size(),
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileExt::seek_read(self, buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_hash::{NO_FILE, pe};
    use event::ProcessKey;

    fn wanted(image: &str) -> Wanted {
        Wanted {
            key: NO_FILE,
            process_id: 0,
            process_key: ProcessKey::default(),
            image: Some(image.into()),
            path_scope: None,
            is_deleted: false,
            mapping: None,
        }
    }

    #[test]
    fn a_library_of_the_system_says_what_it_is() {
        let root = std::env::var("SystemRoot").unwrap();
        let image = format!(r"{root}\System32\kernel32.dll");
        let file = ImageFiles.open(&wanted(&image)).unwrap();
        assert!(file.stamp().unwrap().size > 0);
        let version = pe::version(|offset, buffer| file.read_at(offset, buffer));
        let version = version.unwrap().unwrap();
        let (name, _) = version.texts[0].as_ref().unwrap();
        let name = crate::trail::Text::from_utf_16(name);
        let name = name.shown().to_lowercase();
        assert!(name.starts_with("kernel32"), "{name}");
    }

    #[test]
    fn what_is_no_file_of_a_drive_is_not_read() {
        let root = std::env::var("SystemRoot").unwrap();
        for image in [
            &*root,
            r"C:\nothing\here.dll",
            r"\\server\share\x.dll",
            "x.dll",
        ] {
            assert!(ImageFiles.open(&wanted(image)).is_err(), "{image}");
        }
    }
}
