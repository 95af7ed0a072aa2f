//! The processes of a time, as the tree and the timeline show them, and the story of one.

use std::path::Path;

use event::ProcessKey;
use serde::Serialize;
use serde_json::Value;

use crate::page::{Chosen, Row, Texts};
use crate::quantity::show_count;
use crate::shown::safe;
use crate::store::{self, Guard, Reader, Window};
use crate::story;
use crate::trail::Time;
use crate::tree::stored::{self, Wanted};
use crate::tree::{End, Losses, Process, Who, short, state};

/// Processes of an answer; of more, those that failed and the longest.
const PROCESSES_MAX: usize = 20_000;

/// Events that a page begins with, where nobody says of which time: some seconds to some hours.
pub(super) const EVENTS_SHOWN: u64 = 20_000;

/// What the script reads.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    /// Nanoseconds since 1970, in digits: a script has no number for it.
    begin: String,
    begin_ms: f64,
    length_ns: u64,
    processes: Vec<Row>,
    texts: Vec<String>,
    keys: Vec<String>,
    notes: Vec<String>,
    /// Whether long texts were cut, which is marked with `…`; a story has more of them.
    is_cut: bool,
}

impl Told {
    /// Whose stories are wanted first: those that failed.
    pub(super) fn wanted(&self) -> Vec<ProcessKey> {
        let with_rows = || self.keys.iter().zip(&self.processes);
        let failed = with_rows().filter(|(_, row)| row.has_failed());
        let others = with_rows().filter(|(_, row)| !row.has_failed());
        let keys = failed.chain(others).map(|(key, _)| key);
        keys.filter_map(|key| ProcessKey::from_hex(key)).collect()
    }

    /// Its begin.
    pub(super) fn begin(&self) -> Time {
        Time(self.begin.parse().unwrap_or_default())
    }
}

/// Reads the processes of a time.
pub(super) fn read(directory: &Path, window: Window, guard: &Guard) -> Result<Value, String> {
    let told = read_told(directory, window, guard).map_err(|error| error.to_string())?;
    serde_json::to_value(told).map_err(|error| error.to_string())
}

pub(super) fn read_told(
    directory: &Path,
    window: Window,
    guard: &Guard,
) -> Result<Told, stored::Error> {
    let reader = stored::open(directory, &window, guard)?;
    let wanted = Wanted {
        who: None,
        arguments: true,
    };
    let mut tree = stored::read(&reader, &window, wanted)?;
    let newest = reader.end().unwrap_or_default();
    // What was there at the end of the time is told as of then.
    let end = window.until.map_or(newest, |until| until.min(newest));
    let ended = ended(directory, &window, newest);
    for process in tree.processes_mut() {
        settle(process, ended);
    }
    let begins = tree.processes().iter().map(Process::begin);
    let begin = window.since.or_else(|| begins.min()).unwrap_or_default();
    let end = end.max(begin);
    let chosen = Chosen::of(tree.processes(), (begin, end), PROCESSES_MAX).of_tree(&tree);
    let mut texts = Texts::default();
    let processes = chosen.rows(&mut texts, short, |_| None);
    let mut notes: Vec<String> = Vec::new();
    notes.extend(Losses::of_store(&reader, &window)?.told(begin, end));
    if processes.len() < tree.processes().len() {
        let rest = show_count(tree.processes().len() - processes.len(), "process");
        notes.push(format!(
            "{rest} that were shorter than all others are not shown: choose less time"
        ));
    }
    let is_cut = texts.fit();
    notes.extend(left_out(&reader));
    Ok(Told {
        begin: begin.0.to_string(),
        begin_ms: milliseconds(begin),
        length_ns: end.0.abs_diff(begin.0),
        keys: chosen
            .processes()
            .map(|one| one.process_key.to_string())
            .collect(),
        processes,
        texts: texts.list,
        notes,
        is_cut,
    })
}

/// Which segments are not in an answer, or not wholly, and why.
pub(super) fn left_out(reader: &Reader) -> Vec<String> {
    let failed = reader.take_failed();
    let all = reader.passed_over().iter().chain(&failed);
    all.map(|it| safe(&it.why.to_string())).collect()
}

/// When the trail ended, of a time that goes to its end and of which nobody records more.
fn ended(directory: &Path, window: &Window, newest: Time) -> Option<Time> {
    let is_open = window.until.is_none_or(|until| until > newest);
    (is_open && !store::is_written(directory)).then_some(newest)
}

fn settle(process: &mut Process, ended: Option<Time>) {
    if process.end == End::Running {
        process.known_until = ended;
    }
}

/// Milliseconds since 1970, with what a script's numbers keep of the rest.
#[expect(clippy::cast_precision_loss, reason = "a picture has no more")]
pub(super) fn milliseconds(time: Time) -> f64 {
    time.0 as f64 / 1e6
}

/// Tells stories, as of a time: the store is opened once for all that are asked for.
pub(super) struct Stories {
    reader: Reader,
    window: Window,
    newest: Time,
    ended: Option<Time>,
    losses: Losses,
}

impl Stories {
    /// Opens the store.
    pub(super) fn open(
        directory: &Path,
        until: Option<Time>,
        guard: &Guard,
    ) -> Result<Self, String> {
        Self::try_open(directory, until, guard).map_err(|error| error.to_string())
    }

    fn try_open(
        directory: &Path,
        until: Option<Time>,
        guard: &Guard,
    ) -> Result<Self, stored::Error> {
        let window = Window { since: None, until };
        let reader = stored::open(directory, &window, guard)?;
        let newest = reader.end().unwrap_or_default();
        Ok(Self {
            ended: ended(directory, &window, newest),
            losses: Losses::of_store(&reader, &window)?,
            reader,
            window,
            newest,
        })
    }

    /// The story of a process.
    pub(super) fn tell(&self, key: ProcessKey) -> Result<Value, String> {
        let mut told = self.told(key).map_err(|error| error.to_string())?;
        make_safe(&mut told);
        Ok(told)
    }

    fn told(&self, key: ProcessKey) -> Result<Value, stored::Error> {
        let (reader, window) = (&self.reader, &self.window);
        let mut story = story::stored::read(reader, window, Who::Key(key), None)?;
        for process in story.processes_mut() {
            settle(process, self.ended);
        }
        let now = window
            .until
            .map_or(self.newest, |until| until.min(self.newest));
        let process = &story.process;
        let lost = self
            .losses
            .told(process.begin(), process.end_or(Time(i64::MAX)));
        let states = |processes: &[Process]| -> Vec<[String; 2]> {
            processes
                .iter()
                .map(|one| [short(one), state(one)])
                .collect()
        };
        let mut text = Vec::new();
        // Written into memory, which does not fail.
        let _written = story::write_json(&story, now, &mut text);
        Ok(serde_json::json!({
            "story": serde_json::from_slice::<Value>(&text).unwrap_or_default(),
            "title": short(process),
            "state_text": state(process),
            "children": states(&story.children),
            "ancestors": states(&story.ancestors),
            "has_failed": process.has_failed(),
            "lost": lost,
        }))
    }
}

/// Makes every text in it safe to look at.
fn make_safe(value: &mut Value) {
    match value {
        Value::String(text) => *text = safe(text),
        Value::Array(list) => list.iter_mut().for_each(make_safe),
        Value::Object(fields) => fields.values_mut().for_each(make_safe),
        _ => {}
    }
}
