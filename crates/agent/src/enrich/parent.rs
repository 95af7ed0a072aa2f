//! What the parent of a process runs, and what a process itself runs, on the events that name them.

use event::{Flags, Header, Kind};

use super::Enricher;
use super::process_cache::{Executing, Process};
use super::program::Program;
use crate::trail::{Name, Parent, Text, missing};

/// A process by its id and, where it is known, when it started; 0 otherwise.
pub(super) type Named = (u32, u64);

/// What an event says of its fields.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) truncated: Vec<Name>,
    pub(super) missing: Vec<(Name, Name)>,
}

impl Notes {
    /// What is to be said of a program.
    pub(super) fn of(program: &Program) -> Self {
        Self {
            truncated: program.truncated.clone(),
            missing: program.missing.clone(),
        }
    }

    pub(super) fn lacks(&mut self, field: &'static str, reason: impl Into<Name>) {
        self.missing.push((field.into(), reason.into()));
    }
}

impl Enricher {
    /// What `parent` runs when its child is told of by `told`. A parent that nobody told of is looked
    /// for in the system; `None` is one that the sensor cannot tell.
    pub(super) fn parent(
        &mut self,
        parent: Option<Named>,
        told: &Header,
        notes: &mut Notes,
    ) -> Parent {
        let reason = match parent {
            None => missing::UNAVAILABLE,
            Some(parent) => {
                if self.known(parent).is_err() {
                    self.look_for(parent, told);
                }
                match self.known(parent) {
                    Ok(process) => return parent_of(process, notes),
                    Err(reason) => reason,
                }
            }
        };
        no_parent(reason, notes)
    }

    /// The same of a parent that may have ended since.
    pub(super) fn parent_now(
        &mut self,
        parent: Option<Named>,
        told: &Header,
        notes: &mut Notes,
    ) -> Parent {
        let has_ended = |(id, start_time)| {
            let known = self.processes.get(id, start_time);
            known.is_none_or(|known| known.has_exited)
        };
        match parent {
            Some(parent) if parent.0 != 0 && has_ended(parent) => no_parent(missing::GONE, notes),
            parent => self.parent(parent, told, notes),
        }
    }

    /// The path of what the header's process runs.
    pub(super) fn process_image(&self, header: &Header, notes: &mut Notes) -> Option<Text> {
        match self.known((header.process_id, header.start_time)) {
            Ok(process) => image_of(process, "process_image", notes),
            Err(reason) => {
                notes.lacks("process_image", reason);
                None
            }
        }
    }

    /// The path of what an image is loaded into, where the process is replacing its program. The first
    /// image that it loads then is the new program. Where images were lost that may be another one.
    pub(super) fn new_process_image(
        &mut self,
        header: &Header,
        image: Option<&Text>,
        notes: &mut Notes,
    ) -> Option<Text> {
        let losses = self.image_losses;
        let process = self.processes.get_mut(header.process_id, header.start_time);
        let path = match process {
            Some(process) => {
                let is_sure = process.image_losses == losses;
                let first = || Executing(image.filter(|_| is_sure).cloned());
                process.executing.get_or_insert_with(first).0.clone()
            }
            None => None,
        };
        if path.is_none() {
            notes.lacks("process_image", missing::LOST);
        }
        path
    }

    /// Path and arguments of what the process runs that made a thread of another one.
    pub(super) fn creator(
        &mut self,
        creator: Named,
        told: &Header,
        notes: &mut Notes,
    ) -> (Option<Text>, Option<Text>) {
        self.look_for(creator, told);
        match self.known(creator) {
            Ok(process) => (
                image_of(process, "creator_image", notes),
                command_line_of(process, "creator_command_line", notes),
            ),
            Err(reason) => {
                notes.lacks("creator_image", reason);
                notes.lacks("creator_command_line", reason);
                (None, None)
            }
        }
    }

    /// Asks the system for a process that nobody told of, or that may run another program by now.
    fn look_for(&mut self, (process_id, start_time): Named, told: &Header) {
        // The idle thread, which the system does not tell of.
        if process_id == 0 {
            return;
        }
        self.adopt_unknown(&Header {
            kind: Kind::PROCESS_START,
            flags: if told.flags.contains(Flags::UTF_16) {
                Flags::UTF_16
            } else {
                Flags::NONE
            },
            process_id,
            thread_id: process_id,
            start_time,
            ..*told
        });
    }

    /// A process of which it is sure what it runs, or why nobody can say.
    fn known(&self, (process_id, start_time): Named) -> Result<&Process, &'static str> {
        match self.processes.get(process_id, start_time) {
            Some(process) if self.losses.is_sure(process) => Ok(process),
            Some(_) => Err(missing::LOST),
            None if process_id == 0 => Err(missing::KERNEL_THREAD),
            None => Err(missing::GONE),
        }
    }
}

fn no_parent(reason: &'static str, notes: &mut Notes) -> Parent {
    for field in ["parent_image", "parent_command_line", "parent_user"] {
        notes.lacks(field, reason);
    }
    Parent::default()
}

fn parent_of(process: &Process, notes: &mut Notes) -> Parent {
    let user = process.program.trail.user.clone();
    if user.is_none() {
        notes.lacks("parent_user", reason_of(process, "user"));
    }
    Parent {
        parent_image: image_of(process, "parent_image", notes),
        parent_command_line: command_line_of(process, "parent_command_line", notes),
        parent_user: user,
    }
}

fn image_of(process: &Process, field: &'static str, notes: &mut Notes) -> Option<Text> {
    let program = &process.program;
    if program.trail.image.is_none() {
        notes.lacks(field, reason_of(process, "image"));
    } else if program.is_cut("image") {
        notes.truncated.push(field.into());
    }
    program.trail.image.clone()
}

fn command_line_of(process: &Process, field: &'static str, notes: &mut Notes) -> Option<Text> {
    let program = &process.program;
    if program.trail.command_line.is_none() {
        notes.lacks(field, reason_of(process, "command_line"));
        return None;
    }
    if process.short_line.is_some() || program.is_cut("command_line") {
        notes.truncated.push(field.into());
    }
    let line = process.short_line.as_ref();
    line.or(program.trail.command_line.as_ref()).cloned()
}

/// Why a field of its program is not there. What was forgotten is gone.
fn reason_of(process: &Process, field: &str) -> Name {
    let reason = process.program.missing_reason(field);
    reason.unwrap_or_else(|| missing::GONE.into())
}
