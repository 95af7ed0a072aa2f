//! Events of kinds that only a newer version knows. They are no damage: they are counted apart, and
//! told in one sentence however many they are.

use std::fmt;

/// The most kinds that are named. A log of anybody's could have a kind a line.
const NAMED_MAX: usize = 8;

/// How many events of kinds this version does not know were passed over, and which kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Newer {
    count: u64,
    /// The first of them, quoted.
    kinds: Vec<String>,
    has_more: bool,
}

impl Newer {
    /// How many.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Adds an event of `kind`, which is quoted as [`LineError`](crate::trail::json::LineError) has
    /// it.
    pub fn add(&mut self, kind: &str) {
        self.count += 1;
        if self.kinds.iter().any(|known| known == kind) {
            return;
        }
        if self.kinds.len() < NAMED_MAX {
            self.kinds.push(kind.to_owned());
        } else {
            self.has_more = true;
        }
    }
}

impl fmt::Display for Newer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.kinds.join(", ");
        let more = if self.has_more { " and more" } else { "" };
        match self.count {
            1 => write!(
                formatter,
                "1 event of a kind this systrail does not know ({kinds}) was passed over; a newer \
                 systrail reads it"
            ),
            count if self.kinds.len() == 1 => write!(
                formatter,
                "{count} events of a kind this systrail does not know ({kinds}) were passed over; \
                 a newer systrail reads them"
            ),
            count => write!(
                formatter,
                "{count} events of kinds this systrail does not know ({kinds}{more}) were passed \
                 over; a newer systrail reads them"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kinds: impl IntoIterator<Item = String>) -> String {
        let mut newer = Newer::default();
        kinds.into_iter().for_each(|kind| newer.add(&kind));
        newer.to_string()
    }

    #[test]
    fn is_one_sentence_with_each_kind_once() {
        let kinds = |kinds: &[&str]| told(kinds.iter().map(|kind| format!("{kind:?}")));
        assert_eq!(
            kinds(&["file_create"]),
            "1 event of a kind this systrail does not know (\"file_create\") was passed over; a \
             newer systrail reads it"
        );
        assert_eq!(
            kinds(&["file_create", "file_create"]),
            "2 events of a kind this systrail does not know (\"file_create\") were passed over; a \
             newer systrail reads them"
        );
        assert_eq!(
            kinds(&["a", "b", "a"]),
            "3 events of kinds this systrail does not know (\"a\", \"b\") were passed over; a \
             newer systrail reads them"
        );
    }

    #[test]
    fn stays_short_however_many_kinds_there_are() {
        let told = told((0..1_000).map(|number| format!("\"{number}\"")));
        assert!(told.starts_with("1000 events of kinds"), "{told}");
        assert!(told.contains("\"7\" and more)"), "{told}");
    }
}
