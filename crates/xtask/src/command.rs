//! Starts other programs: shows their command line, checks how they ended, reads what they said.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::transcript::Transcript;
use crate::workspace;

/// What the tests of one step came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that held.
    pub(crate) passed: u64,
    /// Tests that did not.
    pub(crate) failed: u64,
    /// Tests that were there and did not run.
    pub(crate) skipped: u64,
}

impl Tally {
    /// Adds the summary of one test executable, if `line` is one.
    pub(crate) fn add_line(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else {
            return;
        };
        let count_before = |word: &str| -> u64 {
            counts
                .split([';', '.'])
                .filter_map(|part| part.trim().strip_suffix(word))
                .find_map(|count| count.trim().parse().ok())
                .unwrap_or(0)
        };
        self.passed += count_before("passed");
        self.failed += count_before("failed");
        self.skipped += count_before("ignored");
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }

    /// Fails unless every test there was has run and held.
    pub(crate) fn complete(self) -> Result<Self> {
        match self {
            Self { passed: 0, .. } => bail!("no test ran"),
            Self {
                failed: 0,
                skipped: 0,
                ..
            } => Ok(self),
            Self {
                failed, skipped, ..
            } => bail!("{failed} tests failed, {skipped} were skipped"),
        }
    }
}

/// A program to be started in the root of the repository.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(workspace::root()).stdin(Stdio::null());
    command
}

/// The cargo that runs this task.
pub(crate) fn cargo() -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The cargo of the preinstalled nightly toolchain.
pub(crate) fn cargo_nightly() -> Command {
    let mut command = program("rustup");
    command
        .args(["run", "nightly", "cargo"])
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// Runs it with its output where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = show(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Runs it in silence and returns its standard output.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let line = describe(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` ended with {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` did not print text"))
}

/// Runs tests, passes their output on and counts their results. Fails when one of them fails.
pub(crate) fn run_tests(command: &mut Command) -> Result<Tally> {
    let line = show(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let mut transcript = Transcript::default();
    let output = child.stdout.take().context("the output is a pipe")?;
    for text in BufReader::new(output).split(b'\n') {
        let text = text.with_context(|| format!("cannot read the output of `{line}`"))?;
        let text = String::from_utf8_lossy(&text);
        println!("{text}");
        transcript.add_line(&text);
    }
    let tally = transcript.tally;
    let status = child.wait()?;
    if !status.success() {
        bail!(
            "`{line}` ended with {status}: {} tests passed, {} failed{}",
            tally.passed,
            tally.failed,
            transcript.excerpt()
        );
    }
    Ok(tally)
}

/// Whether a program of that name can be started from here.
pub(crate) fn is_there(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
    })
}

/// Prints the command line, as a shell would take it, and returns it.
fn show(command: &Command) -> String {
    let line = describe(command);
    println!("$ {line}");
    line
}

fn describe(command: &Command) -> String {
    let program = command.get_program();
    let name = std::path::Path::new(program).file_name().unwrap_or(program);
    let mut line = name.to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_summary_of_a_test_executable() {
        let mut tally = Tally::default();
        tally.add_line(
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; \
             finished in 0.01s",
        );
        tally.add_line("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured");
        tally.add_line("running 3 tests");
        assert_eq!(
            tally,
            Tally {
                passed: 13,
                failed: 2,
                skipped: 3
            }
        );
    }

    #[test]
    fn a_skipped_test_is_not_a_success() {
        let tally = Tally {
            passed: 5,
            failed: 0,
            skipped: 1,
        };
        assert!(tally.complete().is_err());
        assert!(Tally::default().complete().is_err());
        assert!(
            Tally {
                passed: 5,
                ..Tally::default()
            }
            .complete()
            .is_ok()
        );
    }
}
