//! What a rule asks, as it is written.

use std::sync::Arc;

use event::Kinds;

use super::field::Field;
use super::pattern::Pattern;
use crate::trail::KeptBy;

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What the events say that it kept, where it has a name or tags.
    pub label: Option<Arc<KeptBy>>,
    /// The kinds of events it is about.
    pub events: Kinds,
    /// What it asks of them.
    pub conditions: Conditions,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            label: None,
            events: Kinds::ALL,
            conditions: Conditions::default(),
        }
    }
}

impl Rule {
    /// The kinds it can match.
    pub fn kinds(&self) -> Kinds {
        self.events.intersection(self.conditions.kinds())
    }
}

/// Conditions all of which have to be met. None asks for nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// What is asked of fields; two may be about one.
    pub fields: Vec<FieldCondition>,
    /// Patterns of the scope of the paths it asks for, of the program's where it asks for none.
    pub path_scope: Vec<Pattern>,
    /// Each has to be met.
    pub all: Vec<Self>,
    /// One of them has to be met, where there are any.
    pub any: Vec<Self>,
    /// None of them may be met.
    pub not: Vec<Self>,
}

/// What is asked of one field: that it matches one of some patterns.
#[derive(Clone, Debug)]
pub struct FieldCondition {
    /// The field.
    pub field: &'static Field,
    /// The patterns.
    pub patterns: Vec<Pattern>,
}

impl PartialEq for FieldCondition {
    fn eq(&self, other: &Self) -> bool {
        self.field.name == other.field.name && self.patterns == other.patterns
    }
}

impl Conditions {
    /// The kinds that have the fields it asks for.
    pub fn kinds(&self) -> Kinds {
        let fields = self.fields.iter().map(|it| it.field.kinds);
        let all = self.all.iter().map(Self::kinds);
        let any = self.any.iter().map(Self::kinds).reduce(Kinds::union);
        fields
            .chain(all)
            .chain(any)
            .fold(Kinds::ALL, Kinds::intersection)
    }

    /// Whether nothing is asked.
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.path_scope.is_empty() && !self.has_groups()
    }

    /// Whether it asks for more than fields.
    pub const fn has_groups(&self) -> bool {
        !(self.all.is_empty() && self.any.is_empty() && self.not.is_empty())
    }

    /// The patterns of each condition on the field of that name.
    pub fn of_field(&self, name: &str) -> impl Iterator<Item = &[Pattern]> {
        let named = self.fields.iter().filter(move |it| it.field.name == name);
        named.map(|it| &*it.patterns)
    }

    /// Whether it asks for a path of which a scope is told.
    pub(super) fn asks_for_path(&self) -> bool {
        self.fields.iter().any(|it| it.field.has_path_scope())
    }
}
