//! What the image may import: `ntoskrnl-1809.txt`, which says since when the kernel exports each.

use anyhow::{Context as _, Result, ensure};

const LIST: &str = include_str!("ntoskrnl-1809.txt");

/// Windows 10 1809, the oldest system the driver supports.
const OLDEST: Version = Version(10, 0, 17763);

/// A version of Windows NT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

/// The names on the list.
#[derive(Debug)]
pub(super) struct Imports {
    names: Vec<String>,
}

impl Imports {
    pub(super) fn read() -> Result<Self> {
        Self::parse(LIST)
    }

    fn parse(list: &str) -> Result<Self> {
        let mut names: Vec<String> = Vec::new();
        for line in list.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [name, since, _source] = fields[..] else {
                anyhow::bail!("`{line}` is no name, version and source");
            };
            let version = Version::parse(since).with_context(|| format!("the line of {name}"))?;
            ensure!(
                version <= OLDEST,
                "{name} came with {since} only; Windows 10 1809 is to be supported, so look it up \
                 with MmGetSystemRoutineAddress"
            );
            ensure!(
                names.last().is_none_or(|last| last.as_str() < name),
                "{name} is out of order"
            );
            names.push(name.to_owned());
        }
        Ok(Self { names })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The module definition an import library is made of.
    pub(super) fn definition(&self) -> String {
        let exports = self.names().map(|name| format!("    {name}\n"));
        format!(
            "LIBRARY ntoskrnl.exe\nEXPORTS\n{}",
            exports.collect::<String>()
        )
    }

    #[cfg(test)]
    pub(super) fn of(names: &[&str]) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Self { names }
    }
}

impl Version {
    fn parse(text: &str) -> Result<Self> {
        let mut parts = text.split('.').map(str::parse);
        let mut next = || parts.next().unwrap_or(Ok(0));
        let version = Self(next()?, next()?, next()?);
        Ok(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_readable_and_of_1809() {
        assert!(Imports::read().unwrap().names().count() > 40);
    }

    #[test]
    fn what_came_later_is_refused_and_named() {
        let error = Imports::parse("ExAllocatePool2 10.0.19041 wdm").unwrap_err();
        assert!(error.to_string().contains("ExAllocatePool2"), "{error}");
        assert!(Imports::parse("ZwOpenKeyEx 10.0.17763 wdm").is_ok());
    }

    #[test]
    fn a_line_without_version_or_source_or_out_of_order_is_refused() {
        for list in [
            "ZwClose",
            "ZwClose 5.0",
            "ZwClose new wdm",
            "B 5.0 wdm\nA 5.0 wdm",
        ] {
            assert!(Imports::parse(list).is_err(), "{list}");
        }
    }
}
