//! Turns wire records into events of the trail: adds what user mode knows.
//!
//! The kernel side decodes nothing, so what a reader wants beyond its record comes from here: the
//! identity of every process named, the program a forked child runs until it execs, names for user
//! ids, whole paths, and for each field that could not be had the reason. All of it comes from
//! caches with limits; the system is asked only where a record says it lacks something.

use std::sync::Arc;

use event::process::Unavailable;
use event::{Event, Extension, Flags, Header, Kind, ProcessKey, Record, process};

use crate::environment::Names;
use crate::image_hash::FileKey;
use crate::rules::{Decision, Rules, Told};
use crate::sys::machine;
use crate::sys::processes::{self, IDS_RETURN_WITHIN_TICK, START_TICK_NS};
use crate::trail::{self, Body, missing};
use crate::trust;

mod after_loss;
mod cgroup;
mod context;
pub mod device_path;
mod exec;
mod exit_status;
mod image;
pub mod image_path;
mod judged;
mod long_arguments;
mod parent;
pub mod process_cache;
mod process_exit;
pub mod program;
mod thread;
mod token;
mod token_bucket;
pub mod user;

use after_loss::Losses;
use cgroup::Cgroups;
use context::Terminals;
use image_path::ImagePaths;
use judged::Judging;
use long_arguments::LongArguments;
use parent::{Named, Notes};
use process_cache::{Process, ProcessCache, is_tick};
use program::Programs;

/// What enrichment may keep at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processes whose program is remembered.
    pub processes: usize,
    /// Distinct image paths that are remembered.
    pub images: usize,
    /// Bytes of the trail that long arguments of one user's programs may take a second.
    pub argument_rate: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            processes: 65_536,
            images: 8_192,
            argument_rate: 1 << 20,
        }
    }
}

/// An enriched event that still lacks its place in the trail: sequence, time and host.
#[derive(Debug)]
pub struct Enriched {
    /// The process it is about.
    pub process_id: u32,
    /// Its identity.
    pub process_key: ProcessKey,
    /// When, on the sensor's clock.
    pub time: u64,
    /// What happened.
    pub body: Body,
    /// Fields that were cut.
    pub truncated: Vec<trail::Name>,
    /// Fields that could not be had.
    pub missing: Vec<(trail::Name, trail::Name)>,
    /// Whether the rules keep it.
    pub kept: bool,
    /// The rule that does, where it has a name or tags.
    pub kept_by: Option<Arc<trail::KeptBy>>,
    /// Which file its image is, where that is asked for.
    pub file: Option<FileKey>,
}

/// The caches, and the rules that are judged once a program instead of once an event.
#[derive(Debug)]
pub struct Enricher {
    boot_id: [u8; 16],
    rules: Rules,
    judging: Judging,
    losses: Losses,
    /// How many losses of images there were.
    image_losses: u32,
    processes: ProcessCache,
    programs: Programs,
    images: ImagePaths,
    cgroups: Cgroups,
    terminals: Terminals,
    long_arguments: LongArguments,
    /// Whether it is told which files images are.
    tells_files: bool,
}

impl Enricher {
    /// Empty caches.
    pub fn new(boot_id: [u8; 16], rules: Rules, limits: Limits) -> Self {
        Self {
            boot_id,
            judging: Judging::by(&rules),
            rules,
            losses: Losses::default(),
            image_losses: 0,
            processes: ProcessCache::new(limits.processes),
            programs: Programs::default(),
            images: ImagePaths::new(limits.images, machine::volumes),
            cgroups: Cgroups::default(),
            terminals: Terminals::default(),
            long_arguments: LongArguments::new(limits.argument_rate),
            tells_files: false,
        }
    }

    /// The same, and of the environment of programs these variables are told.
    #[must_use]
    pub fn with_environment(mut self, names: Names) -> Self {
        self.programs.tell_environment(names);
        self
    }

