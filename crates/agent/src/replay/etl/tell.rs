//! What a trace tells, as events of the trail.

mod texts;

use std::sync::Arc;

use etw::clock::unix_ns;
use etw::header;
use etw::kernel::{Act, Image, Process, Teller, Thread, Told};
use event::ProcessKey;

use super::doubles::{Doubles, Subject};
use super::processes::Processes;
use super::survey::{Facts, Survey};
use crate::account::Counts;
use crate::trail::{
    self, Body, Event, Further, Name, Origin, Program, Text, Time, UserId, missing,
};
use crate::trust;
use texts::Texts;

/// What is known and not told as events of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PassedOver {
    /// Threads that were there at the begin or the end.
    pub(super) threads_there: u64,
    /// Starts and exits of first threads of processes, which are those of the processes.
    pub(super) first_threads: u64,
    /// What the logger and the provider both told.
    pub(super) doubles: u64,
    /// Processes that had ended before and are still held.
    pub(super) defunct: u64,
}

/// Where and when something was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whence {
    teller: Teller,
    /// Nanoseconds since the epoch.
    time: i64,
    /// The process and the thread in which it was told.
    process_id: Option<u32>,
    thread_id: Option<u32>,
}

impl Whence {
    /// Of an event of a trace.
    pub(super) const fn of(event: &header::Event<'_>, teller: Teller, time: i64) -> Self {
        Self {
            teller,
            time,
            process_id: event.process_id,
            thread_id: event.thread_id,
        }
    }
}

/// An event before it has a number, and the process it is about is looked up.
struct Draft {
    process_id: u32,
    process_key: ProcessKey,
    time: i64,
    body: Body,
    truncated: Vec<Name>,
    missing: Vec<(Name, Name)>,
}

/// Makes events of the trail.
#[derive(Debug)]
pub(super) struct Telling {
    survey: Survey,
    processes: Processes,
    origin: Arc<Origin>,
    boot_id: [u8; 16],
    sequence: u64,
    counts: Counts,
    doubles: Doubles,
    texts: Texts,
    passed_over: PassedOver,
}

impl Telling {
    /// Tells of the trace of a machine that started at this `FILETIME`, of which so much is known.
    pub(super) fn new(survey: Survey, origin: Arc<Origin>, booted: i64) -> Self {
        // What a driver's boot has of the machine nobody knows here.
        let mut boot_id = [0; 16];
        let (time, _rest) = boot_id.split_at_mut(8);
        time.copy_from_slice(&booted.to_le_bytes());
        let doubles = Doubles::new(survey.has_doubles);
        Self {
            survey,
            processes: Processes::default(),
            origin,
            boot_id,
            sequence: 0,
            counts: Counts::default(),
            doubles,
            texts: Texts::default(),
            passed_over: PassedOver::default(),
        }
    }

    /// What was told so far, by kind.
    pub(super) const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What was passed over so far.
    pub(super) const fn passed_over(&self) -> PassedOver {
        self.passed_over
    }

    /// Whether there was more than is remembered.
    pub(super) const fn is_cut(&self) -> bool {
        self.survey.is_cut || self.processes.has_forgotten
    }

    /// The event of what was told; none where it is told already, or not at all.
    pub(super) fn tell(&mut self, told: &Told<'_>, whence: Whence) -> Option<Event> {
        let draft = match told {
            Told::Process(act, process) => self.process(*act, process, whence),
            Told::Thread(act, thread) => self.thread(*act, thread, whence),
            Told::Image(act, image) => self.image(*act, image, whence),
            Told::Machine(_) | Told::Volume(_) | Told::SystemRoot(_) => None,
        }?;
        let kind = draft.body.kind();
        if let Some(count) = self.counts.of(kind) {
            count.produced += 1;
            count.delivered += 1;
        }
        Some(self.event(draft))
    }

    /// An event about the trace itself, of no process that is known.
    pub(super) fn mark(&mut self, time: i64, body: Body) -> Event {
        if let Body::Lost(lost) = &body
            && let Some(count) = self.counts.of(lost.lost_kind)
        {
            count.produced = count.produced.saturating_add(lost.lost_count);
            count.lost = count.lost.saturating_add(lost.lost_count);
        }
        let fields = ["process_id", "process_key"];
        self.event(Draft {
            process_id: 0,
            process_key: ProcessKey::default(),
            time,
            body,
            truncated: Vec::new(),
            missing: fields.map(unavailable).into(),
        })
    }

    fn event(&mut self, draft: Draft) -> Event {
        self.sequence += 1;
        Event {
            sequence: self.sequence,
            time: Time(draft.time),
            origin: Arc::clone(&self.origin),
            process_id: draft.process_id,
            process_key: draft.process_key,
            body: draft.body,
            kept_by: None,
            truncated: draft.truncated,
            missing: draft.missing,
            further: Further::default(),
        }
    }

    /// The key of a process: of the time it was created, where that is told, or was first seen.
    fn key(&self, process_id: u32, seen: i64, facts: &Facts) -> ProcessKey {
        let seen = || seen.div_euclid(100);
        let tick = facts.created.unwrap_or_else(seen);
        ProcessKey::new(self.boot_id, process_id, tick.cast_unsigned())
    }

