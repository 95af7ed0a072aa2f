//! Which events the trail keeps: include and exclude rules over the fields of an event and what its
//! process runs.
//!
//! A rule is a list of conditions; it matches when all of them are met. Exclude wins. Of a kind that an
//! include rule is about, only what one of them matches is kept; of the other kinds everything is.
//! `lost`, `sensor_start` and `sensor_stop` are never left out: a rule must not be able to hide a loss.
//!
//! Most of what rules ask is a property of the program a process runs, so it is judged once a program
//! ([`Rules::judge`]), not once an event. What that leaves open is decided event by event
//! ([`Rules::decide`]).
//!
//! What a rule cannot judge, because it was lost or cut, meets the conditions of an include rule and not
//! those of an exclude rule: it is kept, for it cannot be had later, and nobody hides by it.

mod conditions;
mod coverage;
mod field;
mod node;
mod pattern;
mod values;

use std::sync::Arc;

use event::{ByKind, Kind};

pub use event::Kinds;

pub use self::conditions::{Conditions, FieldCondition, Rule};
pub use self::coverage::{Reason, never_fires, takes_all};
pub use self::field::{Field, PROCESS_IMAGE, fields};
pub use self::node::{HOST_SCOPE, NodeError};
pub use self::pattern::{InvalidPattern, PATTERN_SIZE_MAX, Pattern, PatternSet, System, TooLarge};
pub use self::values::{Runs, Told};

use self::node::{Node, Truth};
use self::values::{Places, Values};
use crate::trail::KeptBy;

/// The most rules of both lists together.
pub const RULES_MAX: usize = 2048;

/// The most patterns in one condition.
pub const PATTERNS_MAX: usize = 256;

/// How deep the groups of a rule may be in one another.
pub const DEPTH_MAX: usize = 8;

/// Why rules were refused.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// More than [`RULES_MAX`].
    #[error("{count} rules; at most {RULES_MAX} are allowed")]
    TooMany {
        /// How many there were.
        count: usize,
    },
    /// The conditions of one.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// Compiled rules. The default keeps everything.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    include: Vec<Compiled>,
    exclude: Vec<Compiled>,
    /// The kinds of which only what an include rule matches is kept.
    included: Kinds,
    /// Whether some include rule says on its events that it kept them.
    has_labels: bool,
    places: Places,
}

#[derive(Clone, Debug)]
struct Compiled {
    kinds: Kinds,
    label: Option<Arc<KeptBy>>,
    node: Node,
}

/// What the rules say about one program; to be cached until the process execs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Kinds of which at least some events may be kept.
    kinds: Kinds,
    /// Those of which the event itself decides.
    open: Kinds,
    /// The include rule that keeps the other kinds, by its place; none where it has no label.
    keepers: ByKind<u16>,
}

/// No rule has so high a place.
const NO_KEEPER: u16 = u16::MAX;

impl Verdict {
    /// Everything is kept.
    pub const KEEP: Self = Self {
        kinds: Kinds::ALL,
        open: Kinds::NONE,
        keepers: ByKind::new([NO_KEEPER; Kind::OBSERVED.len()]),
    };

    /// Whether an event of `kind` may be kept: it is, unless [`Rules::decide`] says no. Kinds no rule
    /// can name are always kept.
    pub const fn keeps(self, kind: Kind) -> bool {
        kind.index().is_none() || self.kinds.contains(kind)
    }

    /// Whether an event of `kind` has to be asked.
    pub const fn asks(self, kind: Kind) -> bool {
        self.open.contains(kind)
    }
}

impl Default for Verdict {
    fn default() -> Self {
        Self::KEEP
    }
}

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It is left out.
    LeftOut,
    /// It is kept, by a rule that says so where it has a label.
    Kept(Option<Arc<KeptBy>>),
}

impl Decision {
    /// Whether the event is kept.
    pub const fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }
}

