//! The smallest image that passes every rule, to be spoiled by tests one field at a time.

use super::imports::Imports;

/// Where things are in the file; the address of the loaded image is beside each section.
pub(crate) const COFF: usize = 0x44;
pub(crate) const OPTIONAL: usize = 0x58;
pub(crate) const DIRECTORIES: usize = OPTIONAL + 112;
pub(crate) const SECTIONS: usize = OPTIONAL + 240;
/// `.text`, at 0x1000.
pub(crate) const TEXT: usize = 0x400;
/// `.rdata`, at 0x2000: imports, then what the constants below say.
pub(crate) const READ_ONLY: usize = 0x600;
pub(crate) const LOAD_CONFIGURATION: usize = READ_ONLY + 0x200;
pub(crate) const GUARD_TABLE: usize = READ_ONLY + 0x300;
pub(crate) const DEBUG: usize = READ_ONLY + 0x340;
pub(crate) const CODE_VIEW: usize = READ_ONLY + 0x380;
pub(crate) const UNWIND: usize = READ_ONLY + 0x3c0;
/// `.pdata`, at 0x3000.
pub(crate) const FUNCTIONS: usize = 0xa00;
/// `.rsrc`, at 0x4000.
pub(crate) const RESOURCE: usize = 0xc00;
/// `.reloc`, at 0x5000.
pub(crate) const RELOCATIONS: usize = 0xe00;

const SIZE: usize = 0x1000;
const BASE: u64 = 0x1_4000_0000;

