//! What the fields hold that rules ask for, of one program or of one event.

use std::collections::HashMap;
use std::io::Write as _;

use event::{Kind, Kinds};
use foldhash::fast::RandomState;

use super::field;
use super::pattern::PatternSet;
use crate::trail::schema::{Declared as _, Field};
use crate::trail::value::{Each, Value};
use crate::trail::{Body, Name, Program, UserId, missing};

/// The most fields that all rules together may ask for; there are hardly more.
pub(super) const FIELDS_MAX: usize = 96;

/// What is forgotten of a program that takes too much room.
const FORGOTTEN: [&str; 3] = [
    Program::command_line.name,
    Program::arguments.name,
    Program::environment.name,
];

/// What is known of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known<'e> {
    /// The event will tell.
    Later,
    /// It is there or was, and nobody can say what it holds, or not all of it.
    Unsure,
    /// It is not there.
    Absent,
    /// It is there.
    Is(Value<'e>),
}

/// The places of the fields that some rules ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    by_name: HashMap<&'static str, usize, RandomState>,
    /// Whether the program tells the field, place by place.
    is_of_program: Vec<bool>,
}

impl Places {
    /// The place of a field, which has one from now on; `None` where there are too many.
    pub(super) fn of(&mut self, name: &'static str, is_of_program: bool) -> Option<usize> {
        if let Some(place) = self.by_name.get(name) {
            return Some(*place);
        }
        let place = self.is_of_program.len();
        if place >= FIELDS_MAX {
            return None;
        }
        self.by_name.insert(name, place);
        self.is_of_program.push(is_of_program);
        Some(place)
    }
}

/// What a process runs, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Runs<'e> {
    /// The program.
    pub program: &'e Program,
    /// The fields of it that were cut.
    pub truncated: &'e [Name],
    /// Those that could not be had.
    pub missing: &'e [(Name, Name)],
    /// Whether its arguments are still known.
    pub is_whole: bool,
}

impl<'e> Runs<'e> {
    /// A program of which all is known.
    pub const fn whole(program: &'e Program) -> Self {
        Self {
            program,
            truncated: &[],
            missing: &[],
            is_whole: true,
        }
    }
}

/// What an event tells.
#[derive(Clone, Copy, Debug)]
pub struct Told<'e> {
    /// What happened.
    pub body: &'e Body,
    /// Fields that were cut.
    pub truncated: &'e [Name],
    /// Fields that could not be had.
    pub missing: &'e [(Name, Name)],
    /// Whether the process is replacing its program: what was known of it is of the one before.
    pub is_executing: bool,
}

impl<'e> Told<'e> {
    /// An event that tells all there is.
    pub const fn whole(body: &'e Body) -> Self {
        Self {
            body,
            truncated: &[],
            missing: &[],
            is_executing: false,
        }
    }
}

/// The values, place by place.
#[derive(Debug)]
pub(super) struct Values<'p, 'e> {
    places: &'p Places,
    known: [Known<'e>; FIELDS_MAX],
    kind: Kind,
}

impl<'p, 'e> Values<'p, 'e> {
    /// Those of a program alone; nothing is known where it is not.
    pub(super) fn of_program(places: &'p Places, runs: Option<Runs<'e>>) -> Self {
        let mut values = Self {
            places,
            known: [Known::Later; FIELDS_MAX],
            kind: Kind::PROCESS_EXEC,
        };
        values.runs(runs, false);
        values
    }

    /// Those of an event, and of what its process runs.
    pub(super) fn of_event(places: &'p Places, runs: Option<Runs<'e>>, told: Told<'e>) -> Self {
        let mut values = Self {
            places,
            known: [Known::Absent; FIELDS_MAX],
            kind: Kind::PROCESS_EXEC,
        };
        if told.is_executing {
            values.program_is(Known::Unsure);
        } else {
            // An inode and the like are the image's own where one is told, be it without.
            let is_image = Kinds::IMAGE.contains(told.body.kind());
            values.runs(runs, !is_image);
        }
        values.kind = told.body.kind();
        told.body
            .visit(&mut Each(|declared, value| values.take(declared, value)));
        values.note(told.truncated, told.missing);
        if told.is_executing {
            values.new_program(told.body);
        }
        values
    }

    pub(super) fn get(&self, place: usize) -> Known<'e> {
        self.known.get(place).copied().unwrap_or(Known::Absent)
    }

