//! Which events the trail keeps: include and exclude rules over the program a process runs.
//!
//! A rule is a list of conditions; it matches when all of them do. Exclude wins. When there is an
//! include rule at all, only what one of them matches is kept. `lost`, `sensor_start` and
//! `sensor_stop` are never left out: a rule must not be able to hide a loss.
//!
//! Everything a rule asks but the path of a loaded image is a property of the process, so it is
//! judged once a program ([`Rules::judge`]), not once an event.

mod coverage;
mod pattern;

use event::Kind;

pub use event::Kinds;

pub use self::coverage::{Reason, never_fires};
pub use self::pattern::{InvalidPattern, PATTERN_SIZE_MAX, Pattern, PatternSet};

use crate::trail::{Program, Text, UserId};

/// The most rules of both lists together that may ask for `loaded_image`: a [`Verdict`] remembers
/// each in one bit.
pub const LOADED_IMAGE_RULES_MAX: usize = 64;

/// The most rules of both lists together.
pub const RULES_MAX: usize = 1024;

/// The most patterns in one condition.
pub const PATTERNS_MAX: usize = 256;

/// The conditions of one rule. An empty list asks for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// The kinds of events it is about.
    pub events: Kinds,
    /// Patterns of the path of the program.
    pub image: Vec<Pattern>,
    /// Patterns of the command line.
    pub command_line: Vec<Pattern>,
    /// Patterns of the user's name or number.
    pub user: Vec<Pattern>,
    /// Patterns of the path of the image that is loaded; such a rule is about `image_load` alone.
    pub loaded_image: Vec<Pattern>,
    /// Patterns of the scope of the paths the rule asks for, of the program's where it asks for none.
    pub path_scope: Vec<Pattern>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            events: Kinds::ALL,
            image: Vec::new(),
            command_line: Vec::new(),
            user: Vec::new(),
            loaded_image: Vec::new(),
            path_scope: Vec::new(),
        }
    }
}

impl Conditions {
    /// The kinds it can match.
    pub const fn kinds(&self) -> Kinds {
        if self.loaded_image.is_empty() {
            self.events
        } else {
            self.events.intersection(Kinds::IMAGE_LOAD)
        }
    }
}

/// Why rules were refused.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// More than [`RULES_MAX`].
    #[error("{count} rules; at most {RULES_MAX} are allowed")]
    TooMany {
        /// How many there were.
        count: usize,
    },
    /// More than [`LOADED_IMAGE_RULES_MAX`].
    #[error(
        "{count} rules with loaded_image; at most {LOADED_IMAGE_RULES_MAX} are allowed: one rule \
         can list several patterns"
    )]
    TooManyLoadedImage {
        /// How many there were.
        count: usize,
    },
    /// Patterns that are right each by itself make too large a matcher together.
    #[error("the patterns of one condition are too large together: {0}")]
    TooLarge(Box<regex_automata::meta::BuildError>),
}

/// Compiled rules. The default keeps everything.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    include: Vec<Rule>,
    exclude: Vec<Rule>,
    /// The patterns of rules with `loaded_image`, by the rule's bit in a verdict.
    loaded_images: Vec<LoadedImage>,
}

#[derive(Clone, Debug)]
struct Rule {
    kinds: Kinds,
    image: PathCondition,
    command_line: PatternSet,
    user: PatternSet,
    /// The index in `loaded_images`, for a rule with that condition.
    loaded_image: Option<usize>,
}

#[derive(Clone, Debug)]
struct LoadedImage {
    path: PathCondition,
    keeps: bool,
}

/// What a rule asks of one path.
#[derive(Clone, Debug)]
struct PathCondition {
    patterns: PatternSet,
    scopes: PatternSet,
}

/// What [`Conditions::path_scope`] calls the tree of the host, whose paths have no mark.
pub const HOST_SCOPE: &str = "host";

/// What the rules say about one program; to be cached until the process execs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Kinds of which at least some events may be kept.
    kinds: Kinds,
    /// Whether an image load needs one of `loaded_images` to keep it.
    asks_for_loaded_image: bool,
    /// The rules with `loaded_image` whose other conditions the program meets, a bit each.
    loaded_images: u64,
}

