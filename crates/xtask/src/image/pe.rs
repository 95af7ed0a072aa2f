//! An image as far as it is checked. `object` reads the file; what it has no words for (load
//! configuration, unwind information) is read here by the PE format's specification.

use anyhow::{Context as _, Result, ensure};
use object::LittleEndian as LE;
use object::pe;
use object::read::pe::{ImageNtHeaders as _, ImageOptionalHeader as _, Import, PeFile64};

/// A PE32+ image.
#[derive(Debug)]
pub(crate) struct Image<'i> {
    pub(super) bytes: &'i [u8],
    pub(crate) file: PeFile64<'i>,
    pub(crate) sections: Vec<Section>,
}

/// A section as it is loaded.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(super) address: u32,
    pub(super) size: u32,
    pub(super) flags: u32,
}

/// What the image imports, and the slot the loader writes its address to.
#[derive(Debug)]
pub(crate) struct ImportedName {
    pub(crate) module: String,
    pub(super) name: String,
    pub(super) slot: u32,
}

/// Control Flow Guard's part of the load configuration.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) flags: u32,
    /// Where checked calls look up what decides them.
    pub(super) dispatch_slot: u32,
    /// The functions that may be called by pointer.
    pub(super) functions: Vec<u32>,
}

impl Section {
    pub(crate) fn is_writable(&self) -> bool {
        self.flags & pe::IMAGE_SCN_MEM_WRITE != 0
    }

    pub(crate) fn is_executable(&self) -> bool {
        self.flags & pe::IMAGE_SCN_MEM_EXECUTE != 0
    }
}

impl<'i> Image<'i> {
    pub(crate) fn parse(bytes: &'i [u8]) -> Result<Self> {
        let file = PeFile64::parse(bytes).context("it is no PE32+ image")?;
        let sections = file
            .section_table()
            .iter()
            .map(|section| Section {
                name: String::from_utf8_lossy(&section.name)
                    .trim_end_matches('\0')
                    .to_owned(),
                address: section.virtual_address.get(LE),
                size: section.virtual_size.get(LE),
                flags: section.characteristics.get(LE),
            })
            .collect();
        Ok(Self {
            bytes,
            file,
            sections,
        })
    }

    pub(crate) fn header(&self) -> &pe::ImageOptionalHeader64 {
        self.file.nt_headers().optional_header()
    }

    /// Flags of the file header.
    pub(super) fn characteristics(&self) -> u16 {
        self.file.nt_headers().file_header().characteristics.get(LE)
    }

    pub(crate) fn machine(&self) -> u16 {
        self.file.nt_headers().file_header().machine.get(LE)
    }

    /// Whether the directory `index` says that there is something.
    pub(super) fn has_directory(&self, index: usize) -> bool {
        self.file.data_directory(index).is_some()
    }

