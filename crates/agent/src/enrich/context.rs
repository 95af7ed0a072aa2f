//! Where a process runs beside its control group: its directory, its terminal.

use std::borrow::Cow;
use std::sync::Arc;

use event::process::Context;
use event::{Extension, Flags, Header, Kind, Place, Scope};
use foldhash::HashMap;

use super::Enricher;
use super::image_path::ImagePath;
use super::parent::Notes;
use crate::sys::machine;
use crate::trail::{Setting, missing};

/// Terminals that are remembered. Then all are forgotten and asked for again.
const COUNT_MAX: usize = 1_024;

/// The major number of the terminals that have no device of their own (`UNIX98_PTY_SLAVE_MAJOR`).
const PTS: u32 = 136;

/// The names of terminals by their devices.
#[derive(Debug, Default)]
pub(super) struct Terminals {
    known: HashMap<u32, Option<Arc<str>>>,
}

impl Terminals {
    /// The name of the terminal with that device; `None` where nobody here can tell.
    fn name(&mut self, device: u32) -> Option<Arc<str>> {
        if self.known.len() >= COUNT_MAX && !self.known.contains_key(&device) {
            self.known.clear();
        }
        let name = self.known.entry(device);
        name.or_insert_with(|| name_of(device).map(Arc::from))
            .clone()
    }
}

fn name_of(device: u32) -> Option<String> {
    let place = Place {
        device,
        ..Place::default()
    };
    match place.device_numbers() {
        (PTS, index) => Some(format!("pts/{index}")),
        (major, minor) => machine::character_device(major, minor),
    }
}

impl Enricher {
    /// Where the header's process runs.
    pub(super) fn setting(
        &mut self,
        header: &Header,
        extension: &Extension<'_>,
        notes: &mut Notes,
    ) -> Setting {
        let mut setting = self.group(header, extension, notes);
        // There is no word of what only one system has on another.
        if cfg!(windows) || header.flags.contains(Flags::UTF_16) {
            return setting;
        }
        let Some(context) = extension.context() else {
            notes.lacks("working_directory", missing::UNAVAILABLE);
            notes.lacks("terminal", missing::UNAVAILABLE);
            return setting;
        };
        self.set_directory(header, context, &mut setting, notes);
        if context.terminal != 0 {
            setting.terminal = self.terminals.name(context.terminal);
            if setting.terminal.is_none() {
                notes.lacks("terminal", missing::UNKNOWN);
            }
        }
        setting
    }

    fn set_directory(
        &mut self,
        header: &Header,
        context: &Context<'_>,
        setting: &mut Setting,
        notes: &mut Notes,
    ) {
        let has = |flag| context.flags.contains(flag);
        if has(Flags::IMAGE_UNAVAILABLE) {
            notes.lacks("working_directory", reason(header));
            return;
        }
        let path = self.images.path(context.directory, context.flags);
        let ImagePath { text, scope, .. } = path;
        // The root of a tree that has no path: of what is below it there would be no slash at the begin.
        let is_root = text.as_ref().is_some_and(|text| text.shown().is_empty());
        setting.working_directory = if is_root { Some(".".into()) } else { text };
        setting.working_directory_scope = match scope {
            None if has(Flags::IMAGE_DELETED) => Scope::NONE.name().map(Cow::Borrowed),
            scope => scope,
        };
        if has(Flags::IMAGE_TRUNCATED) {
            notes.truncated.push("working_directory".into());
        }
    }
}

/// Why a directory is not told. Of a fork nobody asks, which costs as much as the fork's own record.
fn reason(header: &Header) -> &'static str {
    if header.flags.contains(Flags::KERNEL_PROCESS) {
        missing::KERNEL_THREAD
    } else if header.kind == Kind::PROCESS_START && !header.flags.contains(Flags::EXISTING) {
        missing::UNAVAILABLE
    } else {
        missing::GONE
    }
}
