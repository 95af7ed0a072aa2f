//! Typed values out of a TOML tree, with a finding for each that is not what it must be.
//!
//! Each method reads one value into its target or leaves the target alone and says why, so that one
//! pass over the file tells everything that is wrong with it.

use std::borrow::Cow;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::ops;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Finding, Place, Range, Severity};
use crate::quantity;
use crate::rules::System;
use crate::suggestion;

/// The most keys that are named to somebody who wrote another one.
const NAMED_MAX: usize = 24;

/// What a number must be beside in range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    Any,
    PowerOfTwo,
}

/// A value and the key it belongs to.
#[derive(Clone, Debug)]
pub(super) struct Value<'d> {
    /// The whole key, `log.rotate_size`.
    key: String,
    value: &'d Spanned<DeValue<'d>>,
}

/// One table, which remembers the keys it was asked for.
#[derive(Debug)]
pub(super) struct Section<'d> {
    name: String,
    table: &'d DeTable<'d>,
    /// Where it stands.
    span: ops::Range<usize>,
    known: Vec<&'static str>,
}

impl<'d> Section<'d> {
    pub(super) fn new(name: &str, table: &'d DeTable<'d>, span: ops::Range<usize>) -> Self {
        Self {
            name: name.to_owned(),
            table,
            span,
            known: Vec::new(),
        }
    }

    /// Whether every key was asked for.
    pub(super) fn is_known(&self) -> bool {
        let mut keys = self.table.keys();
        keys.all(|key| self.known.contains(&key.get_ref().as_ref()))
    }

    /// The value of `key`, where it is there; the key is known from then on.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'d>> {
        self.known.push(key);
        let value = self.table.get(key)?;
        Some(Value {
            key: self.whole_key(key),
            value,
        })
    }

    /// The table of `key`, where it is there.
    pub(super) fn take_section(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
    ) -> Option<Self> {
        let value = self.take(key)?;
        if let DeValue::Table(table) = value.value.get_ref() {
            return Some(Self::new(&value.key, table, value.value.span()));
        }
        reader.refuse_type(&value, &format!("a table, [{key}]"));
        None
    }

    /// Refuses every key nobody asked for.
    pub(super) fn finish(self, reader: &mut Reader<'_>) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if self.known.contains(&name) {
                continue;
            }
            let advice = match suggestion::closest(name, &self.known) {
                Some(near) => format!("did you mean `{near}`?"),
                None if self.known.len() > NAMED_MAX => {
                    "it is no field of an event that a rule can ask for; CONFIGURATION lists them"
                        .to_owned()
                }
                None => format!("known are {}", self.known.join(", ")),
            };
            let message = format!("unknown key `{}`; {advice}", self.whole_key(name));
            reader.error(&key.span(), message);
        }
    }

    fn whole_key(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }
}

/// Collects findings.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    text: &'t str,
    /// Whose texts patterns are for.
    pub(super) system: System,
    findings: Vec<Finding>,
}

impl<'t> Reader<'t> {
    pub(super) const fn new(text: &'t str, system: System) -> Self {
        Self {
            text,
            system,
            findings: Vec::new(),
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.findings.is_empty()
    }

    /// How many findings there are.
    pub(super) const fn finding_count(&self) -> usize {
        self.findings.len()
    }

    pub(super) fn into_findings(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| finding.place);
        self.findings
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
        Place {
            line: before.matches('\n').count() + 1,
            column,
        }
    }

    pub(super) fn error(&mut self, span: &ops::Range<usize>, message: String) {
        self.findings.push(Finding {
            severity: Severity::Error,
            place: self.place(span.start),
            message,
        });
    }

    /// Refuses a value for a reason that does not need the value itself.
    pub(super) fn refuse(&mut self, value: &Value<'_>, reason: &str) {
        self.error(&value.value.span(), format!("{}: {reason}", value.key));
    }

    /// Refuses a value and shows it as it was written.
    pub(super) fn refuse_with(&mut self, value: &Value<'_>, reason: &str) {
        let written = self.written(value);
        self.refuse(value, &format!("{written}: {reason}"));
    }

    /// Refuses a table without a key that it must have.
    pub(super) fn lacks(&mut self, section: &Section<'_>, key: &'static str, what: &str) {
        let message = format!("{} is missing: it says {what}", section.whole_key(key));
        self.error(&section.span, message);
    }

