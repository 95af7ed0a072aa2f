//! A line as its fields: each of the known ones at most once, of the few types a field can have.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::line_error::{LineError, cut};
use super::push_string;
use crate::account::Account;
use crate::{Further, SensorStop, schema};

/// Fields a line may have that no version we know has. Each is added to those before it, so their
/// number is bounded.
const NEWER_COUNT_MAX: usize = 256;

/// The fields of a line, each known one there once.
#[derive(Default)]
pub(super) struct Fields<'a> {
    values: Vec<(&'static str, Value<'a>)>,
    pub(super) account: Option<Account>,
    further: Further,
}

/// The name of a field this version knows, of any kind.
fn known(name: &str) -> Option<&'static str> {
    static NAMES: LazyLock<HashSet<&'static str>> =
        LazyLock::new(|| schema::names().iter().copied().collect());
    NAMES.get(name).copied()
}

/// What a field may hold.
pub(super) enum Value<'a> {
    Truth(bool),
    Number(u64),
    Text(Cow<'a, str>),
    List(Vec<Cow<'a, str>>),
    Object(Vec<(Cow<'a, str>, Cow<'a, str>)>),
}

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value<'a>> {
        let index = self.values.iter().position(|(known, _)| *known == name)?;
        Some(self.values.remove(index).1)
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<Cow<'a, str>>, LineError> {
        match self.take(name) {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "a text", &other)),
            None => Ok(None),
        }
    }

    pub(super) fn list(
        &mut self,
        name: &'static str,
    ) -> Result<Option<Vec<Cow<'a, str>>>, LineError> {
        match self.take(name) {
            Some(Value::List(list)) => Ok(Some(list)),
            Some(other) => Err(wrong(name, "a list of texts", &other)),
            None => Ok(None),
        }
    }

    /// A text that `parse_fn` makes a value of; `expected` says what it can.
    pub(super) fn parsed<T>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        parse_fn: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, LineError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match parse_fn(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(wrong(name, expected, &text)),
        }
    }

    /// What nobody has taken: fields of a newer version, and fields this version has for other
    /// kinds.
    pub(super) fn further(self) -> Further {
        let mut further = self.further;
        for (name, value) in &self.values {
            further.add(name, &value.to_json());
        }
        further
    }
}

impl Value<'_> {
    fn to_json(&self) -> String {
        let mut json = String::new();
        match self {
            Self::Truth(truth) => json.push_str(if *truth { "true" } else { "false" }),
            Self::Number(number) => json.push_str(itoa::Buffer::new().format(*number)),
            Self::Text(text) => push_string(&mut json, text),
            Self::List(list) => {
                for (index, text) in list.iter().enumerate() {
                    json.push(if index == 0 { '[' } else { ',' });
                    push_string(&mut json, text);
                }
                json.push_str(if list.is_empty() { "[]" } else { "]" });
            }
            Self::Object(pairs) => {
                for (index, (name, text)) in pairs.iter().enumerate() {
                    json.push(if index == 0 { '{' } else { ',' });
                    push_string(&mut json, name);
                    json.push(':');
                    push_string(&mut json, text);
                }
                json.push_str(if pairs.is_empty() { "{}" } else { "}" });
            }
        }
        json
    }
}

pub(super) fn wrong(
    field: &'static str,
    expected: &'static str,
    found: &(impl fmt::Debug + ?Sized),
) -> LineError {
    LineError::Wrong {
        field,
        expected,
        found: cut(format!("{found:?}")),
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        let mut newer_count = 0;
        while let Some(Name(name)) = map.next_key()? {
            let Some(name) = known(&name) else {
                newer_count += 1;
                if newer_count > NEWER_COUNT_MAX {
                    let message = format_args!("more than {NEWER_COUNT_MAX} unknown fields");
                    return Err(de::Error::custom(message));
                }
                fields
                    .further
                    .add(&name, map.next_value::<&RawValue>()?.get());
                continue;
            };
            let is_account = name == SensorStop::account.name;
            let is_there = fields.values.iter().any(|(field, _)| *field == name)
                || is_account && fields.account.is_some();
            if is_there {
                return Err(de::Error::custom(format_args!("`{name}` is there twice")));
            }
            let in_field =
                |error| <A::Error as de::Error>::custom(format_args!("`{name}`: {error}"));
            if is_account {
                fields.account = Some(map.next_value().map_err(in_field)?);
            } else {
                let value = map.next_value().map_err(in_field)?;
                fields.values.push((name, value));
            }
        }
        Ok(fields)
    }
}

/// A text that is borrowed from the line where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Owned(text.to_owned())))
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number below 2^64, a text, true, false, or texts")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(Value::Truth(truth))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Name(text)) = seq.next_element()? {
            list.push(text);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        /// More than an event has fields; a bound because each pair is compared with all.
        const PAIR_COUNT_MAX: usize = 64;
        let mut pairs: Vec<(Cow<'de, str>, Cow<'de, str>)> = Vec::new();
        while let Some((Name(field), Name(reason))) = map.next_entry()? {
            if pairs.len() == PAIR_COUNT_MAX || pairs.iter().any(|(known, _)| *known == field) {
                return Err(de::Error::custom("a field twice, or more than 64 of them"));
            }
            pairs.push((field, reason));
        }
        Ok(Value::Object(pairs))
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truth(truth) => truth.fmt(formatter),
            Self::Number(number) => number.fmt(formatter),
            Self::Text(text) => text.fmt(formatter),
            Self::List(list) => write!(formatter, "a list of {}", list.len()),
            Self::Object(pairs) => write!(formatter, "an object of {}", pairs.len()),
        }
    }
}
