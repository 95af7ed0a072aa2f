//! Stock kernels of Debian's archive: which there are, fetched and unpacked but never installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::architecture::{AMD64, ARM64, Architecture};
use super::archive::Archive;
use super::systemd;
use crate::workspace;

/// A series of kernels and the package that always depends on its newest build.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) architecture: &'static Architecture,
    package: &'static str,
    /// The release of Debian that has it, where this machine's own has not.
    release: Option<&'static str>,
    /// The integration tests that run on it unless others are asked for; all where none is named.
    pub(super) tests: &'static [&'static str],
    /// Of these, the tests whose names have one of these in them; all where none is named.
    pub(super) filters: &'static [&'static str],
    /// The first process.
    pub(super) first: First,
    /// Whether it boots only where it is asked for.
    pub(super) is_extra: bool,
}

/// What is the first process of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// One that runs tests.
    Tests,
    /// The service manager, with the agent's service.
    Systemd,
}

/// The kernels the agent is tested on. The cloud flavour has no drivers, so it is small, and the
/// same tracing and security options as the others. An emulated machine is slow: the oldest and the
/// newest run the tests that ask the kernel something, the others all.
pub(super) const SERIES: &[Series] = &[
    Series {
        name: "5.10",
        architecture: &AMD64,
        package: "linux-image-cloud-amd64",
        release: Some("bullseye-security"),
        tests: &["linux_tiers"],
        filters: &[],
        first: First::Tests,
        is_extra: false,
    },
    Series {
        name: "6.1",
        architecture: &AMD64,
        package: "linux-image-cloud-amd64",
        release: None,
        tests: &[],
        filters: &[],
        first: First::Tests,
        is_extra: false,
    },
    Series {
        name: "6.12",
        architecture: &AMD64,
        package: "linux-image-6.12-cloud-amd64",
        release: None,
        tests: &[],
        filters: &[],
        first: First::Tests,
        is_extra: false,
    },
    Series {
        name: "newest",
        architecture: &AMD64,
        package: "linux-image-cloud-amd64",
        release: Some("trixie-backports"),
        tests: &["linux_ebpf"],
        filters: EACH_PROGRAM,
        first: First::Tests,
        is_extra: false,
    },
    Series {
        name: "arm64",
        architecture: &ARM64,
        package: "linux-image-6.12-cloud-arm64",
        release: None,
        tests: &["linux_ebpf"],
        filters: &[],
        first: First::Tests,
        is_extra: true,
    },
    Series {
        name: "systemd",
        architecture: &AMD64,
        package: "linux-image-6.12-cloud-amd64",
        release: None,
        tests: &[systemd::TEST],
        filters: &[],
        first: First::Systemd,
        is_extra: false,
    },
];

/// Every program, what a kernel's version changes in them, and what it may refuse.
const EACH_PROGRAM: &[&str] = &[
    "a_process_has_one_start",
    "every_image_of_a_program",
    "image_loads_are_told_as_lost",
    "the_snapshot_has_every_process",
    "threads_that_all_exit_at_once",
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
    /// Its series.
    pub(super) series: &'static Series,
    /// The package it came in, which names the exact build.
    pub(super) package: String,
    /// What qemu boots.
    pub(super) image: PathBuf,
}

impl Kernel {
    /// Takes the newest build of the series from the archive, or from the last run.
    pub(super) fn fetch(series: &'static Series) -> Result<Self> {
        let archive = Archive::of(series.release, series.architecture)?;
        let package = archive
            .newest_kernel(series.package)
            .or_else(|_| {
                archive.refresh()?;
                archive.newest_kernel(series.package)
            })
            .with_context(|| format!("Debian's archive has no {}", series.package))?;
        let directory = workspace::target().join("vm").join(&package);
        let image = directory.join("vmlinuz");
        if !image.exists() {
            unpack(&archive, &package, &image).or_else(|_| {
                // The archive drops old builds, so old lists name what is no longer there.
                archive.refresh()?;
                unpack(&archive, &package, &image)
            })?;
        }
        Ok(Self {
            series,
            package,
            image,
        })
    }
}

/// Takes the kernel itself out of its package; nothing in the machine loads a module.
fn unpack(archive: &Archive, package: &str, image: &Path) -> Result<()> {
    let release = package.trim_start_matches("linux-image-");
    // Where Debian has the kernel itself in a package of its own, the other only names it.
    let binary = format!("linux-binary-{release}");
    let package = if archive.has(&binary) {
        &binary
    } else {
        package
    };
    let directory = image.with_file_name("unpacked");
    archive.unpack(package, &directory)?;
    let places = [
        directory.join(format!("boot/vmlinuz-{release}")),
        directory.join(format!("usr/lib/modules/{release}/vmlinuz")),
    ];
    let found = places.iter().find(|place| place.exists());
    let found = found.with_context(|| format!("package {package} has no kernel"))?;
    fs::rename(found, image).context("the kernel does not move")?;
    fs::remove_dir_all(&directory).context("what else was in the package does not go")
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
