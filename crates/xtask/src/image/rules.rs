//! What must hold for the image, one rule a function.

use anyhow::Result;
use object::LittleEndian as LE;
use object::pe;

use super::imports::Imports;
use super::pe::{Image, Section};

/// Bytes of the image that nobody should exceed by accident.
const SIZE_MAX: usize = 128 * 1024;

/// The sections there may be, and with which rights and nature: nothing that can be written can run.
const SECTIONS: &[(&str, u32)] = &[
    (".text", READ | EXECUTE | CODE),
    (".rdata", READ | DATA),
    (".data", READ | WRITE | DATA),
    (".pdata", READ | DATA),
    (".rsrc", READ | DATA),
    (".reloc", READ | DATA | DISCARDABLE),
];

const READ: u32 = pe::IMAGE_SCN_MEM_READ;
const WRITE: u32 = pe::IMAGE_SCN_MEM_WRITE;
const EXECUTE: u32 = pe::IMAGE_SCN_MEM_EXECUTE;
const CODE: u32 = pe::IMAGE_SCN_CNT_CODE;
const DATA: u32 = pe::IMAGE_SCN_CNT_INITIALIZED_DATA;
const DISCARDABLE: u32 = pe::IMAGE_SCN_MEM_DISCARDABLE;

/// Flags of the optional header, each with its name.
const FLAGS: &[(u16, &str)] = &[
    (
        pe::IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA,
        "HIGH_ENTROPY_VA",
    ),
    (pe::IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, "DYNAMIC_BASE"),
    (
        pe::IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY,
        "FORCE_INTEGRITY",
    ),
    (pe::IMAGE_DLLCHARACTERISTICS_NX_COMPAT, "NX_COMPAT"),
    (pe::IMAGE_DLLCHARACTERISTICS_GUARD_CF, "GUARD_CF"),
];

/// Directories a driver has no use for, each with what it would mean.
const ABSENT: &[(usize, &str)] = &[
    (pe::IMAGE_DIRECTORY_ENTRY_EXPORT, "exports"),
    (pe::IMAGE_DIRECTORY_ENTRY_TLS, "thread-local storage"),
    (pe::IMAGE_DIRECTORY_ENTRY_BOUND_IMPORT, "bound imports"),
    (pe::IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT, "delayed imports"),
    (pe::IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR, "managed code"),
];

/// What is wrong with the image; an error where it cannot even be read.
pub(super) fn check(image: &Image<'_>, imports: &Imports) -> Result<Vec<String>> {
    let mut faults = Faults(Vec::new());
    header(image, &mut faults)?;
    sections(image, &mut faults);
    imported(image, imports, &mut faults)?;
    for (index, what) in ABSENT {
        faults.unless(!image.has_directory(*index), format!("it has {what}"));
    }
    relocations(image, &mut faults)?;
    guard(image, &mut faults)?;
    symbols(image, &mut faults)?;
    version(image, &mut faults)?;
    Ok(faults.0)
}

struct Faults(Vec<String>);

impl Faults {
    fn unless(&mut self, holds: bool, fault: impl Into<String>) {
        if !holds {
            self.0.push(fault.into());
        }
    }
}

fn header(image: &Image<'_>, faults: &mut Faults) -> Result<()> {
    const WINDOWS_10: (u16, u16) = (10, 0);
    const PAGE_SIZE: u32 = 0x1000;
    let header = image.header();
    faults.unless(
        image.machine() == pe::IMAGE_FILE_MACHINE_AMD64,
        "it is not for x64",
    );
    faults.unless(
        header.subsystem.get(LE) == pe::IMAGE_SUBSYSTEM_NATIVE,
        "its subsystem is not native",
    );
    for (name, major, minor) in [
        (
            "system",
            header.major_operating_system_version,
            header.minor_operating_system_version,
        ),
        (
            "subsystem",
            header.major_subsystem_version,
            header.minor_subsystem_version,
        ),
    ] {
        faults.unless(
            (major.get(LE), minor.get(LE)) == WINDOWS_10,
            format!("its {name} is not Windows 10"),
        );
    }
    let flags = header.dll_characteristics.get(LE);
    for (flag, name) in FLAGS {
        faults.unless(flags & flag != 0, format!("{name} is not set"));
    }
    faults.unless(
        header.section_alignment.get(LE) == PAGE_SIZE,
        "its sections are not page-aligned",
    );
    faults.unless(
        header.check_sum.get(LE) == image.computed_checksum()?,
        "its checksum is wrong",
    );
    faults.unless(
        image.bytes.len() <= SIZE_MAX,
        "it has grown out of proportion",
    );
    Ok(())
}

