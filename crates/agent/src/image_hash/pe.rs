//! The version resource of a PE file: what its maker says it is.
//!
//! A file is anybody's, so whatever it claims, this ends: headers, directories and the resource are looked at
//! up to a limit, each place is read where the file says it is, and what is not there is no version.

use std::io;

/// Sections that are looked at: the most that Windows loads.
const SECTION_COUNT_MAX: u16 = 96;
/// Entries of a resource directory that are looked at; a file has a dozen kinds of resources.
const ENTRY_COUNT_MAX: usize = 256;
/// Bytes of the resource that are looked at; its own length has 16 bits.
const RESOURCE_SIZE_MAX: usize = 64 * 1024;
/// Tables of texts that are looked at, one a language, and texts of one.
const TABLE_COUNT_MAX: usize = 64;
const TEXT_COUNT_MAX: usize = 256;
/// Bytes of a text, which has two a character: more is cut.
pub const TEXT_SIZE_MAX: usize = 512;

const SECTION_SIZE: usize = 40;
const RT_VERSION: u32 = 16;
/// No language, and English of the United States.
const LANGUAGES: [u32; 2] = [0, 0x409];
const SUBDIRECTORY: u32 = 1 << 31;

/// The texts that are told, by their names in the resource.
const NAMES: [&str; 5] = [
    "OriginalFilename",
    "FileDescription",
    "ProductName",
    "CompanyName",
    "FileVersion",
];

/// What a version resource says, in UTF-16: what the file was called at first, its description, product,
/// company and version. What is not said is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Each text, and whether it was cut.
    pub texts: [Option<(Vec<u8>, bool)>; NAMES.len()],
}

/// The version resource; `None` where the file is no PE file, or has none. `read_at_fn` reads at an offset, as
/// far as the file goes.
///
/// # Errors
/// What `read_at_fn` says.
pub fn version(
    mut read_at_fn: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
) -> io::Result<Option<Version>> {
    let mut file = File {
        read_at_fn: &mut read_at_fn,
        sections: Vec::new(),
    };
    let Some(directory) = file.open()? else {
        return Ok(None);
    };
    let Some((address, size)) = file.resource(directory)? else {
        return Ok(None);
    };
    let bytes = file.at_address(address, size.min(RESOURCE_SIZE_MAX))?;
    Ok(Block::read(&bytes).and_then(|block| texts(&block)))
}

/// A part of the file that is mapped: its address and size, and the same of its bytes.
struct Section {
    address: u32,
    offset: u32,
    size: u32,
}

struct File<'r> {
    read_at_fn: &'r mut dyn FnMut(u64, &mut [u8]) -> io::Result<usize>,
    sections: Vec<Section>,
}

impl File<'_> {
    /// Up to `size` bytes at an offset; fewer at the end of the file.
    fn at(&mut self, offset: u64, size: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        let size = (self.read_at_fn)(offset, &mut bytes)?;
        bytes.truncate(size);
        Ok(bytes)
    }

    /// The same at an address of the mapped file, up to the end of its section.
    fn at_address(&mut self, address: u32, size: usize) -> io::Result<Vec<u8>> {
        let found = self.sections.iter().find_map(|section| {
            let into = address.checked_sub(section.address)?;
            let left = section.size.checked_sub(into).filter(|left| *left > 0)?;
            Some((u64::from(section.offset) + u64::from(into), left))
        });
        match found {
            Some((offset, left)) => self.at(offset, size.min(to_size(left))),
            None => Ok(Vec::new()),
        }
    }

    /// Reads the headers; the address of the resources.
    fn open(&mut self) -> io::Result<Option<u32>> {
        const DOS_SIZE: usize = 64;
        // Signature, file header, and the longest optional header up to the directory of resources.
        const HEAD_SIZE: usize = 24 + 136;
        let dos = self.at(0, DOS_SIZE)?;
        if !dos.starts_with(b"MZ") {
            return Ok(None);
        }
        let Some(begin) = u32_at(&dos, 0x3c) else {
            return Ok(None);
        };
        let head = self.at(begin.into(), HEAD_SIZE)?;
        let read = || {
            let directories = match u16_at(&head, 24)? {
                0x10b => 24 + 96,
                0x20b => 24 + 112,
                _ => return None,
            };
            let has_resources = u32_at(&head, directories - 4)? > 2;
            let resources = u32_at(&head, directories + 16).filter(|_| has_resources)?;
            Some((u16_at(&head, 6)?, u16_at(&head, 20)?, resources))
        };
        let is_pe = head.starts_with(b"PE\0\0");
        let Some((count, optional_size, resources)) = read().filter(|_| is_pe) else {
            return Ok(None);
        };
        let sections = u64::from(begin) + 24 + u64::from(optional_size);
        let size = usize::from(count.min(SECTION_COUNT_MAX)) * SECTION_SIZE;
        let bytes = self.at(sections, size)?;
        self.sections = bytes
            .chunks_exact(SECTION_SIZE)
            .filter_map(section)
            .collect();
        Ok(Some(resources))
    }

    /// The address and size of the version resource below the directory of resources: of the first name, in
    /// the language that most read.
    fn resource(&mut self, root: u32) -> io::Result<Option<(u32, usize)>> {
        let kinds = self.entries(root, 0)?;
        let Some(kind) = place_of(&kinds, RT_VERSION) else {
            return Ok(None);
        };
        let names = self.entries(root, kind)?;
        let Some((_, name)) = names.first() else {
            return Ok(None);
        };
        let languages = self.entries(root, *name)?;
        let mut usual = LANGUAGES.iter().filter_map(|id| place_of(&languages, *id));
        let first = || languages.first().map(|(_, place)| *place);
        let place = usual.next().or_else(first);
        let Some(address) = place.and_then(|place| root.checked_add(place)) else {
            return Ok(None);
        };
        let data = self.at_address(address, 8)?;
        let read = || Some((u32_at(&data, 0)?, to_size(u32_at(&data, 4)?)));
        Ok(read())
    }

    /// The entries of the directory at `place` below `root`: the number of each, and where it leads.
    fn entries(&mut self, root: u32, place: u32) -> io::Result<Vec<(u32, u32)>> {
        const HEAD_SIZE: usize = 16;
        const ENTRY_SIZE: usize = 8;
        let Some(address) = root.checked_add(place) else {
            return Ok(Vec::new());
        };
        let bytes = self.at_address(address, HEAD_SIZE + ENTRY_COUNT_MAX * ENTRY_SIZE)?;
        let Some((head, entries)) = bytes.split_at_checked(HEAD_SIZE) else {
            return Ok(Vec::new());
        };
        let count = |at| u16_at(head, at).map_or(0, usize::from);
        let entries = entries.chunks_exact(ENTRY_SIZE).take(count(12) + count(14));
        let entries = entries.filter_map(|entry| {
            let place = u32_at(entry, 4)? & !SUBDIRECTORY;
            Some((u32_at(entry, 0)?, place))
        });
        Ok(entries.collect())
    }
}