    /// The event of one record; `None` for kinds that are not a process's (losses) or not known.
    pub fn enrich(&mut self, record: &Record<'_>) -> Option<Enriched> {
        let Record {
            header,
            event,
            extension,
        } = record;
        if header.kind.index().is_some() && header.kind != Kind::PROCESS_START {
            self.adopt_unknown(header);
        }
        Some(match event {
            Event::ProcessStart(start) => self.process_start(header, start, extension),
            Event::ProcessExec(exec) => self.process_exec(header, exec, extension),
            Event::ProcessExit(exit) => self.process_exit(header, *exit, extension),
            Event::ThreadStart(start) => self.thread_start(header, *start),
            Event::ThreadExit(event::thread::Exit) => self.thread_exit(header),
            Event::ImageLoad(load) => self.image_load(header, load, extension),
            Event::ImageUnload(unload) => self.image_unload(header, unload),
            Event::ExecFailed(failed) => self.exec_failed(header, failed),
            Event::Lost(_) | Event::Unknown => return None,
        })
    }

    /// Exits of processes were lost: entries that no longer stand for a live process must go.
    pub fn exits_were_lost(&mut self) {
        self.processes.heal();
    }

    /// Image loads were lost: which program a process is about to run need not have been told.
    pub const fn images_were_lost(&mut self) {
        self.image_losses = self.image_losses.wrapping_add(1);
    }

    /// How many processes are remembered, and how many may be.
    pub fn process_count(&self) -> (usize, usize) {
        (self.processes.count(), self.processes.limit())
    }

    /// The identity of a process of this boot. Of a start time that is the begin of a tick no more is
    /// known.
    pub fn key(&self, process_id: u32, start_time: u64) -> ProcessKey {
        let tick = ProcessKey::new(self.boot_id, process_id, start_time / START_TICK_NS);
        tick.with_offset(start_time % START_TICK_NS)
    }

    /// The identity of a process that starts now. Where only its tick is known, and another had the
    /// id in that tick, it is one more that did: the last one is remembered for longer than a tick.
    fn new_key(&self, process_id: u32, start_time: u64) -> ProcessKey {
        let key = self.key(process_id, start_time);
        let last = self.processes.last(process_id);
        match last.filter(|last| last.key.agrees_with(key)) {
            Some(last) if IDS_RETURN_WITHIN_TICK && is_tick(start_time) => {
                key.with_offset(last.key.offset_from(key).saturating_add(1))
            }
            _ => key,
        }
    }

    fn process_start(
        &mut self,
        header: &Header,
        start: &process::Start<'_>,
        extension: &Extension<'_>,
    ) -> Enriched {
        let origin = !header.flags.contains(Flags::ORIGIN_UNAVAILABLE);
        let mut program = self.program_at_start(header, start, extension);
        let user = origin && !header.flags.contains(Flags::USER_UNAVAILABLE);
        if user {
            self.set_user_at_start(&mut program, header, start, extension);
        } else {
            program.user_unavailable();
        }
        self.bound_arguments(header, &mut program);
        let token = token::of_start(header, extension).filter(|_token| origin);
        // Nobody remembers who created a process that was there before.
        let created = origin && !header.flags.contains(Flags::EXISTING);
        let parent = origin.then_some(start.parent_process_id);
        let has_session = user && token::has_session(extension);
        let parent_process_key =
            parent.map(|id| self.known_key(id, start.parent_start_time, header.time));
        let mut notes = Notes::of(&program);
        let named = parent.map(|id| (id, start.parent_start_time));
        let parent_runs = self.parent(named, header, &mut notes);
        let body = trail::ProcessStart {
            parent_process_id: parent,
            parent_process_key,
            creator_process_id: created.then_some(start.creator_process_id),
            creator_thread_id: created
                .then_some(start.creator_thread_id)
                .filter(|id| *id != 0),
            program: program.trail.clone(),
            parent: parent_runs,
            setting: self.setting(header, extension, &mut notes),
            session_id: has_session.then_some(start.session_id),
            integrity_level: token
                .and_then(|it| token::fact(token, Unavailable::INTEGRITY_LEVEL, it.integrity_level))
                .map(trust::integrity_level),
            elevated: token
                .and_then(|it| token::fact(token, Unavailable::ELEVATED, it.elevated != 0)),
            existing: header.flags.contains(Flags::EXISTING),
            kernel_process: is_kernel(header, &program),
            name: kernel_name(header, start, &program),
            details: token::details(
                header,
                token,
                program.trail.image.as_ref(),
                &mut self.images,
            ),
        };
        notes
            .missing
            .extend(missing_of_start(header, start, has_session));
        notes.missing.extend(token::missing(header, token));
        if header.flags.contains(Flags::IMAGE_OPENED_TRUNCATED) {
            notes.truncated.push("image_opened".into());
        }
        let identity = Identity {
            parent: named.map(|named| self.as_known(named)),
            session_id: body.session_id,
            ..self.identity_at_start(header)
        };
        self.remember(header, identity, program);
        self.about(header, Body::ProcessStart(Box::new(body)), notes)
    }

