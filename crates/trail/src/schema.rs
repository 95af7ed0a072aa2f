//! The schema: what a field is, and the one place where each is declared.
//!
//! A struct of the trail is written as a table, a line a field: name, type, form, where the store
//! keeps it, the version of the schema that brought it, and its names in other schemas. From that
//! line come the struct itself and both directions, [`Visitor`] out and [`Source`] in; so log,
//! store, exports, rules and documents cannot disagree about a field, nor forget one.

use std::sync::LazyLock;

use event::Kind;

use crate::visit::{Source, Visitor};
use crate::{Event, KeptBy, Whence, body};

/// The version of the schema: that of the store's segments, and of the newest field.
pub const VERSION: u32 = 3;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A whole number, not negative.
    Number,
    /// A [`Time`](crate::Time).
    Time,
    /// `true` or `false`.
    Truth,
    /// `true`, or not there.
    Flag,
    /// Unicode.
    Text,
    /// Text from the system, with its bytes beside it where they are not valid Unicode.
    SystemText,
    /// A list of them.
    Texts,
    /// A [`ProcessKey`](event::ProcessKey).
    Key,
    /// An address in memory.
    Address,
    /// A uid or a SID.
    UserId,
    /// The name of a kind.
    Kind,
    /// An [`Account`](crate::account::Account).
    Account,
    /// Names of fields.
    Names,
    /// Names of fields, each with a reason.
    Reasons,
}

impl Type {
    /// What it is called in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Time => "time",
            Self::Truth => "boolean",
            Self::Flag => "boolean, when set",
            Self::Text | Self::Kind => "text",
            Self::SystemText => "system text",
            Self::Texts => "list of system texts",
            Self::Key => "key",
            Self::Address => "address",
            Self::UserId => "number or text",
            Self::Account => "object",
            Self::Names => "list of texts",
            Self::Reasons => "object of texts",
        }
    }

    /// Whether a second field, `<name>_raw`, carries the bytes where they are not valid Unicode.
    pub const fn has_raw(self) -> bool {
        matches!(self, Self::SystemText | Self::Texts)
    }
}

/// Where the store keeps a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A column of the kind's table.
    Row,
    /// A column of the table of what repeats: programs, images. Equal rows are kept once.
    Shared,
    /// A column of the kind's table, as the difference from the process's id: mostly 0, which takes
    /// no room.
    Near,
    /// Id and key of the parent, which are one reference to a process.
    Parent,
    /// In the notes of the event: few events have it, and those that have not pay nothing for it.
    Noted,
    /// Not a column: the store has it in a way of its own, or makes it up.
    Apart,
}

/// A field as it is declared.
#[derive(Debug)]
pub struct Field {
    /// The name, in the log and everywhere else.
    pub name: &'static str,
    /// What it holds.
    pub r#type: Type,
    /// Whether it may be absent without a word in `missing`.
    pub is_optional: bool,
    /// Where the store keeps it.
    pub place: Place,
    /// The version of the schema that brought it.
    pub since: u32,
    /// Its name in the Elastic Common Schema.
    pub ecs: Option<&'static str>,
    /// Its name in the Open Cybersecurity Schema Framework.
    pub ocsf: Option<&'static str>,
    /// The name of the field with its bytes; see [`Type::has_raw`].
    pub raw_name: &'static str,
    /// The meaning, as the declaration's documentation has it.
    pub(crate) about: &'static str,
    /// The name as JSON writes it, with the comma before it.
    pub(crate) json: &'static str,
    /// The same of `raw_name`.
    pub(crate) raw_json: &'static str,
}

impl Field {
    /// What it means, in a line.
    pub const fn about(&self) -> &'static str {
        self.about.trim_ascii()
    }
}

/// One [`Field`] from a line of a declaration.
macro_rules! field {
    (
        $name:ident, [$($about:literal)+], $type:expr, $optional:expr, $place:ident, $since:literal
        $(, ecs $ecs:literal)? $(, ocsf $ocsf:literal)?
    ) => {
        $crate::schema::Field {
            name: stringify!($name),
            r#type: $type,
            is_optional: $optional,
            place: $crate::schema::Place::$place,
            since: $since,
            ecs: $crate::schema::field!(@maybe $($ecs)?),
            ocsf: $crate::schema::field!(@maybe $($ocsf)?),
            raw_name: concat!(stringify!($name), "_raw"),
            about: concat!($($about),+),
            json: concat!(",\"", stringify!($name), "\":"),
            raw_json: concat!(",\"", stringify!($name), "_raw\":"),
        }
    };
    (@maybe) => { None };
    (@maybe $name:literal) => { Some($name) };
}
pub(crate) use field;

