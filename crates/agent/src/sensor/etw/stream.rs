//! From the kernel's events to records.

use std::collections::HashMap;

use etw::fields::PointerSize;
use etw::header::Event as Delivered;
use etw::kernel::{self, Act, Image, Input, Process, Thread, Told};
use event::process::Unavailable;
use event::{Event, Extension, Flags, Header, Kind, Subject, image, loss, process, thread};

use super::lives::Lives;
use crate::sensor::{Batch, Counters};
use crate::sys::trace::{Events, Status, Tracing};

/// What no session tells of the token of a process that starts.
const NOT_TOLD: Unavailable = Unavailable::INTEGRITY_LEVEL
    .with(Unavailable::ELEVATED)
    .with(Unavailable::LOGON)
    .with(Unavailable::PROTECTION);

/// How much earlier than its start is told a process was created, at most, and how much later by the
/// error of both clocks: of another one the id is.
const CREATED_BEFORE_NS: u64 = 1_000_000_000;
const CREATED_AFTER_NS: u64 = 1_000_000;
/// The unit of start times on Windows.
const START_UNIT_NS: u64 = 100;

/// Decodes an event of a session on this machine.
pub(super) fn decode<'a>(event: &Delivered<'a>) -> Result<Option<Told<'a>>, kernel::Undecoded> {
    kernel::decode(&Input::of_file(event, PointerSize::Eight))
}

/// What is said of every event: where in the stream it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whence {
    /// On the sensor's clock.
    pub(super) time: u64,
    /// The process and the thread in which it was told.
    pub(super) process_id: Option<u32>,
    pub(super) thread_id: Option<u32>,
}

/// The stream, and what is known of the processes it tells of.
#[derive(Debug)]
pub(super) struct Stream {
    threads: bool,
    pub(super) images: bool,
    own: u32,
    pub(super) lives: Lives,
    pub(super) counters: Counters,
    /// Threads of our own that mark a place in the stream and are not told of.
    marks: Vec<u32>,
    /// How often anything was lost.
    losses: u64,
    /// Events that could not be decoded and are not told as lost yet, and when the first was.
    undecoded: Option<(u64, u64)>,
    /// What the session had lost when that was told last.
    events_lost: u32,
    buffers_lost: u32,
}

impl Stream {
    pub(super) fn new(threads: bool, images: bool, own: u32) -> Self {
        Self {
            threads,
            images,
            own,
            lives: Lives::default(),
            counters: Counters::default(),
            marks: Vec::new(),
            losses: 0,
            undecoded: None,
            events_lost: 0,
            buffers_lost: 0,
        }
    }

    /// A thread of ours that is not told of.
    pub(super) fn add_mark(&mut self, thread_id: u32) {
        self.marks.push(thread_id);
    }

    /// A new session counts from nothing.
    pub(super) const fn begin_session(&mut self) {
        (self.events_lost, self.buffers_lost) = (0, 0);
    }

    /// Whether events of the kind are to be recorded.
    const fn is_wanted(&self, kind: Kind) -> bool {
        match kind.subject() {
            Some(Subject::Thread) => self.threads,
            Some(Subject::Image) => self.images,
            _ => true,
        }
    }

    /// Tells of one event. `image` is the path of what a process runs that starts, where the stream has
    /// it further on.
    pub(super) fn tell(
        &mut self,
        event: &Delivered<'_>,
        time: u64,
        image: Option<&[u8]>,
        tracing: &mut impl Tracing,
        batch: &mut Batch,
    ) {
        let whence = Whence {
            time,
            process_id: event.process_id,
            thread_id: event.thread_id,
        };
        match decode(event) {
            Ok(Some(Told::Process(Act::Began, process))) => {
                self.process_start(&process, whence, image, tracing, batch);
            }
            Ok(Some(Told::Process(Act::Ended, process))) => {
                self.process_exit(&process, whence, batch);
            }
            Ok(Some(Told::Thread(act @ (Act::Began | Act::Ended), thread))) => {
                self.thread(act, thread, whence, batch);
            }
            Ok(Some(Told::Image(act @ (Act::Began | Act::Ended), image))) => {
                self.image(act, &image, whence, batch);
            }
            // What was there is the snapshot's.
            Ok(_) => {}
            Err(_undecoded) => {
                let (_first, count) = self.undecoded.get_or_insert((time, 0));
                *count += 1;
            }
        }
    }

