//! Files that are what they say, and files that lie.

use super::*;

fn of(bytes: &[u8]) -> Option<Version> {
    let mut read_count = 0;
    let read = version(|offset, buffer| {
        read_count += 1;
        assert!(buffer.len() <= RESOURCE_SIZE_MAX);
        let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..));
        let rest = rest.unwrap_or_default();
        let size = rest.len().min(buffer.len());
        buffer[..size].copy_from_slice(&rest[..size]);
        Ok(size)
    });
    assert!(read_count <= 8, "{read_count}");
    read.unwrap()
}

fn shown(version: &Version) -> Vec<Option<String>> {
    let texts = version.texts.iter().map(|text| {
        let units = text.as_ref()?.0.as_chunks().0.iter();
        let units: Vec<u16> = units.map(|unit| u16::from_le_bytes(*unit)).collect();
        Some(String::from_utf16_lossy(&units))
    });
    texts.collect()
}

fn utf_16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A block as a resource compiler makes it.
fn block(name: &str, value_length: usize, value: &[u8], below: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0; 6];
    bytes.extend(utf_16(name));
    bytes.extend([0, 0]);
    let mut append = |part: &[u8]| {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(part);
    };
    append(value);
    for block in below {
        append(block);
    }
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    bytes[..2].copy_from_slice(&length.to_le_bytes());
    let value_length = u16::try_from(value_length).unwrap();
    bytes[2..4].copy_from_slice(&value_length.to_le_bytes());
    bytes
}

fn text(name: &str, value: &str) -> Vec<u8> {
    let value = utf_16(&format!("{value}\0"));
    block(name, value.len() / 2, &value, &[])
}

fn resource(texts: &[Vec<u8>]) -> Vec<u8> {
    let table = block("040904b0", 0, &[], texts);
    let infos = [
        block(
            "VarFileInfo",
            0,
            &[],
            &[block("Translation", 4, &[9, 4, 0xb0, 4], &[])],
        ),
        block("StringFileInfo", 0, &[], &[table]),
    ];
    block("VS_VERSION_INFO", 52, &[7; 52], &infos)
}

/// A file of 64 bits with one section, in which the resource is.
fn file(resource: &[u8]) -> Vec<u8> {
    const ADDRESS: u32 = 0x3000;
    const OFFSET: usize = 0x200;
    let mut bytes = vec![0; OFFSET];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(0x3c, &0x40_u32.to_le_bytes());
    put(0x40, b"PE\0\0");
    put(0x46, &1_u16.to_le_bytes());
    put(0x54, &240_u16.to_le_bytes());
    put(0x58, &0x20b_u16.to_le_bytes());
    put(0x58 + 108, &16_u32.to_le_bytes());
    put(0x58 + 112 + 16, &ADDRESS.to_le_bytes());
    let section = 0x58 + 240;
    put(section + 12, &ADDRESS.to_le_bytes());
    put(section + 16, &0x0001_0000_u32.to_le_bytes());
    put(section + 20, &u32::try_from(OFFSET).unwrap().to_le_bytes());
    // An icon and the version, each with one name and one language.
    let mut tree = vec![0; 0x80];
    let mut entry = |at: usize, count: u8, entries: &[(u32, u32)]| {
        tree[at + 14] = count;
        for (index, (id, place)) in entries.iter().enumerate() {
            let at = at + 16 + 8 * index;
            tree[at..at + 4].copy_from_slice(&id.to_le_bytes());
            tree[at + 4..at + 8].copy_from_slice(&place.to_le_bytes());
        }
    };
    entry(
        0,
        2,
        &[(3, SUBDIRECTORY), (RT_VERSION, SUBDIRECTORY | 0x20)],
    );
    entry(0x20, 1, &[(1, SUBDIRECTORY | 0x38)]);
    // Of two languages the first is one that fewer read, and leads nowhere.
    entry(0x38, 2, &[(0x401, 0x70), (0x409, 0x60)]);
    tree[0x60..0x64].copy_from_slice(&(ADDRESS + 0x80).to_le_bytes());
    let size = u32::try_from(resource.len()).unwrap();
    tree[0x64..0x68].copy_from_slice(&size.to_le_bytes());
    bytes.extend(tree);
    bytes.extend(resource);
    bytes
}

/// A file that was made under this name.
pub(in super::super) fn named(name: &str) -> Vec<u8> {
    file(&resource(&[text("OriginalFilename", name)]))
}

fn usual() -> Vec<u8> {
    file(&resource(&[
        text("CompanyName", "Caf\u{e9} Ltd"),
        text("Comments", "not told"),
        text("FileVersion", "1.2.3.4"),
        text("OriginalFilename", "Cmd.Exe"),
        text("ProductName", ""),
        text("FileVersion", "another"),
    ]))
}

#[test]
fn the_texts_are_told_and_no_empty_one() {
    let expected = [
        Some("Cmd.Exe".to_owned()),
        None,
        None,
        Some("Caf\u{e9} Ltd".to_owned()),
        Some("1.2.3.4".to_owned()),
    ];
    assert_eq!(shown(&of(&usual()).unwrap()), expected);
}

#[test]
fn a_file_without_one_has_none() {
    for bytes in [&b""[..], b"MZ", b"#!/bin/sh\n", &[0; 4096]] {
        assert_eq!(of(bytes), None);
    }
    assert_eq!(of(&file(&[])), None);
    assert_eq!(of(&file(&resource(&[]))), None);
}

#[test]
fn a_long_text_is_cut_and_said_to_be() {
    let long = "x".repeat(TEXT_SIZE_MAX);
    let version = of(&file(&resource(&[text("FileDescription", &long)]))).unwrap();
    let (told, is_cut) = version.texts[1].as_ref().unwrap();
    assert_eq!((told.len(), *is_cut), (TEXT_SIZE_MAX, true));
}

/// Each number of the file is anything: it is read in a few steps, or has no version.
#[test]
fn a_file_that_lies_about_any_number_is_read_to_an_end() {
    let usual = usual();
    for at in 0..usual.len() - 4 {
        for lie in [0_u32, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0x3000, 0x10] {
            let mut bytes = usual.clone();
            bytes[at..at + 4].copy_from_slice(&lie.to_le_bytes());
            let _any = of(&bytes);
        }
    }
}

#[test]
fn a_file_that_ends_anywhere_is_read_to_its_end() {
    let usual = usual();
    for size in 0..usual.len() {
        let _any = of(&usual[..size]);
    }
}

/// A block of no length was followed by itself for ever.
#[test]
fn blocks_without_length_end() {
    let mut nothing = resource(&[vec![0; 4_096]]);
    assert_eq!(of(&file(&nothing)), None);
    nothing[0] = 0;
    nothing[1] = 0;
    assert_eq!(of(&file(&nothing)), None);
}
