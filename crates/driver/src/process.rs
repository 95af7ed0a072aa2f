//! Process start and exit.

use crate::sensor::{LongPath, Sensor, header};
use crate::text;
use event::process::{Exit, Start, Token, Unavailable};
use event::{Event, Extension, Flags, HEADER_SIZE};
use nt::Status;
use nt::lock::TryGuard;
use nt::notify::{ProcessNotify, ProcessStart};
use nt::process::{
    NameBuffer, Opened, Process, create_time_ns, current_process_id, current_thread_id,
};
use nt::token::Facts;

/// Bytes of a start's record without SID and texts.
const FIXED_SIZE: usize = HEADER_SIZE + Start::FIXED_SIZE + Token::FIXED_SIZE;

/// UTF-16 units of a path for which a callback's stack has room: more than nearly all have.
const PATH_UNITS: usize = 260;

impl ProcessNotify for Sensor {
    fn process_start(&'static self, start: &ProcessStart<'_>) {
        let process = start.process();
        let opened = process.open().ok();
        let named = start.image_file_name().filter(|name| !name.is_empty());
        let (mut short, mut long) = (NameBuffer::new(), None);
        let path = opened
            .as_ref()
            .and_then(|opened| self.image_path(opened, &mut short, &mut long));
        let facts = process.token();
        let protection = opened.as_ref().and_then(|opened| opened.protection().ok());
        let unavailable = unavailable(&facts)
            .with_if(protection.is_none(), Unavailable::PROTECTION)
            .with_if(path.is_none(), Unavailable::IMAGE_PATH);
        let fixed = origin(start, &facts);
        let user_sid = facts.user_sid().unwrap_or(&[]);
        let room = self.room_beside(FIXED_SIZE.saturating_add(user_sid.len()));
        let (image, command_line) = (path.or(named), start.command_line());
        let texts = text::fit(room, image.unwrap_or(&[]), command_line.unwrap_or(&[]));
        let room = room
            .saturating_sub(texts.first.len())
            .saturating_sub(texts.second.len());
        let is_exact = start.is_image_file_name_exact();
        let image_opened = named.filter(|_name| is_exact && path.is_some());
        let (image_opened, is_opened_cut) = text::cut(image_opened.unwrap_or(&[]), room);
        let user = Unavailable::USER.with(Unavailable::SESSION);
        let is_partial = path.is_none() && image.is_some() && !is_exact;
        let flags = Flags::UTF_16
            .with_if(image.is_none(), Flags::IMAGE_UNAVAILABLE)
            .with_if(command_line.is_none(), Flags::COMMAND_LINE_UNAVAILABLE)
            .with_if(unavailable.contains(user), Flags::USER_UNAVAILABLE)
            .with_if(is_partial, Flags::IMAGE_PARTIAL)
            .with_if(texts.is_first_cut, Flags::IMAGE_TRUNCATED)
            .with_if(texts.is_second_cut, Flags::COMMAND_LINE_TRUNCATED)
            .with_if(is_opened_cut, Flags::IMAGE_OPENED_TRUNCATED);
        let event = Event::ProcessStart(Start {
            image: texts.first,
            command_line: texts.second,
            ..fixed
        });
        let extension = Extension::Token(Token {
            integrity_level: facts.integrity_level.unwrap_or(0),
            elevated: u32::from(facts.is_elevated == Some(true)),
            user_sid,
            unavailable,
            logon_id: facts.logon_id.unwrap_or(0),
            subsystem: subsystem(start, opened.as_ref()),
            protection: u32::from(protection.unwrap_or(0)),
            creation_status: start.creation_status().0.cast_unsigned(),
            image_opened,
        });
        for text in [texts.first, texts.second, image_opened] {
            text::touch(text);
        }
        let header = header(start.process_id(), 0, process.create_time_ns(), flags);
        self.record(header, &event, &extension);
    }

    fn process_exit(&'static self, process_id: u32, process: Process<'_>) {
        let status = process.exit_status();
        let event = Event::ProcessExit(Exit {
            exit_status: status.0.cast_unsigned(),
            parent_process_id: 0,
        });
        // A process ends in its own last thread. One that never had a thread goes with its last handle,
        // in whatever thread closes that, and its status is still the one of a process that runs.
        let ran = status != Status::PENDING || current_process_id() == process_id;
        let (thread_id, flags) = if ran {
            (current_thread_id(), Flags::ORIGIN_UNAVAILABLE)
        } else {
            (0, Flags::ORIGIN_UNAVAILABLE.with(Flags::NEVER_RAN))
        };
        let header = header(process_id, thread_id, process.create_time_ns(), flags);
        self.record(header, &event, &Extension::None);
    }
}

impl Sensor {
    /// The path of the image's file. What was typed may be an 8.3 name, lead through a junction or name
    /// a drive that only the creator has; the file that runs is this one.
    fn image_path<'b>(
        &'static self,
        opened: &Opened,
        short: &'b mut NameBuffer<PATH_UNITS>,
        long: &'b mut Option<TryGuard<'static, LongPath>>,
    ) -> Option<&'b [u8]> {
        let path = if let Ok(path) = opened.image_file_name(short) {
            path
        } else {
            *long = self.long_path.try_lock();
            opened.image_file_name(long.as_mut()?).ok()?
        };
        Some(path).filter(|path| !path.is_empty())
    }
}

/// Who made the process, with the session it is in.
fn origin(start: &ProcessStart<'_>, facts: &Facts) -> Start<'static> {
    let (parent, creator) = (start.parent_process_id(), start.creator_process_id());
    let creator_start_time = start_time_of(creator);
    let parent_start_time = if parent == creator {
        creator_start_time
    } else {
        start_time_of(parent)
    };
    Start {
        parent_process_id: parent,
        creator_process_id: creator,
        creator_thread_id: start.creator_thread_id(),
        session_id: facts.session_id.unwrap_or(0),
        user_id: 0,
        parent_start_time,
        creator_start_time,
        image: &[],
        command_line: &[],
    }
}

/// The subsystem it runs in. Nearly all are Win32's, and nobody is asked.
fn subsystem(start: &ProcessStart<'_>, opened: Option<&Opened>) -> u32 {
    if !start.is_subsystem_process() {
        return 0;
    }
    let told = opened.and_then(|opened| opened.subsystem().ok());
    told.filter(|subsystem| *subsystem != 0)
        .unwrap_or(Token::OTHER_SUBSYSTEM)
}

/// What of the token could not be had.
fn unavailable(facts: &Facts) -> Unavailable {
    Unavailable::default()
        .with_if(facts.user_sid().is_none(), Unavailable::USER)
        .with_if(
            facts.integrity_level.is_none(),
            Unavailable::INTEGRITY_LEVEL,
        )
        .with_if(facts.is_elevated.is_none(), Unavailable::ELEVATED)
        .with_if(facts.session_id.is_none(), Unavailable::SESSION)
        .with_if(facts.logon_id.is_none(), Unavailable::LOGON)
}

/// When that process was created; 0 when it is gone.
fn start_time_of(process_id: u32) -> u64 {
    if process_id == current_process_id() {
        return Process::current().create_time_ns();
    }
    create_time_ns(process_id).unwrap_or(0)
}