impl Verdict {
    /// Everything is kept.
    pub const KEEP: Self = Self {
        kinds: Kinds::ALL,
        asks_for_loaded_image: false,
        loaded_images: 0,
    };

    /// Whether an event of `kind` is kept. For `image_load` a yes means "unless
    /// [`Rules::keeps_image`] says no". Kinds no rule can name are always kept.
    pub const fn keeps(self, kind: Kind) -> bool {
        kind.index().is_none() || self.kinds.contains(kind)
    }
}

impl Default for Verdict {
    fn default() -> Self {
        Self::KEEP
    }
}

impl Rules {
    /// Compiles rules.
    pub fn new(include: &[Conditions], exclude: &[Conditions]) -> Result<Self, Invalid> {
        let count = include.len() + exclude.len();
        if count > RULES_MAX {
            return Err(Invalid::TooMany { count });
        }
        let mut rules = Self::default();
        for conditions in include {
            let rule = rules.compile(conditions, true)?;
            rules.include.push(rule);
        }
        for conditions in exclude {
            let rule = rules.compile(conditions, false)?;
            rules.exclude.push(rule);
        }
        let count = rules.loaded_images.len();
        if count > LOADED_IMAGE_RULES_MAX {
            return Err(Invalid::TooManyLoadedImage { count });
        }
        Ok(rules)
    }

    fn compile(&mut self, conditions: &Conditions, keeps: bool) -> Result<Rule, Invalid> {
        let set = |patterns: &[Pattern]| PatternSet::new(patterns).map_err(Invalid::TooLarge);
        let loaded_image = if conditions.loaded_image.is_empty() {
            None
        } else {
            let path = PathCondition {
                patterns: set(&conditions.loaded_image)?,
                scopes: set(&conditions.path_scope)?,
            };
            self.loaded_images.push(LoadedImage { path, keeps });
            Some(self.loaded_images.len() - 1)
        };
        let asks_of_program = loaded_image.is_none() || !conditions.image.is_empty();
        let scopes: &[Pattern] = if asks_of_program {
            &conditions.path_scope
        } else {
            &[]
        };
        Ok(Rule {
            kinds: conditions.kinds(),
            image: PathCondition {
                patterns: set(&conditions.image)?,
                scopes: set(scopes)?,
            },
            command_line: set(&conditions.command_line)?,
            user: set(&conditions.user)?,
            loaded_image,
        })
    }

    /// Whether there is no rule.
    pub const fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// What the rules say about a process that runs `program`.
    pub fn judge(&self, program: &Program) -> Verdict {
        self.judge_partly(program, Unsure::default())
    }

    /// What they say where not all of it is known: what may have been asked for by the rest is kept,
    /// for it cannot be had later.
    pub fn judge_partly(&self, program: &Program, unsure: Unsure) -> Verdict {
        self.verdict(program, unsure, |rule| {
            let has_line = || rule.command_line.allows(program.command_line.as_ref());
            rule.may_match(program, IfUnsure::Matches)
                && (unsure.user || rule.matches_user(program))
                && (unsure.command_line || has_line())
        })
    }

    /// What they say while nobody knows what a process runs, nor for whom: what may be asked for is
    /// kept, and left out is only what is whatever the process runs.
    pub fn judge_unknown(&self) -> Verdict {
        self.verdict(&Program::default(), Unsure::default(), |_rule| true)
    }

