//! Glob patterns as rules use them: over whole texts, not over path components.
//!
//! `*` matches any run of bytes, `/` included, so that `/tmp/*` means everything below `/tmp` and
//! the same pattern language serves command lines. `?` is one byte, `[a-z]` and `[!a-z]` one byte
//! of a class, `{a,b}` either, `\` takes the next character as it is. A pattern matches the whole
//! text, case matters.
//!
//! On Windows paths are what that system takes for the same: `\` and `/` are one, neither is an
//! escape, and case does not matter.

use std::borrow::Cow;
use std::fmt;

use globset::{Glob, GlobBuilder};
use regex_automata::meta::{BuildError, Regex};
use regex_automata::util::syntax;

use crate::trail::Text;

/// The most bytes of one pattern.
pub const PATTERN_SIZE_MAX: usize = 4096;

/// Whether `\` takes the next character as it is; on Windows it stands between directories.
pub(super) const HAS_ESCAPE: bool = !cfg!(windows);

/// A pattern that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Glob);

/// Why a pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// No text is empty, so it could match nothing.
    #[error("an empty pattern matches nothing")]
    Empty,
    /// More than [`PATTERN_SIZE_MAX`].
    #[error("a pattern of {0} bytes; at most {PATTERN_SIZE_MAX} are allowed")]
    TooLong(usize),
    /// Classes are sets of bytes, and such a character is several.
    #[error("a class [...] can hold ASCII characters only; use {{a,b}} for others")]
    ClassBeyondAscii,
    /// Not a pattern.
    #[error("{0}")]
    Syntax(String),
}

impl Pattern {
    /// Understands `text`.
    pub fn new(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        if text.len() > PATTERN_SIZE_MAX {
            return Err(InvalidPattern::TooLong(text.len()));
        }
        let glob = GlobBuilder::new(text)
            .literal_separator(false)
            .backslash_escape(HAS_ESCAPE)
            .case_insensitive(cfg!(windows))
            .empty_alternates(true)
            .build()
            .map_err(|error| InvalidPattern::Syntax(error.kind().to_string()))?;
        if has_class_beyond_ascii(text) {
            return Err(InvalidPattern::ClassBeyondAscii);
        }
        Ok(Self(glob))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        self.0.glob()
    }

    /// Whether it has no wildcard, so that it matches one text alone.
    pub fn is_literal(&self) -> bool {
        let is_special = |character| match character {
            '*' | '?' | '[' | '{' => true,
            '\\' => HAS_ESCAPE,
            _ => false,
        };
        !self.as_str().contains(is_special)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Call it on a pattern with a known syntax.
fn has_class_beyond_ascii(text: &str) -> bool {
    let mut in_class = false;
    let mut escaped = false;
    for character in text.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if HAS_ESCAPE && !in_class => escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            _ if in_class && !character.is_ascii() => return true,
            _ => {}
        }
    }
    false
}

/// The most memory of one set's automaton, in bytes.
const AUTOMATON_SIZE_MAX: usize = 10 << 20;

/// The patterns of one condition, any of which may match. One automaton for all of them, and not a
/// `GlobSet`, which takes texts for paths: it finds no name in `..` that `?.` could match.
#[derive(Clone, Debug, Default)]
pub struct PatternSet(Option<Regex>);

impl PatternSet {
    /// The automaton of these patterns; an error where it would be too large.
    pub fn new(patterns: &[Pattern]) -> Result<Self, Box<BuildError>> {
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        let expressions: Vec<&str> = patterns.iter().map(|it| it.0.regex()).collect();
        let bytes = syntax::Config::new().utf8(false).dot_matches_new_line(true);
        let limits = Regex::config()
            .utf8_empty(false)
            .nfa_size_limit(Some(AUTOMATON_SIZE_MAX))
            .hybrid_cache_capacity(AUTOMATON_SIZE_MAX);
        let mut builder = Regex::builder();
        let builder = builder.syntax(bytes).configure(limits);
        let set = builder.build_many(&expressions)?;
        Ok(Self(Some(set)))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether one of them matches the whole text.
    pub fn matches(&self, text: &[u8]) -> bool {
        self.0
            .as_ref()
            .is_some_and(|set| set.is_match(&*with_one_separator(text)))
    }

    /// Whether there is no pattern, or `text` is there and matches one.
    pub(super) fn allows(&self, text: Option<&Text>) -> bool {
        self.is_empty() || text.is_some_and(|text| self.matches(text.as_bytes()))
    }
}

/// The text as patterns see it: with `/` for both separators where there are two.
fn with_one_separator(text: &[u8]) -> Cow<'_, [u8]> {
    if !cfg!(windows) || !text.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let one = |byte: &u8| if *byte == b'\\' { b'/' } else { *byte };
    Cow::Owned(text.iter().map(one).collect())
}

#[cfg(windows)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_matches_whatever_its_case_and_separators() {
        for pattern in [r"C:\Windows\*", "c:/windows/*", r"*\System32\CMD.exe"] {
            let set = PatternSet::new(&[Pattern::new(pattern).unwrap()]).unwrap();
            assert!(set.matches(br"C:\Windows\System32\cmd.exe"), "{pattern}");
            assert!(!set.matches(br"D:\cmd.exe"), "{pattern}");
        }
    }
}
