//! A Sysmon configuration as rules, and what of it could not be taken.
//!
//! Sysmon asks the sections of a kind one after the other, exclude before include, and an event that none
//! matches is kept or not by which sections there are. Here a kind has include rules or it has none, and
//! two of Sysmon's kinds can be one of ours; so each rule says which events it is about.

use std::fmt::Write as _;

use sysmon::{Condition, Configuration, EventKind, Item, OnMatch, Relation, Rule, Section};

use super::fields;
use super::table::{Table, quoted};

/// The most bytes of a rule's name that are taken over.
const NAME_SIZE_MAX: usize = 256;

/// What a configuration came to.
#[derive(Debug)]
pub(super) struct Translation {
    pub(super) rules: Vec<OwnRule>,
    /// The configuration without what was left out, by which the rules are proved.
    pub(super) taken: Configuration,
    pub(super) left: Vec<Left>,
    pub(super) counts: Vec<Count>,
}

/// A rule of ours.
#[derive(Debug)]
pub(super) struct OwnRule {
    on_match: OnMatch,
    events: &'static str,
    name: Option<String>,
    table: Table,
}

/// What could not be taken, or not without a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Where it stands, counted from 1.
    pub line: u32,
    /// What, why, and what it means.
    pub what: String,
}

/// How many rules a kind has, a condition by itself counted as one, and how many of them are here as they
/// are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The kind.
    pub kind: EventKind,
    /// All.
    pub all: usize,
    /// Those that are here whole.
    pub taken: usize,
}

/// What an item came to.
struct Taken {
    /// Each with its name.
    tables: Vec<(Option<String>, Table)>,
    item: Option<Item>,
    is_whole: bool,
}

pub(super) fn translate(configuration: &Configuration) -> Translation {
    let mut translation = Translation {
        rules: Vec::new(),
        taken: Configuration {
            sections: Vec::new(),
            ..configuration.clone()
        },
        left: Vec::new(),
        counts: EventKind::ALL
            .map(|kind| Count {
                kind,
                all: 0,
                taken: 0,
            })
            .into(),
    };
    let mut own: Vec<(EventKind, Vec<OwnRule>)> = Vec::new();
    for kind in EventKind::ALL {
        let sections = &configuration.sections;
        let sections: Vec<&Section> = sections.iter().filter(|it| it.kind == kind).collect();
        own.push((kind, translation.sections(kind, &sections)));
    }
    translation.add_defaults(configuration, own);
    translation
        .taken
        .sections
        .sort_by_key(|section| section.line);
    translation.left.sort_by_key(|left| left.line);
    translation
}

impl Translation {
    /// The rules of a kind; of one sort Sysmon asks the last section first.
    fn sections(&mut self, kind: EventKind, sections: &[&Section]) -> Vec<OwnRule> {
        let mut rules = Vec::new();
        for section in sections.iter().rev() {
            let mut taken = Vec::new();
            for item in &section.items {
                let item = self.item(section, item);
                self.count(kind, item.is_whole);
                taken.push(item);
            }
            let is_whole = taken.iter().all(|item| item.is_whole);
            let tables: Vec<(Option<String>, Table)> = match section.relation {
                Relation::Or => taken.iter().flat_map(|it| it.tables.clone()).collect(),
                // Without one of its conditions it would leave out more than Sysmon does.
                Relation::And if section.on_match == OnMatch::Exclude && !is_whole => {
                    taken.clear();
                    Vec::new()
                }
                Relation::And => together(kind, &taken).into_iter().collect(),
            };
            rules.extend(tables.into_iter().map(|(name, table)| OwnRule {
                on_match: section.on_match,
                events: events_of(kind),
                name,
                table: class_of(kind).and(table),
            }));
            self.taken.sections.push(Section {
                items: taken.into_iter().filter_map(|it| it.item).collect(),
                ..(*section).clone()
            });
        }
        rules
    }

