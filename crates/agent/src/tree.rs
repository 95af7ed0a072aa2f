//! Who started whom: the processes of a trail, put together from its events.
//!
//! Events come in the trail's order, but nothing here relies on it, nor on any event being there: a
//! trail may begin in the middle of a process's life, have gaps, or be written by somebody who
//! wants to see a reader hang. Parents are told by key, so that a process id that is used again
//! joins no two families; a loop of parents is cut where it is found.

mod draw;
mod forest;
pub mod live;
mod losses;
mod name;
mod recordings;
mod row;
mod spool;
mod steps;
pub mod stored;
mod who;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use event::{Kind, ProcessKey, Subject};

pub use self::draw::{Style, draw, heading, state};
#[cfg(all(feature = "top", target_os = "linux"))]
pub(crate) use self::draw::{branch, user};
pub use self::forest::{Forest, Visit};
pub use self::losses::Losses;
pub(crate) use self::name::{is_of_system, short, short_of};
use self::recordings::Recordings;
pub use self::row::{Row, write_csv, write_dot, write_json, write_json_lines};
use self::spool::{Place, Spool};
pub use self::who::{NotOne, Span, Who};
use crate::trail::{Body, Event, ProcessStart, Program, Text, Time, missing};

/// The most processes a tree holds. The next one is [`TooMany`]: half a tree would be wrong about
/// who has no parent.
pub const PROCESSES_MAX: usize = 1_000_000;

/// Bytes of texts that a tree, or a story, of a log keeps at most. Nobody's log has them, but one that
/// somebody made to fill the memory.
pub(crate) const TEXTS_SIZE_MAX: usize = 192 << 20;

/// A tree would hold more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// More than [`PROCESSES_MAX`] processes.
    #[error("more than {PROCESSES_MAX} processes; ask for less time with --since and --until")]
    Processes,
    /// Paths and arguments that are too large together.
    #[error(
        "paths and arguments of more than {} together; ask for less time with --since and --until",
        crate::quantity::show_size(u64::try_from(TEXTS_SIZE_MAX).unwrap_or(u64::MAX))
    )]
    Texts,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// Its id.
    pub process_id: u32,
    /// Its identity.
    pub process_key: ProcessKey,
    /// The machine.
    pub host: Arc<str>,
    /// Its parent when it started.
    pub parent_process_id: Option<u32>,
    /// That parent's identity.
    pub parent_process_key: Option<ProcessKey>,
    /// Who made the call that created it.
    pub creator_process_id: Option<u32>,
    /// The thread that made it.
    pub creator_thread_id: Option<u32>,
    /// When it started; not known when the trail has no start of it.
    pub start_time: Option<Time>,
    /// When the trail first tells of it.
    pub first_seen: Time,
    /// When the trail last tells of it.
    pub last_seen: Time,
    /// Whether it was there before the recording.
    pub existing: bool,
    /// The program it ran last.
    pub program: Program,
    /// Whether it is the kernel's own: it has no program.
    pub is_kernel: bool,
    /// What the kernel calls it, where it is the kernel's own.
    pub name: Option<Text>,
    /// Its session.
    pub session_id: Option<u32>,
    /// How often it replaced its program.
    pub exec_count: u64,
    /// What it ran before by an exec of its own, in order; of many the first.
    pub earlier_images: Vec<Text>,
    /// Where its long texts are; their beginnings stand here.
    pub(crate) spooled: Option<Place>,
    /// How it ended.
    pub end: End,
    /// Of one that has not ended as far as the trail goes: when the trail ended, where nothing says
    /// that it still runs.
    pub known_until: Option<Time>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Not yet, as far as the trail goes.
    #[default]
    Running,
    /// It did, while nobody recorded: a later recording began without it.
    Unseen,
    /// The trail tells how.
    Exit(Exit),
}

/// An exit as the trail tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// When.
    pub time: Time,
    /// The exit code.
    pub exit_code: Option<u32>,
    /// The signal that killed it.
    pub signal: Option<u32>,
    /// Whether it left a core dump.
    pub core_dumped: bool,
    /// From its start to its exit.
    pub run_time_ns: Option<u64>,
}

impl Process {
    /// Its exit, where the trail has it.
    pub const fn exit(&self) -> Option<&Exit> {
        match &self.end {
            End::Exit(exit) => Some(exit),
            End::Running | End::Unseen => None,
        }
    }