    /// What the process runs, where an event does not say it itself; with the fields that an image has as
    /// well, where `takes_shared`.
    fn runs(&mut self, runs: Option<Runs<'e>>, takes_shared: bool) {
        let Some(runs) = runs else {
            self.program_is(Known::Unsure);
            return;
        };
        self.program_is(Known::Absent);
        for name in FORGOTTEN.iter().filter(|_| !runs.is_whole) {
            if let Some(place) = self.place(name) {
                self.set(place, Known::Unsure);
            }
        }
        runs.program
            .visit(&mut Each(|declared: &'static Field, value| {
                if let Some(place) = self.place(declared.name)
                    && (takes_shared || self.places.is_of_program.get(place) == Some(&true))
                {
                    self.set(place, Known::Is(value));
                }
            }));
        self.note(runs.truncated, runs.missing);
    }

    fn program_is(&mut self, known: Known<'e>) {
        for (place, is_of_program) in self.places.is_of_program.iter().enumerate() {
            if *is_of_program && let Some(value) = self.known.get_mut(place) {
                *value = known;
            }
        }
    }

    /// The program that is being executed is the one the image is loaded into.
    fn new_program(&mut self, body: &'e Body) {
        let Body::ImageLoad(load) = body else {
            return;
        };
        let of_program = |name| self.places.by_name.get(name).copied();
        let scope_place = of_program(Program::path_scope.name);
        let (Some(new), Some(place)) = (&load.process_image, of_program(Program::image.name))
        else {
            return;
        };
        self.set(place, Known::Is(Value::SystemText(new)));
        let own = load.image.as_ref().is_some_and(|image| image == new);
        let scope = load.path_scope.as_deref().filter(|_| own);
        if let Some(place) = scope_place {
            let known = scope.map_or(Known::Absent, |scope| Known::Is(Value::Text(scope)));
            self.set(place, known);
        }
    }

    /// What is said of the fields themselves.
    fn note(&mut self, truncated: &[Name], missing: &[(Name, Name)]) {
        for name in truncated {
            // Of a path that was cut its begin tells, as the scope does.
            if let Some(place) = self.place(name)
                && name != Program::image.name
            {
                self.set(place, Known::Unsure);
            }
        }
        for (name, reason) in missing {
            let Some(place) = self.place(name) else {
                continue;
            };
            let may_be_there = [
                missing::GONE,
                missing::LOST,
                missing::UNANSWERED,
                missing::CHANGED,
            ];
            if may_be_there.contains(&&**reason) && matches!(self.get(place), Known::Absent) {
                self.set(place, Known::Unsure);
            }
        }
    }

    fn place(&self, name: &str) -> Option<usize> {
        let name = field::name_in_rules(self.kind, name)?;
        self.places.by_name.get(name).copied()
    }

    fn set(&mut self, place: usize, known: Known<'e>) {
        if let Some(value) = self.known.get_mut(place) {
            *value = known;
        }
    }

    fn take(&mut self, declared: &'static Field, value: Value<'e>) {
        if let Some(place) = self.place(declared.name) {
            self.set(place, Known::Is(value));
        }
    }
}

/// Whether a value, as text, matches one of the patterns.
pub(super) fn matches(patterns: &PatternSet, value: Value<'_>) -> bool {
    match value {
        Value::Text(text) => patterns.matches(text.as_bytes()),
        Value::SystemText(text) => patterns.matches(text.as_bytes()),
        Value::Texts(texts) => texts.iter().any(|text| patterns.matches(text.as_bytes())),
        Value::UserId(UserId::Sid(sid)) => patterns.matches(sid.as_bytes()),
        Value::UserId(UserId::Uid(uid)) => matches_shown(patterns, format_args!("{uid}")),
        Value::Number(number) => matches_shown(patterns, format_args!("{number}")),
        Value::Truth(truth) => matches_shown(patterns, format_args!("{truth}")),
        Value::Key(key) => matches_shown(patterns, format_args!("{key}")),
        Value::Address(address) => matches_shown(patterns, format_args!("{address:#x}")),
        Value::Time(_)
        | Value::Kind(_)
        | Value::Account(_)
        | Value::Names(_)
        | Value::Reasons(_) => false,
    }
}

/// The same of what is shown in a few characters, without memory of its own.
fn matches_shown(patterns: &PatternSet, shown: std::fmt::Arguments<'_>) -> bool {
    let mut buffer = [0; 32];
    let mut rest = &mut buffer[..];
    if rest.write_fmt(shown).is_err() {
        return false;
    }
    let left = rest.len();
    let text = buffer
        .len()
        .checked_sub(left)
        .and_then(|size| buffer.get(..size));
    text.is_some_and(|text| patterns.matches(text))
}
