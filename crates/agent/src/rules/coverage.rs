//! Which rules can never fire, because others take everything they could match.
//!
//! The answer errs on one side only: a rule named here can really never fire; one that is not named
//! may still be hopeless in a way this does not see.

use super::conditions::{Conditions, FieldCondition, Rule};
use super::field::LOADED_IMAGE;
use super::pattern::System;
use super::{Kinds, Pattern};
use crate::trail::Program;

/// Why `rule` can never make a difference, seen from its conditions alone.
///
/// `others` are the rules that could take everything from it, each with its number: for an include
/// rule all exclude rules, for an exclude rule the other exclude rules. `recorded` are the kinds
/// that `events` leaves in.
pub fn never_fires(rule: &Rule, recorded: Kinds, others: &[(usize, &Rule)]) -> Option<Reason> {
    if rule.kinds().is_empty() {
        return Some(no_kind(rule));
    }
    if rule.kinds().intersection(recorded).is_empty() {
        return Some(Reason::NotRecorded);
    }
    if let Some((field, pattern)) = hopeless_path(&rule.conditions) {
        return Some(Reason::NotAbsolute {
            field,
            pattern: pattern.clone(),
        });
    }
    others
        .iter()
        .find(|(_, other)| takes_all(other, rule, recorded))
        .map(|&(index, _)| Reason::Covered { by: index })
}

/// Whether `other` matches all that `rule` does, of the kinds that are recorded.
pub fn takes_all(other: &Rule, rule: &Rule, recorded: Kinds) -> bool {
    covers(other, rule, rule.kinds().intersection(recorded))
}

/// Why a rule can never fire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It asks for a field that no event of its kinds has.
    FieldOfOtherKinds {
        /// The field.
        field: &'static str,
        /// The kinds that have it.
        kinds: Kinds,
    },
    /// It asks for fields that no kind has together.
    FieldsOfDifferentKinds,
    /// `events` leaves out every kind it is about.
    NotRecorded,
    /// A path pattern that no absolute path can match, and no other pattern beside it.
    NotAbsolute {
        /// The condition.
        field: &'static str,
        /// The pattern.
        pattern: Pattern,
    },
    /// Another rule takes everything it could match.
    Covered {
        /// That rule's number among the others.
        by: usize,
    },
}

/// Why there is no kind that a rule is about.
fn no_kind(rule: &Rule) -> Reason {
    let strange = |it: &&FieldCondition| it.field.kinds.intersection(rule.events).is_empty();
    match rule.conditions.fields.iter().find(strange) {
        Some(FieldCondition { field, .. }) => Reason::FieldOfOtherKinds {
            field: field.name,
            kinds: field.kinds,
        },
        None => Reason::FieldsOfDifferentKinds,
    }
}

/// A path condition of which no pattern can match an absolute path.
fn hopeless_path(conditions: &Conditions) -> Option<(&'static str, &Pattern)> {
    let is_hopeless = |it: &&FieldCondition| {
        it.field.is_path() && !it.patterns.iter().any(can_match_absolute_path)
    };
    let hopeless = conditions.fields.iter().find(is_hopeless)?;
    let first = hopeless.patterns.first()?;
    Some((hopeless.field.name, first))
}

/// Whether the first character lets an absolute path in.
pub(super) fn can_match_absolute_path(pattern: &Pattern) -> bool {
    let text = pattern.as_str();
    let has_drive = pattern.system == System::Windows && text.as_bytes().get(1) == Some(&b':');
    has_drive || text.starts_with(['/', '*', '?', '[', '{', '\\'])
}

/// Whether everything `rule` matches of `kinds` is matched by `wide`. Groups are not looked into: with
/// one a rule covers none but its like.
fn covers(wide: &Rule, rule: &Rule, kinds: Kinds) -> bool {
    if !wide.kinds().covers(kinds) {
        return false;
    }
    let (wide, narrow) = (&wide.conditions, &rule.conditions);
    if wide == narrow {
        return true;
    }
    let is_covered = |it: &FieldCondition| {
        let mut narrow = narrow.of_field(it.field.name);
        narrow.any(|patterns| condition_covers(&it.patterns, patterns))
    };
    !wide.has_groups() && wide.fields.iter().all(is_covered) && scope_covers(wide, narrow)
}

