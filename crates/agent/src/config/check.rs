//! Rules that are valid but can never fire, or never make a difference.

use event::Kind;

use super::{Config, Finding, Place, RuleEntry, Severity};
use crate::rules::{Kinds, Pattern, Reason, Rule, never_fires, takes_all};
use crate::trail::Program;

/// Warnings about rules of `config` that can never fire. `user_exists_fn` tells whether this
/// machine knows a user of that name.
pub fn hopeless_rules(config: &Config, user_exists_fn: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, entry) in config.include.iter().enumerate() {
        let finding = by_excludes(entry, &config.exclude, config.events)
            .or_else(|| by_siblings(entry, index, &config.include, "include", config.events))
            .or_else(|| by_user(entry, user_exists_fn));
        findings.extend(finding);
    }
    for (index, entry) in config.exclude.iter().enumerate() {
        let finding = by_siblings(entry, index, &config.exclude, "exclude", config.events)
            .or_else(|| by_user(entry, user_exists_fn));
        findings.extend(finding);
    }
    findings.sort_by_key(|finding| finding.place);
    findings
}

/// An include rule that exclude rules leave nothing to.
fn by_excludes(entry: &RuleEntry, excludes: &[RuleEntry], events: Kinds) -> Option<Finding> {
    let others: Vec<(usize, &Rule)> = excludes
        .iter()
        .enumerate()
        .map(|(index, other)| (index, &other.rule))
        .collect();
    let message = match never_fires(&entry.rule, events, &others)? {
        Reason::Covered { by } => format!(
            "this include rule can never fire: the exclude rule of line {} takes everything it \
             could match, and exclude wins",
            line_of(excludes, by)
        ),
        reason => said(&reason)?,
    };
    Some(warning(entry.place, message))
}

/// A rule another of its own list makes superfluous. Of two equal ones the later is named.
fn by_siblings(
    entry: &RuleEntry,
    index: usize,
    siblings: &[RuleEntry],
    list: &str,
    events: Kinds,
) -> Option<Finding> {
    let others: Vec<(usize, &Rule)> = siblings
        .iter()
        .enumerate()
        // Each is compared with each, so what decides most often is asked first.
        .filter(|&(other_index, other)| {
            other_index != index
                && takes_all(&other.rule, &entry.rule, events)
                && (other_index < index || !is_covered(other, &entry.rule, events))
        })
        .map(|(other_index, other)| (other_index, &other.rule))
        .collect();
    let message = match never_fires(&entry.rule, events, &others)? {
        Reason::Covered { by } => {
            let line = line_of(siblings, by);
            let same = siblings
                .get(by)
                .is_some_and(|other| other.rule == entry.rule);
            if same {
                format!("this {list} rule is the same as that of line {line}; remove one")
            } else {
                format!(
                    "this {list} rule makes no difference: the {list} rule of line {line} already \
                     matches everything it could"
                )
            }
        }
        reason => said(&reason)?,
    };
    Some(warning(entry.place, message))
}

fn is_covered(entry: &RuleEntry, by: &Rule, events: Kinds) -> bool {
    matches!(
        never_fires(&entry.rule, events, &[(0, by)]),
        Some(Reason::Covered { .. })
    )
}

/// What a rule's own conditions make impossible.
fn said(reason: &Reason) -> Option<String> {
    match reason {
        Reason::FieldOfOtherKinds { field, kinds } => {
            let kinds: Vec<&str> = kinds.iter().filter_map(Kind::name).collect();
            Some(format!(
                "this rule can never fire: {field} is known of {} alone, which its events leave out",
                kinds.join(", ")
            ))
        }
        Reason::FieldsOfDifferentKinds => Some(
            "this rule can never fire: no kind of event has all the fields it asks for".to_owned(),
        ),
        Reason::NotRecorded => Some(
            "this rule can never fire: the key `events` at the top leaves out every kind it is \
             about"
                .to_owned(),
        ),
        Reason::NotAbsolute { field, pattern } => Some(format!(
            "this rule can never fire: {field} is an absolute path, and `{pattern}` does not begin \
             with / or a wildcard; write `*/{pattern}`"
        )),
        Reason::Covered { .. } => None,
    }
}

/// A rule about users none of whom this machine knows.
fn by_user(entry: &RuleEntry, user_exists_fn: &dyn Fn(&str) -> bool) -> Option<Finding> {
    let can_be = |text: &str| is_id(text) || user_exists_fn(text);
    let is_hopeless = |users: &&[Pattern]| {
        users
            .iter()
            .all(|user| user.is_literal() && !can_be(user.as_str()))
    };
    let mut conditions = entry.rule.conditions.of_field(Program::user.name);
    let users = conditions.find(is_hopeless)?;
    let names: Vec<&str> = users.iter().map(Pattern::as_str).collect();
    Some(warning(
        entry.place,
        format!(
            "this rule can never fire here: no user `{}` on this machine; write a user id or a name \
             that exists",
            names.join("`, `")
        ),
    ))
}

/// Whether it is a user id as events carry it: a number or a Windows SID.
fn is_id(user: &str) -> bool {
    user.parse::<u32>()
        .is_ok_and(|number| number.to_string() == user)
        || user.starts_with("S-1-")
}

fn line_of(entries: &[RuleEntry], index: usize) -> usize {
    entries.get(index).map_or(0, |entry| entry.place.line)
}

const fn warning(place: Place, message: String) -> Finding {
    Finding {
        severity: Severity::Warning,
        place,
        message,
    }
}
