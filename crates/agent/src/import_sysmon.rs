//! A Sysmon configuration as rules of ours, with the proof that they decide as it does.
//!
//! What is about the kinds of events that both have is taken over: process creation and end, drivers,
//! images and threads in other processes. What could not be taken is told, with its line and what that
//! means: of what Sysmon excludes a rule is taken whole or not at all, of what it includes the condition
//! that is lacking is left out, so that rather more is kept than less.

mod fields;
mod proof;
mod remarks;
mod table;
mod translate;

use std::fmt::Write as _;

use sysmon::{Configuration, InvalidText};

pub use self::proof::Proof;
pub use self::translate::{Count, Left};
pub use sysmon::SIZE_MAX;

use crate::config::{Config, Finding};
use crate::rules::{Invalid, System};

/// A configuration, taken over.
#[derive(Debug)]
pub struct Import {
    /// The configuration file.
    pub text: String,
    /// How many rules each kind has, and how many of them are in it.
    pub counts: Vec<Count>,
    /// What could not be taken.
    pub left: Vec<Left>,
    /// What was taken one way and could be meant another.
    pub remarks: Vec<Left>,
    /// Elements about other kinds of events: name, how many conditions, line.
    pub others: Vec<sysmon::Other>,
    /// Whether the rules decide as Sysmon does about what was taken.
    pub proof: Proof,
}

/// Why a configuration is not taken over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no text.
    #[error(transparent)]
    Text(#[from] InvalidText),
    /// Sysmon would not take it either.
    #[error("{}", refusals(.0))]
    Sysmon(sysmon::Invalid),
    /// What was made of it is no configuration of ours.
    #[error("the rules that it makes are refused: {}", shown(.0))]
    Findings(Vec<Finding>),
    /// Too much of it.
    #[error("the rules that it makes are refused: {0}")]
    Rules(#[from] Invalid),
}

fn refusals(invalid: &sysmon::Invalid) -> String {
    let shown = invalid.0.iter().take(10);
    let shown: Vec<String> = shown
        .map(|(line, it)| format!("line {line}: {it}"))
        .collect();
    shown.join("; ")
}

fn shown(findings: &[Finding]) -> String {
    let shown: Vec<String> = findings.iter().take(3).map(ToString::to_string).collect();
    shown.join("; ")
}

/// Takes over the configuration in these bytes, which a file of that name has.
pub fn import(name: &str, bytes: &[u8]) -> Result<Import, Error> {
    let xml = sysmon::text(bytes)?;
    let mut configuration = Configuration::parse(&xml).map_err(Error::Sysmon)?;
    let remarks = remarks::settle(&mut configuration);
    let translation = translate::translate(&configuration);
    let mut text = head(name, &configuration, &translation, &remarks);
    translation.write(&mut text);
    let (config, findings) = Config::parse_for(System::Windows, &text);
    if !findings.is_empty() {
        return Err(Error::Findings(findings));
    }
    let proof = proof::compare(&translation.taken, &config.rules()?);
    Ok(Import {
        text,
        counts: translation.counts,
        left: translation.left,
        remarks,
        others: configuration.others,
        proof,
    })
}

fn head(
    name: &str,
    configuration: &Configuration,
    translation: &translate::Translation,
    remarks: &[Left],
) -> String {
    let (all, taken) = sums(&translation.counts);
    let schema = configuration.schema;
    let mut head = format!(
        "# Rules of {name:?} (Sysmon's schema {}.{:02}): {taken} of {all} are here whole.\n",
        schema.major, schema.minor
    );
    for left in &translation.left {
        let _infallible = writeln!(head, "# Not taken: line {}, {}.", left.line, left.what);
    }
    for remark in remarks {
        let _infallible = writeln!(head, "# Line {}: {}.", remark.line, remark.what);
    }
    head
}

/// How many rules there are in all kinds, and how many of them were taken.
pub fn sums(counts: &[Count]) -> (usize, usize) {
    let all = counts.iter().map(|count| count.all).sum();
    let taken = counts.iter().map(|count| count.taken).sum();
    (all, taken)
}

#[cfg(test)]
mod tests;
