//! The driver's INF file against what `InfVerif` of the WDK asks of a primitive driver, as far as
//! that can be said without it ("Creating a New Primitive Driver" and "INF Version Section" on
//! learn.microsoft.com).

use std::collections::BTreeSet;

/// Where a primitive driver's files go: they stay in the driver store and run from there.
const DRIVER_STORE: &str = "13";

/// The group of the service, as `crates/agent/src/service/windows/driver.rs` has it.
const LOAD_ORDER_GROUP: &str = "SysTrail";

/// The defaults of the service's parameters, as `crates/driver/src/settings.rs` has them.
const PARAMETERS: &[(&str, &str)] = &[("QueueLimit", "4194304"), ("FlushIntervalMs", "50")];

/// Directives that a primitive driver may not have, because they reach outside the driver store,
/// run code or belong to a device.
const FORBIDDEN: &[&str] = &[
    "AddInterface",
    "BitReg",
    "CoInstallers32",
    "DelFiles",
    "DelService",
    "Ini2Reg",
    "ProfileItems",
    "RegisterDlls",
    "RenFiles",
    "UnregisterDlls",
    "UpdateIniFields",
    "UpdateInis",
];

/// Sections and their lines, comments and quotes taken away.
struct Inf {
    sections: Vec<(String, Vec<String>)>,
}

impl Inf {
    fn parse(text: &str) -> Self {
        let mut sections: Vec<(String, Vec<String>)> = Vec::new();
        for line in text.lines() {
            let line = line.split(';').next().unwrap_or_default().trim();
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                sections.push((name.to_owned(), Vec::new()));
            } else if let (false, Some((_, lines))) = (line.is_empty(), sections.last_mut()) {
                lines.push(line.to_owned());
            }
        }
        Self { sections }
    }

    fn lines(&self, section: &str) -> impl Iterator<Item = &str> {
        self.sections
            .iter()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(section))
            .flat_map(|(_, lines)| lines.iter().map(String::as_str))
    }

    /// What `key` is in `section`.
    fn value(&self, section: &str, key: &str) -> Option<&str> {
        self.lines(section)
            .filter_map(|line| line.split_once('='))
            .find(|(found, _)| found.trim().eq_ignore_ascii_case(key))
            .map(|(_, value)| value.trim().trim_matches('"'))
    }
}

/// What is wrong with the file, for a driver of this `version` (`major.minor.patch`).
pub(crate) fn check(text: &str, version: &str) -> Vec<String> {
    let inf = Inf::parse(text);
    let mut faults = Vec::new();
    head(&inf, version, &mut faults);
    files(&inf, &mut faults);
    service(&inf, &mut faults);
    strings(&inf, text, &mut faults);
    for (section, lines) in &inf.sections {
        for line in lines {
            let directive = line.split('=').next().unwrap_or_default().trim();
            if FORBIDDEN
                .iter()
                .any(|it| it.eq_ignore_ascii_case(directive))
            {
                faults.push(format!("[{section}] has {directive}"));
            }
        }
    }
    faults
}

/// Compares one value, in the spelling Windows does not care about.
fn expect(inf: &Inf, section: &str, key: &str, expected: &str, faults: &mut Vec<String>) {
    let found = inf.value(section, key);
    if !found.is_some_and(|found| found.eq_ignore_ascii_case(expected)) {
        faults.push(format!(
            "[{section}] {key} is {} and not {expected}",
            found.unwrap_or("missing")
        ));
    }
}

fn head(inf: &Inf, version: &str, faults: &mut Vec<String>) {
    for (key, expected) in [
        ("Signature", "$Windows NT$"),
        ("Class", "System"),
        ("ClassGuid", "{4D36E97D-E325-11CE-BFC1-08002BE10318}"),
        ("CatalogFile", "systrail.cat"),
        ("PnpLockdown", "1"),
    ] {
        expect(inf, "Version", key, expected, faults);
    }
    if inf.value("Version", "Provider").is_none() {
        faults.push("[Version] has no Provider".to_owned());
    }
    let date_and_version = inf.value("Version", "DriverVer").unwrap_or_default();
    if !date_and_version
        .split_once(',')
        .is_some_and(|(date, found)| is_date(date) && found == format!("{version}.0"))
    {
        faults.push(format!("[Version] DriverVer is no date and {version}.0"));
    }
    for (section, _) in &inf.sections {
        let name = section.to_ascii_lowercase();
        if name.starts_with("defaultinstall") && !name.starts_with("defaultinstall.ntamd64") {
            faults.push(format!("[{section}] does not name its architecture"));
        }
        if name == "manufacturer" {
            faults.push("[Manufacturer] belongs to a device".to_owned());
        }
    }
}

/// `MM/DD/YYYY`
fn is_date(text: &str) -> bool {
    let parts: Vec<Option<u32>> = text.split('/').map(|part| part.parse().ok()).collect();
    matches!(parts[..], [Some(1..=12), Some(1..=31), Some(2026..)])
}

