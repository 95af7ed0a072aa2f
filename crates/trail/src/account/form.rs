//! The account as an object of JSON: `serde`'s traits without its derive, which would be four more
//! crates to build for everybody who reads a log.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use event::Kind;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

use super::{Account, Count, Counts, QueuePeak, SinkCount};
use crate::Further;

/// An object that takes its members one by one.
trait Object: Default {
    /// What it is called in an error.
    const NAME: &'static str;
    /// Members it must have.
    const REQUIRED: &'static [&'static str];

    /// Takes the member of that name.
    ///
    /// # Errors
    /// What is wrong with its value.
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Object> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(T::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut object = T::default();
        let mut names: Vec<String> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            // Compared with all before it, so there is a bound; none of these has as many.
            if names.len() == NAME_COUNT_MAX || names.contains(&name) {
                return Err(A::Error::custom(format_args!(
                    "a name twice, or more than {NAME_COUNT_MAX} of them"
                )));
            }
            object.take(&name, &mut map)?;
            names.push(name);
        }
        match T::REQUIRED
            .iter()
            .find(|name| !names.iter().any(|known| known == *name))
        {
            Some(name) => Err(A::Error::missing_field(name)),
            None => Ok(object),
        }
    }
}

/// The most names an object may have.
const NAME_COUNT_MAX: usize = 256;

/// Both directions of an object with a member a field; `$further` takes what is not known.
macro_rules! object {
    ($type:ident, $name:literal, required $required:tt, optional $optional:tt) => {
        object!(@impl $type, $name, $required, $optional,
            |_object, _name, map| map.next_value::<serde::de::IgnoredAny>().map(drop),
            |_object, _map| {});
    };
    (
        @impl $type:ident, $name:literal, [$($required:ident),*], [$($optional:ident),*],
        |$object:ident, $other:ident, $map:ident| $further:expr,
        |$written:ident, $out:ident| $rest:expr
    ) => {
        impl Object for $type {
            const NAME: &'static str = $name;
            const REQUIRED: &'static [&'static str] = &[$(stringify!($required)),*];

            fn take<'de, A: MapAccess<'de>>(
                &mut self,
                name: &str,
                $map: &mut A,
            ) -> Result<(), A::Error> {
                let ($object, $other) = (self, name);
                match name {
                    $(stringify!($required) => $object.$required = $map.next_value()?,)*
                    $(stringify!($optional) => $object.$optional = $map.next_value()?,)*
                    _ => $further?,
                }
                Ok(())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map(ObjectVisitor(PhantomData))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut $out = serializer.serialize_map(None)?;
                $($out.serialize_entry(stringify!($required), &self.$required)?;)*
                $($out.serialize_entry(stringify!($optional), &self.$optional)?;)*
                let $written = self;
                $rest;
                $out.end()
            }
        }
    };
}

object!(Count, "counters", required [produced, delivered, lost], optional [excluded]);
object!(QueuePeak, "a queue", required [name, peak, limit, unit], optional []);
object!(SinkCount, "a sink", required [name, written, lost], optional []);
object!(
    @impl Account, "an account", [source, duration_ns, balanced, kinds, queues, sinks], [],
    |account, name, map| {
        match name {
            "forwarded" => account.forwarded = map.next_value()?,
            "owed" => account.owed = map.next_value()?,
            _ => {
                let value: Box<RawValue> = map.next_value()?;
                account.further.add(name, value.get());
            }
        }
        Ok(())
    },
    |account, out| {
        for (name, count) in [("forwarded", account.forwarded), ("owed", account.owed)] {
            // Of no interest to who has no receiver.
            if let Some(count) = count {
                out.serialize_entry(name, &count)?;
            }
        }
        for (name, value) in members(&account.further) {
            out.serialize_entry(&name, &value)?;
        }
    }
);

impl Object for Counts {
    const NAME: &'static str = "counters by kind";
    const REQUIRED: &'static [&'static str] = &[];

    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        let count = map.next_value()?;
        match Kind::from_name(name).and_then(|kind| self.of(kind)) {
            Some(known) => *known = count,
            None => self.newer.push((name.into(), count)),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (kind, count) in self.told() {
            map.serialize_entry(kind.name().unwrap_or_default(), &count)?;
        }
        for (name, count) in &self.newer {
            map.serialize_entry(name, count)?;
        }
        map.end()
    }
}

/// The fields with their values.
fn members(further: &Further) -> Vec<(Cow<'_, str>, &RawValue)> {
    // They were read from JSON; were they not, nothing would be said of them.
    let members = serde_json::from_str::<Members<'_>>(further.object());
    members.map(|members| members.0).unwrap_or_default()
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            members.push((Cow::Owned(name), value));
        }
        Ok(Members(members))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}