/// A struct of the trail, declared as a table; see the module's documentation.
macro_rules! fields {
    (
        $(#[$meta:meta])*
        pub struct $struct:ident {
            $(
                $(#[doc = $about:literal])+
                $name:ident: $type:ty => $form:ident in $place:ident since $since:literal
                $(, ecs $ecs:literal)? $(, ocsf $ocsf:literal)?;
            )*
        }
    ) => {
        $(#[$meta])*
        pub struct $struct {
            $( $(#[doc = $about])+ pub $name: $type, )*
        }

        #[expect(
            non_upper_case_globals,
            reason = "the declaration of a field is called as the field is"
        )]
        impl $struct {
            $(
                #[doc = concat!("The declaration of `", stringify!($name), "`.")]
                pub const $name: $crate::schema::Field = $crate::schema::field!(
                    $name, [$($about)+],
                    <$crate::visit::$form as $crate::visit::Form<$type>>::TYPE,
                    <$crate::visit::$form as $crate::visit::Form<$type>>::IS_OPTIONAL,
                    $place, $since $(, ecs $ecs)? $(, ocsf $ocsf)?
                );
            )*
        }

        impl $crate::schema::Declared for $struct {
            fn declare(list: &mut Vec<&'static $crate::schema::Field>) {
                $(
                    <$crate::visit::$form as $crate::visit::Form<$type>>::declare(
                        &Self::$name, list,
                    );
                )*
            }

            #[inline]
            fn visit<'e, V: $crate::visit::Visitor<'e>>(&'e self, visitor: &mut V) {
                $(
                    <$crate::visit::$form as $crate::visit::Form<$type>>::visit(
                        &Self::$name, &self.$name, visitor,
                    );
                )*
            }

            fn read<S: $crate::visit::Source>(source: &mut S) -> Result<Self, S::Error> {
                Ok(Self {
                    $(
                        $name: <$crate::visit::$form as $crate::visit::Form<$type>>::read(
                            &Self::$name, source,
                        )?,
                    )*
                })
            }
        }
    };
}
pub(crate) use fields;

/// What is declared as a table of fields.
pub trait Declared: Sized {
    /// Appends its fields, in their order.
    fn declare(list: &mut Vec<&'static Field>);

    /// Shows each field to `visitor`, in their order, absent ones included.
    fn visit<'e, V: Visitor<'e>>(&'e self, visitor: &mut V);

    /// Takes each field from `source`, in their order.
    ///
    /// # Errors
    /// What `source` says of the first field that is not as declared.
    fn read<S: Source>(source: &mut S) -> Result<Self, S::Error>;
}

/// The fields of `T`, in their order.
pub fn fields_of<T: Declared>() -> Vec<&'static Field> {
    let mut list = Vec::new();
    T::declare(&mut list);
    list
}

/// The fields of a kind's own, in the order a line has them; none for a kind that is not known.
pub fn fields_of_kind(kind: Kind) -> &'static [&'static Field] {
    static FIELDS: LazyLock<Vec<(Kind, Vec<&'static Field>)>> = LazyLock::new(body::declared);
    let own = FIELDS.iter().find(|(of, _)| *of == kind);
    own.map_or(&[], |(_, fields)| fields.as_slice())
}

/// The fields every event begins with.
pub fn head() -> Vec<&'static Field> {
    let mut head = vec![&Event::sequence, &Event::time, &Event::kind];
    Whence::declare(&mut head);
    head.extend([&Event::process_id, &Event::process_key]);
    head
}

/// The fields every event may end with: which rule kept it, and what is to be said of the others.
pub fn notes() -> Vec<&'static Field> {
    let mut notes = fields_of::<KeptBy>();
    notes.extend([&Event::truncated, &Event::missing]);
    notes
}

/// The fields an event of a kind can have, in the order a line has them.
pub fn fields_of_event(kind: Kind) -> impl Iterator<Item = &'static Field> {
    let own = fields_of_kind(kind).iter().copied();
    head().into_iter().chain(own).chain(notes())
}

/// Every field there is, each name once, in the order a line has them. Where kinds mean different
/// things by one name, it is the first of them.
pub fn all() -> &'static [&'static Field] {
    static ALL: LazyLock<Vec<&'static Field>> = LazyLock::new(|| {
        let mut all = head();
        for kind in Kind::ALL {
            for field in fields_of_kind(*kind) {
                if !all.iter().any(|known| known.name == field.name) {
                    all.push(field);
                }
            }
        }
        all.extend(notes());
        all
    });
    &ALL
}

/// The names a line can have, in order: those of [`all`], each followed by its `_raw` where it has
/// one.
pub fn names() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let names = all().iter().flat_map(|field| {
            let raw = field.r#type.has_raw().then_some(field.raw_name);
            [Some(field.name), raw].into_iter().flatten()
        });
        names.collect()
    });
    &NAMES
}
