//! The fields a rule can ask for: those of the schema, by their names.

use std::sync::LazyLock;

use event::{Kind, Kinds};

use super::pattern::Form;
use crate::trail::schema::{self, Type};
use crate::trail::{ImageLoad, ImageUnload, Program};

/// What a rule calls the image that is loaded; its `image` is the program of the process in every kind.
pub(super) const LOADED_IMAGE: &str = "loaded_image";

/// What some events call the program of their process, which rules may as well.
pub const PROCESS_IMAGE: &str = ImageLoad::process_image.name;

/// What rules have for the scope of the path of the image that is loaded; nobody writes it.
pub(super) const LOADED_SCOPE: &str = "loaded_image path_scope";

/// A field that can be asked for.
#[derive(Debug)]
pub struct Field {
    /// Its name in a rule.
    pub name: &'static str,
    /// The kinds whose events have it, or are of a process that has.
    pub kinds: Kinds,
    /// Whether the program of a process tells it, so that it is the same until the process execs.
    pub(super) is_of_program: bool,
    r#type: Type,
}

impl Field {
    /// The field of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        let name = if name == PROCESS_IMAGE {
            Program::image.name
        } else {
            name
        };
        fields().iter().find(|field| field.name == name)
    }

    /// Whether it is a path, and an absolute one where it is whole.
    pub fn is_path(&self) -> bool {
        let is_called_so = self.name.ends_with("image")
            || ["image_opened", "script", "working_directory"].contains(&self.name);
        self.r#type == Type::SystemText && is_called_so
    }

    /// Whether the key `path_scope` of a rule is about it.
    pub(super) fn has_path_scope(&self) -> bool {
        self.name == LOADED_IMAGE || self.name == Program::image.name
    }

    pub(super) fn form(&self) -> Form {
        if self.is_path() {
            Form::Path
        } else {
            Form::Text
        }
    }

    /// Whether it holds a number or a truth value, which a rule may write without quotes.
    pub const fn is_bare(&self) -> bool {
        matches!(
            self.r#type,
            Type::Number | Type::Truth | Type::Flag | Type::UserId
        )
    }
}

/// What a rule calls a field of an event.
pub(super) fn name_in_rules(kind: Kind, name: &str) -> Option<&str> {
    let is_image = Kinds::IMAGE.contains(kind);
    match name {
        name if is_image && name == ImageLoad::image.name => Some(LOADED_IMAGE),
        name if is_image && name == ImageLoad::path_scope.name => Some(LOADED_SCOPE),
        // It is the program's, which is told apart.
        PROCESS_IMAGE => None,
        name if kind == Kind::PROCESS_EXIT && name == Program::image.name => None,
        name => Some(name),
    }
}

/// Every field there is for rules. `path_scope` goes with a path and `name` is the rule's own.
pub fn fields() -> &'static [Field] {
    static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(declared);
    &FIELDS
}

fn declared() -> Vec<Field> {
    let of_program = schema::fields_of::<Program>();
    let of_image = [
        schema::fields_of::<ImageLoad>(),
        schema::fields_of::<ImageUnload>(),
    ]
    .concat();
    let mut fields: Vec<Field> = Vec::new();
    for kind in Kind::OBSERVED {
        for declared in schema::fields_of_kind(kind) {
            let Some(name) = name_in_rules(kind, declared.name) else {
                continue;
            };
            let is_told_apart = [LOADED_SCOPE, "path_scope", "name"].contains(&name);
            if is_told_apart || !can_be_asked(declared.r#type) {
                continue;
            }
            let is_of_program = of_program.iter().any(|field| field.name == name);
            // A loaded image has an inode and the program of the process as well: the event says which.
            let is_of_image = of_image.iter().any(|field| field.name == name);
            match fields.iter_mut().find(|field| field.name == name) {
                Some(field) => field.kinds = field.kinds.with(kind),
                None => fields.push(Field {
                    name,
                    kinds: if is_of_program {
                        Kinds::ALL
                    } else {
                        Kinds::NONE.with(kind)
                    },
                    is_of_program: is_of_program && (!is_of_image || name == Program::image.name),
                    r#type: declared.r#type,
                }),
            }
        }
    }
    fields
}

const fn can_be_asked(r#type: Type) -> bool {
    match r#type {
        Type::Number
        | Type::Truth
        | Type::Flag
        | Type::Text
        | Type::SystemText
        | Type::Texts
        | Type::Key
        | Type::Address
        | Type::UserId => true,
        Type::Time | Type::Kind | Type::Account | Type::Names | Type::Reasons => false,
    }
}
