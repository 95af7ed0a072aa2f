//! How a condition compares: `MatchFilterOnSpecificRule` of Sysmon's `rules.c`.

use std::cmp::Ordering;

/// How a condition compares a field with its value; whatever the case, and without wildcards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// The same text.
    Is,
    /// Another text.
    IsNot,
    /// The same text as one of a list.
    IsAny,
    /// The value is somewhere in it.
    Contains,
    /// One of a list is somewhere in it.
    ContainsAny,
    /// Each of a list is somewhere in it.
    ContainsAll,
    /// The value is nowhere in it.
    Excludes,
    /// None of a list is in it.
    ExcludesAny,
    /// Not all of a list are in it.
    ExcludesAll,
    /// It begins with the value.
    BeginWith,
    /// It does not.
    NotBeginWith,
    /// It ends with the value.
    EndWith,
    /// It does not.
    NotEndWith,
    /// It comes before the value, character by character: 10 before 9.
    LessThan,
    /// It comes after it.
    MoreThan,
    /// The same path, or where the value is no path, the same file name.
    Image,
}

/// Between the items of a list.
const SEPARATOR: char = ';';

impl Operator {
    /// Every operator by the name that `condition` has for it.
    pub const NAMES: [(&'static str, Self); 16] = [
        ("is", Self::Is),
        ("is not", Self::IsNot),
        ("is any", Self::IsAny),
        ("contains", Self::Contains),
        ("contains any", Self::ContainsAny),
        ("contains all", Self::ContainsAll),
        ("excludes", Self::Excludes),
        ("excludes any", Self::ExcludesAny),
        ("excludes all", Self::ExcludesAll),
        ("begin with", Self::BeginWith),
        ("not begin with", Self::NotBeginWith),
        ("end with", Self::EndWith),
        ("not end with", Self::NotEndWith),
        ("less than", Self::LessThan),
        ("more than", Self::MoreThan),
        ("image", Self::Image),
    ];

    /// The operator of this name; without one it is `is`.
    pub fn from_name(name: Option<&str>) -> Option<Self> {
        let name = match name {
            None | Some("") => return Some(Self::Is),
            Some(name) => name,
        };
        let is_named = |(known, _): &&(&str, Self)| known.eq_ignore_ascii_case(name);
        Self::NAMES
            .iter()
            .find(is_named)
            .map(|&(_, operator)| operator)
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, operator)| *operator == self);
        named.map_or("", |(name, _)| name)
    }

    /// Whether its value is a list.
    pub const fn takes_list(self) -> bool {
        matches!(
            self,
            Self::IsAny
                | Self::ContainsAny
                | Self::ContainsAll
                | Self::ExcludesAny
                | Self::ExcludesAll
        )
    }

    /// What is compared or searched for: the items of a list, else the value itself.
    pub fn wanted(self, value: &str) -> impl Iterator<Item = &str> {
        let list = self.takes_list().then(|| items(value));
        let items = list.into_iter().flatten().map(move |item| match self {
            Self::IsAny => item.text,
            _ => item.searched(),
        });
        items.chain((!self.takes_list()).then_some(value))
    }

    /// Whether a field with this text meets it.
    pub fn matches(self, field: &str, value: &str) -> bool {
        let (field, value) = (folded(field), folded(value));
        let is_in = |item: &str| field.contains(item);
        match self {
            Self::Is => field == value,
            Self::IsNot => field != value,
            Self::IsAny => items(&value).any(|item| item.is(&field)),
            Self::Contains => is_in(&value),
            Self::Excludes => !is_in(&value),
            Self::ContainsAny => items(&value).any(|item| is_in(item.searched())),
            Self::ExcludesAny => !items(&value).any(|item| is_in(item.searched())),
            Self::ContainsAll => items(&value).all(|item| is_in(item.searched())),
            Self::ExcludesAll => !items(&value).all(|item| is_in(item.searched())),
            Self::BeginWith => field.starts_with(&*value),
            Self::NotBeginWith => !field.starts_with(&*value),
            Self::EndWith => field.ends_with(&*value),
            Self::NotEndWith => !field.ends_with(&*value),
            Self::LessThan => order(&field, &value) == Ordering::Less,
            Self::MoreThan => order(&field, &value) == Ordering::Greater,
            Self::Image if value.contains('\\') => field == value,
            Self::Image => file_name(&field) == value,
        }
    }
}

/// An item of a list, with what stands behind its begin.
#[derive(Clone, Copy, Debug)]
struct ListItem<'v> {
    text: &'v str,
    rest: &'v str,
}

impl<'v> ListItem<'v> {
    fn is(self, field: &str) -> bool {
        self.text == field
    }

    /// What is searched for. Of an item without length Sysmon takes the length for not given, and
    /// searches for all that follows, separators included; at the end of a list that is nothing, which
    /// is found in every text.
    const fn searched(self) -> &'v str {
        if self.text.is_empty() {
            self.rest
        } else {
            self.text
        }
    }
}

/// The items of a list: one more than it has separators.
fn items(value: &str) -> impl Iterator<Item = ListItem<'_>> {
    let mut begin = 0;
    value.split(SEPARATOR).map(move |text| {
        let rest = value.get(begin..).unwrap_or_default();
        begin += text.len() + SEPARATOR.len_utf8();
        ListItem { text, rest }
    })
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('\\').map_or(path, |(_, name)| name)
}

/// By the units of UTF-16, as Sysmon has them.
fn order(left: &str, right: &str) -> Ordering {
    left.encode_utf16().cmp(right.encode_utf16())
}

/// Text in lower case, a character for a character: what becomes longer stays as it is.
fn folded(text: &str) -> String {
    let fold = |character: char| {
        let mut lower = character.to_lowercase();
        match (lower.next(), lower.next()) {
            (Some(one), None) => one,
            _ => character,
        }
    };
    text.chars().map(fold).collect()
}
