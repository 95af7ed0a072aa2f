//! One process's whole story: who started it, what it ran, loaded and started, how it ended.

mod inherited;
pub mod live;
pub mod stored;
mod tell;

use std::collections::HashMap;

use event::ProcessKey;
use serde::{Serialize, Serializer};

use self::inherited::Mapped;
pub use self::tell::{tell, write_json};
use crate::shown::rfc_3339;
use crate::trail::{Body, Event, Program, Text, Time, UserId};
use crate::tree::{NotOne, Process, Span, TEXTS_SIZE_MAX, TooMany, Tree, Who};

/// The most threads, and the most images, that are told one by one; further ones are counted.
pub const LISTED_MAX: usize = 10_000;

/// The most ancestors that are told.
pub const ANCESTORS_MAX: usize = 64;

/// A process's whole story.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// The process.
    pub process: Process,
    /// Its parent, that one's parent and so on, as far as the trail knows them.
    pub ancestors: Vec<Process>,
    /// What it started.
    pub children: Vec<Process>,
    /// What only its own events tell.
    pub details: Details,
}

impl Story {
    /// Every process in it, to say of them what the trail does not tell.
    pub fn processes_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        let others = self.ancestors.iter_mut().chain(&mut self.children);
        std::iter::once(&mut self.process).chain(others)
    }
}

/// What only a process's own events tell.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// Every program it ran after its start.
    pub execs: List<Exec>,
    /// Its threads, the first one not counted.
    pub threads: List<Thread>,
    /// What it loaded.
    pub images: List<Image>,
    /// What was mapped in the process that it was forked from, and so in itself: of one that runs no program
    /// of its own.
    pub inherited_images: List<Image>,
    /// Whether a log had too much at once for that to be followed.
    pub inherits_unknown: bool,
}

/// The first of many, and how many there are.
#[derive(Clone, Debug, Serialize)]
pub struct List<T> {
    /// How many there are.
    pub count: u64,
    /// The first [`LISTED_MAX`] of them.
    pub first: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            count: 0,
            first: Vec::new(),
        }
    }
}

impl<T> List<T> {
    /// Counts `item`, and keeps it while there is room.
    pub fn add(&mut self, item: T) {
        self.count += 1;
        if self.first.len() < LISTED_MAX {
            self.first.push(item);
        }
    }
}

/// One program a process ran.
#[derive(Clone, Debug, Serialize)]
pub struct Exec {
    /// When it was put in place.
    #[serde(serialize_with = "time_text")]
    pub time: Time,
    /// Its image.
    pub image: Option<String>,
    /// Its command line.
    pub command_line: Option<String>,
    /// The script it was started for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// For whom.
    pub user: Option<String>,
}

impl Exec {
    fn new(time: Time, program: &Program) -> Self {
        let shown = |text: &Option<Text>| text.as_ref().map(|text| text.shown().to_owned());
        Self {
            time,
            image: shown(&program.image),
            command_line: shown(&program.command_line),
            script: shown(&program.script),
            user: program.user.as_deref().map(str::to_owned),
        }
    }
}

/// One thread.
#[derive(Clone, Debug, Serialize)]
pub struct Thread {
    /// Its id.
    pub thread_id: u32,
    /// When it started.
    #[serde(serialize_with = "maybe_time_text")]
    pub start_time: Option<Time>,
    /// The process that created it, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_creator: Option<u32>,
    /// When it ended.
    #[serde(serialize_with = "maybe_time_text")]
    pub exit_time: Option<Time>,
}

/// One image load.
#[derive(Clone, Debug, Serialize)]
pub struct Image {
    /// When; for one that was there before the recording, when that began.
    #[serde(serialize_with = "time_text")]
    pub time: Time,
    /// Its path.
    pub image: Option<String>,
    /// Where it is mapped.
    pub image_base: String,
    /// Bytes of the mapping.
    pub image_size: u64,
    /// Whether it was there before the recording.
    pub existing: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference to the field"
)]
fn time_text<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc_3339(*time))
}

