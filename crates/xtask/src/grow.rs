//! `cargo xtask grow`: a field and a kind are as cheap to add as CONTRIBUTING says. In a copy of the
//! tree it writes what a developer would, counts the product files that takes, and runs a test that
//! finds both wherever fields and kinds are: log, CSV, exports, store, SQL.

mod edits;

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::command::{cargo, program, read, run_tests};
use crate::tally::Tally;
use crate::workspace;
use edits::{Edit, FIELD, Growth, KIND};

/// What is added to the copy that no developer would write: a package with the test.
const TEST: [(&str, &str); 2] = [
    (
        "crates/grown/Cargo.toml",
        "[package]\n\
         name = \"grown\"\n\
         version.workspace = true\n\
         edition.workspace = true\n\
         \n\
         [dev-dependencies]\n\
         event.workspace = true\n\
         serde_json.workspace = true\n\
         systrail = { path = \"../agent\" }\n\
         tempfile.workspace = true\n\
         trail.workspace = true\n",
    ),
    (
        "crates/grown/tests/grown.rs",
        include_str!("grow/everywhere.rs"),
    ),
];

/// Makes the copy and runs the test in it. What there is already of the copy is kept, so that a
/// second run builds only what changed.
pub(crate) fn run() -> Result<Tally> {
    let growths = [FIELD, KIND];
    let tree = target().join("grow");
    let mut files = Vec::new();
    for path in tracked()? {
        let source = workspace::root().join(&path);
        match fs::read(&source) {
            Ok(bytes) => files.push((path, bytes)),
            // Removed and not yet committed.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", source.display()));
            }
        }
    }
    for growth in &growths {
        growth.apply(&mut files)?;
    }
    files.extend(TEST.map(|(path, text)| (path.to_owned(), text.into())));
    files.iter_mut().try_for_each(rename)?;
    write_tree(&tree, &files)?;
    let tally = run_tests(
        cargo()
            .current_dir(&tree)
            .env("CARGO_TARGET_DIR", target())
            // Of the whole workspace, so that dependencies are built as all other steps have them;
            // no `--locked`, since a package was added. The program is built as its own test: what
            // is in it must compile as well.
            .args(["test", "--workspace", "--offline"])
            .args(["--test", "grown", "--bin", "systrail"]),
    )?
    .complete()?;
    let costs: Vec<String> = growths.iter().map(Growth::cost).collect();
    println!("grow: {}", costs.join(", "));
    for growth in &growths {
        growth.check()?;
    }
    Ok(tally)
}

/// Moves a file of the copy from `crates` to `grown`. Cargo knows a package by its place in its
/// workspace: with the same places, and one target directory for all dependencies, it would take
/// what is built of the copy for what is built of the tree.
fn rename((path, bytes): &mut (String, Vec<u8>)) -> Result<()> {
    if let Some(rest) = path.strip_prefix("crates/") {
        *path = format!("grown/{rest}");
    } else if path == "Cargo.toml" {
        let text = str::from_utf8(bytes).context("Cargo.toml is no text")?;
        *bytes = text.replace("\"crates/", "\"grown/").into();
    }
    Ok(())
}

/// The files of this repository: all that git tracks or would track.
fn tracked() -> Result<Vec<String>> {
    let list =
        read(program("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]))?;
    Ok(list.lines().map(str::to_owned).collect())
}

/// Where every step builds, so that dependencies are built once; from the root if it is relative.
fn target() -> PathBuf {
    workspace::root().join(workspace::target())
}

impl Growth {
    /// The files it touches.
    fn files(&self) -> BTreeSet<&'static str> {
        self.edits.iter().map(|edit| edit.file).collect()
    }

    fn cost(&self) -> String {
        format!("a {}: {} files", self.name, self.files().len())
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.files().len() <= self.files_max,
            "{}, and at most {} is what CONTRIBUTING promises: the design has slipped",
            self.cost(),
            self.files_max
        );
        Ok(())
    }

    fn apply(&self, files: &mut [(String, Vec<u8>)]) -> Result<()> {
        for edit in self.edits {
            let file = files.iter_mut().find(|(path, _)| path == edit.file);
            let text = file.map(|(_, text)| text);
            edit.apply(text).with_context(|| {
                format!(
                    "cannot add a {}: {} is no longer as crates/xtask/src/grow/edits.rs and \
                     CONTRIBUTING have it; they must follow the code",
                    self.name, edit.file
                )
            })?;
        }
        Ok(())
    }
}

