//! Rules for documents: they mention every kind of event, their links lead somewhere, and the
//! commands they show exist.

use clap::CommandFactory as _;

use super::{File, Finding, Tree};
use crate::Arguments;

/// Documents every checkout has.
const DOCUMENTS: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "docs/EVENTS.md",
    "docs/STYLE.md",
    "docs/TESTING.md",
];

/// All rules of this file.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in DOCUMENTS {
        if tree.file(path).is_none() {
            findings.push(Finding::new(*path, "is not there; every checkout has it"));
        }
    }
    events(tree, &mut findings);
    changelog(tree, &mut findings);
    for file in &tree.files {
        if file.is_markdown() {
            links(tree, file, &mut findings);
            commands(tree, file, &mut findings);
        }
        if file.is_markdown() || file.path.starts_with(".github/") || file.path == ".ci/run" {
            tasks(file, &mut findings);
        }
        if file.path.starts_with(".github/workflows/") {
            workflow(file, &mut findings);
        }
    }
    findings
}

/// `docs/EVENTS.md` has a word on every kind that `event` names.
fn events(tree: &Tree, findings: &mut Vec<Finding>) {
    let (source, document) = ("crates/event/src/kind.rs", "docs/EVENTS.md");
    let kinds: Vec<&str> = tree.file(source).map_or_else(Vec::new, kind_names);
    if kinds.is_empty() {
        findings.push(Finding::new(
            source,
            "has no list of names that tidy can read",
        ));
    }
    let Some(file) = tree.file(document) else {
        return;
    };
    for kind in kinds {
        if !file.text.contains(&format!("`{kind}`")) {
            findings.push(Finding::new(
                document,
                format!("does not mention the kind `{kind}`"),
            ));
        }
    }
}

/// The names in the table of kinds: `PROCESS_START = 1, "process_start", Process;`.
fn kind_names(file: &File) -> Vec<&str> {
    file.text
        .lines()
        .filter_map(|line| {
            let (left, right) = line.trim().split_once(", \"")?;
            let (_constant, number) = left.split_once(" = ")?;
            number.parse::<u16>().ok()?;
            right.split_once("\", ").map(|(name, _subject)| name)
        })
        .collect()
}

fn changelog(tree: &Tree, findings: &mut Vec<Finding>) {
    let path = "CHANGELOG.md";
    let has_section = tree
        .file(path)
        .is_none_or(|file| file.text.lines().any(|line| line.starts_with("## [")));
    if !has_section {
        findings.push(Finding::new(
            path,
            "has no section; begin with ## [Unreleased]",
        ));
    }
}

/// Links to files of the repository: `[text](path)`.
fn links(tree: &Tree, file: &File, findings: &mut Vec<Finding>) {
    let directory = file.path.rsplit_once('/').map_or("", |(parent, _)| parent);
    for (number, line) in file.lines() {
        for rest in line.split("](").skip(1) {
            let Some(target) = rest.split(')').next() else {
                continue;
            };
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || target.contains(':') {
                continue;
            }
            if !leads_somewhere(tree, directory, path) {
                findings.push(Finding::new(
                    format!("{}:{number}", file.path),
                    format!("links to {path}, which is not there"),
                ));
            }
        }
    }
}

fn leads_somewhere(tree: &Tree, directory: &str, link: &str) -> bool {
    let mut parts: Vec<&str> = directory.split('/').filter(|it| !it.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return false;
                }
            }
            _ => parts.push(part),
        }
    }
    let path = parts.join("/");
    let as_directory = format!("{path}/");
    let texts = tree.files.iter().map(|file| &file.path);
    texts
        .chain(&tree.others)
        .any(|file| *file == path || file.starts_with(&as_directory))
}

/// `cargo xtask TASK` names a task of ours.
fn tasks(file: &File, findings: &mut Vec<Finding>) {
    let known = Arguments::command();
    for (number, line) in file.lines() {
        for rest in line.split("cargo xtask ").skip(1) {
            let task: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
            if !task.is_empty() && known.find_subcommand(&task).is_none() {
                findings.push(Finding::new(
                    format!("{}:{number}", file.path),
                    format!("there is no `cargo xtask {task}`"),
                ));
            }
        }
    }
}

/// `systrail COMMAND` names a command of the agent. Only what is set as code is looked at.
fn commands(tree: &Tree, file: &File, findings: &mut Vec<Finding>) {
    let known: Vec<String> = tree
        .file("crates/agent/src/cli.rs")
        .map_or_else(Vec::new, command_names);
    if known.is_empty() {
        return;
    }
    let mut is_block = false;
    for (number, line) in file.lines() {
        is_block ^= line.starts_with("```");
        for (position, name) in line.match_indices("systrail ") {
            let before = &line[..position];
            let is_code = before.ends_with(['`', '/']) || (is_block && before.trim().is_empty());
            let command: String = line[position + name.len()..]
                .chars()
                .take_while(char::is_ascii_lowercase)
                .collect();
            if is_code && !command.is_empty() && !known.contains(&command) {
                findings.push(Finding::new(
                    format!("{}:{number}", file.path),
                    format!("there is no `systrail {command}`"),
                ));
            }
        }
    }
}

