//! The committed budget: how many instructions an event may take on each path.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// The file, from the root.
const FILE: &str = "crates/xtask/budget.toml";

const HEAD: &str = "\
# Instructions an event on the paths that every event takes: what was counted when this was last
# accepted, with `cargo xtask bench driver|agent|ebpf --accept`.
";

/// How much a path may take above its budget, in percent: compilers and processors differ a little.
const GROWTH_MAX: u64 = 5;

/// What must not pass: a path that grew by so much, in percent. Where it would, because the path has
/// become cheaper than its budget, the budget is loose and must be accepted anew.
const GROWTH_SEEN: u64 = 10;

/// Budgets by subject and path.
#[derive(Debug)]
pub(super) struct Budget(BTreeMap<String, BTreeMap<String, u64>>);

impl Budget {
    /// Reads the file.
    pub(super) fn read() -> Result<Self> {
        let path = workspace::root().join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {FILE}"))?;
        Ok(Self(toml::from_str(&text).with_context(|| {
            format!("{FILE} is not a table of numbers")
        })?))
    }

    /// Fails when a path takes more than its budget, has none, or has one that would let it grow by
    /// [`GROWTH_SEEN`]; or when there is a budget for no path.
    pub(super) fn check<'a>(
        &self,
        subject: &str,
        counted: impl Iterator<Item = (&'a str, u64)>,
    ) -> Result<()> {
        let empty = BTreeMap::new();
        let budgets = self.0.get(subject).unwrap_or(&empty);
        let mut unknown: BTreeSet<&str> = budgets.keys().map(String::as_str).collect();
        let mut findings = Vec::new();
        for (name, count) in counted {
            unknown.remove(name);
            match budgets.get(name) {
                Some(budget) => findings.extend(compare(name, count, *budget)),
                None => findings.push(format!("{name} has no budget")),
            }
        }
        findings.extend(unknown.iter().map(|name| format!("{name} is no path")));
        if findings.is_empty() {
            return Ok(());
        }
        bail!(
            "{}; see {FILE}, and accept what is meant with `cargo xtask bench {subject} --accept`",
            findings.join("; ")
        )
    }

    /// Makes the counts of a subject its budget.
    pub(super) fn accept<'a>(
        mut self,
        subject: &str,
        counted: impl Iterator<Item = (&'a str, u64)>,
    ) -> Result<()> {
        let counted = counted
            .map(|(name, count)| (name.to_owned(), count))
            .collect();
        self.0.insert(subject.to_owned(), counted);
        let text = toml::to_string(&self.0).context("cannot write the budget")?;
        fs::write(workspace::root().join(FILE), format!("{HEAD}\n{text}"))
            .with_context(|| format!("cannot write {FILE}"))
    }
}

/// What is wrong with a count, if anything.
fn compare(name: &str, count: u64, budget: u64) -> Option<String> {
    let limit = budget * (100 + GROWTH_MAX);
    if count * 100 > limit {
        Some(format!(
            "{name} takes {count} instructions an event, its budget is {budget}"
        ))
    } else if count * (100 + GROWTH_SEEN) <= limit {
        Some(format!(
            "{name} takes {count} instructions an event, far below its budget of {budget}"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The committed budgets, each with its path's count grown by so much.
    fn grown(budget: &Budget, subject: &str, percent: u64) -> Vec<(String, u64)> {
        budget.0[subject]
            .iter()
            .map(|(name, count)| (name.clone(), (count * (100 + percent)).div_ceil(100)))
            .collect()
    }

    fn check(budget: &Budget, subject: &str, counted: &[(String, u64)]) -> Result<()> {
        let counted = counted.iter().map(|(name, count)| (name.as_str(), *count));
        budget.check(subject, counted)
    }

    #[test]
    fn every_path_of_the_committed_budget_fails_when_it_grows_by_a_tenth() {
        let budget = Budget::read().unwrap();
        assert!(!budget.0.is_empty());
        for subject in budget.0.keys() {
            let as_accepted = grown(&budget, subject, 0);
            check(&budget, subject, &as_accepted).unwrap();
            for index in 0..as_accepted.len() {
                let mut counted = as_accepted.clone();
                counted[index] = grown(&budget, subject, GROWTH_SEEN).swap_remove(index);
                let error = check(&budget, subject, &counted).unwrap_err().to_string();
                assert!(error.starts_with(&counted[index].0), "{error}");
            }
        }
    }

    #[test]
    fn a_path_that_became_cheaper_needs_a_new_budget_before_a_tenth_could_hide_in_it() {
        for count in 1..=2000 {
            let passes = compare("x", count, 1000).is_none();
            let grown_passes = compare("x", count + count.div_ceil(10), 1000).is_none();
            assert!(!(passes && grown_passes), "{count}");
        }
    }

    #[test]
    fn a_path_without_budget_and_a_budget_without_path_are_told() {
        let budget = Budget(toml::from_str("[a]\nx = 10\ny = 10\n").unwrap());
        let check = |counted: &[(&str, u64)]| budget.check("a", counted.iter().copied());
        assert!(check(&[("x", 10), ("y", 10)]).is_ok());
        assert!(check(&[("x", 10), ("y", 10), ("z", 1)]).is_err());
        assert!(check(&[("x", 10)]).is_err());
        assert!(budget.check("b", [("x", 10)].into_iter()).is_err());
    }
}