    /// Whether it ended otherwise than well, as far as the trail tells.
    pub fn has_failed(&self) -> bool {
        self.exit().is_some_and(|exit| {
            exit.signal.is_some() || exit.exit_code.is_some_and(|code| code != 0)
        })
    }

    /// When it began, as far as the trail tells.
    pub fn begin(&self) -> Time {
        self.start_time.unwrap_or(self.first_seen)
    }

    /// When it ended, as far as the trail tells; of one that runs `running`.
    pub const fn end_or(&self, running: Time) -> Time {
        match self.end {
            End::Running => running,
            End::Unseen => self.last_seen,
            End::Exit(exit) => exit.time,
        }
    }

    /// Whether it was there at some time from `since` to `until`.
    pub fn was_there(&self, since: Time, until: Time) -> bool {
        self.begin() <= until && self.end_or(Time(i64::MAX)) >= since
    }

    /// How long it ran, or has run at `now`.
    pub fn run_time_ns(&self, now: Time) -> Option<u64> {
        match self.end {
            End::Exit(exit) => exit.run_time_ns,
            End::Unseen => None,
            End::Running => {
                let start = self.start_time?;
                let until = self.known_until.unwrap_or(now);
                u64::try_from(until.0.saturating_sub(start.0)).ok()
            }
        }
    }

    /// What to call it in one line: its command line, else its image, else what is known instead: the
    /// name of a kernel process stands in brackets, as `ps` has it. A command line is what the caller says;
    /// where it names another program than runs, that stands before it: `/memfd:x as [kworker/u8:2]`.
    pub fn title(&self) -> Cow<'_, str> {
        let command_line = self.program.command_line.as_ref();
        let command_line = command_line.filter(|text| !text.shown().is_empty());
        if let (Some(text), Some(image)) = (command_line, name::other_name(&self.program)) {
            return format!("{image} as {}", text.shown()).into();
        }
        match (command_line, &self.program.image) {
            (Some(text), _) | (None, Some(text)) => text.shown().into(),
            (None, None) if self.is_kernel => {
                let name = self.name.as_ref().map_or("kernel", Text::shown);
                format!("[{name}]").into()
            }
            (None, None) => "?".into(),
        }
    }

    /// Says whether it is the kernel's own, and what that calls it.
    fn set_kernel(&mut self, is_kernel: bool, name: Option<Text>) {
        self.is_kernel = is_kernel;
        self.name = name.filter(|_| is_kernel);
    }

    /// It ended before the recording that began then.
    fn end_unseen(&mut self, next: Time) {
        self.end = End::Unseen;
        let latest = Time(next.0.saturating_sub(1));
        self.last_seen = self.last_seen.max(latest);
    }

    /// An event of it was seen.
    fn seen(&mut self, time: Time) {
        self.first_seen = self.first_seen.min(time);
        self.last_seen = self.last_seen.max(time);
    }
}

/// The processes of a trail.
#[derive(Debug, Default)]
pub struct Tree {
    processes: Vec<Process>,
    /// The recording that last told of the process of the same index.
    told_by: Vec<Option<usize>>,
    by_key: HashMap<ProcessKey, usize>,
    recordings: Recordings,
    /// Bytes of the programs' texts.
    texts_size: usize,
    /// The latest time of any event.
    end: Option<Time>,
    /// Where the long texts of its processes are, of which it has the beginnings.
    spool: Option<Spool>,
    /// Whether a process has events of its own, or is not there.
    has_told_alone: bool,
}

impl Tree {
    /// A tree without parents that only their children's starts tell of.
    pub fn of_told_alone() -> Self {
        Self {
            has_told_alone: true,
            ..Self::default()
        }
    }

    /// Takes an event.
    pub fn add(&mut self, event: &Event) -> Result<(), TooMany> {
        self.end = self.end.max(Some(event.time));
        let recording = self.recordings.of(event);
        match event.body.kind().subject() {
            Some(Subject::Recording | Subject::Detection) | None => {}
            // It is of a file, and the process that used it may have ended long ago.
            _ if event.body.kind() == Kind::IMAGE_DETAILS => {}
            Some(Subject::Process | Subject::Thread | Subject::Image | Subject::Exec) => {
                if let Body::ProcessStart(start) = &event.body {
                    self.add_parent(start, event, recording)?;
                }
                let index = self.entry(event.process_id, event.process_key, event.time)?;
                self.told_by[index] = Some(recording);
                let process = &mut self.processes[index];
                let before = process.size();
                apply(process, event);
                self.texts_size = self.texts_size.saturating_sub(before);
                self.texts_size = self.texts_size.saturating_add(process.size());
                if self.texts_size > TEXTS_SIZE_MAX {
                    return Err(TooMany::Texts);
                }
            }
        }
        Ok(())
    }

