//! Somebody else's program: outside the workspace, a dependency on `systrail-trail` alone. That it
//! is short, builds little and reads a log is what the crate promises.

use std::fs::{self, File};

use anyhow::{Context as _, Result, ensure};

use crate::command::{cargo, read, run as run_command};
use crate::workspace;

/// Where it is.
const DIRECTORY: &str = "crates/trail/outside";

/// The most lines it may need.
const LINES_MAX: usize = 20;

/// The most crates it may bring, itself among them.
const CRATES_MAX: usize = 12;

/// What it prints of its log.
const PRINTED: &str = "\
2026-01-01T00:00:01.000000002Z 1012 \"/usr/libexec/cc1\"
2026-01-01T00:00:03.000000000Z 1000 \"/usr/bin/\\u{1b}make\"
";

/// What the crate's example prints of the same log.
const EXAMPLE_PRINTED: &str = "\
2026-01-01T00:00:01.000000002Z 1012 \"/usr/libexec/cc1\" signal 11
2026-01-01T00:00:03.000000000Z 1000 \"/usr/bin/\\u{1b}make\" exit code 2
";

/// Builds and runs it, and the example that is for people.
pub(crate) fn run() -> Result<()> {
    let directory = workspace::root().join(DIRECTORY);
    let program = fs::read_to_string(directory.join("main.rs"))?;
    let lines = program.lines().count();
    ensure!(
        lines <= LINES_MAX,
        "{DIRECTORY}/main.rs has {lines} lines, more than {LINES_MAX}"
    );
    // The versions that the workspace has, which a build of it has downloaded.
    let lock = directory.join("Cargo.lock");
    fs::copy(workspace::root().join("Cargo.lock"), &lock)
        .with_context(|| format!("cannot write {}", lock.display()))?;
    let manifest = directory.join("Cargo.toml");
    let outside = |task: &str| {
        let mut command = cargo();
        command
            .args([task, "--offline", "--quiet", "--manifest-path"])
            .arg(&manifest);
        command
    };
    let tree = read(outside("tree").args(["--edges", "normal,build", "--prefix", "none"]))?;
    let crates = crates(&tree);
    ensure!(
        crates.len() <= CRATES_MAX,
        "a program that reads a log brings {} crates, more than {CRATES_MAX}: {}",
        crates.len(),
        crates.join(", ")
    );
    let target = workspace::target().join("outside");
    run_command(outside("build").arg("--target-dir").arg(&target))?;
    let log = directory.join("trail.jsonl");
    let mut program = outside("run");
    program.arg("--target-dir").arg(&target);
    program.stdin(File::open(&log).with_context(|| format!("cannot open {}", log.display()))?);
    prints(&read(&mut program)?, PRINTED)?;
    let mut example = cargo();
    example
        .args(["run", "--locked", "--quiet", "--package", "systrail-trail"])
        .args(["--example", "failed", "--"])
        .arg(&log);
    prints(&read(&mut example)?, EXAMPLE_PRINTED)?;
    println!("outside: {lines} lines, {} crates", crates.len());
    Ok(())
}

fn prints(text: &str, expected: &str) -> Result<()> {
    ensure!(text == expected, "it printed\n{text}\nand not\n{expected}");
    Ok(())
}

/// The names in what `cargo tree` prints, each once: a crate that several need is there again.
fn crates(tree: &str) -> Vec<&str> {
    let mut crates: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split_once(" v"))
        .map(|(name, _version)| name)
        .collect();
    crates.sort_unstable();
    crates.dedup();
    crates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_several_need_is_counted_once() {
        let tree = "outside v0.0.0 (/x)\nserde v1.0.1\nserde_core v1.0.1\nserde v1.0.1 (*)\n\n";
        assert_eq!(crates(tree), ["outside", "serde", "serde_core"]);
    }
}