impl Rules {
    /// Compiles rules.
    pub fn new(include: &[Rule], exclude: &[Rule]) -> Result<Self, Invalid> {
        let count = include.len() + exclude.len();
        if count > RULES_MAX {
            return Err(Invalid::TooMany { count });
        }
        let mut places = Places::default();
        let mut compiled = |rules: &[Rule]| -> Result<Vec<Compiled>, Invalid> {
            let rules = rules.iter().map(|rule| {
                Ok(Compiled {
                    kinds: rule.kinds(),
                    label: rule.label.clone(),
                    node: Node::new(&rule.conditions, &mut places)?,
                })
            });
            rules.collect()
        };
        let (include, exclude) = (compiled(include)?, compiled(exclude)?);
        let included = include.iter().map(|rule| rule.kinds);
        Ok(Self {
            included: included.fold(Kinds::NONE, Kinds::union),
            has_labels: include.iter().any(|rule| rule.label.is_some()),
            include,
            exclude,
            places,
        })
    }

    /// Whether there is no rule.
    pub const fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// What the rules say about a process that runs this, and nobody knows what where it is `None`.
    pub fn judge(&self, runs: Option<Runs<'_>>) -> Verdict {
        if self.is_empty() {
            return Verdict::KEEP;
        }
        let values = Values::of_program(&self.places, runs);
        let (mut out, mut open) = (Kinds::NONE, Kinds::NONE);
        for rule in &self.exclude {
            match rule.node.truth(&values) {
                Truth::Yes => out = out.union(rule.kinds),
                Truth::Later => open = open.union(rule.kinds),
                Truth::Unsure | Truth::No => {}
            }
        }
        let mut keepers = Verdict::KEEP.keepers;
        let (mut sure, mut perhaps) = (Kinds::ALL.without(self.included), Kinds::NONE);
        for (place, rule) in (0..).zip(&self.include) {
            let undecided = rule.kinds.without(sure).without(out);
            if undecided.is_empty() {
                continue;
            }
            match rule.node.truth(&values) {
                Truth::Yes | Truth::Unsure => {
                    sure = sure.union(undecided);
                    for kind in undecided.iter().filter(|_| rule.label.is_some()) {
                        if let Some(keeper) = keepers.get_mut(kind) {
                            *keeper = place;
                        }
                    }
                }
                Truth::Later => perhaps = perhaps.union(undecided),
                Truth::No => {}
            }
        }
        // Where rules have names, the first that matches is the one to be told.
        let asked = if self.has_labels {
            perhaps
        } else {
            perhaps.without(sure)
        };
        Verdict {
            kinds: sure.union(perhaps).without(out),
            open: open.union(asked).without(out),
            keepers,
        }
    }

    /// What becomes of an event of a process with that verdict, which runs this.
    pub fn decide(&self, verdict: Verdict, runs: Option<Runs<'_>>, told: Told<'_>) -> Decision {
        let kind = told.body.kind();
        // While a program is being replaced, the verdict is that on the one before.
        let is_judged = !told.is_executing || self.is_empty();
        if is_judged && !verdict.keeps(kind) {
            return Decision::LeftOut;
        }
        if is_judged && !verdict.asks(kind) {
            let keeper = verdict.keepers.get(kind).copied().unwrap_or(NO_KEEPER);
            let rule = self.include.get(usize::from(keeper));
            return Decision::Kept(rule.and_then(|rule| rule.label.clone()));
        }
        self.decide_by_event(kind, &Values::of_event(&self.places, runs, told))
    }

    fn decide_by_event(&self, kind: Kind, values: &Values<'_, '_>) -> Decision {
        let of_kind = |rule: &&Compiled| rule.kinds.contains(kind);
        let excludes = |rule: &Compiled| rule.node.truth(values) == Truth::Yes;
        if self.exclude.iter().filter(of_kind).any(excludes) {
            return Decision::LeftOut;
        }
        if !self.included.contains(kind) {
            return Decision::Kept(None);
        }
        let includes = |rule: &&Compiled| rule.node.truth(values) != Truth::No;
        match self.include.iter().filter(of_kind).find(includes) {
            Some(rule) => Decision::Kept(rule.label.clone()),
            None => Decision::LeftOut,
        }
    }
}

#[cfg(test)]
mod tests;
