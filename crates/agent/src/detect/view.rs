//! An event as the engine asks it: field by field, read from the event itself when it is asked for.
//!
//! The engine looks a field up for each condition of each rule, so names must cost nothing: `rewrite`
//! puts a letter for the column in the place of each name, and a look-up is an index.

use std::borrow::Cow;

use rsigma_eval::EventValue;
use serde_json::Value;

use super::taxonomy::Column;
use crate::trail;

/// What stands in a rule for a field that its log source does not have.
pub(super) const NO_COLUMN: &str = "-";

/// What stands in a rule for the column at `index`; there are fewer columns than letters.
pub(super) fn letter(index: usize) -> String {
    let letters = (b'A'..=b'Z').chain(b'a'..=b'z').map(char::from);
    let letter = letters.map(String::from).nth(index);
    letter.unwrap_or_else(|| NO_COLUMN.to_owned())
}

/// The place of the column that a letter stands for.
fn index(letter: &str) -> Option<usize> {
    let [byte] = letter.as_bytes() else {
        return None;
    };
    let index = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        _ => return None,
    };
    Some(index.into())
}

/// One event, as rules of one log source see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'e> {
    pub(super) event: &'e trail::Event,
    pub(super) columns: &'static [Column],
}

impl View<'_> {
    fn values(&self) -> impl Iterator<Item = EventValue<'_>> {
        self.columns
            .iter()
            .filter_map(|column| (column.read)(self.event))
    }
}

/// Every text of a value to `text_fn`, until that says that it has what it wants.
fn any_text(value: &EventValue<'_>, text_fn: &mut dyn FnMut(&str) -> bool) -> bool {
    match value {
        EventValue::Str(text) => text_fn(text),
        EventValue::Array(values) => values.iter().any(|value| any_text(value, text_fn)),
        _ => false,
    }
}

impl rsigma_eval::Event for View<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        let column = self.columns.get(index(path)?)?;
        (column.read)(self.event)
    }

    fn any_string_value(&self, is_wanted_fn: &dyn Fn(&str) -> bool) -> bool {
        self.values()
            .any(|value| any_text(&value, &mut |text| is_wanted_fn(text)))
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        let mut all = Vec::new();
        self.visit_string_values(&mut |text| all.push(Cow::Owned(text.to_owned())));
        all
    }

    fn visit_string_values(&self, visit_fn: &mut dyn FnMut(&str)) {
        for value in self.values() {
            let _all = any_text(&value, &mut |text| {
                visit_fn(text);
                false
            });
        }
    }

    /// For a rule that wants the event back; no rule of ours does.
    fn to_json(&self) -> Value {
        let fields = self.columns.iter().filter_map(|column| {
            let value = (column.read)(self.event)?;
            Some((column.sigma.to_owned(), value.to_json()))
        });
        Value::Object(fields.collect())
    }
}
