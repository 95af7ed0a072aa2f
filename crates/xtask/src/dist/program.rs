//! What must hold for `systrail.exe`: it runs on a Windows on which nothing else was installed.

use anyhow::Result;
use object::LittleEndian as LE;
use object::pe;

use crate::image::Image;

/// The libraries that Windows itself brings. Not among them: `VCRUNTIME*` and `MSVCP*`, which come
/// with Visual C++, and `libgcc*`, `libstdc++*`, `libwinpthread*`, which come with MinGW.
const SYSTEM: &[&str] = &[
    "advapi32.dll",
    "bcrypt.dll",
    "bcryptprimitives.dll",
    "dbghelp.dll",
    "iphlpapi.dll",
    "kernel32.dll",
    // The C library that Windows has had since Windows 95, not the one of a compiler.
    "msvcrt.dll",
    "netapi32.dll",
    "ntdll.dll",
    "ole32.dll",
    "oleaut32.dll",
    "powrprof.dll",
    "psapi.dll",
    "secur32.dll",
    "shell32.dll",
    "user32.dll",
    "userenv.dll",
    "version.dll",
    "ws2_32.dll",
    "wtsapi32.dll",
];

/// Sets of functions that Windows resolves to libraries of its own.
const SYSTEM_SETS: &str = "api-ms-win-";

/// The C library as such a set, which is a system's own from Windows 10 on.
const UNIVERSAL_C: &str = "api-ms-win-crt-";

/// Flags of the optional header, each with its name.
const FLAGS: &[(u16, &str)] = &[
    (
        pe::IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA,
        "HIGH_ENTROPY_VA",
    ),
    (pe::IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, "DYNAMIC_BASE"),
    (pe::IMAGE_DLLCHARACTERISTICS_NX_COMPAT, "NX_COMPAT"),
];

/// What is wrong with the program.
pub(super) fn check(bytes: &[u8]) -> Result<Vec<String>> {
    let image = Image::parse(bytes)?;
    let mut faults = Vec::new();
    let header = image.header();
    if image.machine() != pe::IMAGE_FILE_MACHINE_AMD64 {
        faults.push("it is not for x64".to_owned());
    }
    if header.subsystem.get(LE) != pe::IMAGE_SUBSYSTEM_WINDOWS_CUI {
        faults.push("it is no console program".to_owned());
    }
    for (flag, name) in FLAGS {
        if header.dll_characteristics.get(LE) & flag == 0 {
            faults.push(format!("{name} is not set"));
        }
    }
    for section in &image.sections {
        if section.is_writable() && section.is_executable() {
            faults.push(format!("{} is writable and executable", section.name));
        }
    }
    let mut modules: Vec<String> = image
        .imports()?
        .into_iter()
        .map(|import| import.module.to_ascii_lowercase())
        .collect();
    modules.sort_unstable();
    modules.dedup();
    for module in modules {
        let is_set = module.starts_with(SYSTEM_SETS) && !module.starts_with(UNIVERSAL_C);
        if !is_set && !SYSTEM.contains(&module.as_str()) {
            faults.push(format!(
                "it imports from {module}, which Windows does not bring: link it statically"
            ));
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture::{Fixture, OPTIONAL, SECTIONS};

    /// What is wrong with a console program that imports from `module`, after `spoil_fn`.
    fn faults(module: &str, spoil_fn: impl FnOnce(&mut Fixture)) -> Vec<String> {
        let mut fixture = Fixture::new();
        fixture.put(OPTIONAL + 68, &[3]);
        fixture.imports(module, "Function");
        spoil_fn(&mut fixture);
        check(&fixture.bytes).unwrap()
    }

    #[test]
    fn what_windows_brings_may_be_imported() {
        for module in [
            "KERNEL32.dll",
            "msvcrt.dll",
            "api-ms-win-core-synch-l1-2-0.dll",
        ] {
            assert_eq!(faults(module, |_| ()), Vec::<String>::new());
        }
    }

    #[test]
    fn the_runtime_of_a_compiler_is_named() {
        for module in [
            "VCRUNTIME140.dll",
            "MSVCP140.dll",
            "api-ms-win-crt-runtime-l1-1-0.dll",
            "libgcc_s_seh-1.dll",
            "libwinpthread-1.dll",
            "libstdc++-6.dll",
        ] {
            let faults = faults(module, |_| ());
            assert!(
                matches!(&faults[..], [fault] if fault.contains(&module.to_ascii_lowercase())),
                "{faults:?}"
            );
        }
    }

    #[test]
    fn another_subsystem_a_missing_flag_and_writable_code_are_named() {
        for (offset, byte, fault) in [
            (OPTIONAL + 68, 1, "console"),
            (OPTIONAL + 70, 0xa0, "DYNAMIC_BASE"),
            (OPTIONAL + 71, 0xc0, "NX_COMPAT"),
            (SECTIONS + 39, 0xe0, ".text is writable"),
        ] {
            let faults = faults("ntdll.dll", |it| it.put(offset, &[byte]));
            assert!(
                matches!(&faults[..], [found] if found.contains(fault)),
                "{fault}: {faults:?}"
            );
        }
    }
}
