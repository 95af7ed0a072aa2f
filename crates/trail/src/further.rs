//! What a newer version said, kept as it is.

use crate::json;

/// Fields this version does not know, as an object of JSON in one form: no blanks, and nothing in it
/// that a terminal would act on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Further(Option<Box<str>>);

impl Further {
    /// The fields as members of an object, without its braces; empty when there is none.
    pub fn members(&self) -> &str {
        let object = self.object();
        object
            .get(1..object.len().saturating_sub(1))
            .unwrap_or_default()
    }

    /// The fields as an object.
    pub fn object(&self) -> &str {
        self.0.as_deref().unwrap_or("{}")
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds a field, whose value is valid JSON.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        let mut object = self.0.take().map_or_else(String::new, String::from);
        if object.pop().is_none() {
            object.push('{');
        } else {
            object.push(',');
        }
        json::push_string(&mut object, name);
        object.push(':');
        json::push_compact(&mut object, value);
        object.push('}');
        self.0 = Some(object.into());
    }
}
