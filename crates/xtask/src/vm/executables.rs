//! The test executables, as cargo builds them, and the program they test.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::architecture::Architecture;
use crate::command::{cargo, read};

/// One executable file.
pub(super) struct Executable {
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// What a machine gets to run.
pub(super) struct Executables {
    /// The integration tests, each a program.
    pub(super) tests: Vec<Executable>,
    /// What they start: `systrail`, which they know by its path on the host.
    pub(super) programs: Vec<Executable>,
}

/// A line of cargo's output; others than artifacts have none of these fields.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Executables {
    /// Builds the agent's integration tests that match the glob.
    pub(super) fn build(architecture: &Architecture, glob: &str) -> Result<Self> {
        let mut command = cargo();
        command
            // As part of the workspace, so that what `cargo test` has built is used again.
            .args(["test", "--workspace", "--test", glob])
            .args(["--no-run", "--locked", "--message-format=json"]);
        if let Some(target) = architecture.target {
            command.args(["--target", target]);
        }
        let messages = read(&mut command)?;
        let executables = Self::parse(&messages)?;
        ensure!(!executables.tests.is_empty(), "no test matches {glob}");
        Ok(executables)
    }

    fn parse(messages: &str) -> Result<Self> {
        let mut found = Self {
            tests: Vec::new(),
            programs: Vec::new(),
        };
        for line in messages.lines() {
            let message: Message =
                serde_json::from_str(line).context("cannot read what cargo says")?;
            let (Some(path), Some(target)) = (message.executable, message.target) else {
                continue;
            };
            let is_test = target.kind.iter().any(|kind| kind == "test");
            let executable = Executable {
                name: target.name,
                path,
            };
            if is_test {
                found.tests.push(executable);
            } else {
                found.programs.push(executable);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_tests_from_programs() {
        let messages = r#"{"reason":"build-script-executed"}
{"reason":"compiler-artifact","target":{"name":"systrail","kind":["lib"]},"executable":null}
{"reason":"compiler-artifact","target":{"name":"systrail","kind":["bin"]},"executable":"/t/systrail"}
{"reason":"compiler-artifact","target":{"name":"linux_ebpf","kind":["test"]},"executable":"/t/e-1"}
{"reason":"build-finished","success":true}"#;
        let found = Executables::parse(messages).unwrap();
        assert_eq!(found.tests.len(), 1);
        assert_eq!(found.tests[0].name, "linux_ebpf");
        assert_eq!(found.programs.len(), 1);
        assert_eq!(found.programs[0].name, "systrail");
    }
}