    /// Takes a parent as its child's start tells of it, where nothing else told of it before.
    fn add_parent(
        &mut self,
        start: &ProcessStart,
        event: &Event,
        recording: usize,
    ) -> Result<(), TooMany> {
        let (Some(id), Some(key)) = (start.parent_process_id, start.parent_process_key) else {
            return Ok(());
        };
        let told = &start.parent;
        let is_known = self.by_key.contains_key(&key);
        if self.has_told_alone || told.parent_image.is_none() || is_known {
            return Ok(());
        }
        let index = self.entry(id, key, event.time)?;
        self.told_by[index] = Some(recording);
        let parent = &mut self.processes[index];
        parent.host = Arc::clone(&event.origin.host);
        parent.program = Program {
            image: told.parent_image.clone(),
            command_line: told.parent_command_line.clone(),
            user: told.parent_user.clone(),
            ..Program::default()
        };
        self.texts_size = self.texts_size.saturating_add(parent.program.size());
        Ok(())
    }

    /// Takes a process that is already put together; one with the same key must not be there.
    pub fn add_process(&mut self, process: Process) -> Result<(), TooMany> {
        self.end = self.end.max(Some(process.last_seen));
        let index = self.entry(process.process_id, process.process_key, process.first_seen)?;
        self.processes[index] = process;
        Ok(())
    }

    /// The parents that are named and not in it, as many as may be looked for.
    fn unknown_parents(&self) -> Vec<ProcessKey> {
        /// Of a whole recording a few are not known; of what other recorders wrote about, any number.
        const COUNT_MAX: usize = 65_536;
        let parents = self.processes.iter();
        let parents = parents.filter_map(|process| process.parent_process_key);
        let unknown = parents.filter(|key| !self.by_key.contains_key(key));
        let unknown: std::collections::BTreeSet<ProcessKey> = unknown.take(COUNT_MAX).collect();
        unknown.into_iter().collect()
    }

    /// Says of every process that the last recording did not tell of, and that has no exit, that it
    /// ended unseen, before the next recording began. Call it when all events are in.
    pub fn finish(&mut self) {
        for (process, recording) in self.processes.iter_mut().zip(&self.told_by) {
            if let Some(next) = recording.and_then(|index| self.recordings.after(index))
                && process.end == End::Running
            {
                process.end_unseen(next);
            }
        }
    }

    /// All processes, in the order in which the trail first told of them.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// The same, to say of them what the trail does not tell.
    pub fn processes_mut(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    /// Forgets the processes that `kept_fn` does not keep.
    pub fn retain(&mut self, kept_fn: impl Fn(&Process) -> bool) {
        let told_by = std::mem::take(&mut self.told_by);
        let processes = std::mem::take(&mut self.processes);
        self.by_key.clear();
        self.texts_size = 0;
        for (process, told_by) in processes.into_iter().zip(told_by) {
            if kept_fn(&process) {
                self.by_key
                    .insert(process.process_key, self.processes.len());
                let size = process.size();
                self.texts_size = self.texts_size.saturating_add(size);
                self.told_by.push(told_by);
                self.processes.push(process);
            }
        }
    }

    /// Bytes of the texts of its processes' programs, as far as their events brought them.
    pub const fn texts_size(&self) -> usize {
        self.texts_size
    }

    /// A process of it with all of its texts, which may have to be read.
    pub fn whole<'p>(&self, process: &'p Process) -> io::Result<Cow<'p, Process>> {
        match &self.spool {
            Some(spool) => spool.whole(process),
            None => Ok(Cow::Borrowed(process)),
        }
    }

    /// The process with that key.
    pub fn with_key(&self, key: ProcessKey) -> Option<&Process> {
        self.by_key.get(&key).map(|&index| &self.processes[index])
    }

    /// The time of the latest event.
    pub const fn end(&self) -> Option<Time> {
        self.end
    }

    /// The index of a process, which is there from now on.
    fn entry(&mut self, id: u32, key: ProcessKey, time: Time) -> Result<usize, TooMany> {
        if let Some(&index) = self.by_key.get(&key) {
            return Ok(index);
        }
        let index = self.processes.len();
        if index >= PROCESSES_MAX {
            return Err(TooMany::Processes);
        }
        self.by_key.insert(key, index);
        self.told_by.push(None);
        self.processes.push(Process {
            process_id: id,
            process_key: key,
            first_seen: time,
            last_seen: time,
            ..Process::default()
        });
        Ok(index)
    }
}

