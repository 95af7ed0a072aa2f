//! Process start and exit.

use crate::sensor::{Sensor, header};
use crate::text;
use event::process::{Exit, Start, Token, Unavailable};
use event::{Event, Extension, Flags};
use nt::Status;
use nt::notify::{ProcessNotify, ProcessStart};
use nt::process::{Process, create_time_ns, current_process_id, current_thread_id};
use nt::token::Facts;

impl ProcessNotify for Sensor {
    fn process_start(&'static self, start: &ProcessStart<'_>) {
        let process = start.process();
        let (parent, creator) = (start.parent_process_id(), start.creator_process_id());
        let creator_start_time = start_time_of(creator);
        let parent_start_time = if parent == creator {
            creator_start_time
        } else {
            start_time_of(parent)
        };
        let facts = process.token();
        let unavailable = unavailable(&facts);
        let extension = Extension::Token(Token {
            integrity_level: facts.integrity_level.unwrap_or(0),
            elevated: u32::from(facts.is_elevated == Some(true)),
            user_sid: facts.user_sid().unwrap_or(&[]),
            unavailable,
            logon_id: facts.logon_id.unwrap_or(0),
        });
        let fixed = Start {
            parent_process_id: parent,
            creator_process_id: creator,
            creator_thread_id: start.creator_thread_id(),
            session_id: facts.session_id.unwrap_or(0),
            user_id: 0,
            parent_start_time,
            creator_start_time,
            image: &[],
            command_line: &[],
        };
        let image = start.image_file_name().filter(|name| !name.is_empty());
        let command_line = start.command_line();
        let room = self.room_for_texts(&Event::ProcessStart(fixed), &extension);
        let texts = text::fit(room, image.unwrap_or(&[]), command_line.unwrap_or(&[]));
        let flags = [
            (image.is_none(), Flags::IMAGE_UNAVAILABLE),
            (command_line.is_none(), Flags::COMMAND_LINE_UNAVAILABLE),
            (
                unavailable.contains(Unavailable::USER.with(Unavailable::SESSION)),
                Flags::USER_UNAVAILABLE,
            ),
            (
                image.is_some() && !start.is_image_file_name_exact(),
                Flags::IMAGE_PARTIAL,
            ),
            (texts.is_first_cut, Flags::IMAGE_TRUNCATED),
            (texts.is_second_cut, Flags::COMMAND_LINE_TRUNCATED),
        ]
        .into_iter()
        .filter(|(is_so, _flag)| *is_so)
        .fold(Flags::UTF_16, |flags, (_is_so, flag)| flags.with(flag));
        let event = Event::ProcessStart(Start {
            image: texts.first,
            command_line: texts.second,
            ..fixed
        });
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

/// What of a token could not be had.
fn unavailable(facts: &Facts) -> Unavailable {
    [
        (facts.user_sid().is_none(), Unavailable::USER),
        (
            facts.integrity_level.is_none(),
            Unavailable::INTEGRITY_LEVEL,
        ),
        (facts.is_elevated.is_none(), Unavailable::ELEVATED),
        (facts.session_id.is_none(), Unavailable::SESSION),
        (facts.logon_id.is_none(), Unavailable::LOGON),
    ]
    .into_iter()
    .filter(|(is_so, _fact)| *is_so)
    .fold(Unavailable::default(), |all, (_is_so, fact)| all.with(fact))
}

/// When that process was created; 0 when it is gone.
fn start_time_of(process_id: u32) -> u64 {
    if process_id == current_process_id() {
        return Process::current().create_time_ns();
    }
    create_time_ns(process_id).unwrap_or(0)
}
