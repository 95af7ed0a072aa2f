//! What is shown: the processes that run and those that have just ended, the rates, the losses. It is
//! put together from a look at the trail, and then from its events.
//!
//! It is bounded: [`PROCESSES_MAX`] processes, [`TEXTS_SIZE_MAX`] bytes of their texts, [`LOSSES_MAX`]
//! losses. What there is no room for is counted.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use event::ProcessKey;

use super::rates::Rates;
use super::starters::Starters;
use crate::shown::base_name;
use crate::trail::{Body, Event, Program, Text, Time};
use crate::tree::{End, Process, Tree};

/// Processes that are shown at most.
pub(super) const PROCESSES_MAX: usize = 65_536;

/// Bytes of texts of all of them.
const TEXTS_SIZE_MAX: usize = 64 << 20;

/// Bytes of a command line that are kept: many lines of a terminal. A process's story has all of it.
const COMMAND_LINE_SIZE_MAX: usize = 1_024;

/// Losses that are remembered one by one, the latest.
const LOSSES_MAX: usize = 1_000;

/// How long a start is new, and an end shown.
pub(super) const JUST_NS: i64 = 3_000_000_000;

/// When there is no room, what can be forgotten is looked for no more often: in a flood of starts every
/// look would be in vain.
const FORGET_NS: i64 = 250_000_000;

/// Processes that have ended and are not shown any more are forgotten when there are so many.
const FORGET_COUNT: usize = 256;

/// Something that was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) time: Time,
    pub(super) kind: String,
    pub(super) count: u64,
    pub(super) reason: String,
}

/// The recording that is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recording {
    pub(super) host: Arc<str>,
    /// The sensor, where that is told.
    pub(super) source: Option<String>,
    pub(super) since: Option<Time>,
    /// When it ended, where it has.
    pub(super) ended: Option<Time>,
}

/// What is shown.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) tree: Tree,
    pub(super) rates: Rates,
    pub(super) starters: Starters,
    pub(super) recording: Recording,
    /// The oldest first.
    pub(super) losses: VecDeque<Loss>,
    /// Events that were lost in the recording.
    pub(super) lost_count: u64,
    /// Processes there was no room for.
    pub(super) unshown_count: u64,
    /// The time of the last event.
    pub(super) end: Option<Time>,
    /// When there was no room last.
    full: Option<Time>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            // A parent that is told of by its child may have been shown and forgotten long ago.
            tree: Tree::of_told_alone(),
            rates: Rates::default(),
            starters: Starters::default(),
            recording: Recording::default(),
            losses: VecDeque::new(),
            lost_count: 0,
            unshown_count: 0,
            end: None,
            full: None,
        }
    }
}

impl Model {
    /// Begins with the processes of a tree.
    pub(super) fn begin(&mut self, processes: &[Process]) {
        for process in processes {
            let mut process = process.clone();
            process.program = clipped(&process.program);
            if !self.has_room(process.process_key) || self.tree.add_process(process).is_err() {
                self.unshown_count += 1;
            }
        }
        // That counts the texts.
        self.tree.retain(|_| true);
        if self.tree.texts_size() > TEXTS_SIZE_MAX {
            for process in self.tree.processes_mut() {
                process.program.forget_arguments();
            }
            self.tree.retain(|_| true);
        }
    }

    /// Takes an event.
    pub(super) fn add(&mut self, mut event: Event) {
        self.end = self.end.max(Some(event.time));
        if self.recording.host.is_empty() {
            self.recording.host = Arc::clone(&event.origin.host);
        }
        let mut is_existing = false;
        match &mut event.body {
            Body::ProcessStart(start) => {
                is_existing = start.existing;
                if !start.existing {
                    let (id, key) = (start.parent_process_id, start.parent_process_key);
                    self.add_starter(id, key, event.time);
                }
                start.program = clipped(&start.program);
                start.details = None;
                self.add_to_tree(&event);
            }
            Body::ProcessExec(exec) => {
                exec.program = clipped(&exec.program);
                self.add_to_tree(&event);
            }
            Body::ProcessExit(_) => self.add_to_tree(&event),
            Body::ImageLoad(load) => is_existing = load.existing,
            Body::Lost(lost) => self.lose(Loss {
                time: event.time,
                kind: lost.lost_kind.to_string(),
                count: lost.lost_count,
                reason: lost.lost_reason.to_string(),
            }),
            Body::SensorStart(start) => {
                self.recording = Recording {
                    host: Arc::clone(&event.origin.host),
                    source: Some(start.source.to_string()),
                    since: Some(event.time),
                    ended: None,
                };
                self.lost_count = 0;
            }
            Body::SensorStop(_) => self.recording.ended = Some(event.time),
            // Of all others only the number counts.
            _ => {}
        }
        if !is_existing {
            self.rates.add(event.body.kind(), event.time, 1);
        }
    }

