//! Stock kernels of Debian's archive: which there are, fetched and unpacked but never installed.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::command::{program, read, run};
use crate::workspace;

/// A series of kernels and the package that always depends on its newest build.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) name: &'static str,
    package: &'static str,
}

/// The kernels the agent is tested on. The cloud flavour has no drivers, so it is small, and the
/// same tracing and security options as the others.
pub(super) const SERIES: &[Series] = &[
    Series {
        name: "6.1",
        package: "linux-image-cloud-amd64",
    },
    Series {
        name: "6.12",
        package: "linux-image-6.12-cloud-amd64",
    },
];

/// The series of that name, for the command line.
pub(super) fn series(name: &str) -> Result<&'static Series, String> {
    SERIES
        .iter()
        .find(|series| series.name == name)
        .ok_or_else(|| {
            let names: Vec<&str> = SERIES.iter().map(|series| series.name).collect();
            format!("is not known; kernels are {}", names.join(", "))
        })
}

/// An unpacked kernel.
pub(super) struct Kernel {
    /// The name of its series.
    pub(super) series: &'static str,
    /// The package it came in, which names the exact build.
    pub(super) package: String,
    /// What qemu boots.
    pub(super) image: PathBuf,
}

impl Kernel {
    /// Takes the newest build of the series from the archive, or from the last run.
    pub(super) fn fetch(series: &Series) -> Result<Self> {
        let package = newest(series)
            .or_else(|_| {
                refresh()?;
                newest(series)
            })
            .with_context(|| format!("Debian's archive has no {}", series.package))?;
        let directory = workspace::target().join("vm").join(&package);
        let image = directory
            .join("boot")
            .join(package.replacen("linux-image", "vmlinuz", 1));
        if !image.exists() {
            unpack(&package, &directory).or_else(|_| {
                // The archive drops old builds, so old lists name what is no longer there.
                refresh()?;
                unpack(&package, &directory)
            })?;
        }
        ensure!(
            image.exists(),
            "package {package} has no {}",
            image.display()
        );
        Ok(Self {
            series: series.name,
            package,
            image,
        })
    }
}

fn newest(series: &Series) -> Result<String> {
    let depends = read(
        program("apt-cache")
            .args(["depends", "--important", series.package])
            .env("LC_ALL", "C"),
    )?;
    depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: linux-image-"))
        .map(|rest| format!("linux-image-{rest}"))
        .with_context(|| format!("{} depends on no kernel", series.package))
}

/// Reads the archive's lists again, which needs root.
fn refresh() -> Result<()> {
    run(program("apt-get").arg("update").arg("--quiet"))
}

fn unpack(package: &str, directory: &PathBuf) -> Result<()> {
    let downloads = workspace::target().join("vm/download");
    if downloads.exists() {
        fs::remove_dir_all(&downloads)?;
    }
    fs::create_dir_all(&downloads)?;
    run(program("apt-get")
        .args(["download", "--quiet", package])
        // As root, apt would hand the download to a user who may not write here.
        .args(["--option", "APT::Sandbox::User=root"])
        .current_dir(&downloads))?;
    for entry in fs::read_dir(&downloads)? {
        run(program("dpkg-deb")
            .arg("--extract")
            .arg(entry?.path())
            .arg(directory))?;
    }
    // Nothing in the machine loads a module.
    fs::remove_dir_all(directory.join("lib")).context("the package has no modules")?;
    fs::remove_dir_all(&downloads).context("cannot remove the download")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_that_is_not_known_is_refused_with_those_that_are() {
        assert_eq!(series("6.1").unwrap().package, "linux-image-cloud-amd64");
        assert!(series("2.6").unwrap_err().contains("6.12"));
    }
}