fn sections(image: &Image<'_>, faults: &mut Faults) {
    const RIGHTS: u32 = READ | WRITE | EXECUTE | CODE | DATA | DISCARDABLE;
    for section in &image.sections {
        let name = &section.name;
        faults.unless(
            !(section.is_writable() && section.is_executable()),
            format!("{name} is writable and executable"),
        );
        let expected = SECTIONS.iter().find(|(known, _)| known == name);
        faults.unless(
            expected.is_some_and(|(_, flags)| section.flags & RIGHTS == *flags),
            format!("{name} is no section that was planned, or has other rights"),
        );
    }
    let entry = image.header().address_of_entry_point.get(LE);
    faults.unless(
        image.section_of(entry).is_some_and(Section::is_executable),
        "its entry point is in no code",
    );
}

fn imported(image: &Image<'_>, allowed: &Imports, faults: &mut Faults) -> Result<()> {
    let imports = image.imports()?;
    for import in &imports {
        let is_known = import.module.eq_ignore_ascii_case("ntoskrnl.exe")
            && allowed.names().any(|name| name == import.name);
        faults.unless(
            is_known,
            format!(
                "it imports {} from {}, which is not on the list",
                import.name, import.module
            ),
        );
    }
    for name in allowed.names() {
        faults.unless(
            imports.iter().any(|import| import.name == name),
            format!("it does not import {name} any more; remove it from the list"),
        );
    }
    Ok(())
}

/// Without relocations the loader cannot choose where the image goes, whatever `DYNAMIC_BASE` says.
fn relocations(image: &Image<'_>, faults: &mut Faults) -> Result<()> {
    let kinds = image.relocations()?;
    faults.unless(
        image.characteristics() & pe::IMAGE_FILE_RELOCS_STRIPPED == 0,
        "its relocations are stripped",
    );
    faults.unless(
        kinds.contains(&pe::IMAGE_REL_BASED_DIR64),
        "it has no relocations",
    );
    faults.unless(
        kinds
            .iter()
            .all(|kind| [pe::IMAGE_REL_BASED_DIR64, pe::IMAGE_REL_BASED_ABSOLUTE].contains(kind)),
        "it has relocations that are not of 64 bits",
    );
    Ok(())
}

fn guard(image: &Image<'_>, faults: &mut Faults) -> Result<()> {
    const INSTRUMENTED: u32 = 0x100;
    const TABLE_PRESENT: u32 = 0x400;
    let Some(guard) = image.guard()? else {
        faults.unless(false, "it has no load configuration");
        return Ok(());
    };
    faults.unless(
        guard.flags == INSTRUMENTED | TABLE_PRESENT && !guard.functions.is_empty(),
        "its functions that may be called by pointer are not listed",
    );
    Ok(())
}

/// The image names its symbols, and no directory of the machine that made it.
fn symbols(image: &Image<'_>, faults: &mut Faults) -> Result<()> {
    const NAME: &[u8] = b"systrail.pdb\0";
    const NAME_OFFSET: usize = 24;
    const REPRODUCIBLE: u32 = 16;
    let entries = image.debug_entries()?;
    let names_symbols = entries.iter().any(|(kind, contents)| {
        *kind == pe::IMAGE_DEBUG_TYPE_CODEVIEW
            && contents.starts_with(b"RSDS")
            && contents.get(NAME_OFFSET..) == Some(NAME)
    });
    faults.unless(
        names_symbols,
        "it does not name systrail.pdb, and just that",
    );
    faults.unless(
        entries.iter().any(|(kind, _)| *kind == REPRODUCIBLE),
        "its time stamp is a time",
    );
    Ok(())
}

