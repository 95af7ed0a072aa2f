//! Rules for what others wrote and we build: licences, sources, duplicate versions.
//!
//! `deny.toml` is the one list, and `cargo deny check` reads the same file. This check needs no
//! further tool and no network, so it runs everywhere; the advisories, which need a database from
//! the network, are cargo-deny's alone.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::packages::{Metadata, Package};
use super::{Finding, Tree, required};

/// The part of `deny.toml` that is checked here.
#[derive(Debug, Deserialize)]
pub(super) struct Policy {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    #[serde(default)]
    skip: Vec<Skip>,
}

#[derive(Debug, Deserialize)]
struct Skip {
    #[serde(rename = "crate")]
    package: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Sources {
    #[serde(rename = "allow-registry")]
    allow_registry: Vec<String>,
}

impl Policy {
    pub(super) fn read(tree: &Tree) -> Result<Self> {
        Self::parse(required(tree, "deny.toml")?)
    }

    fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("cannot read deny.toml")
    }
}

/// All rules of this file.
pub(super) fn check(policy: &Policy, metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &metadata.packages {
        licence(policy, package, &mut findings);
        source(policy, package, &mut findings);
    }
    duplicates(policy, metadata, &mut findings);
    findings
}

fn licence(policy: &Policy, package: &Package, findings: &mut Vec<Finding>) {
    let expression = package.license.as_deref().unwrap_or_default();
    if !is_satisfied(expression, &policy.licenses.allow) {
        findings.push(Finding::new(
            place(package),
            format!("has the licence `{expression}`, which deny.toml does not allow"),
        ));
    }
}

fn source(policy: &Policy, package: &Package, findings: &mut Vec<Finding>) {
    let Some(source) = &package.source else {
        return;
    };
    let registry = source.strip_prefix("registry+").unwrap_or(source);
    if !policy
        .sources
        .allow_registry
        .iter()
        .any(|allowed| allowed == registry)
    {
        findings.push(Finding::new(
            place(package),
            format!("comes from {source}, which deny.toml does not allow"),
        ));
    }
}

/// Two versions of one package are code that is built, shipped and audited twice.
fn duplicates(policy: &Policy, metadata: &Metadata, findings: &mut Vec<Finding>) {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &metadata.packages {
        versions
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    for (name, versions) in &versions {
        if !policy.bans.skip.iter().any(|skip| skip.package == *name) {
            let versions: Vec<&str> = versions.iter().copied().collect();
            findings.push(Finding::new(
                *name,
                format!(
                    "is there as {}; settle on one, or list it in deny.toml with why",
                    versions.join(" and ")
                ),
            ));
        }
    }
    for skip in &policy.bans.skip {
        if !versions.contains_key(skip.package.as_str()) {
            findings.push(Finding::new(
                "deny.toml",
                format!(
                    "skips {} ({}), which is there once; remove it",
                    skip.package, skip.reason
                ),
            ));
        }
    }
}

fn place(package: &Package) -> String {
    format!("{} {}", package.name, package.version)
}

/// Whether the allowed licences satisfy an SPDX expression. `OR` binds weaker than `AND`, `WITH`
/// belongs to its licence, and `/` is how old manifests write `OR`. What cannot be read does not.
fn is_satisfied(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any_of(&mut words, allowed) == Some(true) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, allowed: &[String]) -> Option<bool> {
    let mut result = all_of(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        result |= all_of(words, allowed)?;
    }
    Some(result)
}

fn all_of(words: &mut Words<'_>, allowed: &[String]) -> Option<bool> {
    let mut result = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        result &= one(words, allowed)?;
    }
    Some(result)
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> Option<bool> {
    if words.next_if_eq(&"(").is_some() {
        let result = any_of(words, allowed)?;
        words.next_if_eq(&")")?;
        return Some(result);
    }
    let mut name = words.next()?.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        name = format!("{name} WITH {}", words.next()?);
    }
    Some(allowed.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::parse(
            "[licenses]\nallow = [\"MIT\", \"Unicode-3.0\"]\n\
             [bans]\nskip = [{ crate = \"syn\", reason = \"two macros\" }]\n\
             [sources]\nallow-registry = [\"https://one\"]\n",
        )
        .unwrap()
    }

    fn metadata(packages: &[(&str, &str, &str, &str)]) -> Metadata {
        let packages: Vec<serde_json::Value> = packages
            .iter()
            .map(|(name, version, source, license)| {
                serde_json::json!({
                    "name": name, "version": version, "source": source, "license": license,
                })
            })
            .collect();
        serde_json::from_value(serde_json::json!({ "packages": packages })).unwrap()
    }

    const SYN: [(&str, &str, &str, &str); 2] = [
        ("syn", "2.0.0", "registry+https://one", "MIT"),
        ("syn", "3.0.0", "registry+https://one", "MIT"),
    ];

    fn findings(more: &[(&str, &str, &str, &str)]) -> usize {
        check(&policy(), &metadata(&[&SYN, more].concat())).len()
    }

    #[test]
    fn allows_what_the_policy_lists() {
        assert_eq!(findings(&[]), 0);
    }

    #[test]
    fn refuses_a_licence_that_is_not_listed() {
        assert_eq!(
            findings(&[("a", "1.0.0", "registry+https://one", "GPL-3.0")]),
            1
        );
        assert_eq!(findings(&[("a", "1.0.0", "registry+https://one", "")]), 1);
    }

    #[test]
    fn refuses_a_source_that_is_not_listed() {
        assert_eq!(findings(&[("a", "1.0.0", "git+https://one", "MIT")]), 1);
    }

    #[test]
    fn refuses_a_second_version_and_a_skip_without_one() {
        let twice = [
            ("a", "1.0.0", "registry+https://one", "MIT"),
            ("a", "2.0.0", "registry+https://one", "MIT"),
        ];
        assert_eq!(findings(&twice), 1);
        assert_eq!(check(&policy(), &metadata(&SYN[..1])).len(), 1);
    }

    #[test]
    fn reads_licence_expressions() {
        let allowed = policy().licenses.allow;
        for (expression, expected) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0 OR MIT", true),
            ("Apache-2.0 AND MIT", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("MIT OR (Apache-2.0 AND GPL-2.0", false),
            ("Apache-2.0 WITH LLVM-exception OR MIT", true),
            ("MIT WITH LLVM-exception", false),
            ("MIT MIT", false),
        ] {
            assert_eq!(is_satisfied(expression, &allowed), expected, "{expression}");
        }
    }
}
