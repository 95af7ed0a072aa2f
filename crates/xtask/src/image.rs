//! `cargo xtask driver`: builds `systrail.sys` on Linux, without the WDK, and checks the image
//! against what Windows asks of one.
//!
//! It is built twice, from two copies of the tree in two places, and both times must give the same
//! bytes. That no panic path is left, and that nothing is imported but what `ntoskrnl-1809.txt`
//! lists, needs no check here: either is a link error.

mod build;
#[cfg(test)]
pub(crate) mod fixture;
mod imports;
mod pe;
mod rules;
mod stack;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::command::{program, read as read_output};
use crate::{places, workspace};
use build::Built;
use imports::Imports;
pub(crate) use pe::Image;

/// What the image is compiled for.
pub(crate) const TARGET: &str = "x86_64-pc-windows-msvc";

/// What is made.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) image: PathBuf,
    pub(crate) symbols: PathBuf,
}

/// Builds the image twice, checks it and puts it into the target directory.
pub(crate) fn run() -> Result<Driver> {
    let imports = Imports::read()?;
    let place = workspace::target().join("driver");
    let copy = place.join("tree");
    copy_tree(&copy)?;
    let first = build::build(workspace::root(), &place.join("here"), &imports)?;
    let second = build::build(&copy, &place.join("there"), &imports)?;
    compare(&first, &second)?;
    check(&first, &imports)?;
    places::ensure_unnamed(&first.image)?;
    places::ensure_unnamed(&first.symbols)?;
    let out = |file: &Path| workspace::target().join(file.file_name().unwrap_or_default());
    for file in [&first.image, &first.symbols, &first.map] {
        fs::copy(file, out(file)).with_context(|| format!("copying {}", file.display()))?;
    }
    let driver = Driver {
        image: out(&first.image),
        symbols: out(&first.symbols),
    };
    println!(
        "{}: {} bytes, reproducible; symbols in {}",
        driver.image.display(),
        read(&driver.image)?.len(),
        driver.symbols.display()
    );
    Ok(driver)
}

fn compare(first: &Built, second: &Built) -> Result<()> {
    for (one, other) in [
        (&first.image, &second.image),
        (&first.symbols, &second.symbols),
    ] {
        ensure!(
            read(one)? == read(other)?,
            "{} and {} differ: something of the machine or the place got in",
            one.display(),
            other.display()
        );
    }
    Ok(())
}

fn check(built: &Built, imports: &Imports) -> Result<()> {
    let bytes = read(&built.image)?;
    let image = Image::parse(&bytes)?;
    let mut faults = rules::check(&image, imports)?;
    let map = String::from_utf8_lossy(&read(&built.map)?).into_owned();
    let chains = stack::measure(&image, &map)?;
    for chain in &chains {
        println!("{chain}");
    }
    faults.extend(stack::check(&chains));
    ensure!(faults.is_empty(), "the image: {}", faults.join("; "));
    Ok(())
}

/// Copies what git tracks, or would track, so that the second build knows nothing of the first.
fn copy_tree(target: &Path) -> Result<()> {
    if target.exists() {
        fs::remove_dir_all(target).with_context(|| format!("removing {}", target.display()))?;
    }
    let list = read_output(program("git").args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    for path in list.lines() {
        let (from, to) = (workspace::root().join(path), target.join(path));
        if !from.is_file() {
            // Removed and not yet committed.
            continue;
        }
        fs::create_dir_all(to.parent().unwrap_or(target))?;
        fs::copy(&from, &to).with_context(|| format!("copying {path}"))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}