/// What an event says of its process.
fn apply(process: &mut Process, event: &Event) {
    process.seen(event.time);
    if process.host.is_empty() {
        process.host = Arc::clone(&event.origin.host);
    }
    match &event.body {
        Body::ProcessStart(start) => apply_start(process, event, start),
        Body::ProcessExec(exec) => {
            process.set_kernel(false, None);
            process.replace_program(exec.program.clone());
            process.session_id = exec.session_id.or(process.session_id);
        }
        Body::ProcessExit(exit) => {
            let is_lost = event
                .missing
                .iter()
                .any(|(field, reason)| field == "image" && reason == missing::LOST);
            // An exec was lost: it ended as another program than it was told to run.
            if is_lost || (exit.image.is_some() && process.program.image != exit.image) {
                process.set_program(Program {
                    image: exit.image.clone(),
                    ..Program::default()
                });
            }
            process.session_id = exit.session_id.or(process.session_id);
            let run_time_ns = exit.run_time_ns;
            process.end = End::Exit(Exit {
                time: event.time,
                exit_code: exit.exit_code,
                signal: exit.signal,
                core_dumped: exit.core_dumped,
                run_time_ns,
            });
            // The exit knows when the process started, even where the trail has no start of it.
            if let (None, Some(ns)) = (process.start_time, run_time_ns) {
                let ns = i64::try_from(ns).unwrap_or(i64::MAX);
                process.start_time = Some(Time(event.time.0.saturating_sub(ns)));
            }
        }
        // Of all others only the time counts.
        _ => {}
    }
}

fn apply_start(process: &mut Process, event: &Event, start: &ProcessStart) {
    // A later recording tells of a process that was there anew, and knows no more of its start.
    let is_repeated = process.start_time.is_some() && start.existing;
    // Version 1 of the schema has no more than the reason.
    let has_reason = event
        .missing
        .iter()
        .any(|(field, reason)| field == "image" && reason == missing::KERNEL_THREAD);
    let name = start.name.clone().or_else(|| process.name.take());
    process.set_kernel(start.kernel_process || has_reason, name);
    process.session_id = start.session_id.or(process.session_id);
    if !is_repeated || start.program.command_line.is_some() {
        process.set_program(start.program.clone());
    }
    if is_repeated {
        return;
    }
    process.start_time = Some(event.time);
    process.existing = start.existing;
    process.parent_process_id = start.parent_process_id;
    process.parent_process_key = start.parent_process_key;
    process.creator_process_id = start.creator_process_id;
    process.creator_thread_id = start.creator_thread_id;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::{Further, Origin};

    /// 600 lines of a small compressed log took gigabytes.
    #[test]
    fn texts_without_end_are_too_many() {
        let program = Program {
            command_line: Some(Text::from("a".repeat(1 << 20).as_str())),
            ..Program::default()
        };
        let start = ProcessStart {
            program,
            ..ProcessStart::default()
        };
        let event = |process_id: u32| Event {
            sequence: process_id.into(),
            time: Time(1),
            origin: Origin::of_host("atlas"),
            process_id,
            process_key: ProcessKey(process_id.into()),
            body: Body::ProcessStart(Box::new(start.clone())),
            kept_by: None,
            truncated: Vec::new(),
            missing: Vec::new(),
            further: Further::default(),
        };
        let mut tree = Tree::default();
        let full = (1..1_000).find(|id| tree.add(&event(*id)) == Err(TooMany::Texts));
        assert_eq!(full, Some(193));
        // Who forgets has room again.
        tree.retain(|process| process.process_id <= 2);
        assert_eq!(tree.texts_size(), 2 << 20);
        assert_eq!(tree.add(&event(3)), Ok(()));
        let keys: Vec<u64> = tree
            .processes()
            .iter()
            .map(|one| one.process_key.0)
            .collect();
        assert_eq!(keys, [1, 2, 3]);
        assert!(tree.with_key(ProcessKey(193)).is_none());
        assert_eq!(
            tree.with_key(ProcessKey(3)).map(|one| one.process_id),
            Some(3)
        );
    }
}
