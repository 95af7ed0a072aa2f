//! Where things are in the repository.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs, process};

use anyhow::{Context as _, Result};

/// What marks the root beside a manifest of a workspace.
const XTASK: &str = "crates/xtask/Cargo.toml";

/// The root of the checkout that is worked on. Without one no task can do anything, so the program
/// ends here, with the reason.
///
/// It is found at run time: checkouts that share a target directory run one and the same xtask.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        find().unwrap_or_else(|error| {
            eprintln!("xtask: {error:#}");
            process::exit(1)
        })
    })
}

/// Where cargo puts what it builds, and where tasks keep what they fetch.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Cargo names the package it runs, in the checkout it was called in, which may be another one than
/// we stand in; who starts the program by hand stands in the checkout.
fn find() -> Result<PathBuf> {
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let here = env::current_dir().context("cannot find the current directory")?;
    let root = package
        .as_deref()
        .and_then(root_above)
        .or_else(|| root_above(&here))
        .with_context(|| {
            format!(
                "neither {} nor a directory above it is a checkout of SysTrail: none has a \
                 Cargo.toml with [workspace] beside {XTASK}; start it in one, with `cargo xtask`",
                here.display()
            )
        })?;
    // As compilers see it: paths in what is built are told by their beginning.
    fs::canonicalize(root).with_context(|| format!("cannot resolve {}", root.display()))
}

/// The nearest directory, from this one upwards, that is the root of a checkout.
fn root_above(directory: &Path) -> Option<&Path> {
    directory.ancestors().find(|it| is_root(it))
}

fn is_root(directory: &Path) -> bool {
    let manifest = fs::read_to_string(directory.join("Cargo.toml")).unwrap_or_default();
    manifest
        .lines()
        .any(|line| line.trim_end() == "[workspace]")
        && directory.join(XTASK).is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with these files in it.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = tree.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        tree
    }

    #[test]
    fn the_root_is_above_a_package_and_a_workspace_of_its_own_kind() {
        let tree = tree(&[
            ("Cargo.toml", "# members\n[workspace]\n"),
            (XTASK, "[package]\n"),
            ("fuzz/Cargo.toml", "[package]\n[workspace]\n"),
        ]);
        for start in ["", "crates/xtask", "fuzz"] {
            let start = tree.path().join(start);
            assert_eq!(root_above(&start), Some(tree.path()), "{}", start.display());
        }
    }

    #[test]
    fn a_checkout_inside_another_is_the_nearest() {
        let tree = tree(&[
            ("Cargo.toml", "[workspace]\n"),
            (XTASK, ""),
            ("copy/Cargo.toml", "[workspace]\n"),
            (&format!("copy/{XTASK}"), ""),
        ]);
        let copy = tree.path().join("copy");
        assert_eq!(root_above(&copy.join("crates/xtask")), Some(copy.as_path()));
    }

    #[test]
    fn what_is_no_workspace_with_an_xtask_is_no_root() {
        let package = tree(&[("Cargo.toml", "[package]\n"), (XTASK, "")]);
        assert!(!is_root(package.path()));
        let other = tree(&[("Cargo.toml", "[workspace]\n")]);
        assert!(!is_root(other.path()));
    }

    #[test]
    fn the_root_found_is_the_one_the_tests_were_started_in() {
        let package = env::var_os("CARGO_MANIFEST_DIR").unwrap();
        let root = fs::canonicalize(Path::new(&package).join("../..")).unwrap();
        assert_eq!(super::root(), root);
    }
}