    /// Refuses a table that says nothing without another.
    pub(super) fn useless(&mut self, section: &Section<'_>, other: &str, why: &str) {
        let message = format!("[{}] needs {other}: {why}", section.name);
        self.error(&section.span, message);
    }

    fn refuse_type(&mut self, value: &Value<'_>, wanted: &str) {
        let kind = value.value.get_ref().type_str();
        self.refuse_with(
            value,
            &format!("this is of type {kind}; it must be {wanted}"),
        );
    }

    /// The value's own text, one line and not too much of it.
    fn written(&self, value: &Value<'_>) -> String {
        const SHOWN_MAX: usize = 60;
        let text = self.text.get(value.value.span()).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let mut shown: String = line.chars().take(SHOWN_MAX).collect();
        if shown.len() < text.len() {
            shown.push_str("...");
        }
        shown
    }

    pub(super) fn string<'d>(&mut self, value: &Value<'d>) -> Option<&'d str> {
        self.string_wanted(value, "a string in quotes")
    }

    fn string_wanted<'d>(&mut self, value: &Value<'d>, wanted: &str) -> Option<&'d str> {
        let text = value.value.get_ref().as_str();
        if text.is_none() {
            self.refuse_type(value, wanted);
        }
        text
    }

    pub(super) fn boolean(&mut self, value: &Value<'_>, target: &mut bool) {
        match value.value.get_ref().as_bool() {
            Some(boolean) => *target = boolean,
            None => self.refuse_type(value, "true or false"),
        }
    }

    pub(super) fn choice<T: Copy>(
        &mut self,
        value: &Value<'_>,
        names: &[(&'static str, T)],
        target: &mut T,
    ) {
        let known: Vec<&'static str> = names.iter().map(|&(name, _)| name).collect();
        let allowed = format!("one of \"{}\"", known.join("\", \""));
        let Some(text) = self.string_wanted(value, &allowed) else {
            return;
        };
        if let Some(&(_, choice)) = names.iter().find(|&&(name, _)| name == text) {
            *target = choice;
            return;
        }
        let advice = suggestion::closest(text, &known)
            .map(|near| format!("did you mean \"{near}\"? "))
            .unwrap_or_default();
        self.refuse_with(value, &format!("{advice}it must be {allowed}"));
    }

    pub(super) fn count(&mut self, value: &Value<'_>, range: Range<u64>, target: &mut u64) {
        let wanted = format!("a whole number from {} to {}", range.least, range.most);
        let DeValue::Integer(integer) = value.value.get_ref() else {
            self.refuse_type(value, &wanted);
            return;
        };
        match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if range.contains(&number) => *target = number,
            _ => self.refuse_with(value, &format!("it must be {wanted}")),
        }
    }

    pub(super) fn size(
        &mut self,
        value: &Value<'_>,
        range: Range<u64>,
        allowed: Allowed,
        target: &mut u64,
    ) {
        let power = match allowed {
            Allowed::Any => "",
            Allowed::PowerOfTwo => ", a power of two,",
        };
        let wanted = format!(
            "a size{power} from \"{}\" to \"{}\"",
            quantity::show_size(range.least),
            quantity::show_size(range.most),
        );
        let fits_fn = |size: &u64| {
            range.contains(size) && (allowed == Allowed::Any || size.is_power_of_two())
        };
        self.quantity(value, &wanted, quantity::size, fits_fn, target);
    }

    pub(super) fn duration(
        &mut self,
        value: &Value<'_>,
        range: Range<Duration>,
        target: &mut Duration,
    ) {
        let wanted = format!(
            "a duration from \"{}\" to \"{}\"",
            quantity::show_duration(range.least),
            quantity::show_duration(range.most),
        );
        let fits_fn = |duration: &Duration| range.contains(duration);
        self.quantity(value, &wanted, quantity::duration, fits_fn, target);
    }

    fn quantity<T: Debug>(
        &mut self,
        value: &Value<'_>,
        wanted: &str,
        read_fn: impl Fn(&str) -> Result<T, quantity::Invalid>,
        fits_fn: impl Fn(&T) -> bool,
        target: &mut T,
    ) {
        let Some(text) = self.string_wanted(value, wanted) else {
            return;
        };
        match read_fn(text) {
            Ok(quantity) if fits_fn(&quantity) => *target = quantity,
            Ok(_) => self.refuse_with(value, &format!("it must be {wanted}")),
            Err(error) => self.refuse(value, &format!("{error}; it must be {wanted}")),
        }
    }

    pub(super) fn socket_address(&mut self, value: &Value<'_>, target: &mut SocketAddr) {
        let wanted = "an address with its port, such as \"127.0.0.1:9477\"";
        let Some(text) = self.string_wanted(value, wanted) else {
            return;
        };
        match super::serve_address(text) {
            Ok(address) => *target = address,
            Err(_) => self.refuse_with(value, &format!("it must be {wanted}")),
        }
    }

    /// A path that means the same whatever the working directory, which for a service is `/`.
    pub(super) fn absolute_path(&mut self, value: &Value<'_>) -> Option<PathBuf> {
        let text = self.string(value)?;
        // To the system a path ends there, so opening it would fail.
        if text.contains('\0') {
            self.refuse_with(value, "a path cannot have a NUL character in it");
            return None;
        }
        let path = PathBuf::from(text);
        if path.is_absolute() && path.file_name().is_some() {
            return Some(path);
        }
        self.refuse_with(value, "it must be an absolute path of a file");
        None
    }

    /// An argument of a program.
    pub(super) fn argument(&mut self, value: &Value<'_>) -> Option<String> {
        let text = self.string(value)?;
        if text.contains('\0') {
            self.refuse_with(value, "an argument cannot have a NUL character in it");
            return None;
        }
        Some(text.to_owned())
    }

    pub(super) fn list<'d>(&mut self, value: &Value<'d>) -> Option<Vec<Value<'d>>> {
        let Some(array) = value.value.get_ref().as_array() else {
            self.refuse_type(value, "a list of strings");
            return None;
        };
        Some(items(value, array))
    }

    pub(super) fn one_or_list<'d>(&mut self, value: &Value<'d>) -> Option<Vec<Value<'d>>> {
        match value.value.get_ref() {
            DeValue::String(_) => Some(vec![value.clone()]),
            DeValue::Array(array) => Some(items(value, array)),
            _ => {
                self.refuse_type(value, "a string or a list of strings");
                None
            }
        }
    }

    /// A string or a list of strings; numbers and truth values as well, as they are written, where `is_bare`.
    pub(super) fn texts<'d>(
        &mut self,
        value: &Value<'d>,
        is_bare: bool,
    ) -> Option<Vec<(Value<'d>, Cow<'d, str>)>> {
        let is_one = bare_text(value).is_some() && is_bare;
        let items = if is_one {
            vec![value.clone()]
        } else {
            self.one_or_list(value)?
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            let text = match bare_text(&item).filter(|_| is_bare) {
                Some(text) => Some(text),
                None => self.string(&item).map(Cow::Borrowed),
            };
            texts.extend(text.map(|text| (item, text)));
        }
        Some(texts)
    }

    /// A table, or a list of tables, each with its place.
    pub(super) fn one_or_more_tables<'d>(
        &mut self,
        value: &Value<'d>,
    ) -> Option<Vec<(ops::Range<usize>, Section<'d>)>> {
        if let DeValue::Table(table) = value.value.get_ref() {
            let span = value.value.span();
            return Some(vec![(span.clone(), Section::new(&value.key, table, span))]);
        }
        self.tables(value)
    }

    /// The tables of `[[key]]`, each with its place.
    pub(super) fn tables<'d>(
        &mut self,
        value: &Value<'d>,
    ) -> Option<Vec<(ops::Range<usize>, Section<'d>)>> {
        let wanted = format!("one or more tables, [[{}]]", value.key);
        let Some(array) = value.value.get_ref().as_array() else {
            self.refuse_type(value, &wanted);
            return None;
        };
        let mut sections = Vec::with_capacity(array.len());
        for item in items(value, array) {
            match item.value.get_ref() {
                DeValue::Table(table) => {
                    let span = item.value.span();
                    sections.push((span.clone(), Section::new(&item.key, table, span)));
                }
                _ => self.refuse_type(&item, &wanted),
            }
        }
        Some(sections)
    }
}

/// A number in decimal or a truth value, as the trail writes it.
fn bare_text<'d>(value: &Value<'d>) -> Option<Cow<'d, str>> {
    match value.value.get_ref() {
        DeValue::Boolean(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        DeValue::Integer(integer) => {
            let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
            Some(Cow::Owned(number.to_string()))
        }
        _ => None,
    }
}

fn items<'d>(value: &Value<'d>, array: &'d [Spanned<DeValue<'d>>]) -> Vec<Value<'d>> {
    array
        .iter()
        .map(|item| Value {
            key: value.key.clone(),
            value: item,
        })
        .collect()
}
