//! Programs and libraries for a processor that is not the host's: Debian's packages, fetched and unpacked but
//! never installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::architecture::Architecture;
use super::archive::Archive;
use crate::workspace;

/// A shell for the first process, what tests start, and the libraries of both.
const PACKAGES: &[&str] = &["busybox-static", "coreutils", "dash", "libc6", "libgcc-s1"];

/// Where in a package programs and libraries are, but for the libraries' own directories.
const DIRECTORIES: &[&str] = &["bin", "usr/bin", "lib"];

/// Files with their paths in the machine.
pub(super) type Files = Vec<(PathBuf, PathBuf)>;

/// The files of the packages that are programs or libraries, links among them as what they lead to. What was
/// unpacked once is used again.
pub(super) fn files(architecture: &Architecture) -> Result<Files> {
    let root = workspace::target()
        .join("vm")
        .join(format!("system-{}", architecture.name));
    if !root.exists() {
        let unpacked = root.with_extension("part");
        unpack(architecture, &unpacked)?;
        // In one step, so that half of it is not taken for all.
        fs::rename(&unpacked, &root).context("what was unpacked does not move")?;
    }
    let mut files = Files::new();
    let libraries = ["lib", "usr/lib"].map(|place| format!("{place}/{}", architecture.libraries));
    let directories = DIRECTORIES.iter().copied();
    for directory in directories.chain(libraries.iter().map(String::as_str)) {
        let Ok(entries) = fs::read_dir(root.join(directory)) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_file() {
                let inside = Path::new("/").join(path.strip_prefix(&root)?);
                files.push((path, inside));
            }
        }
    }
    Ok(files)
}

fn unpack(architecture: &Architecture, directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    let archive = Archive::of(None, architecture)?;
    let unpack = || {
        PACKAGES
            .iter()
            .try_for_each(|package| archive.unpack(package, directory))
    };
    unpack().or_else(|_| {
        // The lists may not be there yet, or be so old that they name what is no longer there.
        archive.refresh()?;
        unpack()
    })
}
