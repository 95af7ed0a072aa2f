//! `cargo xtask driver`: builds `systrail.sys` on Linux, without the WDK, and checks the image
//! against what Windows asks of one.
//!
//! That no panic path is left needs no check here: it is a link error.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::command::{cargo, run as run_command};
use crate::workspace;

/// What the image is compiled for.
pub(crate) const TARGET: &str = "x86_64-pc-windows-msvc";

/// Bytes of the built image that nobody should exceed by accident.
const SIZE_MAX: usize = 128 * 1024;

/// What the image may import, each exported by the kernel of Windows 10 1809 already.
const IMPORTS: &[&str] = &[
    "ExAllocatePoolWithTag",
    "ExFreePoolWithTag",
    "IoAllocateErrorLogEntry",
    "IoCreateDevice",
    "IoCreateSymbolicLink",
    "IoDeleteDevice",
    "IoDeleteSymbolicLink",
    "IoGetCurrentProcess",
    "IoReleaseCancelSpinLock",
    "IoThreadToProcess",
    "IoWriteErrorLogEntry",
    "IofCompleteRequest",
    "KeAcquireSpinLockRaiseToDpc",
    "KeCancelTimer",
    "KeFlushQueuedDpcs",
    "KeInitializeDpc",
    "KeInitializeTimer",
    "KeInsertQueueDpc",
    "KeQuerySystemTimePrecise",
    "KeReleaseSpinLock",
    "KeSetTimer",
    "MmMapLockedPagesSpecifyCache",
    "ObOpenObjectByPointer",
    "ObfDereferenceObject",
    "PsDereferencePrimaryToken",
    "PsGetCurrentProcessId",
    "PsGetCurrentThreadId",
    "PsGetProcessCreateTimeQuadPart",
    "PsGetProcessExitStatus",
    "PsLookupProcessByProcessId",
    "PsLookupThreadByThreadId",
    "PsReferencePrimaryToken",
    "PsRemoveCreateThreadNotifyRoutine",
    "PsRemoveLoadImageNotifyRoutine",
    "PsSetCreateProcessNotifyRoutineEx",
    "PsSetCreateThreadNotifyRoutine",
    "PsSetLoadImageNotifyRoutine",
    "SeCaptureSubjectContext",
    "SeReleaseSubjectContext",
    "SeTokenIsAdmin",
    "ZwClose",
    "ZwOpenKey",
    "ZwQueryInformationThread",
    "ZwQueryInformationToken",
    "ZwQueryValueKey",
    "ZwSetSecurityObject",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
];

/// Builds the image twice, in two places, and checks it.
pub(crate) fn run() -> Result<()> {
    let first = build(&workspace::target().join("driver"))?;
    let second = build(&workspace::target().join("driver-again"))?;
    let image = read(&first)?;
    ensure!(
        image == read(&second)?,
        "the image differs from one build to the next: something of this machine got into it"
    );
    let faults = check(&image)?;
    ensure!(faults.is_empty(), "the image: {}", faults.join("; "));
    let out = workspace::target().join("systrail.sys");
    std::fs::write(&out, &image).with_context(|| format!("writing {}", out.display()))?;
    let (map, out_map) = (map_beside(&first), out.with_extension("map"));
    std::fs::copy(&map, &out_map).with_context(|| format!("copying {}", map.display()))?;
    println!("{}: {} bytes", out.display(), image.len());
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn build(target_dir: &Path) -> Result<PathBuf> {
    const LINK: &[&str] = &[
        "/DRIVER",
        "/SUBSYSTEM:NATIVE",
        "/ENTRY:DriverEntry",
        "/NODEFAULTLIB",
        // Without FORCE_INTEGRITY Windows refuses the process notify routine.
        "/INTEGRITYCHECK",
        // Sets the checksum.
        "/RELEASE",
        // No time of the build, and no hash of what lld saw before it wrote the image.
        "/TIMESTAMP:0",
        "/DEBUG:NONE",
        "/build-id:no",
    ];
    std::fs::create_dir_all(target_dir.join(TARGET).join("release"))?;
    let root = workspace::root().display().to_string();
    let target = target_dir.display().to_string();
    let mut flags = vec![
        "-Clinker=rust-lld".to_owned(),
        "-Clinker-flavor=lld-link".to_owned(),
        // A PDB names temporary files of the build, and the image the PDB's hash. The map file
        // tells what stands at which address.
        "-Cstrip=symbols".to_owned(),
        format!("--remap-path-prefix={root}=systrail"),
        format!("--remap-path-prefix={target}=target"),
    ];
    let image = target_dir.join(TARGET).join("release/systrail-driver.exe");
    flags.push(format!("-Clink-arg=/MAP:{}", map_beside(&image).display()));
    flags.extend(LINK.iter().map(|argument| format!("-Clink-arg={argument}")));
    run_command(
        cargo()
            .args(["build", "--release", "--locked", "--package", "driver"])
            .args(["--features", "image", "--bin", "systrail-driver"])
            .args(["--target", TARGET])
            .arg("--target-dir")
            .arg(target_dir)
            // One unit and all crates at once: what cannot panic is then seen not to.
            .env("CARGO_PROFILE_RELEASE_LTO", "fat")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
            .env_remove("RUSTFLAGS")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")),
    )
    .with_context(|| format!("building the image; it needs `rustup target add {TARGET}`"))?;
    Ok(image)
}

fn map_beside(image: &Path) -> PathBuf {
    image.with_file_name("systrail.map")
}

/// What is wrong with the image; an error where it cannot even be read.
fn check(image: &[u8]) -> Result<Vec<String>> {
    const NATIVE: u16 = 1;
    const DYNAMIC_BASE: u16 = 0x40;
    const FORCE_INTEGRITY: u16 = 0x80;
    const NX_COMPAT: u16 = 0x100;
    let image = Image::read(image)?;
    let mut faults = Vec::new();
    let mut require = |holds: bool, fault: &str| {
        if !holds {
            faults.push(fault.to_owned());
        }
    };
    require(image.machine == 0x8664, "it is not for x64");
    require(image.subsystem == NATIVE, "its subsystem is not native");
    for (flag, name) in [
        (DYNAMIC_BASE, "DYNAMIC_BASE"),
        (FORCE_INTEGRITY, "FORCE_INTEGRITY"),
        (NX_COMPAT, "NX_COMPAT"),
    ] {
        require(image.flags & flag != 0, &format!("{name} is not set"));
    }
    require(image.checksum != 0, "it has no checksum");
    require(
        image.alignment == 0x1000,
        "its sections are not page-aligned",
    );
    require(
        image.bytes.len() <= SIZE_MAX,
        "it has grown out of proportion",
    );
    for section in &image.sections {
        require(
            !(section.is_writable && section.is_executable),
            &format!("{} is writable and executable", section.name),
        );
    }
    for (module, name) in image.imports()? {
        require(
            module.eq_ignore_ascii_case("ntoskrnl.exe") && IMPORTS.contains(&name.as_str()),
            &format!("it imports {name} from {module}, which is not on the list"),
        );
    }
    Ok(faults)
}

/// A PE32+ image, as far as it is checked.
#[derive(Debug)]
struct Image<'i> {
    bytes: &'i [u8],
    machine: u16,
    subsystem: u16,
    flags: u16,
    checksum: u32,
    alignment: u32,
    import_table: u32,
    sections: Vec<Section>,
}