    fn verdict(
        &self,
        program: &Program,
        unsure: Unsure,
        includes_fn: impl Fn(&Rule) -> bool,
    ) -> Verdict {
        if self.is_empty() {
            return Verdict::KEEP;
        }
        let mut kept = if self.include.is_empty() {
            Kinds::ALL
        } else {
            Kinds::NONE
        };
        let mut loaded_images = 0;
        let mut image_load_included = false;
        for rule in self.include.iter().filter(|rule| includes_fn(rule)) {
            kept = kept.union(rule.kinds);
            match rule.loaded_image {
                Some(index) => loaded_images |= bit(index),
                None => image_load_included |= rule.kinds.contains(Kind::IMAGE_LOAD),
            }
        }
        let excludes = |rule: &&Rule| {
            // Where a command line was cut may be chosen by whoever starts the program.
            let line = program
                .command_line
                .as_ref()
                .filter(|_| !unsure.command_line);
            rule.may_match(program, IfUnsure::MatchesNot)
                && rule.matches_user(program)
                && rule.command_line.allows(line)
        };
        for rule in self.exclude.iter().filter(excludes) {
            match rule.loaded_image {
                Some(index) => loaded_images |= bit(index),
                None => kept = kept.without(rule.kinds),
            }
        }
        Verdict {
            kinds: kept,
            asks_for_loaded_image: !self.include.is_empty() && !image_load_included,
            loaded_images,
        }
    }

    /// Whether the load of `image` by a process with `verdict` is kept.
    pub fn keeps_image(&self, verdict: Verdict, image: Option<&Text>, scope: Option<&str>) -> bool {
        if !verdict.keeps(Kind::IMAGE_LOAD) {
            return false;
        }
        let mut kept = !verdict.asks_for_loaded_image;
        let mut bits = verdict.loaded_images;
        while bits != 0 {
            let index = bits.trailing_zeros();
            bits &= bits - 1;
            let Some(rule) = self.loaded_images.get(index as usize) else {
                break;
            };
            let if_unsure = if rule.keeps {
                IfUnsure::Matches
            } else {
                IfUnsure::MatchesNot
            };
            if !rule.path.allows(image, scope, if_unsure) {
                continue;
            }
            if !rule.keeps {
                return false;
            }
            kept = true;
        }
        kept
    }
}

/// The bit of a rule with `loaded_image`. Their number was checked; a shift that cannot be gives no
/// bit, which leaves the rule out rather than another in.
const fn bit(index: usize) -> u64 {
    if index < LOADED_IMAGE_RULES_MAX {
        1 << index
    } else {
        0
    }
}

/// What a rule does with a path it cannot judge: one that was cut, and one that is not in the host's
/// tree where the rule does not say of which it speaks. An exclude rule does not match, and an include
/// rule does: whoever chooses such a path shall not hide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IfUnsure {
    Matches,
    MatchesNot,
}

impl PathCondition {
    fn allows(&self, path: Option<&Text>, scope: Option<&str>, if_unsure: IfUnsure) -> bool {
        if self.patterns.is_empty() && self.scopes.is_empty() {
            return true;
        }
        let Some(path) = path else {
            return false;
        };
        let cannot_judge = match scope {
            Some(_) => self.scopes.is_empty(),
            None => is_cut(path),
        };
        if cannot_judge {
            return if_unsure == IfUnsure::Matches;
        }
        let scope = scope.unwrap_or(HOST_SCOPE).as_bytes();
        (self.scopes.is_empty() || self.scopes.matches(scope)) && self.patterns.allows(Some(path))
    }
}

/// Whether the begin of a path is missing; Windows' are cut at their end, if at all.
fn is_cut(path: &Text) -> bool {
    !cfg!(windows) && !path.as_bytes().starts_with(b"/")
}

/// What is not known, or not all, of a program that is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsure {
    /// The name of its user.
    pub user: bool,
    /// The end of its command line, which was cut.
    pub command_line: bool,
}

impl Rule {
    /// Whether it matches for some user and command line.
    fn may_match(&self, program: &Program, if_unsure: IfUnsure) -> bool {
        let (image, scope) = (program.image.as_ref(), program.path_scope.as_deref());
        !self.kinds.is_empty() && self.image.allows(image, scope, if_unsure)
    }

    fn matches_user(&self, program: &Program) -> bool {
        if self.user.is_empty() {
            return true;
        }
        let by_name = program
            .user
            .as_ref()
            .is_some_and(|user| self.user.matches(user.as_bytes()));
        by_name
            || match &program.user_id {
                Some(UserId::Uid(uid)) => self.user.matches(uid.to_string().as_bytes()),
                Some(UserId::Sid(sid)) => self.user.matches(sid.as_bytes()),
                None => false,
            }
    }
}

#[cfg(test)]
mod tests;
