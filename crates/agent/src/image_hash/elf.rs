//! The build id of an ELF file: a note that its linker left there (`NT_GNU_BUILD_ID`).
//!
//! A file is anybody's, so whatever it claims, this ends: headers and notes are looked at up to a limit, each
//! place is read where the file says it is, and what is not there is no build id.

use std::fmt::Write as _;
use std::io;

/// Program headers that are looked at; a linker makes a dozen.
const HEADERS_MAX: u16 = 64;
/// Bytes of the notes of one header that are looked at.
const NOTES_SIZE_MAX: u64 = 4 * 1024;
/// Bytes of a build id: the longest hash there is has 64.
const ID_SIZE_MAX: usize = 64;

const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;

/// The build id in lower-case hex; `None` where the file is no ELF file, or has none. `read_at_fn` reads at an
/// offset, as far as the file goes.
///
/// # Errors
/// What `read_at_fn` says.
pub fn build_id(
    mut read_at_fn: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
) -> io::Result<Option<String>> {
    let mut head = [0; 64];
    let size = read_at_fn(0, &mut head)?;
    let Some(layout) = head.get(..size).and_then(Layout::read) else {
        return Ok(None);
    };
    for index in 0..layout.header_count.min(HEADERS_MAX) {
        let offset = u64::from(index)
            .checked_mul(layout.header_size.into())
            .and_then(|offset| layout.headers.checked_add(offset));
        let mut header = [0; 56];
        let size = match offset {
            Some(offset) => read_at_fn(offset, &mut header)?,
            None => 0,
        };
        let Some(notes) = header.get(..size).and_then(|it| layout.notes(it)) else {
            continue;
        };
        let size = notes.size.min(NOTES_SIZE_MAX);
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        let size = read_at_fn(notes.offset, &mut bytes)?;
        bytes.truncate(size);
        if let Some(id) = layout.find(&bytes, notes.alignment) {
            return Ok(Some(hex(id)));
        }
    }
    Ok(None)
}

/// Digits in lower case.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// How the file is laid out, as its first bytes say.
#[derive(Clone, Copy)]
struct Layout {
    is_64: bool,
    is_little: bool,
    headers: u64,
    header_size: u16,
    header_count: u16,
}

/// Where notes are.
struct Notes {
    offset: u64,
    size: u64,
    alignment: usize,
}

impl Layout {
    fn read(head: &[u8]) -> Option<Self> {
        let [0x7f, b'E', b'L', b'F', class, data, ..] = head else {
            return None;
        };
        let mut layout = Self {
            is_64: *class == 2,
            is_little: *data == 1,
            headers: 0,
            header_size: 0,
            header_count: 0,
        };
        let (headers, size_at) = if layout.is_64 {
            (layout.u64(head, 32)?, 54)
        } else {
            (layout.u32(head, 28)?.into(), 42)
        };
        layout.headers = headers;
        layout.header_size = layout.u16(head, size_at)?;
        layout.header_count = layout.u16(head, size_at + 2)?;
        Some(layout)
    }

    /// The notes that a program header leads to.
    fn notes(self, header: &[u8]) -> Option<Notes> {
        if self.u32(header, 0)? != PT_NOTE {
            return None;
        }
        let (offset, size, alignment) = if self.is_64 {
            let at = |at| self.u64(header, at);
            (at(8)?, at(32)?, at(48)?)
        } else {
            let at = |at| self.u32(header, at).map(u64::from);
            (at(4)?, at(16)?, at(28)?)
        };
        Some(Notes {
            offset,
            size,
            alignment: if alignment == 8 { 8 } else { 4 },
        })
    }