/// An image in the making.
pub(crate) struct Fixture {
    pub(crate) bytes: Vec<u8>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let mut image = Self {
            bytes: vec![0; SIZE],
        };
        image.headers();
        image.sections();
        image.imports("ntoskrnl.exe", "ZwClose");
        image.load_configuration();
        image.symbols();
        image.code();
        image.resource();
        // A block for the page at 0x2000: its size, one address of 64 bits, and padding.
        image.put(RELOCATIONS, &0x2000_u32.to_le_bytes());
        image.put(RELOCATIONS + 4, &12_u32.to_le_bytes());
        image.put(RELOCATIONS + 8, &0xa200_u16.to_le_bytes());
        image
    }

    /// What the image may import.
    pub(in crate::image) fn allowed() -> Imports {
        Imports::of(&["ZwClose"])
    }

    pub(crate) fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Sets the checksum as the linker does: 0 in its field counts as nothing, so the whole is
    /// added up once.
    pub(crate) fn with_checksum(mut self) -> Self {
        const CHECKSUM: usize = OPTIONAL + 64;
        self.put(CHECKSUM, &[0; 4]);
        let sum = self.bytes.chunks(2).fold(0_u32, |sum, pair| {
            let sum = sum + u32::from(u16::from_le_bytes([pair[0], pair[1]]));
            (sum & 0xffff) + (sum >> 16)
        });
        let size = u32::try_from(self.bytes.len()).unwrap();
        self.put(CHECKSUM, &(sum + size).to_le_bytes());
        self
    }

    fn headers(&mut self) {
        self.put(0, b"MZ");
        self.put(0x3c, &0x40_u32.to_le_bytes());
        self.put(0x40, b"PE\0\0");
        self.put(COFF, &0x8664_u16.to_le_bytes());
        self.put(COFF + 2, &5_u16.to_le_bytes());
        self.put(COFF + 16, &240_u16.to_le_bytes());
        self.put(COFF + 18, &0x22_u16.to_le_bytes());
        self.put(OPTIONAL, &0x20b_u16.to_le_bytes());
        for (offset, value) in [
            (16, 0x1000),
            (32, 0x1000),
            (36, 0x200),
            (56, 0x6000),
            (60, 0x400),
        ] {
            self.put(OPTIONAL + offset, &u32::to_le_bytes(value));
        }
        self.put(OPTIONAL + 24, &BASE.to_le_bytes());
        // Versions of system and subsystem, the subsystem, and the flags.
        for (offset, value) in [(40, 10), (48, 10), (68, 1), (70, 0xc1e0)] {
            self.put(OPTIONAL + offset, &u16::to_le_bytes(value));
        }
        self.put(OPTIONAL + 108, &16_u32.to_le_bytes());
        for (index, address, size) in [
            (1, 0x2000, 40),
            (2, 0x4000, 0x200),
            (3, 0x3000, 24),
            (5, 0x5000, 12),
            (6, 0x2340, 56),
            (10, 0x2200, 192),
        ] {
            self.directory(index, address, size);
        }
    }

    pub(crate) fn directory(&mut self, index: usize, address: u32, size: u32) {
        self.put(DIRECTORIES + index * 8, &address.to_le_bytes());
        self.put(DIRECTORIES + index * 8 + 4, &size.to_le_bytes());
    }

    fn sections(&mut self) {
        for (index, (name, address, offset, size, flags)) in [
            (".text", 0x1000_u32, TEXT, 0x200_u32, 0x6000_0020_u32),
            (".rdata", 0x2000, READ_ONLY, 0x400, 0x4000_0040),
            (".pdata", 0x3000, FUNCTIONS, 0x200, 0x4000_0040),
            (".rsrc", 0x4000, RESOURCE, 0x200, 0x4000_0040),
            (".reloc", 0x5000, RELOCATIONS, 0x200, 0x4200_0040),
        ]
        .into_iter()
        .enumerate()
        {
            let start = SECTIONS + index * 40;
            self.put(start, name.as_bytes());
            let offset = u32::try_from(offset).unwrap();
            for (field, value) in [
                (8, size),
                (12, address),
                (16, size),
                (20, offset),
                (36, flags),
            ] {
                self.put(start + field, &value.to_le_bytes());
            }
        }
    }

    /// One descriptor; the names at 0x2040, the slots at 0x2060, the texts at 0x2080 and 0x20c0.
    pub(crate) fn imports(&mut self, module: &str, name: &str) {
        for (field, address) in [(0, 0x2040_u32), (12, 0x2080), (16, 0x2060)] {
            self.put(READ_ONLY + field, &address.to_le_bytes());
        }
        self.put(READ_ONLY + 0x40, &0x20c0_u64.to_le_bytes());
        self.put(READ_ONLY + 0x60, &0x20c0_u64.to_le_bytes());
        self.put(READ_ONLY + 0x80, &[0; 0x80]);
        self.put(READ_ONLY + 0x80, module.as_bytes());
        self.put(READ_ONLY + 0xc2, name.as_bytes());
    }

    fn load_configuration(&mut self) {
        self.put(LOAD_CONFIGURATION, &192_u32.to_le_bytes());
        // The pointer that calls go through, the table and its one entry: the entry point.
        self.put(LOAD_CONFIGURATION + 120, &(BASE + 0x2330).to_le_bytes());
        self.put(LOAD_CONFIGURATION + 128, &(BASE + 0x2300).to_le_bytes());
        self.put(LOAD_CONFIGURATION + 136, &1_u64.to_le_bytes());
        self.put(LOAD_CONFIGURATION + 144, &0x500_u32.to_le_bytes());
        self.put(GUARD_TABLE, &0x1000_u32.to_le_bytes());
    }

    fn symbols(&mut self) {
        let entry = |kind: u32, size: u32, address: u32| {
            let mut entry = [0; 28];
            entry[12..16].copy_from_slice(&kind.to_le_bytes());
            entry[16..20].copy_from_slice(&size.to_le_bytes());
            entry[20..24].copy_from_slice(&address.to_le_bytes());
            entry
        };
        self.put(DEBUG, &entry(2, 37, 0x2380));
        self.put(DEBUG + 28, &entry(16, 0, 0));
        self.put(CODE_VIEW, b"RSDS");
        self.put(CODE_VIEW + 24, b"systrail.pdb\0");
    }

    /// The entry point calls a function of 0x100 bytes of stack, which calls an import.
    fn code(&mut self) {
        // sub rsp, 0x28; call 0x1100; add rsp, 0x28; ret
        self.put(TEXT, &[0x48, 0x83, 0xec, 0x28, 0xe8, 0xf7, 0, 0, 0]);
        self.put(TEXT + 9, &[0x48, 0x83, 0xc4, 0x28, 0xc3]);
        // sub rsp, 0x100; call [0x2060]; add rsp, 0x100; ret
        self.put(TEXT + 0x100, &[0x48, 0x81, 0xec, 0, 1, 0, 0, 0xff, 0x15]);
        self.put(TEXT + 0x109, &(0x2060_u32 - 0x110d).to_le_bytes());
        self.put(TEXT + 0x10d, &[0x48, 0x81, 0xc4, 0, 1, 0, 0, 0xc3]);
        for (index, [begin, end, unwind]) in [[0x1000, 0x100e, 0x23c0], [0x1100, 0x1115, 0x23c8]]
            .into_iter()
            .enumerate()
        {
            for (field, value) in [(0, begin), (4, end), (8, unwind)] {
                self.put(FUNCTIONS + index * 12 + field, &u32::to_le_bytes(value));
            }
        }
        // UWOP_ALLOC_SMALL of 0x28, UWOP_ALLOC_LARGE of 0x100.
        self.put(UNWIND, &[1, 4, 1, 0, 4, 0x42]);
        self.put(UNWIND + 8, &[1, 7, 2, 0, 7, 0x01, 0x20, 0]);
    }

    fn resource(&mut self) {
        let mut offset = RESOURCE;
        for (name, value) in [
            ("FileVersion", env!("CARGO_PKG_VERSION")),
            ("OriginalFilename", "systrail.sys"),
            ("ProductName", "SysTrail"),
        ] {
            for text in [name, value] {
                let units = text.encode_utf16().chain([0]);
                let bytes: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
                self.put(offset, &bytes);
                offset = (offset + bytes.len()).next_multiple_of(4);
            }
        }
    }
}
