//! Which rules can never fire, because others take everything they could match.
//!
//! The answer errs on one side only: a rule named here can really never fire; one that is not named
//! may still be hopeless in a way this does not see.

use super::pattern::HAS_ESCAPE;
use super::{Conditions, Kinds, Pattern};

/// Why `rule` can never make a difference, seen from its conditions alone.
///
/// `others` are the rules that could take everything from it, each with its number: for an include
/// rule all exclude rules, for an exclude rule the other exclude rules. `recorded` are the kinds
/// that `events` leaves in.
pub fn never_fires(
    rule: &Conditions,
    recorded: Kinds,
    others: &[(usize, &Conditions)],
) -> Option<Reason> {
    if rule.kinds().is_empty() {
        return Some(Reason::LoadedImageOfOtherKinds);
    }
    if rule.kinds().intersection(recorded).is_empty() {
        return Some(Reason::NotRecorded);
    }
    if let Some((field, pattern)) = hopeless_path(rule) {
        return Some(Reason::NotAbsolute {
            field,
            pattern: pattern.clone(),
        });
    }
    let recorded_kinds = rule.kinds().intersection(recorded);
    others
        .iter()
        .find(|(_, other)| covers(other, rule, recorded_kinds))
        .map(|&(index, _)| Reason::Covered { by: index })
}

/// Why a rule can never fire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It asks for `loaded_image` and for kinds other than `image_load`.
    LoadedImageOfOtherKinds,
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

/// A path condition of which no pattern can match an absolute path.
fn hopeless_path(rule: &Conditions) -> Option<(&'static str, &Pattern)> {
    [("image", &rule.image), ("loaded_image", &rule.loaded_image)]
        .into_iter()
        .find(|(_, patterns)| !patterns.is_empty() && !patterns.iter().any(can_match_absolute_path))
        .and_then(|(field, patterns)| patterns.first().map(|first| (field, first)))
}

/// Whether the first character lets an absolute path in.
pub(super) fn can_match_absolute_path(pattern: &Pattern) -> bool {
    let text = pattern.as_str();
    let has_drive = cfg!(windows) && text.as_bytes().get(1) == Some(&b':');
    has_drive || text.starts_with(['/', '*', '?', '[', '{', '\\'])
}

/// Whether everything `rule` matches of `kinds` is matched by `wide`.
fn covers(wide: &Conditions, rule: &Conditions, kinds: Kinds) -> bool {
    wide.kinds().covers(kinds)
        && condition_covers(&wide.image, &rule.image)
        && condition_covers(&wide.command_line, &rule.command_line)
        && condition_covers(&wide.user, &rule.user)
        && condition_covers(&wide.loaded_image, &rule.loaded_image)
        && scope_covers(wide, rule)
}

/// Whether `wide` speaks of every tree that `rule` speaks of. A rule with a path that names none
/// speaks of the host's.
fn scope_covers(wide: &Conditions, rule: &Conditions) -> bool {
    let asks_for_path = |rule: &Conditions| !rule.image.is_empty() || !rule.loaded_image.is_empty();
    match (wide.path_scope.is_empty(), rule.path_scope.is_empty()) {
        (true, true) => true,
        (true, false) => !asks_for_path(wide),
        (false, true) => false,
        (false, false) => condition_covers(&wide.path_scope, &rule.path_scope),
    }
}

/// Whether every text `narrow` lets in is let in by `wide`; no pattern lets every text in.
fn condition_covers(wide: &[Pattern], narrow: &[Pattern]) -> bool {
    if wide.is_empty() {
        return true;
    }
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
    match (tokens(wide), tokens(narrow)) {
        (Some(wide), Some(narrow)) => tokens_cover(&wide, &narrow),
        _ => false,
    }
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
            b'\\' if HAS_ESCAPE => Token::Byte(bytes.next()?),
            b'\\' => Token::Byte(b'/'),
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
