//! A tree for programs: JSON, nested or a line a process, CSV, and Graphviz' dot. The fields are
//! named as the columns of the store's `processes`.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use super::draw::state;
use super::{End, Forest, Process};
use crate::export::csv;
use crate::shown::{escape_controls, rfc_3339};
use crate::trail::{Text, Time, UserId};

/// A process as its JSON object.
#[derive(Debug, Serialize)]
pub struct Row<'p> {
    process_id: u32,
    process_key: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    host: &'p str,
    /// `running`, `exited`, or `ended` where nobody saw how.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_process_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_process_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creator_process_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creator_thread_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time_text: Option<String>,
    existing: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    kernel_process: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_line: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<Vec<&'p str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<u32>,
    exec_count: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    earlier_images: Vec<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_time_text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    core_dumped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_time_ns: Option<u64>,
    /// Of one that is `running` as far as the trail goes: when that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    known_until: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    known_until_text: Option<String>,
}

impl<'p> Row<'p> {
    /// The row of `process`, which has run until `now` where it still runs.
    pub fn new(process: &'p Process, now: Time) -> Self {
        let program = &process.program;
        let exit = process.exit();
        Self {
            process_id: process.process_id,
            process_key: process.process_key.to_string(),
            host: &process.host,
            state: match process.end {
                End::Running => "running",
                End::Unseen => "ended",
                End::Exit(_) => "exited",
            },
            parent_process_id: process.parent_process_id,
            parent_process_key: process.parent_process_key.map(|key| key.to_string()),
            creator_process_id: process.creator_process_id,
            creator_thread_id: process.creator_thread_id,
            start_time: process.start_time.map(|time| time.0),
            start_time_text: process.start_time.map(rfc_3339),
            existing: process.existing,
            kernel_process: process.is_kernel,
            name: process.name.as_ref().map(Text::shown),
            image: program.image.as_ref().map(Text::shown),
            command_line: program.command_line.as_ref().map(Text::shown),
            arguments: program
                .arguments
                .as_ref()
                .map(|arguments| arguments.iter().map(Text::shown).collect()),
            script: program.script.as_ref().map(Text::shown),
            user: program.user.as_deref(),
            user_id: program.user_id.as_ref().map(|user_id| match user_id {
                UserId::Uid(uid) => (*uid).into(),
                UserId::Sid(sid) => sid.as_ref().into(),
            }),
            session_id: process.session_id,
            exec_count: process.exec_count,
            earlier_images: process.earlier_images.iter().map(Text::shown).collect(),
            exit_time: exit.map(|exit| exit.time.0),
            exit_time_text: exit.map(|exit| rfc_3339(exit.time)),
            exit_code: exit.and_then(|exit| exit.exit_code),
            signal: exit.and_then(|exit| exit.signal),
            core_dumped: exit.is_some_and(|exit| exit.core_dumped),
            run_time_ns: process.run_time_ns(now),
            known_until: process.known_until.map(|time| time.0),
            known_until_text: process.known_until.map(rfc_3339),
        }
    }

    fn json(&self) -> io::Result<String> {
        Ok(escape_controls(serde_json::to_string(self)?))
    }
}

/// Writes a line a process, each before its children.
pub fn write_json_lines(forest: &Forest<'_>, now: Time, out: &mut impl Write) -> io::Result<()> {
    for visit in forest.visits() {
        let process = forest.whole(visit.process)?;
        writeln!(out, "{}", Row::new(&process, now).json()?)?;
    }
    Ok(())
}

/// The fields of a [`Row`], in its order: the columns of CSV.
const COLUMNS: [&str; 30] = [
    "process_id",
    "process_key",
    "host",
    "state",
    "parent_process_id",
    "parent_process_key",
    "creator_process_id",
    "creator_thread_id",
    "start_time",
    "start_time_text",
    "existing",
    "kernel_process",
    "name",
    "image",
    "command_line",
    "arguments",
    "script",
    "user",
    "user_id",
    "session_id",
    "exec_count",
    "earlier_images",
    "exit_time",
    "exit_time_text",
    "exit_code",
    "signal",
    "core_dumped",
    "run_time_ns",
    "known_until",
    "known_until_text",
];

/// Writes a heading, then a line a process, each before its children.
pub fn write_csv(forest: &Forest<'_>, now: Time, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", COLUMNS.join(","))?;
    let mut line = Vec::new();
    for visit in forest.visits() {
        let process = forest.whole(visit.process)?;
        if let Value::Object(fields) = serde_json::to_value(Row::new(&process, now))? {
            line.clear();
            csv::write_columns(&COLUMNS, &fields, &mut line)?;
            out.write_all(&line)?;
        }
    }
    Ok(())
}

/// Writes a list of the roots, each with its `children`, and so on.
pub fn write_json(forest: &Forest<'_>, now: Time, out: &mut impl Write) -> io::Result<()> {
    write!(out, "[")?;
    // How many lists of children are open; no recursion, a chain can be as long as the trail.
    let mut open = 0;
    // The depth at which the next process would be the first of its list.
    let mut first_at = 0;
    for visit in forest.visits() {
        while open > visit.depth {
            write!(out, "]}}")?;
            open -= 1;
        }
        let separator = if visit.depth == first_at { "\n" } else { ",\n" };
        let process = forest.whole(visit.process)?;
        let object = Row::new(&process, now).json()?;
        let object = object.strip_suffix('}').unwrap_or(&object);
        write!(out, "{separator}{object},\"children\":[")?;
        open += 1;
        first_at = visit.depth + 1;
    }
    for _ in 0..open {
        write!(out, "]}}")?;
    }
    writeln!(out, "\n]")
}

/// Writes a graph for Graphviz: `systrail tree --format dot | dot -Tsvg`.
pub fn write_dot(forest: &Forest<'_>, out: &mut impl Write) -> io::Result<()> {
    /// Characters of a command line that a box holds.
    const LABEL_COUNT_MAX: usize = 60;
    writeln!(out, "digraph systrail {{")?;
    writeln!(
        out,
        "  rankdir=LR; node [shape=box, fontname=\"sans-serif\"];"
    )?;
    let keys = forest.keys();
    for visit in forest.visits() {
        let process = visit.process;
        let whole = process.title();
        let mut title: String = whole.chars().take(LABEL_COUNT_MAX).collect();
        if title.len() < whole.len() {
            title.push('…');
        }
        let (id, key) = (process.process_id, process.process_key);
        let (title, state) = (quoted(&title), quoted(&state(process)));
        let colour = match process.exit() {
            Some(exit) if exit.exit_code != Some(0) => ", color=red",
            _ => "",
        };
        writeln!(
            out,
            "  \"{key}\" [label=\"{id} {title}\\n{state}\"{colour}];"
        )?;
        let parent = process.parent_process_key.filter(|key| keys.contains(key));
        if let Some(parent) = parent.filter(|_| visit.depth > 0) {
            writeln!(out, "  \"{parent}\" -> \"{key}\";")?;
        }
    }
    writeln!(out, "}}")
}

/// Text inside a quoted string of dot. A backslash begins an escape there, so it is doubled.
fn quoted(text: &str) -> String {
    use crate::trail::control_characters::is_control;
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if is_control(control) => quoted.push('\u{fffd}'),
            other => quoted.push(other),
        }
    }
    quoted
}
