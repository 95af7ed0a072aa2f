//! A field of an event by its name.

use event::{Kind, ProcessKey};

use crate::account::Account;
use crate::schema::Field;
use crate::visit::Visitor;
use crate::{Event, Name, Text, Time, UserId};

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'e> {
    /// A whole number.
    Number(u64),
    /// A point in time.
    Time(Time),
    /// A truth value.
    Truth(bool),
    /// Unicode.
    Text(&'e str),
    /// Text from the system.
    SystemText(&'e Text),
    /// A list of them.
    Texts(&'e [Text]),
    /// The identity of a process.
    Key(ProcessKey),
    /// An address.
    Address(u64),
    /// A user.
    UserId(&'e UserId),
    /// A kind.
    Kind(Kind),
    /// An account.
    Account(&'e Account),
    /// Names of fields.
    Names(&'e [Name]),
    /// Names of fields, with reasons.
    Reasons(&'e [(Name, Name)]),
}

impl Event {
    /// The field of that name; `None` when the event has none. Looks at each field in turn.
    pub fn field(&self, name: &str) -> Option<Value<'_>> {
        let mut wanted = None;
        self.visit(&mut Each(|field: &'static Field, value| {
            if field.name == name {
                wanted = Some(value);
            }
        }));
        wanted
    }
}

/// A visitor that hands each field that is there to a function, with what it holds.
#[derive(Clone, Copy, Debug)]
pub struct Each<F>(pub F);

/// The method of a visitor that hands on a value of its type.
macro_rules! take {
    ($($method:ident: $type:ty => $value:ident;)+) => {
        $(
            fn $method(&mut self, field: &'static Field, value: $type) {
                (self.0)(field, Value::$value(value));
            }
        )+
    };
}

impl<'e, F: FnMut(&'static Field, Value<'e>)> Visitor<'e> for Each<F> {
    take! {
        number: u64 => Number;
        time: Time => Time;
        truth: bool => Truth;
        text: &'e str => Text;
        system_text: &'e Text => SystemText;
        texts: &'e [Text] => Texts;
        key: ProcessKey => Key;
        address: u64 => Address;
        user_id: &'e UserId => UserId;
        kind: Kind => Kind;
        account: &'e Account => Account;
    }

    fn names(&mut self, field: &'static Field, value: &'e [Name]) {
        if !value.is_empty() {
            (self.0)(field, Value::Names(value));
        }
    }

    fn reasons(&mut self, field: &'static Field, value: &'e [(Name, Name)]) {
        if !value.is_empty() {
            (self.0)(field, Value::Reasons(value));
        }
    }
}
