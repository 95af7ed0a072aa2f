//! The two directions of a declared field: a [`Visitor`] is shown what an event holds, a [`Source`]
//! is asked for it. Both are called statically, a method a type, so that writing an event costs what
//! hand-written code would.

use std::borrow::Cow;
use std::sync::Arc;

use event::{Kind, ProcessKey};

use crate::account::Account;
use crate::schema::{Declared, Field, Type};
use crate::{Name, Origin, Text, Time, UserId};

/// Is shown the fields of an event, in their order.
pub trait Visitor<'e> {
    /// A field that is not there.
    fn absent(&mut self, _field: &'static Field) {}
    /// A number.
    fn number(&mut self, field: &'static Field, value: u64);
    /// A point in time.
    fn time(&mut self, field: &'static Field, value: Time);
    /// A truth value, or a flag that is set.
    fn truth(&mut self, field: &'static Field, value: bool);
    /// Unicode text.
    fn text(&mut self, field: &'static Field, value: &'e str);
    /// Text from the system.
    fn system_text(&mut self, field: &'static Field, value: &'e Text);
    /// A list of them.
    fn texts(&mut self, field: &'static Field, value: &'e [Text]);
    /// The identity of a process.
    fn key(&mut self, field: &'static Field, value: ProcessKey);
    /// An address.
    fn address(&mut self, field: &'static Field, value: u64);
    /// A user.
    fn user_id(&mut self, field: &'static Field, value: &'e UserId);
    /// A kind.
    fn kind(&mut self, field: &'static Field, value: Kind);
    /// An account.
    fn account(&mut self, field: &'static Field, value: &'e Account);
    /// Names of fields; called with none as well.
    fn names(&mut self, field: &'static Field, value: &'e [Name]);
    /// Names of fields with reasons; called with none as well.
    fn reasons(&mut self, field: &'static Field, value: &'e [(Name, Name)]);

    /// Whether it is to be shown the fields that are [noted](crate::schema::Place::Noted).
    fn wants_noted(&self) -> bool {
        true
    }

    /// Where the event comes from, which many events share.
    fn origin(&mut self, origin: &'e Origin)
    where
        Self: Sized,
    {
        origin.visit(self);
    }
}

/// Is asked for the fields of an event, in their order. `None` is a field that is not there.
///
/// # Errors
/// Each says what is wrong with a field that is there and is not of its type.
#[expect(missing_docs, reason = "each asks for a value of the type in its name")]
pub trait Source {
    type Error;

    fn number(&mut self, field: &'static Field) -> Result<Option<u64>, Self::Error>;
    fn truth(&mut self, field: &'static Field) -> Result<Option<bool>, Self::Error>;
    fn text(&mut self, field: &'static Field) -> Result<Option<Cow<'_, str>>, Self::Error>;
    fn system_text(&mut self, field: &'static Field) -> Result<Option<Text>, Self::Error>;
    fn texts(&mut self, field: &'static Field) -> Result<Option<Arc<[Text]>>, Self::Error>;
    fn key(&mut self, field: &'static Field) -> Result<Option<ProcessKey>, Self::Error>;
    fn address(&mut self, field: &'static Field) -> Result<Option<u64>, Self::Error>;
    fn user_id(&mut self, field: &'static Field) -> Result<Option<UserId>, Self::Error>;
    fn kind(&mut self, field: &'static Field) -> Result<Option<Kind>, Self::Error>;
    fn account(&mut self, field: &'static Field) -> Result<Option<Account>, Self::Error>;

    /// The error for a field that must be there and is not.
    fn lacks(&self, field: &'static Field) -> Self::Error;
    /// The error for a number that is too large for its field, of which `expected` says what it
    /// can hold.
    fn too_large(&self, field: &'static Field, expected: &'static str, value: u64) -> Self::Error;
}

/// How a type of Rust is a type of the schema.
pub trait Form<T> {
    /// The type of the schema.
    const TYPE: Type;
    /// Whether it may be absent without a word in `missing`.
    const IS_OPTIONAL: bool = false;

    /// Appends the field, or those it stands for.
    fn declare(field: &'static Field, list: &mut Vec<&'static Field>) {
        list.push(field);
    }

    /// Shows the value.
    fn visit<'e, V: Visitor<'e>>(field: &'static Field, value: &'e T, visitor: &mut V);

    /// Takes the value.
    ///
    /// # Errors
    /// What the source says.
    fn read<S: Source>(field: &'static Field, source: &mut S) -> Result<T, S::Error>;
}

/// A form for a type and for its `Option`, by the method of visitor and source with that name.
macro_rules! form {
    (
        $(#[$meta:meta])* $form:ident: $($type:ty),+ => $schema:ident,
        |$value:ident| $out:expr, $method:ident, |$field:ident, $source:ident, $read:ident| $in:expr
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub struct $form;

        $(
            impl Form<$type> for $form {
                const TYPE: Type = Type::$schema;

                #[inline]
                fn visit<'e, V: Visitor<'e>>(
                    field: &'static Field,
                    $value: &'e $type,
                    visitor: &mut V,
                ) {
                    visitor.$method(field, $out);
                }

                fn read<S: Source>(field: &'static Field, source: &mut S) -> Result<$type, S::Error> {
                    match <Self as Form<Option<$type>>>::read(field, source)? {
                        Some(value) => Ok(value),
                        None => Err(source.lacks(field)),
                    }
                }
            }

            impl Form<Option<$type>> for $form {
                const TYPE: Type = Type::$schema;

                #[inline]
                fn visit<'e, V: Visitor<'e>>(
                    field: &'static Field,
                    value: &'e Option<$type>,
                    visitor: &mut V,
                ) {
                    match value {
                        Some(value) => <Self as Form<$type>>::visit(field, value, visitor),
                        None => visitor.absent(field),
                    }
                }

                fn read<S: Source>(
                    $field: &'static Field,
                    $source: &mut S,
                ) -> Result<Option<$type>, S::Error> {
                    match $source.$method($field)? {
                        Some($read) => Ok(Some($in)),
                        None => Ok(None),
                    }
                }
            }
        )+
    };
}

form!(
    /// A whole number.
    Number: u32, u64 => Number, |value| wide(*value), number, |field, source, number| {
        match narrow(number) {
            Some(number) => number,
            // The only type that is too narrow for a number there is.
            None => return Err(source.too_large(field, "a whole number below 2^32", number)),
        }
    }
);

fn wide(number: impl Into<u64>) -> u64 {
    number.into()
}

fn narrow<N: TryFrom<u64>>(number: u64) -> Option<N> {
    N::try_from(number).ok()
}

form!(
    /// A truth value that is always said.
    Truth: bool => Truth, |value| *value, truth, |_field, source, truth| truth
);
form!(
    /// Unicode text.
    PlainText: Arc<str>, Cow<'static, str> => Text, |value| value, text,
    |field, source, text| text.into_owned().into()
);
form!(
    /// Text from the system.
    SystemText: Text => SystemText, |value| value, system_text, |_field, source, text| text
);
form!(
    /// A list of texts from the system.
    Texts: Arc<[Text]> => Texts, |value| value, texts, |_field, source, texts| texts
);
form!(
    /// The identity of a process.
    Key: ProcessKey => Key, |value| *value, key, |_field, source, key| key
);
form!(
    /// An address in memory.
    Address: u64 => Address, |value| *value, address, |_field, source, address| address
);
form!(
    /// A user.
    User: UserId => UserId, |value| value, user_id, |_field, source, user_id| user_id
);
form!(
    /// A kind of event.
    KindName: Kind => Kind, |value| *value, kind, |_field, source, kind| kind
);
form!(
    /// An account.
    WholeAccount: Account => Account, |value| value, account, |_field, source, account| account
);

/// A truth value that is said only when it is true.
#[derive(Clone, Copy, Debug)]
pub struct Flag;

impl Form<bool> for Flag {
    const TYPE: Type = Type::Flag;
    const IS_OPTIONAL: bool = true;

    #[inline]
    fn visit<'e, V: Visitor<'e>>(field: &'static Field, value: &'e bool, visitor: &mut V) {
        if *value {
            visitor.truth(field, true);
        } else {
            visitor.absent(field);
        }
    }

    fn read<S: Source>(field: &'static Field, source: &mut S) -> Result<bool, S::Error> {
        Ok(source.truth(field)?.unwrap_or(false))
    }
}

/// Another form, of a field that may be absent without a word in `missing`.
macro_rules! optional {
    ($(#[$meta:meta])* $form:ident: $($type:ty),+ as $plain:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub struct $form;

        $(
            impl Form<Option<$type>> for $form {
                const TYPE: Type = <$plain as Form<$type>>::TYPE;
                const IS_OPTIONAL: bool = true;

                #[inline]
                fn visit<'e, V: Visitor<'e>>(
                    field: &'static Field,
                    value: &'e Option<$type>,
                    visitor: &mut V,
                ) {
                    <$plain as Form<Option<$type>>>::visit(field, value, visitor);
                }

                fn read<S: Source>(
                    field: &'static Field,
                    source: &mut S,
                ) -> Result<Option<$type>, S::Error> {
                    <$plain as Form<Option<$type>>>::read(field, source)
                }
            }
        )+
    };
}

optional!(
    /// A number that not every event of the kind has.
    MaybeNumber: u32, u64 as Number
);
optional!(
    /// A truth value that not every event of the kind has.
    MaybeTruth: bool as Truth
);
optional!(
    /// A text that not every event of the kind has.
    MaybePlainText: Arc<str>, Cow<'static, str> as PlainText
);
optional!(
    /// A text from the system that not every event of the kind has.
    MaybeSystemText: Text as SystemText
);
optional!(
    /// A list of texts that not every event of the kind has.
    MaybeTexts: Arc<[Text]> as Texts
);
optional!(
    /// An address that not every event of the kind has.
    MaybeAddress: u64 as Address
);

/// Fields that kinds share, declared once and standing side by side with the kind's own.
#[derive(Clone, Copy, Debug)]
pub struct Group;

impl<T: Declared> Form<T> for Group {
    // Never seen: a group declares its fields and not itself.
    const TYPE: Type = Type::Text;

    fn declare(_field: &'static Field, list: &mut Vec<&'static Field>) {
        T::declare(list);
    }

    #[inline]
    fn visit<'e, V: Visitor<'e>>(_field: &'static Field, value: &'e T, visitor: &mut V) {
        value.visit(visitor);
    }

    fn read<S: Source>(_field: &'static Field, source: &mut S) -> Result<T, S::Error> {
        T::read(source)
    }
}

/// A [`Group`] that few events have. Where it is not there its fields are not shown, as absent ones
/// either: an event without it costs what it would if there were no such fields.
#[derive(Clone, Copy, Debug)]
pub struct MaybeGroup;

impl<T: Declared + Default + PartialEq> Form<Option<Box<T>>> for MaybeGroup {
    // Never seen, as that of a group.
    const TYPE: Type = Type::Text;
    const IS_OPTIONAL: bool = true;

    fn declare(_field: &'static Field, list: &mut Vec<&'static Field>) {
        T::declare(list);
    }

    #[inline]
    fn visit<'e, V: Visitor<'e>>(
        _field: &'static Field,
        value: &'e Option<Box<T>>,
        visitor: &mut V,
    ) {
        if let Some(value) = value
            && visitor.wants_noted()
        {
            visit_rare(&**value, visitor);
        }
    }

    fn read<S: Source>(_field: &'static Field, source: &mut S) -> Result<Option<Box<T>>, S::Error> {
        let read = T::read(source)?;
        Ok((read != T::default()).then(|| Box::new(read)))
    }
}

/// Kept out of the code of the events without the group, which are many.
#[cold]
#[inline(never)]
fn visit_rare<'e, T: Declared, V: Visitor<'e>>(value: &'e T, visitor: &mut V) {
    value.visit(visitor);
}
