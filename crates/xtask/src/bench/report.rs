//! The figures of a bench as a table, as JSON, and as a section of docs/BENCHMARKS.md.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::recorder::Account;
use super::sample::Sample;
use crate::command::{program, read};
use crate::workspace;

/// The document of most benches, from the root.
pub const DOCUMENT: &str = "docs/BENCHMARKS.md";

/// One thing that was measured, and the most it may be.
#[derive(Serialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) sample: Sample,
    pub(super) limit: f64,
}

/// Everything a bench found out.
#[derive(Serialize)]
pub(super) struct Report {
    command: &'static str,
    machine: String,
    sources: BTreeSet<String>,
    delivered: u64,
    lost: u64,
    figures: Vec<Figure>,
}

impl Report {
    pub(super) fn new(command: &'static str) -> Result<Self> {
        Ok(Self {
            command,
            machine: machine()?,
            sources: BTreeSet::new(),
            delivered: 0,
            lost: 0,
            figures: Vec::new(),
        })
    }

    /// Takes note of what an agent did while it was measured.
    pub(super) fn account(&mut self, account: &Account) {
        self.sources.insert(account.source.clone());
        self.delivered += account.delivered;
        self.lost += account.lost;
    }

    pub(super) fn add(&mut self, figure: Figure) {
        println!("  {}", figure.line());
        self.figures.push(figure);
    }

    /// Every figure with its spread, as a Markdown table, and what the agents did meanwhile.
    pub(super) fn table(&self) -> String {
        let mut lines = vec![
            String::from("| figure | unit | runs | min | median | max | goal | met |"),
            String::from("|---|---|--:|--:|--:|--:|--:|---|"),
        ];
        lines.extend(self.figures.iter().map(Figure::row));
        let sources: Vec<&str> = self.sources.iter().map(String::as_str).collect();
        lines.push(format!(
            "\nSensor: {}. Events delivered in all runs: {}, lost: {}.\n",
            sources.join(", "),
            self.delivered,
            self.lost
        ));
        lines.join("\n")
    }

    /// Writes all values as JSON into the target directory.
    pub(super) fn save(&self) -> Result<()> {
        let path = workspace::target().join("bench/overhead.json");
        let text = serde_json::to_string_pretty(self).context("cannot write the figures")?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("all values are in {}", path.display());
        Ok(())
    }

    /// Replaces our section of the document.
    pub(super) fn document(&self) -> Result<()> {
        let section = format!(
            "Command: `{}`. Machine: {}.\n\n{}",
            self.command,
            self.machine,
            self.table()
        );
        replace_section(DOCUMENT, self.command, &section)
    }
}

impl Figure {
    /// Whether the median is within the limit.
    fn is_met(&self) -> bool {
        self.sample.median() <= self.limit
    }

    fn line(&self) -> String {
        format!(
            "{}: median {:.2} {} ({:.2} to {:.2})",
            self.name,
            self.sample.median(),
            self.unit,
            self.sample.min(),
            self.sample.max()
        )
    }

    fn row(&self) -> String {
        format!(
            "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {} | {} |",
            self.name,
            self.unit,
            self.sample.count(),
            self.sample.min(),
            self.sample.median(),
            self.sample.max(),
            self.limit,
            if self.is_met() { "yes" } else { "no" }
        )
    }
}

/// Replaces the section of a document that a command writes.
pub fn replace_section(document: &str, command: &str, section: &str) -> Result<()> {
    let path = workspace::root().join(document);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {document}"))?;
    let text = with_section(&text, command, section)
        .with_context(|| format!("{document} has no place marked for `{command}`"))?;
    fs::write(&path, text).with_context(|| format!("cannot write {document}"))
}

/// The document with another text between the marks of a command.
fn with_section(document: &str, command: &str, section: &str) -> Option<String> {
    let begin = format!("<!-- begin: {command} -->\n");
    let end = format!("<!-- end: {command} -->\n");
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{section}\n{end}{after}"))
}

/// What the figures were taken on, without the machine's name.
pub fn machine() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([':', ' ', '\t'])
        });
    let cores = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("cannot read the kernel")?;
    let rustc = read(program("rustc").arg("--version"))?;
    let revision = read(program("git").args(["describe", "--always", "--dirty"]))?;
    Ok(format!(
        "{model}, {cores} cores, Linux {}, {}, systrail {} ({})",
        kernel.trim(),
        rustc.trim(),
        env!("CARGO_PKG_VERSION"),
        revision.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_section_between_the_marks_and_nothing_else() {
        let document =
            |text: &str| format!("before\n<!-- begin: it -->\n{text}<!-- end: it -->\nafter\n");
        let replaced = with_section(&document("old\n"), "it", "new");
        assert_eq!(replaced, Some(document("\nnew\n")));
        assert_eq!(with_section(&document("old\n"), "other", "new"), None);
    }

    #[test]
    fn a_figure_shows_its_spread_and_whether_it_is_good_enough() {
        let figure = |limit| Figure {
            name: String::from("x"),
            unit: "%",
            sample: Sample::from_iter([1.0, 2.0, 9.0]),
            limit,
        };
        assert_eq!(
            figure(3.0).row(),
            "| x | % | 3 | 1.00 | 2.00 | 9.00 | 3 | yes |"
        );
        assert!(figure(1.5).row().ends_with("no |"));
    }
}