    fn process(&mut self, act: Act, process: &Process<'_>, whence: Whence) -> Option<Draft> {
        let known = match act {
            Act::Began => self.processes.start(process, whence.teller, whence.time),
            Act::ThereAtBegin | Act::ThereAtEnd => self.processes.run_down(process, whence.time),
            Act::Ended => return self.process_exit(process, whence),
            Act::Defunct => {
                self.passed_over.defunct += 1;
                return None;
            }
        };
        let facts = self.survey.facts(known.number);
        let (number, seen) = (known.number, known.seen);
        let is_told = known.is_told;
        let is_left = whence.teller == Teller::Provider && facts.is_of_logger;
        if is_told || is_left {
            self.passed_over.doubles += u64::from(act == Act::Began);
            return None;
        }
        known.is_told = true;
        let key = self.key(process.process_id, seen, &facts);
        Some(self.process_start(act, process, whence, (number, key)))
    }

    fn process_start(
        &mut self,
        act: Act,
        process: &Process<'_>,
        whence: Whence,
        (number, key): (usize, ProcessKey),
    ) -> Draft {
        let facts = self.survey.facts(number);
        let existing = act != Act::Began;
        let (mut truncated, mut missing) = (Vec::new(), Vec::new());
        let parent_process_key = self.parent_key(process, existing, whence.time);
        if parent_process_key.is_none() {
            missing.push(("parent_process_key".into(), missing::UNKNOWN.into()));
        }
        // Who tells a start made it; a rundown is told by whoever happens to run.
        let creator = (whence.process_id, whence.thread_id);
        let (creator_process_id, creator_thread_id) = if existing { (None, None) } else { creator };
        for (field, id) in [
            ("creator_process_id", creator_process_id),
            ("creator_thread_id", creator_thread_id),
        ] {
            missing.extend(id.is_none().then(|| unavailable(field)));
        }
        let is_kernel_process = process.is_kernel();
        let path = self.survey.path(number).cloned();
        let name =
            (path.is_none() && !process.name.is_empty()).then(|| Text::from_bytes(process.name));
        let program = program(
            process,
            path,
            is_kernel_process,
            &mut truncated,
            &mut missing,
        );
        let session_id = process.session();
        if session_id.is_none() {
            missing.push(unavailable("session_id"));
        }
        let created = facts.created.map(unix_ns);
        if existing && created.is_none() {
            missing.push(unavailable("time"));
        }
        Draft {
            process_id: process.process_id,
            process_key: key,
            time: created.filter(|_| existing).unwrap_or(whence.time),
            body: Body::from(trail::ProcessStart {
                parent_process_id: process.parent_process_id,
                parent_process_key,
                creator_process_id,
                creator_thread_id,
                program,
                session_id,
                integrity_level: facts.integrity_level.map(trust::integrity_level),
                elevated: facts.elevated,
                existing,
                kernel_process: is_kernel_process,
                name,
                ..trail::ProcessStart::default()
            }),
            truncated,
            missing,
        }
    }

    /// The key of a process's parent. Of one that started, whoever has the parent's id at that moment.
    /// Of one that was there, the id may since be another's: processes are run down in the order in
    /// which they were created, so only one that was told of before can be the parent.
    fn parent_key(
        &mut self,
        process: &Process<'_>,
        existing: bool,
        time: i64,
    ) -> Option<ProcessKey> {
        let parent = process.parent_process_id?;
        if parent == process.process_id {
            return None;
        }
        let known = if existing {
            self.processes.described(parent)?
        } else {
            self.processes.at(parent, time)
        };
        let (number, seen) = (known.number, known.seen);
        Some(self.key(parent, seen, &self.survey.facts(number)))
    }

    fn process_exit(&mut self, process: &Process<'_>, whence: Whence) -> Option<Draft> {
        let process_id = process.process_id;
        let (known, is_first) = self.processes.exit(process_id, whence.teller, whence.time);
        if !is_first {
            self.passed_over.doubles += 1;
            return None;
        }
        let (number, seen, started) = (known.number, known.seen, known.started);
        let facts = self.survey.facts(number);
        let mut missing = Vec::new();
        let image = self.survey.path(number).cloned();
        if image.is_none() {
            missing.push(unavailable("image"));
        }
        let began = facts.created.map(unix_ns).or(started);
        let run_time = began.map(|began| whence.time.saturating_sub(began));
        let run_time_ns = run_time.and_then(|time| u64::try_from(time).ok());
        if run_time_ns.is_none() {
            missing.push(unavailable("run_time_ns"));
        }
        if process.exit_status.is_none() {
            missing.push(unavailable("exit_code"));
        }
        Some(Draft {
            process_id,
            process_key: self.key(process_id, seen, &facts),
            time: whence.time,
            body: Body::from(trail::ProcessExit {
                exit_code: process.exit_status,
                image,
                run_time_ns,
                ..trail::ProcessExit::default()
            }),
            truncated: Vec::new(),
            missing,
        })
    }

