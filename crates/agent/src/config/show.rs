//! A configuration as a file that says all of it, the defaults too, and where each value comes from.

use std::fmt::{self, Display, Write as _};
use std::path::Path;

use event::Kind;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::{Config, EVENT_NAMES, OnLoss, RuleEntry};
use crate::detect::Level;
use crate::quantity::{show_duration, show_size};
use crate::rules::{Conditions, Kinds, PROCESS_IMAGE, Pattern, System};

impl Config {
    /// The configuration as a file, which is read as it. `text` is what it was read from: of what is not there
    /// it says that it is a default.
    pub fn show(&self, text: &str) -> String {
        let (table, _errors) = DeTable::parse_recoverable(text);
        let mut shown = Shown {
            text,
            table: table.get_ref(),
            section: "",
            out: String::new(),
        };
        shown.whole(self);
        shown.out.push_str(&rules(self));
        shown.out
    }
}

/// The file so far.
struct Shown<'t> {
    text: &'t str,
    table: &'t DeTable<'t>,
    section: &'static str,
    out: String,
}

impl Shown<'_> {
    fn whole(&mut self, config: &Config) {
        let name = OnLoss::NAMES.iter().find(|(_, it)| *it == config.on_loss);
        self.text("source", config.source.name());
        self.text("on_loss", name.map_or("log", |(name, _)| name));
        self.text("flush_interval", show_duration(config.flush_interval));
        self.list("events", events(config.events));
        self.log(config);
        self.store(config);
        self.detect(config);
        self.forward(config);
        self.section("hash");
        self.value("on", config.hash.on);
        self.text("rate", show_size(config.hash.rate));
        self.text("file_size_max", show_size(config.hash.file_size_max));
        self.section("environment");
        self.list("names", config.environment.iter().map(ToOwned::to_owned));
        self.section("limits");
        let limits = &config.limits;
        self.text("process_buffer_size", show_size(limits.process_buffer_size));
        self.text("event_buffer_size", show_size(limits.event_buffer_size));
        self.value("processes", limits.processes);
        self.value("images", limits.images);
        self.text("argument_rate", show_size(limits.argument_rate));
        if let Some(address) = config.metrics {
            self.section("metrics");
            self.text("address", address);
        } else {
            self.none("metrics");
        }
    }

    fn log(&mut self, config: &Config) {
        let log = &config.log;
        self.section("log");
        self.value("on", log.on);
        self.path("path", &config.log_file());
        self.text("rotate_size", show_size(log.rotate_size));
        self.text("rotate_age", show_duration(log.rotate_age));
        self.value("keep_files", log.keep_files);
        if let Some(age) = log.keep_age {
            self.text("keep_age", show_duration(age));
        }
        if let Some(size) = log.keep_size {
            self.text("keep_size", show_size(size));
        }
        self.value("compress", log.compress);
    }

    fn store(&mut self, config: &Config) {
        let store = &config.store;
        self.section("store");
        self.value("on", store.on);
        self.path("path", &config.store_directory());
        self.text("segment_size", show_size(store.segment_size));
        self.text("segment_age", show_duration(store.segment_age));
        self.text("keep_age", show_duration(store.keep_age));
        self.text("keep_size", show_size(store.keep_size));
    }

    fn detect(&mut self, config: &Config) {
        if let Some(detect) = &config.detect {
            let level = Level::NAMES.iter().find(|(_, it)| *it == detect.level);
            self.section("detect");
            self.path("rules", &detect.rules);
            self.text("level", level.map_or("", |(name, _)| name));
            self.text("budget", show_duration(detect.budget));
        } else {
            self.none("detect");
        }
        if let Some(alert) = &config.alert {
            let program = alert.program.display().to_string();
            self.section("alert");
            self.list(
                "command",
                [program].into_iter().chain(alert.arguments.clone()),
            );
        } else {
            self.none("alert");
        }
    }

    fn forward(&mut self, config: &Config) {
        let Some(forward) = &config.forward else {
            return self.none("forward");
        };
        self.section("forward");
        self.text("url", forward.url.whole());
        for (key, file) in [
            ("token_file", &forward.token_file),
            ("ca_file", &forward.ca_file),
            ("cert_file", &forward.cert_file),
            ("key_file", &forward.key_file),
        ] {
            if let Some(file) = file {
                self.path(key, file);
            }
        }
        self.text("keep_size", show_size(forward.keep_size));
        self.text("heartbeat", show_duration(forward.heartbeat));
    }

    fn section(&mut self, name: &'static str) {
        self.section = name;
        self.put(format_args!("\n[{name}]\n"));
    }

    /// A table whose being there switches something on.
    fn none(&mut self, name: &str) {
        self.put(format_args!("\n# no [{name}]\n"));
    }

    fn path(&mut self, key: &str, path: &Path) {
        self.text(key, path.display());
    }

    fn text(&mut self, key: &str, text: impl Display) {
        self.value(key, Value::from(text.to_string()));
    }

    fn list(&mut self, key: &str, items: impl IntoIterator<Item = String>) {
        self.value(key, texts(items));
    }

    fn value(&mut self, key: &str, value: impl Display) {
        let whence = match self.line_of(key) {
            Some(line) => format!("line {line}"),
            None => "default".to_owned(),
        };
        self.put(format_args!("{key} = {value} # {whence}\n"));
    }

    fn put(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _written = self.out.write_fmt(text);
    }

    /// Where the file has the key.
    fn line_of(&self, key: &str) -> Option<usize> {
        let table = match self.section {
            "" => self.table,
            name => match self.table.get(name)?.get_ref() {
                DeValue::Table(table) => table,
                _ => return None,
            },
        };
        let before = self.text.get(..table.get(key)?.span().start)?;
        Some(before.matches('\n').count() + 1)
    }
}

