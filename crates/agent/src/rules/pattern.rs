//! Glob patterns as rules use them: over whole texts, not over path components.
//!
//! `*` matches any run of bytes, `/` included, so that `/tmp/*` means everything below `/tmp` and
//! the same pattern language serves command lines. `?` is one byte, `[a-z]` and `[!a-z]` one byte
//! of a class, `{a,b}` either, `\` takes the next character as it is. A pattern matches the whole
//! text, case matters.
//!
//! On Windows `\` is no escape and case does not matter; in a pattern of a path `/` is either separator,
//! as it is to that system, and its own paths have `\`. In other texts `/c` begins a switch, and `\c` does
//! not.

use std::borrow::Cow;
use std::fmt;

use globset::{Glob, GlobBuilder};
use regex_automata::meta::{BuildError, Regex};
use regex_automata::util::syntax;

/// The most bytes of one pattern.
pub const PATTERN_SIZE_MAX: usize = 4096;

/// Whose texts patterns are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Case matters, and `\` takes the next character as it is.
    Unix,
    /// Neither does.
    Windows,
}

impl System {
    /// The one this program runs on.
    pub const HERE: Self = if cfg!(windows) {
        Self::Windows
    } else {
        Self::Unix
    };

    /// Whether `\` takes the next character as it is; on Windows it stands between directories.
    pub(super) const fn has_escape(self) -> bool {
        matches!(self, Self::Unix)
    }
}

/// What a pattern is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A path, in which Windows has two separators for one.
    Path,
    /// Any other text.
    Text,
}

/// A pattern that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    pub(super) system: System,
    pub(super) ignores_case: bool,
}

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
    /// Understands `text`, for this system.
    pub fn new(text: &str) -> Result<Self, InvalidPattern> {
        Self::of(System::HERE, text, false)
    }

    /// Understands `text`, for a system; case does not matter on Windows in any case.
    pub fn of(system: System, text: &str, ignores_case: bool) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        if text.len() > PATTERN_SIZE_MAX {
            return Err(InvalidPattern::TooLong(text.len()));
        }
        let pattern = Self {
            text: text.to_owned(),
            system,
            ignores_case: ignores_case || system == System::Windows,
        };
        pattern.glob(Form::Path)?;
        if pattern.has_class_beyond_ascii() {
            return Err(InvalidPattern::ClassBeyondAscii);
        }
        Ok(pattern)
    }

    /// The same of every system: what `\` is to `globset` depends on where that was built, so it is shown
    /// none but in classes.
    fn glob(&self, form: Form) -> Result<Glob, InvalidPattern> {
        let text: Cow<'_, str> = match (self.system, form) {
            (System::Unix, _) => Cow::Borrowed(&*self.text),
            (System::Windows, form) => Cow::Owned(with_separators_as_classes(&self.text, form)),
        };
        let glob = GlobBuilder::new(&text)
            .literal_separator(false)
            .backslash_escape(self.system.has_escape())
            .case_insensitive(self.ignores_case)
            .empty_alternates(true)
            .build();
        glob.map_err(|error| InvalidPattern::Syntax(error.kind().to_string()))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether case does not matter to it.
    pub const fn ignores_case(&self) -> bool {
        self.ignores_case
    }

    /// Whether it has no wildcard, so that it matches one text alone.
    pub fn is_literal(&self) -> bool {
        let is_special = |character| match character {
            '*' | '?' | '[' | '{' => true,
            '\\' => self.system.has_escape(),
            _ => false,
        };
        !self.as_str().contains(is_special)
    }

    /// Call it on a pattern with a known syntax.
    fn has_class_beyond_ascii(&self) -> bool {
        let mut in_class = false;
        let mut escaped = false;
        for character in self.text.chars() {
            match character {
                _ if escaped => escaped = false,
                '\\' if self.system.has_escape() && !in_class => escaped = true,
                '[' => in_class = true,
                ']' => in_class = false,
                _ if in_class && !character.is_ascii() => return true,
                _ => {}
            }
        }
        false
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A Windows pattern in which each separator outside of a class is a class of its own, which is those very
/// characters everywhere.
fn with_separators_as_classes(text: &str, form: Form) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut in_class = false;
    for character in text.chars() {
        match character {
            '[' => in_class = true,
            ']' => in_class = false,
            '\\' if !in_class => {
                shown.push_str(r"[\]");
                continue;
            }
            '/' if !in_class && form == Form::Path => {
                shown.push_str(r"[\/]");
                continue;
            }
            _ => {}
        }
        shown.push(character);
    }
    shown
}