/// Where the entry of that number leads.
fn place_of(entries: &[(u32, u32)], id: u32) -> Option<u32> {
    let found = entries.iter().find(|(own, _)| *own == id);
    found.map(|(_, place)| *place)
}

fn section(header: &[u8]) -> Option<Section> {
    Some(Section {
        address: u32_at(header, 12)?,
        offset: u32_at(header, 20)?,
        size: u32_at(header, 16)?,
    })
}

/// A block of a version resource: length, length of the value, kind, name, value, and blocks below it.
struct Block<'b> {
    /// The name, in UTF-16 without NUL.
    name: &'b [u8],
    /// Value and blocks below it, from the next multiple of four on.
    rest: &'b [u8],
    value_length: u16,
    /// Bytes until the next block beside it.
    size: usize,
}

impl<'b> Block<'b> {
    const HEAD_SIZE: usize = 6;

    fn read(bytes: &'b [u8]) -> Option<Self> {
        let length = usize::from(u16_at(bytes, 0)?);
        let value_length = u16_at(bytes, 2)?;
        let block = bytes.get(..length.min(bytes.len()))?;
        let named = block.get(Self::HEAD_SIZE..)?;
        let name = until_nul(named);
        let begin = (Self::HEAD_SIZE + name.len() + 2).next_multiple_of(4);
        Some(Self {
            name,
            rest: block.get(begin..).unwrap_or_default(),
            value_length,
            // One that is shorter than its head would be followed by itself.
            size: length.max(Self::HEAD_SIZE).next_multiple_of(4),
        })
    }

    fn is_named(&self, name: &str) -> bool {
        let own = self
            .name
            .as_chunks()
            .0
            .iter()
            .map(|unit| u16::from_le_bytes(*unit));
        own.eq(name.encode_utf16())
    }

    /// The blocks behind `skipped` bytes, up to `count_max`.
    fn below(&self, skipped: usize, count_max: usize) -> impl Iterator<Item = Self> + use<'b> {
        let mut rest = self.rest.get(skipped..).unwrap_or_default();
        let blocks = std::iter::from_fn(move || {
            let block = Block::read(rest)?;
            rest = rest.get(block.size..).unwrap_or_default();
            Some(block)
        });
        blocks.take(count_max)
    }
}

/// The texts of the first language that has one of them.
fn texts(root: &Block<'_>) -> Option<Version> {
    if !root.is_named("VS_VERSION_INFO") {
        return None;
    }
    let value_size = usize::from(root.value_length).next_multiple_of(4);
    let infos = root.below(value_size, TABLE_COUNT_MAX);
    let mut tables = infos
        .filter(|info| info.is_named("StringFileInfo"))
        .flat_map(|info| info.below(0, TABLE_COUNT_MAX));
    tables.find_map(|table| {
        let mut version = Version::default();
        for text in table.below(0, TEXT_COUNT_MAX) {
            let known = NAMES.iter().position(|name| text.is_named(name));
            let slot = known.and_then(|index| version.texts.get_mut(index));
            if let Some(slot) = slot.filter(|slot| slot.is_none()) {
                *slot = value(text.rest);
            }
        }
        (version != Version::default()).then_some(version)
    })
}

/// A text of a block, and whether it was cut; none where it is empty.
fn value(bytes: &[u8]) -> Option<(Vec<u8>, bool)> {
    let whole = until_nul(bytes);
    let told = whole.get(..TEXT_SIZE_MAX).unwrap_or(whole);
    (!told.is_empty()).then(|| (told.to_vec(), told.len() < whole.len()))
}

/// A text of UTF-16 up to its end, or up to where its block ends.
fn until_nul(bytes: &[u8]) -> &[u8] {
    let units = bytes.as_chunks::<2>().0;
    let count = units.iter().position(|unit| *unit == [0, 0]);
    let size = 2 * count.unwrap_or(units.len());
    bytes.get(..size).unwrap_or_default()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

fn to_size(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
pub(super) mod tests;
