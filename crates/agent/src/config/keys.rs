//! The keys of the configuration file: which there are, what each may be, where it goes.
//!
//! `docs/CONFIGURATION.md` lists the same for people; a test holds the two together.

use std::time::Duration;

use toml::de::DeTable;

use super::reader::{Allowed, Reader, Section, Value};
use super::{
    ALERT_ARGUMENTS_MAX, ARGUMENT_RATE, Alert, BUFFER_SIZE, Config, DETECT_BUDGET,
    DETECT_BUDGET_DEFAULT, Detect, EVENT_NAMES, FLUSH_INTERVAL, Forward, HASH_FILE_SIZE, HASH_RATE,
    HEARTBEAT, HEARTBEAT_DEFAULT, Hash, IMAGES, KEEP_FILES, LOG_AGE, Limits, Log, METRICS_ADDRESS,
    OnLoss, PROCESSES, ROTATE_SIZE, SEGMENT_SIZE, STORE_SIZE, Store, Url, rules,
};
use crate::detect::Level;
use crate::environment::{NAME_SIZE_MAX, NAMES_MAX, Names, is_name};
use crate::rules::{Kinds, System};
use crate::sensor::choice::Source;

/// Reads a whole file.
pub(super) fn read(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Config {
    let mut config = Config::default();
    let mut top = Section::new("", table, 0..0);
    if let Some(value) = top.take("source") {
        reader.choice(&value, &Source::NAMES, &mut config.source);
    }
    if let Some(value) = top.take("on_loss") {
        reader.choice(&value, &OnLoss::NAMES, &mut config.on_loss);
    }
    if let Some(value) = top.take("flush_interval") {
        reader.duration(&value, FLUSH_INTERVAL, &mut config.flush_interval);
    }
    if let Some(value) = top.take("events") {
        read_events(reader, &value, &EVENT_NAMES, &mut config.events);
    }
    if let Some(value) = top.take("include") {
        config.include = rules::read(reader, &value);
    }
    if let Some(value) = top.take("exclude") {
        config.exclude = rules::read(reader, &value);
    }
    if let Some(mut section) = top.take_section(reader, "log") {
        read_log(reader, &mut section, &mut config.log);
        section.finish(reader);
    }
    if let Some(mut section) = top.take_section(reader, "store") {
        read_store(reader, &mut section, &mut config.store);
        section.finish(reader);
    }
    if let Some(mut section) = top.take_section(reader, "detect") {
        config.detect = read_detect(reader, &mut section);
        section.finish(reader);
    }
    if let Some(mut section) = top.take_section(reader, "alert") {
        config.alert = read_alert(reader, &mut section);
        if !table.contains_key("detect") {
            reader.useless(&section, "[detect]", "without rules nothing is found");
        }
        section.finish(reader);
    }
    if let Some(mut section) = top.take_section(reader, "hash") {
        read_hash(reader, &mut section, &mut config.hash);
        section.finish(reader);
    }
    if let Some(mut section) = top.take_section(reader, "forward") {
        config.forward = read_forward(reader, &mut section, &config.store);
        section.finish(reader);
    }
    if let Some(mut section) = top.take_section(reader, "environment") {
        if let Some(value) = section.take("names") {
            config.environment = read_names(reader, &value);
        }
        section.finish(reader);
    }
    if let Some(mut section) = top.take_section(reader, "limits") {
        read_limits(reader, &mut section, &mut config.limits);
        section.finish(reader);
    }
    if let Some(mut section) = top.take_section(reader, "metrics") {
        let mut address = METRICS_ADDRESS;
        if let Some(value) = section.take("address") {
            reader.socket_address(&value, &mut address);
        }
        config.metrics = Some(address);
        section.finish(reader);
    }
    top.finish(reader);
    config
}

fn read_log(reader: &mut Reader<'_>, section: &mut Section<'_>, log: &mut Log) {
    if let Some(value) = section.take("on") {
        reader.boolean(&value, &mut log.on);
    }
    if let Some(value) = section.take("path") {
        log.path = reader.absolute_path(&value);
    }
    if let Some(value) = section.take("rotate_size") {
        reader.size(&value, ROTATE_SIZE, Allowed::Any, &mut log.rotate_size);
    }
    if let Some(value) = section.take("rotate_age") {
        reader.duration(&value, LOG_AGE, &mut log.rotate_age);
    }
    if let Some(value) = section.take("keep_files") {
        reader.count(&value, KEEP_FILES, &mut log.keep_files);
    }
    if let Some(value) = section.take("keep_age") {
        let mut age = Duration::ZERO;
        reader.duration(&value, LOG_AGE, &mut age);
        log.keep_age = Some(age);
    }
    if let Some(value) = section.take("keep_size") {
        let mut size = 0;
        reader.size(&value, ROTATE_SIZE, Allowed::Any, &mut size);
        log.keep_size = Some(size);
    }
    if let Some(value) = section.take("compress") {
        reader.boolean(&value, &mut log.compress);
    }
}

fn read_store(reader: &mut Reader<'_>, section: &mut Section<'_>, store: &mut Store) {
    if let Some(value) = section.take("on") {
        reader.boolean(&value, &mut store.on);
    }
    if let Some(value) = section.take("path") {
        store.path = reader.absolute_path(&value);
    }
    if let Some(value) = section.take("segment_size") {
        reader.size(&value, SEGMENT_SIZE, Allowed::Any, &mut store.segment_size);
    }
    if let Some(value) = section.take("segment_age") {
        reader.duration(&value, LOG_AGE, &mut store.segment_age);
    }
    if let Some(value) = section.take("keep_age") {
        reader.duration(&value, LOG_AGE, &mut store.keep_age);
    }
    if let Some(value) = section.take("keep_size") {
        reader.size(&value, STORE_SIZE, Allowed::Any, &mut store.keep_size);
    }
}

/// Rules that nobody names cannot be tried.
fn read_detect(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Detect> {
    let mut level = Level::default();
    let mut budget = DETECT_BUDGET_DEFAULT;
    let rules = section.take("rules");
    if let Some(value) = section.take("level") {
        reader.choice(&value, &Level::NAMES, &mut level);
    }
    if let Some(value) = section.take("budget") {
        reader.duration(&value, DETECT_BUDGET, &mut budget);
    }
    let Some(rules) = rules else {
        reader.lacks(section, "rules", "the directory of Sigma rules");
        return None;
    };
    Some(Detect {
        rules: reader.absolute_path(&rules)?,
        level,
        budget,
    })
}

fn read_alert(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Alert> {
    let Some(command) = section.take("command") else {
        reader.lacks(section, "command", "the program and its arguments");
        return None;
    };
    let items = reader.list(&command)?;
    let Some((program, arguments)) = items.split_first() else {
        reader.refuse(
            &command,
            "an empty list; it begins with the path of a program",
        );
        return None;
    };
    if arguments.len() > ALERT_ARGUMENTS_MAX {
        let reason = format!("at most {ALERT_ARGUMENTS_MAX} arguments are allowed");
        reader.refuse(&command, &reason);
    }
    let program = reader.absolute_path(program);
    let arguments = arguments.iter().take(ALERT_ARGUMENTS_MAX);
    let arguments = arguments.map(|argument| reader.argument(argument));
    let arguments = arguments.collect::<Option<_>>();
    Some(Alert {
        program: program?,
        arguments: arguments?,
    })
}

fn read_hash(reader: &mut Reader<'_>, section: &mut Section<'_>, hash: &mut Hash) {
    if let Some(value) = section.take("on") {
        reader.boolean(&value, &mut hash.on);
        if hash.on && reader.system == System::Windows {
            reader.refuse(&value, "images are hashed on Linux alone");
        }
    }
    if let Some(value) = section.take("rate") {
        reader.size(&value, HASH_RATE, Allowed::Any, &mut hash.rate);
    }
    if let Some(value) = section.take("file_size_max") {
        reader.size(
            &value,
            HASH_FILE_SIZE,
            Allowed::Any,
            &mut hash.file_size_max,
        );
    }
}

fn read_forward(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    store: &Store,
) -> Option<Forward> {
    if !store.on {
        let why = "what is forwarded is what the store has";
        reader.useless(section, "[store]", why);
    }
    let mut keep_size = store.keep_size;
    let url = section.take("url");
    let files = ["token_file", "ca_file", "cert_file", "key_file"];
    let [token_file, ca_file, cert_file, key_file] = files.map(|key| {
        let value = section.take(key)?;
        reader.absolute_path(&value)
    });
    if cert_file.is_some() != key_file.is_some() {
        reader.useless(
            section,
            "both cert_file and key_file",
            "a certificate is of no use without its key",
        );
    }
    if let Some(value) = section.take("keep_size") {
        reader.size(&value, STORE_SIZE, Allowed::Any, &mut keep_size);
    }
    let mut heartbeat = HEARTBEAT_DEFAULT;
    if let Some(value) = section.take("heartbeat") {
        reader.duration(&value, HEARTBEAT, &mut heartbeat);
    }
    let Some(url) = url else {
        reader.lacks(section, "url", "where the trail is sent to");
        return None;
    };
    let parsed = Url::parse(reader.string(&url)?);
    // The value is not shown: there may be a secret in it.
    let parsed = parsed.map_err(|reason| reader.refuse(&url, &reason));
    Some(Forward {
        url: parsed.ok()?,
        token_file,
        ca_file,
        cert_file,
        key_file,
        keep_size,
        heartbeat,
    })
}

/// Names of variables; an empty list is none.
fn read_names(reader: &mut Reader<'_>, value: &Value<'_>) -> Names {
    let items = reader.list(value).unwrap_or_default();
    if items.len() > NAMES_MAX {
        reader.refuse(value, &format!("at most {NAMES_MAX} names are allowed"));
    }
    let mut names: Vec<&str> = Vec::new();
    for item in items.iter().take(NAMES_MAX) {
        let Some(name) = reader.string(item) else {
            continue;
        };
        if names.contains(&name) {
            reader.refuse_with(item, "it is there twice");
        } else if is_name(name) {
            names.push(name);
        } else {
            let wanted = format!(
                "it must be the whole name of a variable, at most {NAME_SIZE_MAX} printable ASCII \
                 characters without space, `=` and `*`"
            );
            reader.refuse_with(item, &wanted);
        }
    }
    Names::new(&names)
}

fn read_limits(reader: &mut Reader<'_>, section: &mut Section<'_>, limits: &mut Limits) {
    let buffers = [
        ("process_buffer_size", &mut limits.process_buffer_size),
        ("event_buffer_size", &mut limits.event_buffer_size),
    ];
    for (key, target) in buffers {
        if let Some(value) = section.take(key) {
            reader.size(&value, BUFFER_SIZE, Allowed::PowerOfTwo, target);
        }
    }
    if let Some(value) = section.take("processes") {
        reader.count(&value, PROCESSES, &mut limits.processes);
    }
    if let Some(value) = section.take("images") {
        reader.count(&value, IMAGES, &mut limits.images);
    }
    if let Some(value) = section.take("argument_rate") {
        reader.size(
            &value,
            ARGUMENT_RATE,
            Allowed::Any,
            &mut limits.argument_rate,
        );
    }
}

pub(super) fn read_events(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    names: &[(&'static str, Kinds)],
    target: &mut Kinds,
) {
    let mut kinds = Kinds::NONE;
    let Some(items) = reader.list(value) else {
        return;
    };
    for item in &items {
        let mut choice = Kinds::NONE;
        reader.choice(item, names, &mut choice);
        kinds = kinds.union(choice);
    }
    if items.is_empty() {
        reader.refuse(
            value,
            "an empty list would record nothing; leave the key out to record all",
        );
    }
    *target = kinds;
}