/// The variants of `enum Command`, as clap names them.
fn command_names(file: &File) -> Vec<String> {
    file.text
        .lines()
        .skip_while(|line| *line != "enum Command {")
        .skip(1)
        .take_while(|line| *line != "}")
        .filter_map(|line| {
            let variant = line.strip_prefix("    ")?;
            variant
                .starts_with(|c: char| c.is_ascii_uppercase())
                .then(|| {
                    let name = variant.split(|c: char| !c.is_alphanumeric()).next();
                    name.unwrap_or_default().to_lowercase()
                })
        })
        .collect()
}

/// What no machine of the project can run has nothing to be run at home.
const FOREIGN_WORKFLOW: &str = ".github/workflows/windows.yml";

/// A job runs tasks only, so that whatever fails there can be run at home.
fn workflow(file: &File, findings: &mut Vec<Finding>) {
    if file.path == FOREIGN_WORKFLOW {
        return;
    }
    for (number, line) in file.lines() {
        let Some((_, command)) = line.split_once("run: ") else {
            continue;
        };
        if !command.starts_with("cargo xtask ") && !command.starts_with(".ci/run") {
            findings.push(Finding::new(
                format!("{}:{number}", file.path),
                "a job runs `cargo xtask` and nothing else",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: (&str, &str) = (
        "crates/event/src/kind.rs",
        "        PROCESS_START = 1, \"process_start\", Process;\n        $kind = $number, \"no\",\n",
    );

    /// The findings, those about missing documents apart.
    fn texts(files: &[(&str, &str)]) -> Vec<String> {
        let mut findings = check(&Tree::of(&[files, &[KINDS]].concat()));
        findings.retain(|finding| !finding.text.starts_with("is not there"));
        findings.into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn misses_every_document() {
        assert_eq!(check(&Tree::of(&[KINDS])).len(), DOCUMENTS.len());
    }

    #[test]
    fn refuses_events_without_a_kind() {
        assert_eq!(texts(&[("docs/EVENTS.md", "nothing\n")]).len(), 1);
        assert_eq!(texts(&[("docs/EVENTS.md", "`process_start`\n")]), [""; 0]);
    }

    #[test]
    fn refuses_a_changelog_without_a_section() {
        assert_eq!(texts(&[("CHANGELOG.md", "# Changelog\n")]).len(), 1);
        assert_eq!(texts(&[("CHANGELOG.md", "## [Unreleased]\n")]), [""; 0]);
    }

    #[test]
    fn refuses_a_link_to_nowhere() {
        assert_eq!(texts(&[("docs/A.md", "[b](B.md)\n")]).len(), 1);
        assert_eq!(texts(&[("docs/A.md", "[b](../../B.md)\n")]).len(), 1);
        let right = "[a](A.md#x) [kinds](../crates/event/src/kind.rs) [src](../crates/event) \
                     [web](https://a/b) [here](#x)\n";
        assert_eq!(texts(&[("docs/A.md", right)]), [""; 0]);
    }

    #[test]
    fn refuses_a_task_that_does_not_exist() {
        assert_eq!(texts(&[("A.md", "run `cargo xtask tidyy`\n")]).len(), 1);
        assert_eq!(
            texts(&[(
                "A.md",
                "run `cargo xtask tidy`, `cargo xtask TASK`, `cargo xtask --help`\n"
            )]),
            [""; 0]
        );
    }

    #[test]
    fn refuses_a_command_that_does_not_exist() {
        let cli = (
            "crates/agent/src/cli.rs",
            "enum Command {\n    /// Run\n    Run(Arguments),\n    Doctor,\n}\n",
        );
        let wrong = "`systrail rum`\n```sh\nsystrail rum\n./target/release/systrail rum\n```\n";
        assert_eq!(texts(&[("A.md", wrong), cli]).len(), 3);
        let right = "`systrail run`, `systrail doctor`, `systrail --help`, systrail is there\n";
        assert_eq!(texts(&[("A.md", right), cli]), [""; 0]);
    }

    #[test]
    fn refuses_a_job_that_cannot_be_run_at_home() {
        let job = |command| format!("      - run: {command}\n");
        assert_eq!(
            texts(&[(".github/workflows/ci.yml", &job("make"))]).len(),
            1
        );
        assert_eq!(
            texts(&[(".github/workflows/ci.yml", &job("cargo xtask lint"))]),
            [""; 0]
        );
    }
}
