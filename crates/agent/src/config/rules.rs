//! `[[include]]` and `[[exclude]]`: tables of conditions, with groups of them inside.

use std::ops::Range;
use std::sync::Arc;

use event::Kind;

use super::reader::{Reader, Section, Value};
use super::{EVENT_NAMES, RuleEntry, keys};
use crate::rules::{
    Conditions, DEPTH_MAX, Field, FieldCondition, Kinds, PATTERNS_MAX, PROCESS_IMAGE, Pattern,
    Rule, fields,
};
use crate::trail::{KeptBy, Text};

/// The most tags of a rule.
const TAGS_MAX: usize = 32;

/// The most bytes of a rule's name, and of a tag: they are on every event it keeps.
const LABEL_SIZE_MAX: usize = 256;

pub(super) fn read(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<RuleEntry> {
    let Some(items) = reader.tables(value) else {
        return Vec::new();
    };
    items
        .into_iter()
        .map(|(span, section)| RuleEntry {
            place: reader.place(span.start),
            rule: read_rule(reader, &span, section),
        })
        .collect()
}

fn read_rule(reader: &mut Reader<'_>, span: &Range<usize>, mut section: Section<'_>) -> Rule {
    let (mut events, found) = (Kinds::ALL, reader.finding_count());
    let asks_for_events = section.take("events");
    if let Some(value) = &asks_for_events {
        keys::read_events(reader, value, &event_names(), &mut events);
    }
    let label = read_label(reader, &mut section);
    let conditions = read_conditions(reader, &mut section, 0);
    let is_wrong = reader.finding_count() > found;
    if conditions.is_empty() && asks_for_events.is_none() && !is_wrong && section.is_known() {
        let message = "a rule without a condition; give it a field of an event, such as image, \
                       command_line, user or loaded_image, or events";
        reader.error(span, message.to_owned());
    }
    section.finish(reader);
    Rule {
        label,
        events,
        conditions,
    }
}

/// What the events say that the rule keeps.
fn read_label(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Arc<KeptBy>> {
    let mut label = KeptBy::default();
    if let Some(value) = section.take("name") {
        let name = read_word(reader, &value);
        label.rule_name = name.map(Arc::from);
    }
    if let Some(value) = section.take("tags") {
        let items = reader.one_or_list(&value).unwrap_or_default();
        if items.is_empty() || items.len() > TAGS_MAX {
            reader.refuse(&value, &format!("1 to {TAGS_MAX} tags are allowed"));
        }
        let tags = items.iter().take(TAGS_MAX);
        let tags = tags.filter_map(|item| read_word(reader, item).map(Text::from));
        label.tags = Some(tags.collect());
    }
    (label != KeptBy::default()).then(|| Arc::new(label))
}

/// A name or a tag.
fn read_word<'d>(reader: &mut Reader<'_>, value: &Value<'d>) -> Option<&'d str> {
    let word = reader.string(value)?;
    if word.is_empty() || word.len() > LABEL_SIZE_MAX {
        let reason = format!("1 to {LABEL_SIZE_MAX} bytes are allowed");
        reader.refuse_with(value, &reason);
        return None;
    }
    Some(word)
}

fn read_conditions(reader: &mut Reader<'_>, section: &mut Section<'_>, depth: usize) -> Conditions {
    let mut conditions = Conditions::default();
    let mut ignores_case = false;
    if let Some(value) = section.take("ignore_case") {
        reader.boolean(&value, &mut ignores_case);
    }
    let own = fields().iter().map(|field| (field.name, field));
    let alias = Field::named(PROCESS_IMAGE).map(|field| (PROCESS_IMAGE, field));
    for (name, field) in own.chain(alias) {
        let Some(value) = section.take(name) else {
            continue;
        };
        let patterns = read_patterns(reader, &value, field.is_bare(), ignores_case);
        conditions.fields.push(FieldCondition { field, patterns });
    }
    if let Some(value) = section.take("path_scope") {
        conditions.path_scope = read_patterns(reader, &value, false, ignores_case);
    }
    for (key, groups) in [
        ("all", &mut conditions.all),
        ("any", &mut conditions.any),
        ("not", &mut conditions.not),
    ] {
        if let Some(value) = section.take(key) {
            *groups = read_groups(reader, &value, depth + 1);
        }
    }
    conditions
}

/// A table of conditions, or a list of them.
fn read_groups(reader: &mut Reader<'_>, value: &Value<'_>, depth: usize) -> Vec<Conditions> {
    if depth > DEPTH_MAX {
        let reason = format!("conditions may be {DEPTH_MAX} deep in one another");
        reader.refuse(value, &reason);
        return Vec::new();
    }
    let found = reader.finding_count();
    let Some(items) = reader.one_or_more_tables(value) else {
        return Vec::new();
    };
    if items.is_empty() && reader.finding_count() == found {
        reader.refuse(value, "an empty list asks for nothing; leave the key out");
    }
    let read = items.into_iter().map(|(span, mut section)| {
        let found = reader.finding_count();
        let conditions = read_conditions(reader, &mut section, depth);
        if conditions.is_empty() && reader.finding_count() == found && section.is_known() {
            reader.error(&span, "a table without a condition".to_owned());
        }
        section.finish(reader);
        conditions
    });
    read.collect()
}

/// `process`, `thread` and `image`, and each kind by its own name.
fn event_names() -> Vec<(&'static str, Kinds)> {
    let kinds = Kind::OBSERVED
        .into_iter()
        .filter_map(|kind| kind.name().map(|name| (name, Kinds::NONE.with(kind))));
    EVENT_NAMES.into_iter().chain(kinds).collect()
}

/// A pattern or a list of patterns; a number and a truth value stand for themselves where the field holds
/// such.
fn read_patterns(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    is_bare: bool,
    ignores_case: bool,
) -> Vec<Pattern> {
    let Some(items) = reader.texts(value, is_bare) else {
        return Vec::new();
    };
    if items.is_empty() {
        reader.refuse(
            value,
            "an empty list matches nothing; leave the key out to match all",
        );
    }
    if items.len() > PATTERNS_MAX {
        reader.refuse_with(
            value,
            &format!("at most {PATTERNS_MAX} patterns are allowed"),
        );
    }
    let mut patterns = Vec::with_capacity(items.len().min(PATTERNS_MAX));
    for (item, text) in items.iter().take(PATTERNS_MAX) {
        match Pattern::of(reader.system, text, ignores_case) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => reader.refuse_with(item, &error.to_string()),
        }
    }
    patterns
}