    fn item(&mut self, section: &Section, item: &Item) -> Taken {
        match item {
            Item::Condition(condition) => {
                let table = self.condition(section, condition);
                Taken {
                    is_whole: table.is_some(),
                    item: table.is_some().then(|| item.clone()),
                    tables: table
                        .map(|table| (condition.name.clone(), table))
                        .into_iter()
                        .collect(),
                }
            }
            Item::Rule(rule) => self.rule(section, rule),
        }
    }

    fn rule(&mut self, section: &Section, rule: &Rule) -> Taken {
        let tables: Vec<(&Condition, Option<Table>)> = rule
            .conditions
            .iter()
            .map(|condition| (condition, self.condition(section, condition)))
            .collect();
        let is_whole = tables.iter().all(|(_, table)| table.is_some());
        let may_lack = rule.relation == Relation::Or || section.on_match == OnMatch::Include;
        let taken: Vec<(&Condition, Table)> = tables
            .into_iter()
            .filter_map(|(condition, table)| Some((condition, table?)))
            .collect();
        if taken.is_empty() || !(is_whole || may_lack) {
            return Taken {
                tables: Vec::new(),
                item: None,
                is_whole: false,
            };
        }
        let conditions = taken.iter().map(|(condition, _)| (*condition).clone());
        let item = Item::Rule(Rule {
            conditions: conditions.collect(),
            ..rule.clone()
        });
        let tables = match rule.relation {
            Relation::Or => by_name(taken),
            Relation::And => {
                let mut names = taken.iter().rev().map(|(condition, _)| &condition.name);
                let name = names.find(|name| name.is_some()).cloned().flatten();
                let tables = taken.into_iter().map(|(_, table)| table);
                vec![(name, Table::all(tables.collect()))]
            }
        };
        Taken {
            tables,
            item: Some(item),
            is_whole,
        }
    }

    fn condition(&mut self, section: &Section, condition: &Condition) -> Option<Table> {
        match fields::condition(section.kind, condition) {
            Ok(table) => Some(table),
            Err(why) => {
                self.left.push(Left {
                    line: condition.line,
                    what: format!(
                        "{} {}: {} \"{}\": {why}",
                        section.kind.element(),
                        on_match(section.on_match),
                        condition.field,
                        condition.operator.name()
                    ),
                });
                None
            }
        }
    }

    fn count(&mut self, kind: EventKind, is_whole: bool) {
        if let Some(count) = self.counts.iter_mut().find(|count| count.kind == kind) {
            count.all += 1;
            count.taken += usize::from(is_whole);
        }
    }

    /// Adds the rules, and those by which an event that none of them matches is kept or not.
    fn add_defaults(&mut self, configuration: &Configuration, own: Vec<(EventKind, Vec<OwnRule>)>) {
        let includes = |rules: &[OwnRule]| rules.iter().any(|it| it.on_match == OnMatch::Include);
        let filtered: Vec<&'static str> = own
            .iter()
            .filter(|(_, rules)| includes(rules))
            .map(|(kind, _)| events_of(*kind))
            .collect();
        for (kind, rules) in own {
            let by_default = is_kept_by_default(configuration, kind);
            let whole = |on_match| OwnRule {
                on_match,
                events: events_of(kind),
                name: None,
                table: class_of(kind),
            };
            if by_default && filtered.contains(&events_of(kind)) {
                self.rules.push(whole(OnMatch::Include));
            } else if !by_default && !includes(&rules) {
                self.rules.push(whole(OnMatch::Exclude));
            }
            self.rules.extend(rules);
        }
        // What Sysmon does not tell of.
        self.rules.push(OwnRule {
            on_match: OnMatch::Exclude,
            events: "\"thread_start\"",
            name: None,
            table: Table::field("remote", vec!["false".to_owned()]),
        });
        self.rules.push(OwnRule {
            on_match: OnMatch::Exclude,
            events: "\"thread_exit\", \"image_unload\"",
            name: None,
            table: Table::default(),
        });
    }

