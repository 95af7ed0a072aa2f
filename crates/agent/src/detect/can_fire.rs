//! Whether a rule can ever fire: by the fields it asks for and those its log source has. A rule that
//! cannot is no error, but whoever relies on it should know.

use std::collections::BTreeSet;

use rsigma_parser::{
    ConditionExpr, Detection, DetectionItem, Detections, Modifier, Quantifier, SelectorPattern,
    SigmaRule, SigmaValue,
};

use super::taxonomy::Source;

/// What a rule can do here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ability {
    pub(super) can_fire: bool,
    /// The fields it asks for that are not told of its log source.
    pub(super) missing: BTreeSet<String>,
    /// The columns it looks at.
    pub(super) columns: BTreeSet<usize>,
    /// Whether it looks at whatever there is.
    pub(super) has_keywords: bool,
}

/// What a part of a rule can come out as.
#[derive(Clone, Copy, Debug)]
struct Can {
    hold: bool,
    fail: bool,
}

const EITHER: Can = Can {
    hold: true,
    fail: true,
};

/// What `rule` can do on the log source.
pub(super) fn ability(rule: &SigmaRule, source: &Source) -> Ability {
    let mut looker = Looker {
        source,
        missing: BTreeSet::new(),
        columns: BTreeSet::new(),
        has_keywords: false,
    };
    // All of them are looked at, so that every missing field is named.
    let named = rule.detection.named.values();
    named.for_each(|detection| {
        looker.detection(detection);
    });
    let conditions = rule.detection.conditions.iter();
    let can_fire = conditions
        .map(|condition| looker.condition(condition, &rule.detection))
        .any(|can| can.hold);
    Ability {
        can_fire,
        missing: looker.missing,
        columns: looker.columns,
        has_keywords: looker.has_keywords,
    }
}

struct Looker<'s> {
    source: &'s Source,
    missing: BTreeSet<String>,
    columns: BTreeSet<usize>,
    has_keywords: bool,
}

impl Looker<'_> {
    fn condition(&mut self, condition: &ConditionExpr, all: &Detections) -> Can {
        match condition {
            ConditionExpr::And(parts) => every(parts.iter().map(|part| self.condition(part, all))),
            ConditionExpr::Or(parts) => any(parts.iter().map(|part| self.condition(part, all))),
            ConditionExpr::Not(part) => {
                let can = self.condition(part, all);
                Can {
                    hold: can.fail,
                    fail: can.hold,
                }
            }
            ConditionExpr::Identifier(name) => match all.named.get(name) {
                Some(detection) => self.detection(detection),
                None => EITHER,
            },
            ConditionExpr::Selector {
                quantifier,
                pattern,
            } => self.selector(quantifier, pattern, all),
        }
    }

    fn selector(
        &mut self,
        quantifier: &Quantifier,
        pattern: &SelectorPattern,
        all: &Detections,
    ) -> Can {
        let named = all.named.iter();
        let chosen = named.filter(|(name, _)| pattern.matches_detection_name(name));
        let chosen: Vec<Can> = chosen
            .map(|(_, detection)| self.detection(detection))
            .collect();
        match quantifier {
            Quantifier::Any => any(chosen.into_iter()),
            Quantifier::All => every(chosen.into_iter()),
            Quantifier::Count(count) => {
                let number = |is_so: fn(&Can) -> bool| {
                    let those = chosen.iter().filter(|can| is_so(can));
                    u64::try_from(those.count()).unwrap_or(u64::MAX)
                };
                Can {
                    hold: number(|can| can.hold) >= *count,
                    fail: number(|can| !can.fail) < *count,
                }
            }
        }
    }

    fn detection(&mut self, detection: &Detection) -> Can {
        match detection {
            Detection::AllOf(items) => every(items.iter().map(|item| self.item(item))),
            Detection::AnyOf(parts) => any(parts.iter().map(|part| self.detection(part))),
            Detection::And(parts) => every(parts.iter().map(|part| self.detection(part))),
            Detection::Keywords(_)
            | Detection::ArrayMatch { .. }
            | Detection::Conditional { .. } => {
                self.has_keywords = true;
                EITHER
            }
        }
    }

    fn item(&mut self, item: &DetectionItem) -> Can {
        let has = |modifier| item.field.modifiers.contains(&modifier);
        if has(Modifier::FieldRef) {
            for name in item.values.iter().map(ToString::to_string) {
                self.find(&name);
            }
        }
        let Some(name) = &item.field.name else {
            self.has_keywords = true;
            return EITHER;
        };
        if self.find(name) {
            return EITHER;
        }
        // What is not there is null, and does not exist; anything else it is not.
        let is_absence = |value: &SigmaValue| match value {
            SigmaValue::Null => true,
            SigmaValue::Bool(is_there) => has(Modifier::Exists) && !is_there,
            _ => false,
        };
        let hold = item.values.iter().any(is_absence);
        Can { hold, fail: !hold }
    }

    /// Notes a field that is asked for, and says whether there is one.
    fn find(&mut self, name: &str) -> bool {
        let mut columns = self.source.columns.iter();
        let index = columns.position(|column| column.sigma == name);
        if let Some(index) = index {
            self.columns.insert(index);
        } else {
            self.missing.insert(name.to_owned());
        }
        index.is_some()
    }
}

fn every(parts: impl Iterator<Item = Can>) -> Can {
    parts.fold(
        Can {
            hold: true,
            fail: false,
        },
        |all, part| Can {
            hold: all.hold && part.hold,
            fail: all.fail || part.fail,
        },
    )
}

fn any(parts: impl Iterator<Item = Can>) -> Can {
    parts.fold(
        Can {
            hold: false,
            fail: true,
        },
        |all, part| Can {
            hold: all.hold || part.hold,
            fail: all.fail && part.fail,
        },
    )
}