    fn add_starter(&mut self, id: Option<u32>, key: Option<ProcessKey>, time: Time) {
        if let (Some(id), Some(key)) = (id, key) {
            let tree = &self.tree;
            let title_fn = || tree.with_key(key).map_or_else(String::new, short_title);
            self.starters.add(key, id, time, title_fn);
        }
    }

    fn add_to_tree(&mut self, event: &Event) {
        if !self.has_room(event.process_key) {
            let again = |full: Time| event.time.0.saturating_sub(full.0) >= FORGET_NS;
            if self.full.is_none_or(again) {
                self.full = Some(event.time);
                self.forget(event.time);
            }
        }
        if !self.has_room(event.process_key) || self.tree.add(event).is_err() {
            let is_start = matches!(event.body, Body::ProcessStart(_));
            self.unshown_count += u64::from(is_start);
        }
    }

    fn has_room(&self, key: ProcessKey) -> bool {
        let has_room =
            self.tree.processes().len() < PROCESSES_MAX && self.tree.texts_size() < TEXTS_SIZE_MAX;
        has_room || self.tree.with_key(key).is_some()
    }

    pub(super) fn lose(&mut self, loss: Loss) {
        self.lost_count = self.lost_count.saturating_add(loss.count);
        self.losses.push_back(loss);
        if self.losses.len() > LOSSES_MAX {
            self.losses.pop_front();
        }
    }

    /// Whether a process is shown at `now`: it runs, or has just ended.
    pub(super) fn is_shown(process: &Process, now: Time) -> bool {
        match process.end {
            End::Running => true,
            End::Unseen => false,
            End::Exit(exit) => exit.time.0.saturating_add(JUST_NS) > now.0,
        }
    }

    /// Forgets the processes that are not shown any more, now and then.
    pub(super) fn tidy(&mut self, now: Time) {
        let gone = self.tree.processes().iter();
        let gone = gone.filter(|process| !Self::is_shown(process, now)).count();
        if gone > FORGET_COUNT.max(self.tree.processes().len() / 4) {
            self.forget(now);
        }
    }

    fn forget(&mut self, now: Time) {
        self.tree.retain(|process| Self::is_shown(process, now));
    }

    /// How many run.
    pub(super) fn running_count(&self) -> usize {
        let processes = self.tree.processes().iter();
        processes.filter(|one| one.end == End::Running).count()
    }
}

/// The program as far as the list shows it.
fn clipped(program: &Program) -> Program {
    let clip = |text: &Text| {
        let shown = text.shown();
        if shown.len() <= COMMAND_LINE_SIZE_MAX {
            return text.clone();
        }
        let end = shown.floor_char_boundary(COMMAND_LINE_SIZE_MAX);
        Text::from(shown.get(..end).unwrap_or_default())
    };
    Program {
        image: program.image.clone(),
        command_line: program.command_line.as_ref().map(clip),
        user: program.user.clone(),
        user_id: program.user_id.clone(),
        ..Program::default()
    }
}

/// What a process is called in a column: its program's name without the way there, and its arguments.
pub(super) fn short_title(process: &Process) -> String {
    let title = process.title();
    if process.is_kernel {
        return title.into_owned();
    }
    process.steps() + &short(title)
}

fn short(title: Cow<'_, str>) -> String {
    // The first word is a path only where it is that of a file; `-bash` and `sshd: ada` are none.
    match title.split_once(' ') {
        Some((program, rest)) if program.starts_with('/') => {
            format!("{} {rest}", base_name(program))
        }
        None if title.starts_with('/') => base_name(&title).to_owned(),
        _ => title.into_owned(),
    }
}