    /// Tells what the session has lost since that was told last, and what could not be decoded.
    pub(super) fn tell_losses(&mut self, time: u64, status: Option<&Status>, batch: &mut Batch) {
        if let Some(status) = status {
            let events = status.events_lost.wrapping_sub(self.events_lost);
            let buffers = status.buffers_lost.wrapping_sub(self.buffers_lost);
            self.events_lost = status.events_lost;
            self.buffers_lost = status.buffers_lost;
            self.lose(time, loss::Reason::BUFFER_FULL, events.into(), batch);
            self.lose(time, loss::Reason::BUFFERS_LOST, buffers.into(), batch);
        }
        if let Some((first, count)) = self.undecoded.take() {
            let time = time.max(first);
            self.lose(time, loss::Reason::INVALID_RECORD, count, batch);
        }
    }

    /// Tells that events were lost, of whatever kind.
    pub(super) fn lose(&mut self, time: u64, reason: loss::Reason, count: u64, batch: &mut Batch) {
        if count == 0 {
            return;
        }
        self.losses += 1;
        batch.write_lost(
            time,
            loss::Lost {
                kind: Kind::ANY,
                reason,
                count,
            },
        );
    }

    /// How often anything was lost.
    pub(super) const fn losses(&self) -> u64 {
        self.losses
    }

    fn write(
        &mut self,
        header: Header,
        event: &Event<'_>,
        extension: &Extension<'_>,
        batch: &mut Batch,
    ) {
        let Some((kind, _size)) = event::kind_and_size(event) else {
            return;
        };
        if !self.is_wanted(kind) {
            return;
        }
        if batch.write_extended(header, event, extension) {
            self.counters.add_produced(kind, 1);
        }
    }

    fn header(&self, process_id: u32, whence: Whence) -> Header {
        Header {
            flags: Flags::UTF_16,
            time: whence.time,
            process_id,
            start_time: self.lives.start_time(process_id),
            ..Header::default()
        }
    }

    fn process_start(
        &mut self,
        process: &Process<'_>,
        whence: Whence,
        image: Option<&[u8]>,
        tracing: &mut impl Tracing,
        batch: &mut Batch,
    ) {
        let process_id = process.process_id;
        // The event does not say when it was created. The process does, while anybody holds it.
        let told = tracing.creation_time(process_id).filter(|created| {
            *created <= whence.time + CREATED_AFTER_NS
                && *created + CREATED_BEFORE_NS >= whence.time
        });
        let start_time = told.unwrap_or(whence.time - whence.time % START_UNIT_NS);
        let asked = match (image, told) {
            (None, Some(start_time)) => tracing.image(process_id, start_time),
            _ => None,
        };
        self.lives.start(process_id, start_time, self.losses);
        let name = name_of(process);
        let (flags, texts) = program(process, image.or(asked.as_deref()), &name);
        let parent = process.parent_process_id.unwrap_or(0);
        let creator = whence.process_id.unwrap_or(parent);
        let session_id = process.session();
        let start = process::Start {
            parent_process_id: parent,
            creator_process_id: creator,
            creator_thread_id: whence.thread_id.unwrap_or(0),
            session_id: session_id.unwrap_or(0),
            user_id: 0,
            parent_start_time: self.lives.start_time(parent),
            creator_start_time: self.lives.start_time(creator),
            image: texts.0,
            command_line: texts.1,
        };
        let header = Header {
            flags,
            start_time,
            ..self.header(process_id, whence)
        };
        let token = Extension::Token(process::Token {
            user_sid: process.user.map_or(&[], |user| user.bytes()),
            unavailable: NOT_TOLD.with_if(session_id.is_none(), Unavailable::SESSION),
            ..process::Token::default()
        });
        self.write(header, &Event::ProcessStart(start), &token, batch);
    }

    fn process_exit(&mut self, process: &Process<'_>, whence: Whence, batch: &mut Batch) {
        let process_id = process.process_id;
        let exit = process::Exit {
            exit_status: process.exit_status.unwrap_or(0),
            parent_process_id: process.parent_process_id.unwrap_or(0),
        };
        let flags = match process.exit_status {
            Some(_) => Flags::NONE,
            None => Flags::EXIT_STATUS_UNAVAILABLE,
        };
        let header = Header {
            flags,
            start_time: self.lives.end(process_id),
            ..self.header(process_id, whence)
        };
        self.write(header, &Event::ProcessExit(exit), &Extension::None, batch);
    }

