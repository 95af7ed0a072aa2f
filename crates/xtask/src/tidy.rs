//! `cargo xtask tidy`: the rules of this repository that no compiler checks.
//!
//! A rule is a function from what it looks at to its findings; each has tests that show it fire.
//! An exception to a rule stands in the list beside the rule, with its reason, and a list entry
//! that is no longer needed is a finding itself.

mod code;
mod documents;
mod files;
mod packages;
mod source;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::command::{program, read};
use crate::workspace;

/// Something that breaks a rule, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    place: String,
    text: String,
}

impl Finding {
    fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            text: text.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.text)
    }
}

/// A text file of the repository.
#[derive(Debug)]
struct File {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.extension() == Some("rs")
    }

    fn is_markdown(&self) -> bool {
        self.extension() == Some("md")
    }

    /// The part of the name after its last dot.
    fn extension(&self) -> Option<&str> {
        Path::new(&self.path).extension()?.to_str()
    }

    /// The lines, numbered from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }
}

/// The files of the repository: all that git tracks or would track.
#[derive(Debug, Default)]
struct Tree {
    files: Vec<File>,
    /// The paths of files that are no text: pictures.
    others: Vec<String>,
}

impl Tree {
    fn read() -> Result<Self> {
        let list =
            read(program("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]))?;
        let mut this = Self::default();
        for path in list.lines() {
            let Ok(bytes) = fs::read(workspace::root().join(path)) else {
                // Removed and not yet committed.
                continue;
            };
            let path = path.to_owned();
            match String::from_utf8(bytes) {
                Ok(text) => this.files.push(File { path, text }),
                Err(_no_text) => this.others.push(path),
            }
        }
        Ok(this)
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    #[cfg(test)]
    fn of(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|(path, text)| File {
                path: (*path).to_owned(),
                text: (*text).to_owned(),
            })
            .collect();
        Self {
            files,
            ..Self::default()
        }
    }
}

/// Checks every rule and prints what it finds.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::read()?;
    let metadata = packages::Metadata::read()?;
    let findings: Vec<Finding> = [
        files::check(&tree),
        source::check(&tree),
        documents::check(&tree),
        packages::check(&tree, &metadata),
    ]
    .into_iter()
    .flatten()
    .collect();
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    println!(
        "tidy: {} files, {} packages",
        tree.files.len(),
        metadata.packages.len()
    );
    Ok(())
}