    fn set_user_at_start(
        &mut self,
        program: &mut program::Program,
        header: &Header,
        start: &process::Start<'_>,
        extension: &Extension<'_>,
    ) {
        if let Extension::Token(token) = extension {
            self.programs
                .set_user_sid(program, token.user_sid, header.time);
        } else {
            self.programs
                .set_user(program, start.user_id, extension, header.time);
            program.check_login(header.flags);
        }
    }

    fn program_at_start(
        &mut self,
        header: &Header,
        start: &process::Start<'_>,
        extension: &Extension<'_>,
    ) -> program::Program {
        let told = (start, extension);
        if program::is_told(header, start) {
            return self.programs.at_start(header, told, &mut self.images);
        }
        let (creator_id, creator_start) = (start.creator_process_id, start.creator_start_time);
        let creator = self.processes.get(creator_id, creator_start);
        if creator.is_some_and(|creator| !self.losses.is_sure(creator)) {
            self.compare(creator_id, creator_start, header);
        }
        let creator = self.processes.get(creator_id, creator_start);
        match creator {
            Some(creator) if !self.losses.is_sure(creator) => self.programs.lost(header),
            Some(creator) if creator.program.is_whole() => creator.program.clone(),
            _ => self.programs.at_start(header, told, &mut self.images),
        }
    }

    fn process_exec(
        &mut self,
        header: &Header,
        exec: &process::Exec<'_>,
        extension: &Extension<'_>,
    ) -> Enriched {
        let told = (exec, extension);
        let mut program = self.programs.at_exec(header, told, &mut self.images);
        let unavailable = [Flags::ORIGIN_UNAVAILABLE, Flags::USER_UNAVAILABLE];
        let user = !unavailable.iter().any(|flag| header.flags.contains(*flag));
        if user {
            self.programs
                .set_user(&mut program, exec.user_id, extension, header.time);
            program.check_login(header.flags);
        } else {
            program.user_unavailable();
        }
        self.bound_arguments(header, &mut program);
        let session_id = user.then_some(exec.session_id);
        let mut notes = Notes::of(&program);
        let known = self.processes.get(header.process_id, header.start_time);
        let parent = known.and_then(|known| known.parent);
        let body = trail::ProcessExec {
            program: program.trail.clone(),
            parent: self.parent_now(parent, header, &mut notes),
            setting: self.setting(header, extension, &mut notes),
            session_id,
            details: None,
        };
        if !user {
            notes.lacks("session_id", missing::UNAVAILABLE);
        }
        self.remember_later(header, session_id, program);
        let mut enriched = self.about(header, Body::ProcessExec(Box::new(body)), notes);
        enriched.file = self.file(exec.image, header);
        enriched
    }