#[derive(Debug)]
struct Section {
    name: String,
    address: u32,
    size: u32,
    offset: u32,
    is_executable: bool,
    is_writable: bool,
}

impl<'i> Image<'i> {
    /// Offsets are those of the PE format's specification.
    fn read(bytes: &'i [u8]) -> Result<Self> {
        const PE32_PLUS: u16 = 0x20b;
        const SECTION_SIZE: usize = 40;
        let header = usize::try_from(u32_at(bytes, 0x3c)?)?;
        ensure!(
            bytes.get(header..header + 4) == Some(b"PE\0\0"),
            "it is no PE image"
        );
        let (coff, optional) = (header + 4, header + 24);
        ensure!(
            u16_at(bytes, optional)? == PE32_PLUS,
            "it is no PE32+ image"
        );
        let optional_size = usize::from(u16_at(bytes, coff + 16)?);
        let sections = (0..usize::from(u16_at(bytes, coff + 2)?))
            .map(|index| Section::read(bytes, optional + optional_size + index * SECTION_SIZE))
            .collect::<Result<_>>()?;
        Ok(Self {
            bytes,
            machine: u16_at(bytes, coff)?,
            subsystem: u16_at(bytes, optional + 68)?,
            flags: u16_at(bytes, optional + 70)?,
            checksum: u32_at(bytes, optional + 64)?,
            alignment: u32_at(bytes, optional + 32)?,
            import_table: u32_at(bytes, optional + 120)?,
            sections,
        })
    }

    /// Module and name of each import.
    fn imports(&self) -> Result<Vec<(String, String)>> {
        const DESCRIPTOR_SIZE: usize = 20;
        const BY_ORDINAL: u64 = 1 << 63;
        let mut imports = Vec::new();
        let table = self.offset(self.import_table)?;
        for descriptor in (table..).step_by(DESCRIPTOR_SIZE) {
            let (names, module) = (
                u32_at(self.bytes, descriptor)?,
                u32_at(self.bytes, descriptor + 12)?,
            );
            if module == 0 {
                break;
            }
            let module = self.text(self.offset(module)?)?;
            for entry in (self.offset(names)?..).step_by(8) {
                let name = u64_at(self.bytes, entry)?;
                if name == 0 {
                    break;
                }
                ensure!(name & BY_ORDINAL == 0, "it imports by number from {module}");
                // A two-byte hint stands before the name.
                let name = self.text(self.offset(u32::try_from(name)?)? + 2)?;
                imports.push((module.clone(), name));
            }
        }
        Ok(imports)
    }

