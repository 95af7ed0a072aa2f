//! A line as its fields: each of the known ones at most once, of the few types a field can have.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::FIELDS;
use super::line_error::{LineError, cut};
use crate::account::Account;

/// The known fields of a line, each there once.
#[derive(Default)]
pub(super) struct Fields<'a> {
    values: Vec<(&'static str, Value<'a>)>,
    pub(super) account: Option<Account>,
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
    pub(super) fn take(&mut self, field: &'static str) -> Option<Value<'a>> {
        let index = self.values.iter().position(|(name, _)| *name == field)?;
        Some(self.values.swap_remove(index).1)
    }

    pub(super) fn number<N: TryFrom<u64>>(&mut self, field: &'static str) -> Result<N, LineError> {
        required(field, self.maybe_number(field)?)
    }

    pub(super) fn maybe_number<N: TryFrom<u64>>(
        &mut self,
        field: &'static str,
    ) -> Result<Option<N>, LineError> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        let number = match &value {
            Value::Number(number) => N::try_from(*number).ok(),
            _ => None,
        };
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(field, number_expected::<N>(), &value)),
        }
    }

    pub(super) fn truth(&mut self, field: &'static str) -> Result<bool, LineError> {
        required(field, self.maybe_truth(field)?)
    }

    pub(super) fn maybe_truth(&mut self, field: &'static str) -> Result<Option<bool>, LineError> {
        match self.take(field) {
            Some(Value::Truth(truth)) => Ok(Some(truth)),
            Some(other) => Err(wrong(field, "true or false", &other)),
            None => Ok(None),
        }
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<Cow<'a, str>, LineError> {
        required(field, self.maybe_text(field)?)
    }

    pub(super) fn maybe_text(
        &mut self,
        field: &'static str,
    ) -> Result<Option<Cow<'a, str>>, LineError> {
        match self.take(field) {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(field, "a text", &other)),
            None => Ok(None),
        }
    }

    pub(super) fn list(
        &mut self,
        field: &'static str,
    ) -> Result<Option<Vec<Cow<'a, str>>>, LineError> {
        match self.take(field) {
            Some(Value::List(list)) => Ok(Some(list)),
            Some(other) => Err(wrong(field, "a list of texts", &other)),
            None => Ok(None),
        }
    }

    pub(super) fn parsed<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        parse_fn: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, LineError> {
        let Some(text) = self.maybe_text(field)? else {
            return Ok(None);
        };
        match parse_fn(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(wrong(field, expected, &text)),
        }
    }
}

pub(super) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, LineError> {
    value.ok_or(LineError::Missing { field })
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

fn number_expected<N>() -> &'static str {
    match size_of::<N>() {
        4 => "a whole number below 2^32",
        _ => "a whole number below 2^64",
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
        while let Some(Name(name)) = map.next_key()? {
            let Some(name) = FIELDS.into_iter().find(|field| *field == name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let is_account = name == "account";
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