    /// The build id among notes.
    fn find(self, mut notes: &[u8], alignment: usize) -> Option<&[u8]> {
        const HEAD_SIZE: usize = 12;
        loop {
            let size_at = |at| usize::try_from(self.u32(notes, at)?).ok();
            let (name_size, id_size) = (size_at(0)?, size_at(4)?);
            let kind = self.u32(notes, 8)?;
            let name_end = HEAD_SIZE.checked_add(name_size)?;
            let id_begin = name_end.checked_next_multiple_of(alignment)?;
            let id_end = id_begin.checked_add(id_size)?;
            let (name, id) = (
                notes.get(HEAD_SIZE..name_end)?,
                notes.get(id_begin..id_end)?,
            );
            if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
                return Some(id).filter(|id| (1..=ID_SIZE_MAX).contains(&id.len()));
            }
            notes = notes.get(id_end.checked_next_multiple_of(alignment)?..)?;
        }
    }

    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = bytes.get(at..)?.first_chunk()?;
        Some(if self.is_little {
            u16::from_le_bytes(*bytes)
        } else {
            u16::from_be_bytes(*bytes)
        })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = bytes.get(at..)?.first_chunk()?;
        Some(if self.is_little {
            u32::from_le_bytes(*bytes)
        } else {
            u32::from_be_bytes(*bytes)
        })
    }

    fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        let bytes = bytes.get(at..)?.first_chunk()?;
        Some(if self.is_little {
            u64::from_le_bytes(*bytes)
        } else {
            u64::from_be_bytes(*bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(file: &[u8]) -> Option<String> {
        let read_at = |offset, buffer: &mut [u8]| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let rest = file.get(from..).unwrap_or_default();
            let size = rest.len().min(buffer.len());
            buffer[..size].copy_from_slice(&rest[..size]);
            Ok(size)
        };
        build_id(read_at).unwrap()
    }

    /// A file of one class and one order of bytes, with a note of another kind before the build id.
    fn file(is_64: bool, is_little: bool, alignment: u32, id: &[u8]) -> Vec<u8> {
        let number = |value: u64, size: usize| {
            if is_little {
                value.to_le_bytes()[..size].to_vec()
            } else {
                value.to_be_bytes()[8 - size..].to_vec()
            }
        };
        let note = |kind: u64, text: &[u8]| {
            let padded = |bytes: &[u8], before: usize| {
                let end = (before + bytes.len()).next_multiple_of(alignment as usize);
                [bytes, &vec![0; end - before - bytes.len()]].concat()
            };
            let head = [number(4, 4), number(text.len() as u64, 4), number(kind, 4)].concat();
            [head, padded(b"GNU\0", 12), padded(text, 0)].concat()
        };
        let notes = [note(1, b"abcde"), note(3, id)].concat();
        let (head, header, word) = if is_64 { (64, 56, 8) } else { (52, 32, 4) };
        let begin = (head + header) as u64;
        let class = if is_64 { 2 } else { 1 };
        let data = if is_little { 1 } else { 2 };
        let mut bytes = vec![0x7f, b'E', b'L', b'F', class, data, 1];
        bytes.resize(if is_64 { 32 } else { 28 }, 0);
        bytes.extend(number(head as u64, word));
        bytes.resize(if is_64 { 54 } else { 42 }, 0);
        bytes.extend([number(header as u64, 2), number(1, 2)].concat());
        bytes.resize(head, 0);
        let size = notes.len() as u64;
        let flags = if is_64 { 4 } else { 0 };
        let places = [begin, 0, 0, size, size].map(|value| number(value, word));
        bytes.extend([number(4, 4), number(0, flags), places.concat()].concat());
        bytes.extend(number(0, 4 - flags));
        bytes.extend(number(alignment.into(), word));
        bytes.resize(head + header, 0);
        [bytes, notes].concat()
    }

    #[test]
    fn a_build_id_is_found_whatever_the_machine() {
        let id = [0xde, 0xad, 0xbe, 0xef, 0x01];
        for (is_64, is_little) in [(true, true), (true, false), (false, true), (false, false)] {
            for alignment in [4, 8] {
                let found = of(&file(is_64, is_little, alignment, &id));
                assert_eq!(found.as_deref(), Some("deadbeef01"), "{is_64} {is_little}");
            }
        }
        let long = [7; ID_SIZE_MAX];
        assert_eq!(
            of(&file(true, true, 4, &long)).map(|it| it.len()),
            Some(128)
        );
        assert_eq!(of(&file(true, true, 4, &[7; ID_SIZE_MAX + 1])), None);
        assert_eq!(of(&file(true, true, 4, &[])), None);
    }

    #[test]
    fn what_is_no_elf_file_or_is_cut_has_none() {
        let whole = file(true, true, 4, &[1, 2]);
        for size in 0..whole.len() - 2 {
            assert_eq!(of(&whole[..size]), None, "{size}");
        }
        assert_eq!(of(b"#!/bin/sh\n"), None);
    }

    proptest! {
        #[test]
        fn no_file_makes_it_run_on(damage in prop::collection::vec((0..200_usize, any::<u8>()), 0..16)) {
            let mut bytes = file(true, true, 4, &[1, 2, 3, 4]);
            for (place, byte) in damage {
                if let Some(at) = bytes.get_mut(place) {
                    *at = byte;
                }
            }
            let _any = of(&bytes);
        }
    }
}