fn texts(texts: impl IntoIterator<Item = String>) -> Value {
    Value::Array(texts.into_iter().map(Value::String).collect())
}

/// The names of kinds.
fn events(kinds: Kinds) -> Vec<String> {
    let groups = EVENT_NAMES
        .into_iter()
        .filter(|(_, group)| kinds.covers(*group));
    let rest = groups
        .clone()
        .fold(kinds, |rest, (_, group)| rest.without(group));
    let alone = Kind::OBSERVED
        .into_iter()
        .filter(|kind| rest.contains(*kind));
    groups
        .map(|(name, _)| name)
        .chain(alone.filter_map(Kind::name))
        .map(ToOwned::to_owned)
        .collect()
}

/// The rules, which have no defaults.
fn rules(config: &Config) -> String {
    let mut table = Table::new();
    for (key, entries) in [("include", &config.include), ("exclude", &config.exclude)] {
        if !entries.is_empty() {
            let rules = entries.iter().map(rule);
            table.insert(key.to_owned(), rules.collect::<Vec<_>>().into());
        }
    }
    if table.is_empty() {
        return String::new();
    }
    // It refuses values that are no tables, and this is one.
    format!("\n{}", toml::to_string(&table).unwrap_or_default())
}

fn rule(entry: &RuleEntry) -> Value {
    let rule = &entry.rule;
    let mut table = conditions(&rule.conditions);
    if let Some(label) = &rule.label {
        if let Some(name) = &label.rule_name {
            table.insert("name".to_owned(), name.to_string().into());
        }
        if let Some(tags) = &label.tags {
            let tags = tags.iter().map(|tag| tag.shown().to_owned());
            table.insert("tags".to_owned(), texts(tags));
        }
    }
    if rule.events != Kinds::ALL {
        table.insert("events".to_owned(), texts(events(rule.events)));
    }
    table.into()
}

fn conditions(conditions: &Conditions) -> Table {
    let mut table = Table::new();
    let of = |patterns: &[Pattern]| texts(patterns.iter().map(|it| it.as_str().to_owned()));
    for field in &conditions.fields {
        // The one field of which two conditions can be there has two names.
        let key = if table.contains_key(field.field.name) {
            PROCESS_IMAGE
        } else {
            field.field.name
        };
        table.insert(key.to_owned(), of(&field.patterns));
    }
    if !conditions.path_scope.is_empty() {
        table.insert("path_scope".to_owned(), of(&conditions.path_scope));
    }
    let mut patterns = conditions.fields.iter().flat_map(|field| &field.patterns);
    if System::HERE == System::Unix && patterns.any(Pattern::ignores_case) {
        table.insert("ignore_case".to_owned(), true.into());
    }
    for (key, groups) in [
        ("all", &conditions.all),
        ("any", &conditions.any),
        ("not", &conditions.not),
    ] {
        if !groups.is_empty() {
            let groups = groups
                .iter()
                .map(|group| Value::from(self::conditions(group)));
            table.insert(key.to_owned(), groups.collect::<Vec<_>>().into());
        }
    }
    table
}