    fn thread(&mut self, act: Act, thread: &Thread, whence: Whence) -> Option<Draft> {
        if !matches!(act, Act::Began | Act::Ended) {
            self.passed_over.threads_there += 1;
            return None;
        }
        let (process_id, thread_id) = (thread.process_id, thread.thread_id);
        let known = self.processes.at(process_id, whence.time);
        let subject = Subject::Thread(act, process_id, thread_id);
        if self.doubles.is_told(subject, whence.teller, whence.time) {
            self.passed_over.doubles += 1;
            return None;
        }
        // A process's first thread is told of as made by the process's creator. It is the process's
        // own, and no remote one.
        let is_first = match act {
            Act::Began => known.started.is_some() && !known.has_threads,
            _ => known.first_thread == Some(thread_id),
        };
        if act == Act::Began {
            known.has_threads = true;
            if is_first {
                known.first_thread = Some(thread_id);
            } else if known.first_thread == Some(thread_id) {
                // The id is another thread's from now on.
                known.first_thread = None;
            }
        } else if is_first {
            known.first_thread = None;
        }
        if is_first {
            self.passed_over.first_threads += 1;
            return None;
        }
        let (number, seen) = (known.number, known.seen);
        let process_key = self.key(process_id, seen, &self.survey.facts(number));
        let mut missing = Vec::new();
        let body = if act == Act::Began {
            for (field, is_missing) in [
                ("creator_process_id", whence.process_id.is_none()),
                ("creator_thread_id", whence.thread_id.is_none()),
            ] {
                missing.extend(is_missing.then(|| unavailable(field)));
            }
            Body::from(trail::ThreadStart {
                thread_id,
                creator_process_id: whence.process_id,
                creator_thread_id: whence.thread_id,
                remote: whence
                    .process_id
                    .is_some_and(|creator| creator != process_id),
                start_address: thread.start_address,
                ..trail::ThreadStart::default()
            })
        } else {
            Body::from(trail::ThreadExit { thread_id })
        };
        Some(Draft {
            process_id,
            process_key,
            time: whence.time,
            body,
            truncated: Vec::new(),
            missing,
        })
    }

    fn image(&mut self, act: Act, image: &Image<'_>, whence: Whence) -> Option<Draft> {
        let process_id = image.process_id;
        let known = self.processes.at(process_id, whence.time);
        let (number, seen) = (known.number, known.seen);
        let subject = Subject::Image(act, process_id, image.base);
        if self.doubles.is_told(subject, whence.teller, whence.time) {
            self.passed_over.doubles += 1;
            return None;
        }
        let process_key = self.key(process_id, seen, &self.survey.facts(number));
        let kernel_image = image.is_of_kernel();
        let path = self.texts.text(image.path, &self.survey);
        let missing = path.is_none().then(|| unavailable("image"));
        let body = if act == Act::Ended {
            self.processes.unmap(process_id, whence.time, image.base);
            Body::from(trail::ImageUnload {
                image: path,
                image_base: image.base,
                image_size: image.size,
                kernel_image,
            })
        } else {
            let is_new = self.processes.map(process_id, whence.time, image.base);
            let existing = act != Act::Began;
            if existing && !is_new {
                return None;
            }
            let signature = image.signature;
            Body::from(trail::ImageLoad {
                image: path,
                image_base: image.base,
                image_size: image.size,
                kernel_image,
                signature_level: signature.map(|(level, _)| trust::signature_level(level.into())),
                signature_type: signature.map(|(_, kind)| trust::signature_type(kind.into())),
                existing,
                ..trail::ImageLoad::default()
            })
        };
        Some(Draft {
            process_id,
            process_key,
            time: whence.time,
            body,
            truncated: Vec::new(),
            missing: missing.into_iter().collect(),
        })
    }
}

/// What a process runs and for whom.
fn program(
    process: &Process<'_>,
    image: Option<Text>,
    is_kernel_process: bool,
    truncated: &mut Vec<Name>,
    missing: &mut Vec<(Name, Name)>,
) -> Program {
    let no_program = if is_kernel_process {
        missing::KERNEL_THREAD
    } else {
        missing::UNAVAILABLE
    };
    if image.is_none() {
        missing.push(("image".into(), no_program.into()));
    }
    let command_line = process.command_line.filter(|text| !text.is_empty());
    match command_line {
        Some(_) if process.has_cut_command_line() => truncated.push("command_line".into()),
        Some(_) => {}
        None => missing.push(("command_line".into(), no_program.into())),
    }
    // A name belongs to an id on the machine that was recorded, and no trace tells it.
    missing.push(unavailable("user"));
    let user_id = process
        .user
        .map(|user| UserId::Sid(user.to_string().into()));
    if user_id.is_none() {
        missing.push(unavailable("user_id"));
    }
    Program {
        image,
        command_line: command_line.map(Text::from_utf_16),
        user_id,
        ..Program::default()
    }
}

fn unavailable(field: &'static str) -> (Name, Name) {
    (field.into(), missing::UNAVAILABLE.into())
}