    /// Where in the file an address of the loaded image is.
    fn offset(&self, address: u32) -> Result<usize> {
        self.sections
            .iter()
            .find(|section| (section.address..section.address + section.size).contains(&address))
            .map(|section| section.offset + (address - section.address))
            .and_then(|offset| usize::try_from(offset).ok())
            .with_context(|| format!("address {address:#x} is in no section"))
    }

    fn text(&self, offset: usize) -> Result<String> {
        let rest = self
            .bytes
            .get(offset..)
            .context("a name outside the image")?;
        let text = rest.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}

impl Section {
    fn read(bytes: &[u8], start: usize) -> Result<Self> {
        const EXECUTE: u32 = 0x2000_0000;
        const WRITE: u32 = 0x8000_0000;
        let name = bytes
            .get(start..start + 8)
            .context("a section outside the image")?;
        let flags = u32_at(bytes, start + 36)?;
        Ok(Self {
            name: String::from_utf8_lossy(name)
                .trim_end_matches('\0')
                .to_owned(),
            size: u32_at(bytes, start + 8)?,
            address: u32_at(bytes, start + 12)?,
            offset: u32_at(bytes, start + 20)?,
            is_executable: flags & EXECUTE != 0,
            is_writable: flags & WRITE != 0,
        })
    }
}

fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Result<[u8; N]> {
    bytes
        .get(offset..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .with_context(|| format!("the image ends before byte {offset}"))
}

fn u16_at(bytes: &[u8], offset: usize) -> Result<u16> {
    array_at(bytes, offset).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], offset: usize) -> Result<u32> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], offset: usize) -> Result<u64> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::{Image, check};

    /// An image of nothing but headers, one section and an import of `name` from `module`.
    fn image(flags: u16, section_flags: u32, module: &str, name: &str) -> Vec<u8> {
        let mut bytes = vec![0; 0x400];
        let mut put = |offset: usize, field: &[u8]| {
            bytes[offset..offset + field.len()].copy_from_slice(field);
        };
        put(0x3c, &0x40_u32.to_le_bytes());
        put(0x40, b"PE\0\0");
        put(0x44, &0x8664_u16.to_le_bytes());
        put(0x46, &1_u16.to_le_bytes());
        put(0x54, &240_u16.to_le_bytes());
        let optional = 0x58;
        put(optional, &0x20b_u16.to_le_bytes());
        put(optional + 32, &0x1000_u32.to_le_bytes());
        put(optional + 64, &1_u32.to_le_bytes());
        put(optional + 68, &1_u16.to_le_bytes());
        put(optional + 70, &flags.to_le_bytes());
        put(optional + 120, &0x1000_u32.to_le_bytes());
        let section = optional + 240;
        put(section, b".text\0\0\0");
        put(section + 8, &0x200_u32.to_le_bytes());
        put(section + 12, &0x1000_u32.to_le_bytes());
        put(section + 20, &0x200_u32.to_le_bytes());
        put(section + 36, &section_flags.to_le_bytes());
        // The descriptor, the names, and the texts, at 0x1000, 0x1040, 0x1080 and 0x10c0.
        put(0x200, &0x1040_u32.to_le_bytes());
        put(0x20c, &0x1080_u32.to_le_bytes());
        put(0x240, &0x10c0_u64.to_le_bytes());
        put(0x280, module.as_bytes());
        put(0x2c2, name.as_bytes());
        bytes
    }

    const GOOD: u16 = 0x1c0;
    const CODE: u32 = 0x6000_0020;

    #[test]
    fn a_driver_passes() {
        let image = image(GOOD, CODE, "ntoskrnl.exe", "ZwClose");
        assert_eq!(check(&image).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn each_missing_flag_is_named() {
        for (flag, name) in [(0x40, "DYNAMIC"), (0x80, "INTEGRITY"), (0x100, "NX")] {
            let faults = check(&image(GOOD & !flag, CODE, "ntoskrnl.exe", "ZwClose")).unwrap();
            assert_eq!(faults.len(), 1);
            assert!(faults[0].contains(name), "{faults:?}");
        }
    }

    #[test]
    fn a_section_that_is_writable_and_executable_is_named() {
        let faults = check(&image(GOOD, 0xe000_0020, "ntoskrnl.exe", "ZwClose")).unwrap();
        assert_eq!(faults, [".text is writable and executable"]);
    }

    #[test]
    fn imports_that_no_driver_can_have_are_named() {
        for (module, name) in [
            ("ntdll.dll", "ZwClose"),
            ("ntoskrnl.exe", "ExAllocatePool2"),
        ] {
            let faults = check(&image(GOOD, CODE, module, name)).unwrap();
            assert_eq!(faults.len(), 1);
            assert!(faults[0].contains(name) && faults[0].contains(module));
        }
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        let whole = image(GOOD, CODE, "ntoskrnl.exe", "ZwClose");
        for size in 0..0x280 {
            assert!(
                Image::read(&whole[..size])
                    .and_then(|image| image.imports())
                    .is_err()
            );
        }
    }
}