/// Every file that is copied has a source and stays in the driver store.
fn files(inf: &Inf, faults: &mut Vec<String>) {
    for line in inf.lines("DestinationDirs") {
        let target = line.split_once('=').map_or("", |(_, target)| target.trim());
        if target != DRIVER_STORE {
            faults.push(format!(
                "[DestinationDirs] {line} is outside {DRIVER_STORE}"
            ));
        }
    }
    if inf.lines("DestinationDirs").next().is_none() {
        faults.push("[DestinationDirs] is missing".to_owned());
    }
    let lists = inf.value("DefaultInstall.NTamd64", "CopyFiles");
    let mut copied = lists
        .unwrap_or_default()
        .split(',')
        .flat_map(|list| inf.lines(list.trim()))
        .peekable();
    if copied.peek().is_none() {
        faults.push("[DefaultInstall.NTamd64] copies nothing".to_owned());
    }
    for file in copied {
        if inf.value("SourceDisksFiles", file).is_none() {
            faults.push(format!("[SourceDisksFiles] does not know {file}"));
        }
    }
}

fn service(inf: &Inf, faults: &mut Vec<String>) {
    const SECTION: &str = "SysTrail.Service";
    expect(
        inf,
        "DefaultInstall.NTamd64.Services",
        "AddService",
        &format!("SysTrail,,{SECTION}"),
        faults,
    );
    for (key, expected) in [
        ("ServiceType", "1"),
        ("StartType", "3"),
        ("ErrorControl", "1"),
        ("ServiceBinary", "%13%\\systrail.sys"),
        ("LoadOrderGroup", LOAD_ORDER_GROUP),
    ] {
        expect(inf, SECTION, key, expected, faults);
    }
    let registry = inf.value(SECTION, "AddReg").unwrap_or_default();
    for (name, value) in PARAMETERS {
        // A number, which does not overwrite one that is there.
        let line = format!("HKR,Parameters,{name},0x00010003,{value}");
        if !inf.lines(registry).any(|found| found == line) {
            faults.push(format!("[{registry}] does not say {line}"));
        }
    }
    for line in inf.lines(registry) {
        if !line.starts_with("HKR,") {
            faults.push(format!(
                "[{registry}] {line} is not below the service's key"
            ));
        }
    }
}

/// Every `%name%` is in `[Strings]`, and the other way round.
fn strings(inf: &Inf, text: &str, faults: &mut Vec<String>) {
    let defined: BTreeSet<&str> = inf
        .lines("Strings")
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim())
        .collect();
    let used: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with(';'))
        .flat_map(|line| line.split('%').skip(1).step_by(2))
        .filter(|name| *name != DRIVER_STORE)
        .collect();
    for name in defined.symmetric_difference(&used) {
        faults.push(format!("%{name}% is not both defined and used"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: &str = include_str!("../../../packaging/windows/systrail.inf");

    /// What is wrong after `from` has become `to`.
    fn faults(from: &str, to: &str) -> Vec<String> {
        assert!(INF.contains(from), "{from}");
        check(&INF.replace(from, to), env!("CARGO_PKG_VERSION"))
    }

    #[test]
    fn the_drivers_own_file_passes() {
        assert_eq!(faults("[", "["), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_named() {
        for (from, to, fault) in [
            ("Class       = System", "Class = Sample", "Class is Sample"),
            ("{4D36", "{4D37", "ClassGuid"),
            ("PnpLockdown = 1", "", "PnpLockdown is missing"),
            ("CatalogFile = systrail.cat", "", "CatalogFile is missing"),
            (",0.1.0.0", ",0.0.9.0", "DriverVer"),
            ("11/22/2026", "2026-11-22", "DriverVer"),
            ("DefaultDestDir = 13", "DefaultDestDir = 12", "outside 13"),
            (
                "systrail.sys = 1",
                "other.sys = 1",
                "does not know systrail.sys",
            ),
            ("CopyFiles = ", "CopyFile = ", "copies nothing"),
            (
                "[DefaultInstall.NTamd64]",
                "[DefaultInstall]",
                "architecture",
            ),
            (
                "ServiceType    = 1",
                "ServiceType = 16",
                "ServiceType is 16",
            ),
            ("= SysTrail\n", "= Base\n", "LoadOrderGroup is Base"),
            ("%13%\\systrail", "%12%\\systrail", "ServiceBinary"),
            ("SysTrail,,", "SysTrail,2,", "AddService"),
            (
                "QueueLimit,0x00010003",
                "QueueLimit,0x00010001",
                "QueueLimit",
            ),
            (
                "HKR,Parameters,Flush",
                "HKLM,Parameters,Flush",
                "below the service",
            ),
            ("Disk        = ", "Disc = ", "%Disk%"),
            (
                "[SysTrail.Files]",
                "RegisterDlls = A\n[SysTrail.Files]",
                "RegisterDlls",
            ),
            ("[Strings]", "[Manufacturer]\n[Strings]", "Manufacturer"),
        ] {
            let faults = faults(from, to);
            assert!(
                faults.iter().any(|found| found.contains(fault)),
                "{fault}: {faults:?}"
            );
        }
    }
}
