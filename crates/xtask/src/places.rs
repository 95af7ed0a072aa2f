//! The directories of the machine that builds: nothing that is released may name them.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result, ensure};

use crate::command::{program, read};
use crate::workspace;

/// The directories a compiler may name, and what it names instead.
pub(crate) fn renamed() -> Result<Vec<(PathBuf, &'static str)>> {
    let sysroot = read(program("rustc").args(["--print", "sysroot"]))?;
    Ok(vec![
        (workspace::root().to_owned(), "systrail"),
        (cargo_home()?, "cargo"),
        (PathBuf::from(sysroot.trim()), "rust"),
        (workspace::target(), "target"),
    ])
}

/// Where cargo keeps the sources of others.
fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME") {
        return Ok(PathBuf::from(home));
    }
    let home = env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cargo"))
}

/// Fails when a file names one of them.
pub(crate) fn ensure_unnamed(file: &Path) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    for (place, _) in renamed()? {
        let name = place.display().to_string();
        ensure!(
            !names(&bytes, &name),
            "{} names {name}, a directory of this machine",
            file.display()
        );
    }
    Ok(())
}

fn names(bytes: &[u8], place: &str) -> bool {
    bytes
        .windows(place.len())
        .any(|part| part == place.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_names_the_tree_is_refused() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let root = workspace::root().display();
        std::io::Write::write_all(&mut file, format!("\0{root}/a.rs\0").as_bytes()).unwrap();
        let error = ensure_unnamed(file.path()).unwrap_err();
        assert!(error.to_string().contains("of this machine"), "{error}");
    }

    #[test]
    fn a_file_that_names_what_stands_for_them_passes() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"\0systrail/a.rs\0cargo/b.rs").unwrap();
        ensure_unnamed(file.path()).unwrap();
    }
}