    /// The rules as tables of a configuration file.
    pub(super) fn write(&self, out: &mut String) {
        let (include, exclude) = (OnMatch::Include, OnMatch::Exclude);
        for list in [include, exclude] {
            for rule in self.rules.iter().filter(|rule| rule.on_match == list) {
                let _infallible = write!(out, "\n[[{}]]\n", on_match(list));
                if let Some(name) = rule.name.as_ref().filter(|_| list == include) {
                    let _infallible = writeln!(out, "name = {}", quoted(cut(name)));
                }
                let _infallible = writeln!(out, "events = [{}]", rule.events);
                rule.table.write(out);
            }
        }
    }
}

/// Conditions of which one is enough, those with one name together.
fn by_name(taken: Vec<(&Condition, Table)>) -> Vec<(Option<String>, Table)> {
    let mut named: Vec<(Option<String>, Vec<Table>)> = Vec::new();
    for (condition, table) in taken {
        match named.iter_mut().find(|(name, _)| *name == condition.name) {
            Some((_, tables)) => tables.push(table),
            None => named.push((condition.name.clone(), vec![table])),
        }
    }
    let joined = named.into_iter();
    joined
        .map(|(name, tables)| (name, Table::any(tables)))
        .collect()
}

/// A section all of whose items are needed; of its conditions on one field one is enough.
fn together(kind: EventKind, taken: &[Taken]) -> Option<(Option<String>, Table)> {
    let mut fields: Vec<(&str, Vec<Table>)> = Vec::new();
    let mut rules = Vec::new();
    let mut name = None;
    for it in taken {
        let Some(item) = &it.item else {
            continue;
        };
        name = it.tables.iter().find_map(|(name, _)| name.clone()).or(name);
        let tables = it.tables.iter().map(|(_, table)| table.clone());
        match item {
            Item::Rule(_) => rules.push(Table::any(tables.collect())),
            Item::Condition(condition) => {
                let field = fields::field_of(kind, condition.field).unwrap_or_default();
                match fields.iter_mut().find(|(known, _)| *known == field) {
                    Some((_, known)) => known.extend(tables),
                    None => fields.push((field, tables.collect())),
                }
            }
        }
    }
    let fields = fields.into_iter().map(|(_, tables)| Table::any(tables));
    let all: Vec<Table> = fields.chain(rules).collect();
    (!all.is_empty()).then(|| (name, Table::all(all)))
}

/// Whether Sysmon keeps an event of the kind that no section matches.
fn is_kept_by_default(configuration: &Configuration, kind: EventKind) -> bool {
    let mut sections = configuration.sections.iter().filter(|it| it.kind == kind);
    match (sections.next(), sections.next()) {
        (None, _) => kind.is_kept_by_default(),
        (Some(only), None) => only.on_match == OnMatch::Exclude,
        (Some(_), Some(_)) => false,
    }
}

/// The kind of our events.
const fn events_of(kind: EventKind) -> &'static str {
    match kind {
        EventKind::ProcessCreate => "\"process_start\"",
        EventKind::ProcessTerminate => "\"process_exit\"",
        EventKind::DriverLoad | EventKind::ImageLoad => "\"image_load\"",
        EventKind::CreateRemoteThread => "\"thread_start\"",
    }
}

/// Which of them.
fn class_of(kind: EventKind) -> Table {
    let (field, value) = match kind {
        EventKind::ProcessCreate | EventKind::ProcessTerminate => return Table::default(),
        EventKind::DriverLoad => ("kernel_image", "true"),
        EventKind::ImageLoad => ("kernel_image", "false"),
        EventKind::CreateRemoteThread => ("remote", "true"),
    };
    Table::field(field, vec![value.to_owned()])
}

const fn on_match(on_match: OnMatch) -> &'static str {
    match on_match {
        OnMatch::Include => "include",
        OnMatch::Exclude => "exclude",
    }
}

/// As much of a name as one can have.
fn cut(name: &str) -> &str {
    let mut end = name.len().min(NAME_SIZE_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default()
}