    /// What every event says of the process it is about, with the rules' word on it.
    fn about(&self, header: &Header, body: Body, notes: Notes) -> Enriched {
        let process = self.processes.get(header.process_id, header.start_time);
        let process_key = match process {
            Some(process) => process.key,
            None => self.known_key(header.process_id, header.start_time, header.time),
        };
        let is_sure =
            |process: &&Process| self.losses.is_sure(process) && !process.program.is_lost();
        let sure = process.filter(is_sure);
        let verdict = sure.map_or(self.judging.of_unknown, |process| self.verdict_of(process));
        let runs = sure.map(|process| process.program.runs());
        let Notes { truncated, missing } = notes;
        let told = Told {
            body: &body,
            truncated: &truncated,
            missing: &missing,
            is_executing: header.flags.contains(Flags::EXECUTING),
        };
        let decision = self.rules.decide(verdict, runs, told);
        let (kept, kept_by) = match decision {
            Decision::Kept(kept_by) => (true, kept_by),
            Decision::LeftOut => (false, None),
        };
        let is_start = body.kind() == Kind::PROCESS_START;
        let existing = is_start && header.flags.contains(Flags::EXISTING);
        let time = if existing && header.start_time != 0 {
            header.start_time
        } else {
            header.time
        };
        Enriched {
            process_id: header.process_id,
            process_key,
            time,
            body,
            truncated,
            missing,
            kept,
            kept_by,
            file: None,
        }
    }

    /// The identity of a process whose start time may not be known to the sensor. A process that
    /// nobody knows is taken to have started when it was first seen.
    fn known_key(&self, process_id: u32, start_time: u64, seen: u64) -> ProcessKey {
        match self.processes.get(process_id, start_time) {
            Some(process) => process.key,
            None if start_time == 0 => self.key(process_id, tick_of(seen)),
            None => self.key(process_id, start_time),
        }
    }

    /// From when on the header's process ran, on the sensor's clock. A start time of which only the tick
    /// is told may be by the time of day, which was set meanwhile: when its start was seen says more.
    fn began(&self, header: &Header) -> Option<u64> {
        let known = self.processes.get(header.process_id, header.start_time);
        let known = known.map(|process| process.began);
        let told = Some(header.start_time).filter(|time| *time != 0);
        told.filter(|time| !is_tick(*time)).or(known).or(told)
    }

    fn identity_at_start(&self, header: &Header) -> Identity {
        let start_time = match header.start_time {
            0 => tick_of(header.time),
            start_time => start_time,
        };
        let existing = header.flags.contains(Flags::EXISTING);
        Identity {
            key: if existing {
                self.key(header.process_id, start_time)
            } else {
                self.new_key(header.process_id, start_time)
            },
            start_time,
            began: if existing || !is_tick(start_time) {
                start_time
            } else {
                header.time
            },
            parent: None,
            session_id: None,
        }
    }

    /// Makes an entry for a process whose start nobody saw, so that all that is told of it later
    /// has one key, and its program where `/proc` still knows it.
    fn adopt_unknown(&mut self, header: &Header) {
        let known = self.processes.get(header.process_id, header.start_time);
        if let Some(known) = known {
            // An exec tells itself what runs from now on, and who ends is not there to be asked.
            let tells = [Kind::PROCESS_EXEC, Kind::PROCESS_EXIT].contains(&header.kind);
            if !tells && !self.losses.is_sure(known) {
                self.compare(header.process_id, header.start_time, header);
            }
            return;
        }
        let told = Some(header.start_time).filter(|time| *time != 0);
        let in_proc = || processes::start_tick(header.process_id)?.checked_mul(START_TICK_NS);
        let start_time = told.or_else(in_proc).filter(|start| *start <= header.time);
        let start_time = start_time.unwrap_or_else(|| tick_of(header.time));
        let header = Header {
            start_time,
            ..*header
        };
        let mut program = self.programs.unknown(&header, &mut self.images);
        if let Some((user_id, users)) = processes::user(header.process_id, start_time) {
            let users = Extension::Users(users);
            self.programs
                .set_user(&mut program, user_id, &users, header.time);
        }
        self.remember_later(&header, None, program);
    }

    /// A process with its start time, where the sensor did not tell that and the cache knows it.
    fn as_known(&self, (process_id, start_time): Named) -> Named {
        if !is_tick(start_time) {
            return (process_id, start_time);
        }
        let known = self.processes.get(process_id, start_time);
        (
            process_id,
            known.map_or(start_time, |known| known.start_time),
        )
    }

