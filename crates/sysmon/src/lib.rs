//! Sysmon's configuration: what it says, and what Sysmon decides by it.
//!
//! [`Configuration::parse`] reads the XML of schemas 3.x and 4.x, of which the sections about processes,
//! drivers, images and remote threads are understood and the others are named. [`Configuration::decide`]
//! says of one event what Sysmon would: it is an interpreter, made to be compared with and not to be fast.
//!
//! Where Sysmon's documentation and its source (Sysinternals/SysmonCommon: `rules.c`, `xml.cpp`,
//! `manifest.xml`) disagree, the source is right, since it is what runs.
//!
//! A configuration is a claim: no input panics, loops, or takes more memory than the limits named here.

#![forbid(unsafe_code)]

mod decide;
mod encoding;
mod event_kind;
mod operator;
mod parse;

pub use decide::Decision;
pub use encoding::{InvalidText, SIZE_MAX, text};
pub use event_kind::EventKind;
pub use operator::Operator;
pub use parse::{DEPTH_MAX, Invalid, NAME_MAX, NODES_MAX, Refusal};

/// What Sysmon compares a field with that has no text.
pub const NO_TEXT: &str = "-";

/// A configuration, as far as it is about the [kinds](EventKind) that are understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The version of its schema.
    pub schema: Schema,
    /// The sections about those kinds, in the order of the file.
    pub sections: Vec<Section>,
    /// What it says beside them.
    pub others: Vec<Other>,
}

/// The version of a schema: two numbers, of which the second has two digits, as 4.3 means 4.30.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Schema {
    /// Before the point.
    pub major: u16,
    /// Behind it, in hundredths.
    pub minor: u16,
}

impl Schema {
    /// What joins the conditions of a section that says nothing of it: one is enough up to 4.1, from then
    /// on all are needed.
    pub const fn default_relation(self) -> Relation {
        if self.major > 4 || (self.major == 4 && self.minor > 10) {
            Relation::And
        } else {
            Relation::Or
        }
    }
}

/// An element about a kind of event: `<ProcessCreate onmatch="include">`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The kind.
    pub kind: EventKind,
    /// What becomes of an event that it matches.
    pub on_match: OnMatch,
    /// What joins its items.
    pub relation: Relation,
    /// What it asks, in the order of the file.
    pub items: Vec<Item>,
    /// Where it stands, counted from 1.
    pub line: u32,
}

/// What becomes of an event that a section matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMatch {
    /// It is kept.
    Include,
    /// It is not.
    Exclude,
}

/// What joins conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// One is enough.
    Or,
    /// All are needed.
    And,
}

/// What stands in a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A condition by itself.
    Condition(Condition),
    /// Several as one.
    Rule(Rule),
}

/// `<Rule>`: conditions that count as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What joins them.
    pub relation: Relation,
    /// Whether the file says so. Where it does not, Sysmon's source takes one for enough, and its
    /// authors' announcement of `Rule` says that all are needed.
    pub says_relation: bool,
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// Where it stands, counted from 1.
    pub line: u32,
}

/// What is asked of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The field, one of [`EventKind::fields`].
    pub field: &'static str,
    /// How it is compared.
    pub operator: Operator,
    /// With what; blanks and line ends belong to it.
    pub value: String,
    /// The name that an event has from it: its own, that of its rule, or that of its group.
    pub name: Option<String>,
    /// Where it stands, counted from 1.
    pub line: u32,
}

/// An element that is not about the kinds that are understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its name.
    pub element: String,
    /// How many conditions are in it.
    pub condition_count: usize,
    /// Where it stands, counted from 1.
    pub line: u32,
}
