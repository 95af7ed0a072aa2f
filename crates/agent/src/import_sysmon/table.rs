//! Conditions as a table of the configuration file, joined as a rule joins them.

use std::fmt::Write as _;

use crate::rules::PATTERNS_MAX;

/// A table of conditions, all of which have to be met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// Names of fields, each once, with patterns of which one has to match.
    fields: Vec<(&'static str, Vec<String>)>,
    all: Vec<Self>,
    any: Vec<Self>,
    not: Vec<Self>,
}

impl Table {
    /// A field that matches one of the patterns.
    pub(super) fn field(name: &'static str, patterns: Vec<String>) -> Self {
        if patterns.len() > PATTERNS_MAX {
            let parts = patterns.chunks(PATTERNS_MAX);
            return Self::any(parts.map(|part| Self::field(name, part.to_vec())).collect());
        }
        Self {
            fields: vec![(name, patterns)],
            ..Self::default()
        }
    }

    /// A field that is there, whatever it holds.
    pub(super) fn present(name: &'static str) -> Self {
        Self::field(name, vec!["*".to_owned()])
    }

    /// One of them is met.
    pub(super) fn any(mut tables: Vec<Self>) -> Self {
        if tables.len() == 1 {
            return tables.pop().unwrap_or_default();
        }
        if let Some(merged) = merged(&tables) {
            return merged;
        }
        Self {
            any: tables,
            ..Self::default()
        }
    }

    /// Each of them is met.
    pub(super) fn all(tables: Vec<Self>) -> Self {
        tables.into_iter().fold(Self::default(), Self::and)
    }

    /// It is not met.
    pub(super) fn not(self) -> Self {
        Self {
            not: vec![self],
            ..Self::default()
        }
    }

    /// Both are met.
    pub(super) fn and(mut self, other: Self) -> Self {
        for (name, patterns) in other.fields {
            if self.fields.iter().any(|(known, _)| *known == name) {
                self.all.push(Self::field(name, patterns));
            } else {
                self.fields.push((name, patterns));
            }
        }
        self.all.extend(other.all);
        self.not.extend(other.not);
        if self.any.is_empty() {
            self.any = other.any;
        } else if !other.any.is_empty() {
            self.all.push(Self {
                any: other.any,
                ..Self::default()
            });
        }
        self
    }

    /// The keys of a table of its own, a line each.
    pub(super) fn write(&self, out: &mut String) {
        for entry in self.entries() {
            out.push_str(&entry);
            out.push('\n');
        }
    }

    fn entries(&self) -> Vec<String> {
        let fields = self
            .fields
            .iter()
            .map(|(name, patterns)| match &**patterns {
                [one] => format!("{name} = {}", quoted(one)),
                several => {
                    let several: Vec<String> = several.iter().map(|it| quoted(it)).collect();
                    format!("{name} = [{}]", several.join(", "))
                }
            });
        let groups = [("all", &self.all), ("any", &self.any), ("not", &self.not)];
        let groups = groups.into_iter().filter(|(_, tables)| !tables.is_empty());
        let groups = groups.map(|(key, tables)| match &**tables {
            [one] if key == "not" => format!("{key} = {}", one.inline()),
            several => {
                let several: Vec<String> = several.iter().map(Self::inline).collect();
                format!("{key} = [{}]", several.join(", "))
            }
        });
        fields.chain(groups).collect()
    }

    fn inline(&self) -> String {
        format!("{{ {} }}", self.entries().join(", "))
    }
}

/// Tables that ask for one and the same field, as one.
fn merged(tables: &[Table]) -> Option<Table> {
    let mut patterns = Vec::new();
    let mut field = None;
    for table in tables {
        let [(name, own)] = &*table.fields else {
            return None;
        };
        let is_plain = table.all.is_empty() && table.any.is_empty() && table.not.is_empty();
        if !is_plain || *field.get_or_insert(*name) != *name {
            return None;
        }
        patterns.extend(own.iter().cloned());
    }
    (patterns.len() <= PATTERNS_MAX).then(|| Table::field(field?, patterns).into())?
}

/// A string of TOML: as it is where it can be, for a path is full of backslashes.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |character: char| character != '\'' && !character.is_control();
    if text.chars().all(is_plain) {
        return format!("'{text}'");
    }
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _infallible = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(table: &Table) -> String {
        let mut out = String::new();
        table.write(&mut out);
        out
    }

    #[test]
    fn conditions_join_as_a_rule_joins_them() {
        let field = |name, pattern: &str| Table::field(name, vec![pattern.to_owned()]);
        let either = Table::any(vec![field("image", "a"), field("image", "b")]);
        let table = either
            .and(field("image", "c"))
            .and(Table::any(vec![field("user", "d"), field("image", "e")]))
            .and(Table::any(vec![field("user", "f"), field("image", "g")]))
            .and(field("user", "it's").not());
        assert_eq!(
            written(&table),
            "image = ['a', 'b']\n\
             all = [{ image = 'c' }, { any = [{ user = 'f' }, { image = 'g' }] }]\n\
             any = [{ user = 'd' }, { image = 'e' }]\n\
             not = { user = \"it's\" }\n"
        );
    }

    #[test]
    fn more_patterns_than_a_list_holds_are_several_lists() {
        let many: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        assert_eq!(Table::field("image", many).any.len(), 2);
    }

    #[test]
    fn any_text_is_a_string() {
        for text in [r"C:\a b\*", "it's \"\\\"\u{7f}\n\u{1}", "é"] {
            let read: toml::Table = toml::from_str(&format!("x = {}", quoted(text))).unwrap();
            assert_eq!(read["x"].as_str(), Some(text));
        }
    }
}