/// The most memory of one set's automaton, in bytes.
const AUTOMATON_SIZE_MAX: usize = 10 << 20;

/// The patterns of one condition, any of which may match. One automaton for all of them, and not a
/// `GlobSet`, which takes texts for paths: it finds no name in `..` that `?.` could match.
#[derive(Clone, Debug, Default)]
pub struct PatternSet(Option<Regex>);

/// Why patterns that are right each by itself make no set.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TooLarge(Box<BuildError>);

impl PatternSet {
    /// The automaton of these patterns of paths; an error where it would be too large.
    pub fn new(patterns: &[Pattern]) -> Result<Self, TooLarge> {
        Self::of(Form::Path, patterns)
    }

    pub(super) fn of(form: Form, patterns: &[Pattern]) -> Result<Self, TooLarge> {
        if patterns.is_empty() {
            return Ok(Self::default());
        }
        // A pattern that was understood has this form as well.
        let globs = patterns.iter().filter_map(|it| it.glob(form).ok());
        let expressions: Vec<String> = globs.map(|glob| glob.regex().to_owned()).collect();
        let bytes = syntax::Config::new().utf8(false).dot_matches_new_line(true);
        let limits = Regex::config()
            .utf8_empty(false)
            .nfa_size_limit(Some(AUTOMATON_SIZE_MAX))
            .hybrid_cache_capacity(AUTOMATON_SIZE_MAX);
        let mut builder = Regex::builder();
        let builder = builder.syntax(bytes).configure(limits);
        let set = builder.build_many(&expressions);
        let set = set.map_err(|error| TooLarge(Box::new(error)))?;
        Ok(Self(Some(set)))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether one of them matches the whole text.
    pub fn matches(&self, text: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|set| set.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(form: Form, pattern: &str) -> PatternSet {
        let pattern = Pattern::of(System::Windows, pattern, false).unwrap();
        PatternSet::of(form, &[pattern]).unwrap()
    }

    #[test]
    fn a_path_of_windows_matches_whatever_its_case_and_separators() {
        for pattern in [r"C:\Windows\*", "c:/windows/*", r"*\System32\CMD.exe"] {
            let set = set(Form::Path, pattern);
            assert!(set.matches(br"C:\Windows\System32\cmd.exe"), "{pattern}");
            assert!(!set.matches(br"D:\cmd.exe"), "{pattern}");
        }
        assert!(set(Form::Path, "c:/x").matches(b"C:/X"));
        assert!(!set(Form::Path, "c:[/]x").matches(br"C:\x"));
    }

    /// `*\c *` would have matched the switch of every `cmd /c`.
    #[test]
    fn the_separators_of_other_texts_are_two() {
        let set = |pattern| set(Form::Text, pattern);
        assert!(set("* /c *").matches(b"CMD /C dir"));
        assert!(!set(r"* \c *").matches(b"cmd /c dir"));
        assert!(set(r"*\Temp[\/]*").matches(br"cmd c:\temp\x"));
        assert!(set(r"*[*]?\").matches(br"del *x\"));
    }

    #[test]
    fn case_may_be_ignored_elsewhere_as_well() {
        let pattern = Pattern::of(System::Unix, "/Usr/*", true).unwrap();
        let set = PatternSet::new(&[pattern]).unwrap();
        assert!(set.matches(b"/uSR/x") && !set.matches(b"\\usr\\x"));
    }
}
