//! The named values of a record, and how each of the types in a log is read. A value is taken by its
//! name and never by its place: versions of a provider have more or fewer of them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::raw;
use crate::trail::Text;

/// A value, as the log has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(Text),
    Number(u64),
}

/// The named values of a record.
#[derive(Clone, Debug, Default)]
pub(super) struct Data(Vec<(Box<str>, Value)>);

impl Data {
    /// The values of a decoded record, which stands so in the log; those of other types are left
    /// out. Beside it, the bytes of all of them.
    pub(super) fn new(members: Members<'_>, record: &[u8]) -> (Self, usize) {
        let mut size = 0;
        let values = members.0.into_iter().filter_map(|(name, member)| {
            let value = match member {
                Member::Number(number) => Value::Number(number),
                Member::Text(text) => {
                    size += text.len();
                    Value::Text(text_of(&text, record))
                }
                Member::Other => return None,
            };
            size += name.len();
            Some((name.into_owned().into_boxed_str(), value))
        });
        let values = values.collect();
        (Self(values), size)
    }

    fn get(&self, name: &str) -> Option<&Value> {
        let mut values = self.0.iter();
        let found = values.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    /// A text; `-` and `?` are how a log says that it does not know.
    pub(super) fn text(&self, name: &str) -> Option<&Text> {
        match self.get(name)? {
            Value::Text(text) if !matches!(text.shown(), "" | "-" | "?") => Some(text),
            _ => None,
        }
    }

    /// The same as what is shown of it.
    pub(super) fn shown(&self, name: &str) -> Option<&str> {
        self.text(name).map(Text::shown)
    }

    /// A whole number: as one, as decimal text, or as hexadecimal text after `0x`.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Value::Number(number) => Some(*number),
            Value::Text(text) => {
                let text = text.shown();
                match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
                    Some(digits) => u64::from_str_radix(digits, 16).ok(),
                    None => text.parse().ok(),
                }
            }
        }
    }

    /// The id of a process, a thread or a session.
    pub(super) fn id(&self, name: &str) -> Option<u32> {
        u32::try_from(self.number(name)?).ok()
    }

    /// A GUID, with braces or without; the one of nothing but zeros is none.
    pub(super) fn guid(&self, name: &str) -> Option<[u8; 16]> {
        let text = self.shown(name)?;
        let digits = text.trim_start_matches('{').trim_end_matches('}');
        let digits = digits.replace('-', "");
        if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let guid = u128::from_str_radix(&digits, 16).ok()?;
        (guid != 0).then(|| guid.to_be_bytes())
    }

    /// `true` or `false`.
    pub(super) fn truth(&self, name: &str) -> Option<bool> {
        let text = self.shown(name)?;
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        if is("true") {
            Some(true)
        } else {
            is("false").then_some(false)
        }
    }

    /// The hash of that algorithm of a list `SHA1=...,MD5=...`, in lower case.
    pub(super) fn hash(&self, name: &str, algorithm: &str) -> Option<Arc<str>> {
        let list = self.shown(name)?.split(',');
        let mut hashes = list.filter_map(|hash| hash.trim().split_once('='));
        let (_, digits) = hashes.find(|(known, _)| known.eq_ignore_ascii_case(algorithm))?;
        // What could not be hashed is told as zeros.
        let is_known = digits.bytes().any(|byte| byte != b'0');
        is_known.then(|| digits.to_ascii_lowercase().into())
    }
}

fn text_of(text: &str, record: &[u8]) -> Text {
    let raw = text
        .contains(char::REPLACEMENT_CHARACTER)
        .then(|| raw::bytes_of(record, text));
    match raw.flatten() {
        Some(bytes) => Text::from_utf_16(bytes),
        None => Text::from(text),
    }
}

/// The members of an object of JSON, as they come.
#[derive(Default)]
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, Member<'a>)>);

/// A member of which no more is known.
pub(super) enum Member<'a> {
    Text(Cow<'a, str>),
    Number(u64),
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("named values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<Name<'de>>()? {
                    members.push((name.0, map.next_value()?));
                }
                Ok(Members(members))
            }

            // A record without values, or with one that has no name.
            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Members::default())
            }

            fn visit_str<E: de::Error>(self, _text: &str) -> Result<Self::Value, E> {
                Ok(Members::default())
            }
        }
        deserializer.deserialize_any(Object)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Member<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Member<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a value")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Member::Text(text.into()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Member::Text(text.to_owned().into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Member::Number(number))
            }

            fn visit_i64<E>(self, _number: i64) -> Result<Self::Value, E> {
                Ok(Member::Other)
            }

            fn visit_f64<E>(self, _number: f64) -> Result<Self::Value, E> {
                Ok(Member::Other)
            }

            fn visit_bool<E>(self, truth: bool) -> Result<Self::Value, E> {
                Ok(Member::Text(if truth { "true" } else { "false" }.into()))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Member::Other)
            }

            // Values of one name: the first is meant.
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let first = list.next_element()?.unwrap_or(Member::Other);
                while list.next_element::<de::IgnoredAny>()?.is_some() {}
                Ok(first)
            }

            // A value with attributes.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut member = Member::Other;
                while let Some(name) = map.next_key::<Name<'de>>()? {
                    if name.0 == "#text" {
                        member = map.next_value()?;
                    } else {
                        map.next_value::<de::IgnoredAny>()?;
                    }
                }
                Ok(member)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Member<'_> {
    /// The whole number that it is.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::Other => None,
        }
    }
}