    fn thread(&mut self, act: Act, thread: Thread, whence: Whence, batch: &mut Batch) {
        let Thread {
            process_id,
            thread_id,
            start_address,
        } = thread;
        if process_id == self.own && self.marks.contains(&thread_id) {
            if act == Act::Ended {
                // The id may be that of any thread from now on.
                self.marks.retain(|mark| *mark != thread_id);
            }
            return;
        }
        let header = Header {
            flags: Flags::NONE,
            thread_id,
            ..self.header(process_id, whence)
        };
        if act == Act::Ended {
            if !self.lives.was_first(process_id, thread_id) {
                let exit = Event::ThreadExit(thread::Exit);
                self.write(header, &exit, &Extension::None, batch);
            }
            return;
        }
        let (creator, losses) = (whence.process_id, self.losses);
        if self.lives.is_first(process_id, thread_id, creator, losses) {
            return;
        }
        let flags = Flags::NONE
            .with_if(creator.is_none(), Flags::ORIGIN_UNAVAILABLE)
            .with_if(start_address.is_none(), Flags::START_ADDRESS_UNAVAILABLE);
        let start = thread::Start {
            creator_process_id: creator.unwrap_or(0),
            creator_thread_id: whence.thread_id.unwrap_or(0),
            start_address: start_address.unwrap_or(0),
        };
        let header = Header { flags, ..header };
        self.write(header, &Event::ThreadStart(start), &Extension::None, batch);
    }

    fn image(&mut self, act: Act, image: &Image<'_>, whence: Whence, batch: &mut Batch) {
        let header = Header {
            flags: image_flags(image),
            ..self.header(image.process_id, whence)
        };
        if act == Act::Ended {
            let unload = image::Unload {
                image_base: image.base,
                image_size: image.size,
                image: image.path,
            };
            return self.write(header, &Event::ImageUnload(unload), &Extension::None, batch);
        }
        let load = image::Load {
            image_base: image.base,
            image_size: image.size,
            image: image.path,
        };
        let extension = image.signature.map_or(Extension::None, |(level, kind)| {
            Extension::Signature(image::Signature {
                level: level.into(),
                kind: kind.into(),
            })
        });
        self.write(header, &Event::ImageLoad(load), &extension, batch);
    }
}

/// Of each start among `events` the path of what the process runs, by the place of the start: that of the
/// first image with the process's name, or else of the first.
pub(super) fn programs(events: &Events) -> HashMap<usize, Vec<u8>> {
    let mut paths = HashMap::new();
    let mut awaited: HashMap<u32, (usize, Vec<u8>)> = HashMap::new();
    for (place, event) in events.iter_from(0).enumerate() {
        match decode(&event) {
            Ok(Some(Told::Process(Act::Began, process))) => {
                awaited.insert(process.process_id, (place, process.name.to_vec()));
            }
            Ok(Some(Told::Process(Act::Ended, process))) => {
                awaited.remove(&process.process_id);
            }
            Ok(Some(Told::Image(Act::Began, image))) if !image.path.is_empty() => {
                let Some((start, name)) = awaited.get(&image.process_id) else {
                    continue;
                };
                let start = *start;
                if image.has_name(name, false) {
                    paths.insert(start, image.path.to_vec());
                    awaited.remove(&image.process_id);
                } else {
                    paths.entry(start).or_insert_with(|| image.path.to_vec());
                }
            }
            _ => {}
        }
    }
    paths
}

/// What is known of an image's path and place.
pub(super) const fn image_flags(image: &Image<'_>) -> Flags {
    Flags::UTF_16
        .with_if(image.path.is_empty(), Flags::IMAGE_UNAVAILABLE)
        .with_if(image.is_of_kernel(), Flags::KERNEL_IMAGE)
}

/// What the kernel calls a process, in UTF-16. The names of its own processes are ASCII.
pub(super) fn name_of(process: &Process<'_>) -> Vec<u8> {
    let units = process.name.iter().map(|byte| u16::from(*byte));
    units.flat_map(u16::to_le_bytes).collect()
}

/// What a process runs, as a record has it: flags, image and command line. A kernel process has its
/// `name` for an image.
pub(super) fn program<'a>(
    process: &Process<'a>,
    image: Option<&'a [u8]>,
    name: &'a [u8],
) -> (Flags, (&'a [u8], &'a [u8])) {
    let command_line = process.command_line.unwrap_or_default();
    let flags = Flags::UTF_16.with_if(command_line.is_empty(), Flags::COMMAND_LINE_UNAVAILABLE);
    if process.is_kernel() {
        let flags = flags.with(Flags::KERNEL_PROCESS);
        return (flags.with(Flags::IMAGE_UNAVAILABLE), (name, command_line));
    }
    let flags = flags
        .with_if(image.is_none(), Flags::IMAGE_UNAVAILABLE)
        .with_if(
            process.has_cut_command_line(),
            Flags::COMMAND_LINE_TRUNCATED,
        );
    (flags, (image.unwrap_or_default(), command_line))
}