fn version(image: &Image<'_>, faults: &mut Faults) -> Result<()> {
    let bytes = image.directory_bytes(pe::IMAGE_DIRECTORY_ENTRY_RESOURCE)?;
    for (name, value) in [
        ("FileVersion", env!("CARGO_PKG_VERSION")),
        ("OriginalFilename", "systrail.sys"),
        ("ProductName", "SysTrail"),
    ] {
        faults.unless(
            version_string(bytes, name) == Some(value.to_owned()),
            format!("its version resource does not say that {name} is {value}"),
        );
    }
    Ok(())
}

/// The value of `name`: UTF-16 that ends with a zero and is followed, on a multiple of four bytes,
/// by the value, which ends so as well.
fn version_string(bytes: &[u8], name: &str) -> Option<String> {
    let utf_16 = |text: &str| -> Vec<u8> {
        let units = text.encode_utf16().chain([0]);
        units.flat_map(u16::to_le_bytes).collect()
    };
    let name = utf_16(name);
    let start = bytes.windows(name.len()).position(|part| part == name)?;
    let value = bytes.get((start + name.len()).next_multiple_of(4)..)?;
    let units = value.chunks_exact(2).map_while(|pair| match pair {
        [0, 0] => None,
        [low, high] => Some(u16::from_le_bytes([*low, *high])),
        _ => None,
    });
    String::from_utf16(&units.collect::<Vec<_>>()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{
        CODE_VIEW, COFF, DEBUG, DIRECTORIES, Fixture, LOAD_CONFIGURATION, OPTIONAL, READ_ONLY,
        RELOCATIONS, RESOURCE, SECTIONS,
    };
    use super::*;

    /// What is wrong with the fixture after `spoil_fn`.
    fn faults(spoil_fn: impl FnOnce(&mut Fixture)) -> Vec<String> {
        let mut fixture = Fixture::new();
        spoil_fn(&mut fixture);
        let fixture = fixture.with_checksum();
        let image = Image::parse(&fixture.bytes).unwrap();
        check(&image, &Fixture::allowed()).unwrap()
    }

    /// Whether that is the one fault, and is about `what`.
    #[track_caller]
    fn one_fault(what: &str, spoil_fn: impl FnOnce(&mut Fixture)) {
        let faults = faults(spoil_fn);
        assert!(
            matches!(&faults[..], [fault] if fault.contains(what)),
            "{what}: {faults:?}"
        );
    }

    #[test]
    fn a_driver_passes() {
        assert_eq!(faults(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn another_processor_subsystem_or_system_is_named() {
        one_fault("x64", |it| it.put(COFF, &0xaa64_u16.to_le_bytes()));
        one_fault("native", |it| it.put(OPTIONAL + 68, &[2, 0]));
        one_fault("its system", |it| it.put(OPTIONAL + 40, &[6, 0]));
        one_fault("its subsystem", |it| it.put(OPTIONAL + 50, &[1, 0]));
    }

    #[test]
    fn each_missing_flag_is_named() {
        for (flag, name) in FLAGS {
            one_fault(name, |it| {
                it.put(OPTIONAL + 70, &(0xc1e0 & !flag).to_le_bytes());
            });
        }
    }

    #[test]
    fn a_wrong_checksum_is_named() {
        let mut fixture = Fixture::new().with_checksum();
        fixture.bytes[RESOURCE + 0x180] ^= 1;
        let image = Image::parse(&fixture.bytes).unwrap();
        let faults = check(&image, &Fixture::allowed()).unwrap();
        assert_eq!(faults, ["its checksum is wrong"]);
    }

    #[test]
    fn an_image_that_has_grown_is_named() {
        one_fault("grown", |it| it.bytes.resize(SIZE_MAX + 2, 0));
    }

    #[test]
    fn sections_that_share_a_page_are_named() {
        one_fault("page-aligned", |it| it.put(OPTIONAL + 32, &[0, 2, 0, 0]));
    }

    #[test]
    fn a_section_that_is_writable_and_executable_is_named() {
        let faults = faults(|it| it.put(SECTIONS + 36, &0xe000_0020_u32.to_le_bytes()));
        assert_eq!(faults[0], ".text is writable and executable");
    }

    #[test]
    fn a_section_with_another_name_or_other_rights_is_named() {
        one_fault(".tls", |it| it.put(SECTIONS + 2 * 40, b".tls\0\0"));
        one_fault(".rdata", |it| {
            it.put(SECTIONS + 40 + 36, &0xc000_0040_u32.to_le_bytes());
        });
    }

    #[test]
    fn an_entry_point_outside_the_code_is_named() {
        one_fault("entry point", |it| it.put(OPTIONAL + 16, &[0, 0x20, 0, 0]));
    }

    #[test]
    fn imports_that_no_driver_can_have_are_named() {
        for (module, name) in [("ntdll.dll", "ZwClose"), ("VCRUNTIME140.dll", "ZwClose")] {
            one_fault(module, |it| it.imports(module, name));
        }
        let faults = faults(|it| it.imports("ntoskrnl.exe", "ExAllocatePool2"));
        assert!(faults[0].contains("ExAllocatePool2"), "{faults:?}");
        assert!(faults[1].contains("does not import ZwClose"), "{faults:?}");
    }

    #[test]
    fn an_import_by_number_is_named() {
        let faults = faults(|it| it.put(READ_ONLY + 0x40, &((1_u64 << 63) | 7).to_le_bytes()));
        assert!(faults[0].contains("number 7"), "{faults:?}");
    }

    #[test]
    fn directories_a_driver_has_no_use_for_are_named() {
        for (index, what) in ABSENT {
            one_fault(what, |it| it.directory(*index, 0x2000, 8));
        }
    }

    #[test]
    fn missing_stripped_and_foreign_relocations_are_named() {
        one_fault("has no relocations", |it| {
            it.put(DIRECTORIES + 5 * 8, &[0; 8]);
        });
        one_fault("stripped", |it| it.put(COFF + 18, &[0x23, 0]));
        one_fault("64 bits", |it| {
            it.put(RELOCATIONS + 10, &0x3200_u16.to_le_bytes());
        });
    }

    #[test]
    fn a_missing_or_empty_guard_table_is_named() {
        one_fault("load configuration", |it| {
            it.put(DIRECTORIES + 10 * 8, &[0; 8]);
        });
        one_fault("by pointer", |it| it.put(LOAD_CONFIGURATION + 136, &[0]));
        one_fault("by pointer", |it| it.put(LOAD_CONFIGURATION + 144, &[0; 4]));
    }

    #[test]
    fn symbols_with_a_directory_and_a_time_of_the_build_are_named() {
        one_fault("systrail.pdb", |it| {
            it.put(CODE_VIEW + 24, b"C:\\a\\tra.pdb\0");
        });
        one_fault("time stamp", |it| it.put(DEBUG + 28 + 12, &[13]));
    }

    #[test]
    fn a_version_resource_that_says_something_else_is_named() {
        one_fault("FileVersion", |it| it.put(RESOURCE + 24, b"9"));
        let faults = faults(|it| it.put(DIRECTORIES + 2 * 8, &[0; 8]));
        assert_eq!(faults.len(), 3);
    }

    #[test]
    fn what_is_cut_short_is_an_error_and_no_panic() {
        let whole = Fixture::new().with_checksum().bytes;
        for size in 0..RELOCATIONS {
            let cut = Image::parse(&whole[..size])
                .and_then(|image| check(&image, &Fixture::allowed()))
                .unwrap_or_else(|error| vec![error.to_string()]);
            assert!(!cut.is_empty(), "{size}");
        }
    }
}