#[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
fn maybe_time_text<S: Serializer>(time: &Option<Time>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => time_text(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// Puts a story together from the events of a trail, in one reading.
#[derive(Debug)]
pub struct Collector {
    who: Who,
    tree: Tree,
    /// Of every process that may be meant.
    details: HashMap<ProcessKey, Details>,
    /// Bytes of the texts in those, at most.
    texts_size: usize,
    mapped: Mapped,
}

impl Collector {
    /// For the story of `who`.
    pub fn new(who: Who) -> Self {
        Self {
            who,
            tree: Tree::default(),
            details: HashMap::new(),
            texts_size: 0,
            mapped: Mapped::default(),
        }
    }

    /// Takes an event.
    pub fn add(&mut self, event: &Event) -> Result<(), TooMany> {
        self.tree.add(event)?;
        self.follow(event);
        if self.who.may_be(event.process_id, event.process_key) {
            let details = self.details.entry(event.process_key).or_default();
            self.texts_size = self.texts_size.saturating_add(details.size_of(&event.body));
            if self.texts_size > TEXTS_SIZE_MAX {
                return Err(TooMany::Texts);
            }
            details.add(event);
        }
        Ok(())
    }

    /// Follows what forked processes have mapped.
    fn follow(&mut self, event: &Event) {
        let key = event.process_key;
        match &event.body {
            Body::ProcessStart(start) if !start.existing && is_forked(&start.program) => {
                self.mapped.fork(key, start.parent_process_key);
            }
            Body::ProcessExec(exec) => self.mapped.exec(key, exec.program.image.as_ref()),
            Body::ImageLoad(load) => self.mapped.load(key, event.time, load),
            Body::ProcessExit(_) => self.mapped.exit(key),
            _ => {}
        }
        let has_program = matches!(event.body, Body::ProcessStart(_) | Body::ProcessExec(_));
        if has_program && self.who.may_be(event.process_id, key) {
            let details = self.details.entry(key).or_default();
            details.inherited_images = self.mapped.of(key);
            details.inherits_unknown = self.mapped.is_beyond();
        }
    }

    /// The story of the one process that is meant, which was there in `span`.
    pub fn story(mut self, span: Span) -> Result<Story, NotOne> {
        self.tree.finish();
        let process = self.who.find(self.tree.processes(), span)?.clone();
        let details = self.details.remove(&process.process_key);
        let is_child = |one: &&Process| {
            one.parent_process_key == Some(process.process_key) && **one != process
        };
        let children = self.tree.processes().iter().filter(is_child).cloned();
        Ok(Story {
            children: children.collect(),
            ancestors: ancestors(&process, |key| self.tree.with_key(key).cloned()),
            details: details.unwrap_or_default(),
            process,
        })
    }
}

/// Whether a process that starts with this program begins as its parent was: on Windows, where users are
/// SIDs, nobody does.
fn is_forked(program: &Program) -> bool {
    let is_path = |image: &Text| image.shown().starts_with('/');
    !matches!(program.user_id, Some(UserId::Sid(_))) && program.image.as_ref().is_none_or(is_path)
}

fn image_base(base: u64) -> String {
    format!("{base:#x}")
}

/// Follows the parents of `process` upwards, as far as `with_key_fn` knows them.
pub fn ancestors(
    process: &Process,
    mut with_key_fn: impl FnMut(ProcessKey) -> Option<Process>,
) -> Vec<Process> {
    let mut ancestors: Vec<Process> = Vec::new();
    let mut next = process.parent_process_key;
    // A loop of parents ends at the limit at the latest.
    while let Some(key) = next.filter(|_| ancestors.len() < ANCESTORS_MAX) {
        let is_known = ancestors.iter().any(|one| one.process_key == key);
        let Some(parent) = with_key_fn(key).filter(|_| !is_known && key != process.process_key)
        else {
            break;
        };
        next = parent.parent_process_key;
        ancestors.push(parent);
    }
    ancestors
}

impl Details {
    /// Bytes of texts that are kept of an event.
    fn size_of(&self, body: &Body) -> usize {
        match body {
            Body::ProcessExec(exec) if self.execs.first.len() < LISTED_MAX => exec.program.size(),
            Body::ImageLoad(load) if self.images.first.len() < LISTED_MAX => {
                load.image.as_ref().map_or(0, Text::size)
            }
            _ => 0,
        }
    }

    fn add(&mut self, event: &Event) {
        let time = event.time;
        match &event.body {
            Body::ProcessExec(exec) => self.execs.add(Exec::new(time, &exec.program)),
            Body::ThreadStart(start) => self.threads.add(Thread {
                thread_id: start.thread_id,
                start_time: Some(time),
                remote_creator: start.creator_process_id.filter(|_| start.remote),
                exit_time: None,
            }),
            Body::ThreadExit(exit) => {
                let is_whole = self.threads.count == self.threads.first.len() as u64;
                let mut threads = self.threads.first.iter_mut().rev();
                let open = |thread: &&mut Thread| {
                    thread.thread_id == exit.thread_id && thread.exit_time.is_none()
                };
                match threads.find(open) {
                    Some(thread) => thread.exit_time = Some(time),
                    // Its start came before the recording, or was lost.
                    None if is_whole => {
                        self.threads.add(Thread {
                            thread_id: exit.thread_id,
                            start_time: None,
                            remote_creator: None,
                            exit_time: Some(time),
                        });
                    }
                    // Of one beyond the list.
                    None => {}
                }
            }
            Body::ImageLoad(load) => self.images.add(Image {
                time,
                image: load.image.as_ref().map(|text| text.shown().to_owned()),
                image_base: image_base(load.image_base),
                image_size: load.image_size,
                existing: load.existing,
            }),
            _ => {}
        }
    }
}