/// Whether `wide` speaks of every tree that `rule` speaks of. A rule with a path that names none
/// speaks of the host's.
fn scope_covers(wide: &Conditions, rule: &Conditions) -> bool {
    match (wide.path_scope.is_empty(), rule.path_scope.is_empty()) {
        (true, true) => true,
        (true, false) => !wide.asks_for_path(),
        (false, true) => false,
        (false, false) => {
            condition_covers(&wide.path_scope, &rule.path_scope) && paths_of(wide) == paths_of(rule)
        }
    }
}

/// The paths of whose scope a rule speaks.
fn paths_of(conditions: &Conditions) -> [bool; 2] {
    let asks = |name| conditions.of_field(name).next().is_some();
    let (own, loaded) = (asks(Program::image.name), asks(LOADED_IMAGE));
    [own || !loaded, loaded]
}

/// Whether every text `narrow` lets in is let in by `wide`.
fn condition_covers(wide: &[Pattern], narrow: &[Pattern]) -> bool {
    !narrow.is_empty()
        && narrow
            .iter()
            .all(|pattern| wide.iter().any(|other| pattern_covers(other, pattern)))
}

/// Whether every text `narrow` matches is matched by `wide`.
pub(super) fn pattern_covers(wide: &Pattern, narrow: &Pattern) -> bool {
    if wide == narrow {
        return true;
    }
    if (wide.system, wide.ignores_case) != (narrow.system, narrow.ignores_case) {
        return false;
    }
    // Every two rules are compared, and most differ here already. What is written otherwise and means the
    // same is not seen.
    let (begin, end) = plain_ends(wide.as_str());
    if !narrow.as_str().starts_with(begin) || !narrow.as_str().ends_with(end) {
        return false;
    }
    match (tokens(wide), tokens(narrow)) {
        (Some(wide), Some(narrow)) => tokens_cover(&wide, &narrow),
        _ => false,
    }
}

/// What stands before the first character that has a meaning, and what behind the last.
fn plain_ends(text: &str) -> (&str, &str) {
    const SPECIAL: [char; 6] = ['*', '?', '[', '{', '}', '\\'];
    let begin = text.find(SPECIAL).and_then(|end| text.get(..end));
    let end = text.rfind(SPECIAL).and_then(|last| text.get(last + 1..));
    (begin.unwrap_or(text), end.unwrap_or(text))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    AnyByte,
    AnyRun,
}

/// The pattern as tokens, or `None` where it has more than `*`, `?` and bytes.
fn tokens(pattern: &Pattern) -> Option<Vec<Token>> {
    let text = pattern.as_str();
    // `/**` at the end means what `/*` means; elsewhere `**` may swallow a `/`.
    let text = match text.strip_suffix("/**") {
        Some(stem) if !stem.is_empty() => text.get(..text.len() - 1)?,
        _ => text,
    };
    if text.contains("**") {
        return None;
    }
    let mut tokens = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let token = match byte {
            b'*' => Token::AnyRun,
            b'?' => Token::AnyByte,
            b'[' | b'{' | b'}' => return None,
            b'\\' if pattern.system.has_escape() => Token::Byte(bytes.next()?),
            _ => Token::Byte(byte),
        };
        // `*?` means what `?*` means; one order makes the two comparable.
        let swapped = token == Token::AnyByte && tokens.last() == Some(&Token::AnyRun);
        let at = tokens.len() - usize::from(swapped);
        tokens.insert(at, token);
        if tokens.ends_with(&[Token::AnyRun, Token::AnyRun]) {
            tokens.pop();
        }
    }
    Some(tokens)
}

/// Matches the tokens of `narrow` as if they were text: a wildcard of `narrow` stands for texts
/// that only an equally free wildcard of `wide` takes in.
fn tokens_cover(wide: &[Token], narrow: &[Token]) -> bool {
    // `reached[j]`: the part of `wide` looked at so far can cover the first `j` of `narrow`.
    let mut reached = vec![false; narrow.len() + 1];
    reached[0] = true;
    for &token in wide {
        let mut next = vec![false; narrow.len() + 1];
        for (at, &before) in reached.iter().enumerate() {
            match token {
                Token::AnyRun => next[at] = before || (at > 0 && next[at - 1]),
                Token::AnyByte | Token::Byte(_) if before => {
                    let taken = match narrow.get(at) {
                        Some(&Token::Byte(_)) if token == Token::AnyByte => true,
                        Some(&other) => other == token,
                        None => false,
                    };
                    if taken {
                        next[at + 1] = true;
                    }
                }
                Token::AnyByte | Token::Byte(_) => {}
            }
        }
        reached = next;
    }
    reached.last() == Some(&true)
}