impl Edit {
    /// Puts the text behind the anchor.
    fn apply(&self, file: Option<&mut Vec<u8>>) -> Result<()> {
        let bytes = file.context("there is no such file")?;
        let text = std::str::from_utf8(bytes).context("it is no text")?;
        let count = text.matches(self.anchor).count();
        ensure!(
            count == 1,
            "this is in it {count} times instead of once:\n{}",
            self.anchor
        );
        let grown = [self.anchor, self.text].concat();
        *bytes = text.replacen(self.anchor, &grown, 1).into();
        Ok(())
    }
}

/// Makes `tree` these files and no others. Equal ones stay untouched: cargo goes by their times.
fn write_tree(tree: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    let wanted: BTreeSet<PathBuf> = files.iter().map(|(path, _)| tree.join(path)).collect();
    remove_others(tree, &wanted)?;
    for (path, bytes) in files {
        let path = tree.join(path);
        if fs::read(&path).is_ok_and(|known| known == *bytes) {
            continue;
        }
        let directory = path.parent().unwrap_or(tree);
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(&path, bytes))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn remove_others(directory: &Path, wanted: &BTreeSet<PathBuf>) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("cannot list {}", directory.display()))?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            remove_others(&path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDIT: Edit = Edit {
        file: "crates/trail/src/a.rs",
        anchor: "one\n",
        text: "two\n",
    };

    fn of(edits: &'static [Edit], files_max: usize) -> Growth {
        Growth {
            name: "field",
            files_max,
            edits,
        }
    }

    #[test]
    fn every_place_is_found_in_the_tree() {
        let edited = [FIELD, KIND].into_iter().flat_map(|growth| growth.files());
        let mut files: Vec<_> = edited
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|path| {
                let bytes = fs::read(workspace::root().join(path)).unwrap();
                (path.to_owned(), bytes)
            })
            .collect();
        for growth in [FIELD, KIND] {
            growth.apply(&mut files).unwrap();
            growth.check().unwrap();
        }
    }

    #[test]
    fn packages_of_the_copy_have_places_of_their_own() {
        let of = |path: &str, text: &str| (path.to_owned(), Vec::from(text));
        let mut files = [
            of("Cargo.toml", "members = [\"crates/*\"]"),
            of("crates/event/src/lib.rs", "\"crates/a\""),
            of("docs/STORE.md", ""),
        ];
        files.iter_mut().try_for_each(rename).unwrap();
        let renamed = [
            of("Cargo.toml", "members = [\"grown/*\"]"),
            of("grown/event/src/lib.rs", "\"crates/a\""),
            of("docs/STORE.md", ""),
        ];
        assert_eq!(files, renamed);
    }

    #[test]
    fn only_product_files_are_counted_and_each_once() {
        for growth in [FIELD, KIND] {
            for file in growth.files() {
                assert!(
                    file.starts_with("crates/") && file.contains("/src/"),
                    "{file}"
                );
            }
        }
        assert_eq!(of(&[EDIT, EDIT], 1).cost(), "a field: 1 files");
    }

    #[test]
    fn text_comes_behind_its_anchor() {
        let mut files = [(EDIT.file.to_owned(), b"zero\none\nthree\n".to_vec())];
        of(&[EDIT], 1).apply(&mut files).unwrap();
        assert_eq!(files[0].1, b"zero\none\ntwo\nthree\n");
    }

    #[test]
    fn an_anchor_that_is_not_there_once_says_what_must_follow() {
        for text in ["zero\n", "one\none\n"] {
            let mut files = [(EDIT.file.to_owned(), text.into())];
            let error = of(&[EDIT], 1).apply(&mut files).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(EDIT.file), "{error}");
            assert!(error.contains("CONTRIBUTING"), "{error}");
        }
        let error = of(&[EDIT], 1).apply(&mut []).unwrap_err();
        assert!(format!("{error:#}").contains("there is no such file"));
    }

    #[test]
    fn more_files_than_promised_are_refused() {
        assert!(of(&[EDIT], 1).check().is_ok());
        let error = of(&[EDIT], 0).check().unwrap_err();
        assert!(error.to_string().contains("at most 0"), "{error}");
    }

    #[test]
    fn the_copy_has_the_files_of_the_tree_and_no_others() {
        let directory = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| (path.to_owned(), text.into());
        let before = [file("a/kept", "same"), file("a/gone", "old")];
        write_tree(directory.path(), &before).unwrap();
        let kept = directory.path().join("a/kept");
        let time = fs::metadata(&kept).unwrap().modified().unwrap();
        let after = [file("a/kept", "same"), file("new", "text")];
        write_tree(directory.path(), &after).unwrap();
        assert_eq!(fs::metadata(&kept).unwrap().modified().unwrap(), time);
        assert!(!directory.path().join("a/gone").exists());
        assert_eq!(
            fs::read(directory.path().join("new")).unwrap(),
            b"text".to_vec()
        );
    }
}