    /// The bytes of the loaded image from `address` to the end of its section in the file.
    pub(super) fn at(&self, address: u32) -> Result<&'i [u8]> {
        self.file
            .section_table()
            .pe_data_at(self.bytes, address)
            .with_context(|| format!("address {address:#x} is in no section"))
    }

    /// The section that `address` is in.
    pub(super) fn section_of(&self, address: u32) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| (section.address..section.address + section.size).contains(&address))
    }

    pub(crate) fn imports(&self) -> Result<Vec<ImportedName>> {
        const SLOT_SIZE: u32 = 8;
        let mut imports = Vec::new();
        let Some(table) = self.file.import_table()? else {
            return Ok(imports);
        };
        let mut descriptors = table.descriptors()?;
        while let Some(descriptor) = descriptors.next()? {
            let module = String::from_utf8_lossy(table.name(descriptor.name.get(LE))?).into_owned();
            let names = descriptor.original_first_thunk.get(LE);
            let mut thunks = table.thunks(names)?;
            let mut slot = descriptor.first_thunk.get(LE);
            while let Some(thunk) = thunks.next::<pe::ImageNtHeaders64>()? {
                let name = match table.import::<pe::ImageNtHeaders64>(thunk)? {
                    Import::Name(_hint, name) => String::from_utf8_lossy(name).into_owned(),
                    Import::Ordinal(number) => format!("number {number}"),
                };
                imports.push(ImportedName {
                    module: module.clone(),
                    name,
                    slot,
                });
                slot += SLOT_SIZE;
            }
        }
        Ok(imports)
    }

    /// What Control Flow Guard is told; nothing where there is no load configuration.
    pub(super) fn guard(&self) -> Result<Option<Guard>> {
        const DISPATCH: usize = 120;
        const TABLE: usize = 128;
        const COUNT: usize = 136;
        const FLAGS: usize = 144;
        let Some(directory) = self.directory(pe::IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG) else {
            return Ok(None);
        };
        let bytes = self.at(directory)?;
        let flags = u32_at(bytes, FLAGS)?;
        // Bits 28 and up: how many bytes of an entry follow its address.
        let entry_size = 4 + usize::try_from(flags >> 28)?;
        let count = usize::try_from(u64_at(bytes, COUNT)?)?;
        let functions = if count == 0 {
            Vec::new()
        } else {
            let table = self.at(self.relative(u64_at(bytes, TABLE)?)?)?;
            (0..count)
                .map(|index| u32_at(table, index * entry_size))
                .collect::<Result<_>>()?
        };
        Ok(Some(Guard {
            flags,
            dispatch_slot: self.relative(u64_at(bytes, DISPATCH)?)?,
            functions,
        }))
    }

    /// How many addresses the loader must relocate, by kind.
    pub(super) fn relocations(&self) -> Result<Vec<u16>> {
        let directories = self.file.data_directories();
        let mut kinds = Vec::new();
        let Some(mut blocks) =
            directories.relocation_blocks(self.bytes, &self.file.section_table())?
        else {
            return Ok(kinds);
        };
        while let Some(block) = blocks.next()? {
            kinds.extend(block.map(|relocation| relocation.typ));
        }
        Ok(kinds)
    }

    /// Kind and contents of each entry of the debug directory.
    pub(super) fn debug_entries(&self) -> Result<Vec<(u32, &'i [u8])>> {
        const ENTRY_SIZE: usize = 28;
        let Some(directory) = self.file.data_directory(pe::IMAGE_DIRECTORY_ENTRY_DEBUG) else {
            return Ok(Vec::new());
        };
        let (start, size) = directory.address_range();
        let table = self.at(start)?;
        (0..usize::try_from(size)? / ENTRY_SIZE)
            .map(|index| {
                let entry = table.get(index * ENTRY_SIZE..).unwrap_or_default();
                let (size, address) = (u32_at(entry, 16)?, u32_at(entry, 20)?);
                let contents = if size == 0 { &[] } else { self.at(address)? };
                let contents = contents.get(..usize::try_from(size)?);
                Ok((
                    u32_at(entry, 12)?,
                    contents.context("a debug entry outside the image")?,
                ))
            })
            .collect()
    }

    /// Where the directory `index` begins.
    pub(super) fn directory(&self, index: usize) -> Option<u32> {
        let directory = self.file.data_directory(index)?;
        Some(directory.virtual_address.get(LE))
    }

    /// The contents of the directory `index`.
    pub(super) fn directory_bytes(&self, index: usize) -> Result<&'i [u8]> {
        let directory = self.file.data_directory(index);
        let (start, size) = directory.map_or((0, 0), pe::ImageDataDirectory::address_range);
        if size == 0 {
            return Ok(&[]);
        }
        self.at(start)?
            .get(..usize::try_from(size)?)
            .context("a directory outside the image")
    }

    /// What an address of the image, as it asks to be loaded, is from its beginning.
    fn relative(&self, address: u64) -> Result<u32> {
        let relative = address.checked_sub(self.header().image_base());
        relative
            .and_then(|address| u32::try_from(address).ok())
            .with_context(|| format!("address {address:#x} is outside the image"))
    }

    /// The checksum as `ImageHlp` computes it: 16-bit words added with their carries, the field
    /// itself as zero, and the size on top.
    pub(super) fn computed_checksum(&self) -> Result<u32> {
        let field = usize::try_from(self.file.dos_header().nt_headers_offset())? + 24 + 64;
        let words = self.bytes.chunks(2).enumerate();
        let sum = words
            .filter(|(index, _)| !(field..field + 4).contains(&(index * 2)))
            .map(|(_, pair)| match pair {
                [low, high] => u64::from(u16::from_le_bytes([*low, *high])),
                rest => rest.iter().copied().map(u64::from).sum(),
            })
            .fold(0_u64, |sum, word| {
                let sum = sum + word;
                (sum & 0xffff) + (sum >> 16)
            });
        ensure!(self.bytes.len() > field, "the header is cut short");
        Ok(u32::try_from(sum + u64::try_from(self.bytes.len())?)?)
    }
}

fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Result<[u8; N]> {
    bytes
        .get(offset..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .with_context(|| format!("the image ends before byte {offset} of a table"))
}

pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Result<u16> {
    array_at(bytes, offset).map(u16::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Result<u32> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], offset: usize) -> Result<u64> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}
