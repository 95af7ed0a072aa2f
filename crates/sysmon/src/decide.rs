//! What Sysmon decides: `FilterEventRules`, `MatchFilterGroup` and `CombineGroupDone` of its `rules.c`.

use std::borrow::Cow;

use crate::{Condition, Configuration, EventKind, Item, NO_TEXT, OnMatch, Relation, Section};

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'c> {
    /// Whether it is kept.
    pub is_kept: bool,
    /// The name of what matched: of the condition, else its rule, else its group. Sysmon also tells the
    /// name of a rule that met only some of its conditions, which is not done here.
    pub name: Option<&'c str>,
}

impl Configuration {
    /// What Sysmon does with an event of `kind` whose fields are as `field_fn` says.
    pub fn decide<'f>(
        &self,
        kind: EventKind,
        field_fn: impl Fn(&'static str) -> Option<Cow<'f, str>>,
    ) -> Decision<'_> {
        let of_kind = |on_match: OnMatch| {
            let sections = self.sections.iter().rev();
            sections.filter(move |section| section.kind == kind && section.on_match == on_match)
        };
        let is_met = |condition: &Condition| {
            let text = field_fn(condition.field).filter(|text| !text.is_empty());
            let text = text.unwrap_or(Cow::Borrowed(NO_TEXT));
            condition.operator.matches(&text, &condition.value)
        };
        let unnamed = |is_kept| Decision {
            is_kept,
            name: None,
        };
        // Exclude goes before include whatever the order in the file; of one sort the last goes first.
        for section in of_kind(OnMatch::Exclude).chain(of_kind(OnMatch::Include)) {
            if let Some(name) = section.matched(&is_met) {
                return Decision {
                    is_kept: section.on_match == OnMatch::Include,
                    name: Some(name).filter(|name| !name.is_empty()),
                };
            }
        }
        let mut sections = self.sections.iter().filter(|section| section.kind == kind);
        match (sections.next(), sections.next()) {
            (None, _) => unnamed(kind.is_kept_by_default()),
            (Some(only), None) => unnamed(only.on_match == OnMatch::Exclude),
            // With several the kind's default counts for nothing, and neither does theirs.
            (Some(_), Some(_)) => unnamed(false),
        }
    }
}

impl Section {
    /// The name of what matched, empty where that has none; `None` where nothing did.
    fn matched(&self, is_met: &impl Fn(&Condition) -> bool) -> Option<&str> {
        let matched = |item| matched_item(item, is_met);
        match self.relation {
            Relation::Or => self.items.iter().find_map(matched),
            Relation::And => {
                let mut name = "";
                for item in &self.items {
                    match (item, matched(item)) {
                        (_, Some("")) => {}
                        (_, Some(matched)) => name = matched,
                        // Of the conditions on one field, wherever they stand, one is enough.
                        (Item::Condition(condition), None)
                            if self.has_met(condition.field, is_met) => {}
                        (_, None) => return None,
                    }
                }
                (!self.items.is_empty()).then_some(name)
            }
        }
    }

    fn has_met(&self, field: &str, is_met: &impl Fn(&Condition) -> bool) -> bool {
        self.items.iter().any(|item| match item {
            Item::Condition(condition) => condition.field == field && is_met(condition),
            Item::Rule(_) => false,
        })
    }
}

fn matched_item<'i>(item: &'i Item, is_met: &impl Fn(&Condition) -> bool) -> Option<&'i str> {
    let name = |condition: &'i Condition| condition.name.as_deref().unwrap_or_default();
    match item {
        Item::Condition(condition) => is_met(condition).then(|| name(condition)),
        Item::Rule(rule) => match rule.relation {
            Relation::Or => {
                let mut conditions = rule.conditions.iter();
                conditions.find(|condition| is_met(condition)).map(name)
            }
            Relation::And => {
                let is_whole = rule.conditions.iter().all(is_met);
                let mut names = rule.conditions.iter().rev().map(name);
                is_whole.then(|| names.find(|name| !name.is_empty()).unwrap_or_default())
            }
        },
    }
}