    /// Remembers what a process runs that is not new, unless its id is another's by now.
    fn remember_later(
        &mut self,
        header: &Header,
        session_id: Option<u32>,
        program: program::Program,
    ) {
        let known = self.processes.get(header.process_id, header.start_time);
        let identity = match known {
            Some(known) => Identity {
                key: known.key,
                start_time: known.start_time,
                began: known.began,
                parent: known.parent,
                session_id: session_id.or(known.session_id),
            },
            None => Identity {
                key: self.key(header.process_id, header.start_time),
                start_time: header.start_time,
                began: header.start_time,
                parent: processes::parent_id(header.process_id, header.start_time)
                    .map(|id| self.as_known((id, 0))),
                session_id,
            },
        };
        let last = self.processes.last(header.process_id);
        if last.is_none_or(|last| last.start_time <= identity.start_time) {
            self.remember(header, identity, program);
        }
    }

    fn remember(&mut self, header: &Header, identity: Identity, program: program::Program) {
        let verdict = self.judging.verdict(&self.rules, &program);
        let process = Process {
            key: identity.key,
            start_time: identity.start_time,
            began: identity.began,
            has_exited: false,
            session_id: identity.session_id,
            parent: identity.parent,
            program,
            short_line: None,
            losses: self.losses.count(),
            executing: None,
            image_losses: self.image_losses,
            seen: None,
            verdict,
            judged: self.judging.number,
            size: 0,
        };
        self.processes
            .insert(header.process_id, process, header.time);
    }
}

/// Which process it is, whose child, and its session as it was told last.
#[derive(Clone, Copy)]
struct Identity {
    key: ProcessKey,
    start_time: u64,
    began: u64,
    parent: Option<Named>,
    session_id: Option<u32>,
}

/// A time of which no more than the tick is to be taken for known.
const fn tick_of(time: u64) -> u64 {
    time - time % START_TICK_NS
}

/// The fields of a start that could not be had, but for those of its program, and why.
fn missing_of_start(
    header: &Header,
    start: &process::Start<'_>,
    has_session: bool,
) -> Vec<(trail::Name, trail::Name)> {
    let has = |flag| header.flags.contains(flag);
    let origin = !has(Flags::ORIGIN_UNAVAILABLE);
    let mut missing = Vec::new();
    let mut lacks = |fields: &[&'static str], reason: &'static str| {
        missing.extend(fields.iter().map(|field| ((*field).into(), reason.into())));
    };
    if !origin {
        lacks(
            &["parent_process_id", "parent_process_key"],
            missing::UNAVAILABLE,
        );
    }
    let creator = ["creator_process_id", "creator_thread_id"];
    if !origin {
        lacks(&creator, missing::UNAVAILABLE);
    } else if has(Flags::EXISTING) {
        lacks(&creator, missing::GONE);
    } else if start.creator_thread_id == 0 {
        lacks(&["creator_thread_id"], missing::UNAVAILABLE);
    }
    if !has_session {
        lacks(&["session_id"], missing::UNAVAILABLE);
    }
    missing
}

/// Whether a process that starts has no user mode. What a kernel process starts is one as well, until
/// it execs: not every sensor says so.
fn is_kernel(header: &Header, program: &program::Program) -> bool {
    header.flags.contains(Flags::KERNEL_PROCESS)
        || program.missing_reason("image").as_deref() == Some(missing::KERNEL_THREAD)
}

/// What the kernel calls a process of its own: as the record says it, or the system.
fn kernel_name(
    header: &Header,
    start: &process::Start<'_>,
    program: &program::Program,
) -> Option<trail::Text> {
    if !is_kernel(header, program) {
        return None;
    }
    if start.image.is_empty() {
        let name = processes::kernel_name(header.process_id, header.time)?;
        return Some(trail::Text::from(&*name));
    }
    Some(if header.flags.contains(Flags::UTF_16) {
        trail::Text::from_utf_16(start.image)
    } else {
        trail::Text::from_bytes(start.image)
    })
}
