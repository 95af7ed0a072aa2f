//! Processes for a person: a line each when it has ended, and one before when it lives for longer than a
//! second.
//!
//! A process that ends soon is told in one line: what it ran and how it ended. More lines than anybody
//! reads in a second are counted instead.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io::Write;
use std::time::Duration;

use event::ProcessKey;

use super::wanted::has_failed;
use super::{Style, Wanted};
use crate::shown::{DIM, GREEN, PLAIN, RED, Row, base_name, run_time, time_of_day, width};
use crate::sink::stream::Out;
use crate::sink::{Sink, Tally};
use crate::trail::{
    Body, Detection, Event, Lost, ProcessExit, ProcessStart, Program, Text, Time, UserId,
};
use crate::{moment, zone};

/// A process that lives longer has a line when it has begun, too.
const SHORT_NS: i64 = 1_000_000_000;

/// Lines in a second, after which further ones are counted.
const LINES_MAX: u32 = 25;

/// Processes that are remembered; of more only the ends are told.
const REMEMBERED_MAX: usize = 65_536;

const PROCESS_COLUMN: usize = 11;
const USER_COLUMN: usize = 19;
const STATE_COLUMN: usize = 28;
const COMMAND_COLUMN: usize = 51;

/// White on red: a loss must not be overlooked.
const LOSS: &str = "\x1b[1;37;41m";

/// The sink that prints processes.
pub struct Lives {
    out: Out,
    style_fn: Box<dyn Fn() -> Style + Send>,
    lines: Lines,
}

impl fmt::Debug for Lives {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lives = formatter.debug_struct("Lives");
        lives.field("out", &self.out).field("lines", &self.lines);
        lives.finish_non_exhaustive()
    }
}

/// What is known and what is due.
#[derive(Debug)]
struct Lines {
    wanted: Wanted,
    every_line: bool,
    living: HashMap<ProcessKey, Life>,
    /// Those whose begin is not told, by their start.
    untold: BTreeSet<(Time, ProcessKey)>,
    /// The time of the last event.
    now: Time,
    /// The second that lines are counted in, how many it has, and how many were passed over.
    second: (i64, u32, u64),
}

/// A process that has not ended.
#[derive(Debug)]
struct Life {
    process_id: u32,
    parent: Option<(u32, ProcessKey)>,
    start: Time,
    program: Program,
    is_told: bool,
}

impl Lives {
    /// A sink that prints to `out` what is wanted; how, and how wide, is asked at each batch, for a terminal
    /// can be resized. `every_line` even where nobody could read so many.
    pub fn new(
        out: Box<dyn Write + Send>,
        style_fn: impl Fn() -> Style + Send + 'static,
        wanted: Wanted,
        every_line: bool,
    ) -> Self {
        Self {
            out: Out::new("terminal", out),
            style_fn: Box::new(style_fn),
            lines: Lines {
                wanted,
                every_line,
                living: HashMap::new(),
                untold: BTreeSet::new(),
                now: Time(i64::MIN),
                second: (i64::MIN, 0, 0),
            },
        }
    }

    /// Has `ended_fn` called once when the reader at the other end has gone; nothing is written
    /// from then on.
    #[must_use]
    pub fn when_ended(mut self, ended_fn: impl FnOnce() + Send + 'static) -> Self {
        self.out.ended_fn = Some(Box::new(ended_fn));
        self
    }

    /// The names of the columns, aligned as the lines are.
    pub fn heading() -> String {
        let time = zone::heading("TIME", moment::now());
        format!("{time:<10} PROCESS USER     STATE                  COMMAND")
    }
}

impl Sink for Lives {
    fn name(&self) -> &'static str {
        "terminal"
    }

    fn write(&mut self, events: &[Event], tally: &Tally) {
        let style = (self.style_fn)();
        let lines = RefCell::new(&mut self.lines);
        let line_fn = |event: &Event, out: &mut Vec<u8>| lines.borrow_mut().add(event, style, out);
        self.out.write(events, line_fn, tally);
    }

    fn flush(&mut self, _tally: &Tally) {
        let style = (self.style_fn)();
        let mut text = Vec::new();
        // Nothing came meanwhile, but time went on.
        let now = moment::now().max(self.lines.now);
        self.lines.tell_begun(now, style, &mut text);
        self.lines.end_second(now, style, &mut text);
        self.out.write_text(&text);
        self.out.flush();
    }

    fn flush_again(&self) -> Option<Duration> {
        let has_more = !self.lines.untold.is_empty() || self.lines.second.2 > 0;
        has_more.then_some(Duration::from_millis(250))
    }

    fn close(&mut self, tally: &Tally) {
        self.flush(tally);
        self.out.close(|_event, _out| {}, tally);
    }
}

impl Lines {
    /// Takes an event, and appends the lines that are due by it.
    fn add(&mut self, event: &Event, style: Style, out: &mut Vec<u8>) {
        self.now = self.now.max(event.time);
        self.tell_begun(event.time, style, out);
        match &event.body {
            Body::ProcessStart(start) => self.begin(event, start),
            Body::ProcessExec(exec) => self.exec(event, &exec.program),
            Body::ProcessExit(exit) => self.end(event, exit, style, out),
            Body::Lost(lost) => loss(event.time, lost, style, out),
            Body::Detection(found) => self.detection(event, found, style, out),
            _ => {}
        }
    }

    fn begin(&mut self, event: &Event, start: &ProcessStart) {
        if self.living.len() >= REMEMBERED_MAX {
            return;
        }
        let key = event.process_key;
        let life = Life {
            process_id: event.process_id,
            parent: start.parent_process_id.zip(start.parent_process_key),
            start: event.time,
            program: start.program.clone(),
            is_told: start.existing && !self.wanted.existing,
        };
        if !life.is_told {
            self.untold.insert((life.start, key));
        }
        self.living.insert(key, life);
    }

    /// Whatever it ran before, this is what is told of it; of one whose line stands there already it is a
    /// step that is told anew.
    fn exec(&mut self, event: &Event, program: &Program) {
        let key = event.process_key;
        if let Some(life) = self.living.get_mut(&key) {
            life.program = program.clone();
            if std::mem::take(&mut life.is_told) {
                life.start = event.time;
            }
            self.untold.insert((life.start, key));
        }
    }

    fn end(&mut self, event: &Event, exit: &ProcessExit, style: Style, out: &mut Vec<u8>) {
        let key = event.process_key;
        let life = self.living.remove(&key);
        if let Some(life) = &life {
            self.untold.remove(&(life.start, key));
        }
        let told = Program {
            image: exit.image.clone(),
            ..Program::default()
        };
        let program = life.as_ref().map_or(&told, |life| &life.program);
        if !self.wanted.has_end(exit) || !self.wanted.has_program(Some(program)) {
            return;
        }
        let state = state(exit);
        let colour = if has_failed(exit) { RED } else { "" };
        let parent = life.as_ref().and_then(|life| life.parent);
        if self.has_room(event.time, style, out) {
            let row = (event.time, event.process_id, program, parent);
            self.line(row, (&state, colour), style, out);
        }
    }

    /// A rule matched. It is told whatever is wanted, and marked: it must not be overlooked.
    fn detection(&self, event: &Event, found: &Detection, style: Style, out: &mut Vec<u8>) {
        let life = self.living.get(&event.process_key);
        let mut row = Row::new(out, style.width);
        row.colour(if style.colour { LOSS } else { "" });
        row.text(&clock(event.time));
        row.column(PROCESS_COLUMN);
        row.text(&format!("{:>7}", event.process_id));
        row.column(USER_COLUMN);
        row.text(&life.map_or_else(String::new, |life| user(&life.program)));
        row.column(STATE_COLUMN);
        row.text(&found.rule_level.to_uppercase());
        row.column(COMMAND_COLUMN);
        row.text(&found.rule_title);
        // The licence that most rules are under asks for it.
        if let Some(author) = &found.rule_author {
            row.text(&format!(" (rule by {author})"));
        }
        if let Some(life) = life {
            row.text(": ");
            row.text(&command(&life.program));
        }
        row.end();
    }

    /// The begins of those that have lived for a second by then.
    fn tell_begun(&mut self, now: Time, style: Style, out: &mut Vec<u8>) {
        while let Some(&(start, key)) = self.untold.first() {
            if now.0.saturating_sub(start.0) < SHORT_NS {
                break;
            }
            self.untold.pop_first();
            let Some(life) = self.living.get_mut(&key) else {
                continue;
            };
            life.is_told = true;
            let (id, parent) = (life.process_id, life.parent);
            let program = life.program.clone();
            if self.wanted.failed || !self.wanted.has_program(Some(&program)) {
                continue;
            }
            if self.has_room(start, style, out) {
                self.line(
                    (start, id, &program, parent),
                    ("started", GREEN),
                    style,
                    out,
                );
            }
        }
    }

    /// Whether a line more can be read in this second; what cannot is counted.
    fn has_room(&mut self, time: Time, style: Style, out: &mut Vec<u8>) -> bool {
        self.end_second(time, style, out);
        let (_, lines, passed_over) = &mut self.second;
        if *lines < LINES_MAX || self.every_line {
            *lines += 1;
            return true;
        }
        *passed_over += 1;
        false
    }

    /// Says how many lines were passed over in the second before.
    fn end_second(&mut self, time: Time, style: Style, out: &mut Vec<u8>) {
        let second = time.0.div_euclid(1_000_000_000);
        if second <= self.second.0 {
            return;
        }
        let (before, _, passed_over) = std::mem::replace(&mut self.second, (second, 0, 0));
        if passed_over == 0 {
            return;
        }
        let mut row = Row::new(out, style.width);
        row.colour(if style.colour { DIM } else { "" });
        row.text(&clock(Time(before.saturating_mul(1_000_000_000))));
        row.column(PROCESS_COLUMN);
        row.text(&format!(
            "({passed_over} more in this second; --every-line shows them)"
        ));
        row.end();
    }

    fn line(
        &self,
        (time, id, program, parent): (Time, u32, &Program, Option<(u32, ProcessKey)>),
        (state, colour): (&str, &'static str),
        style: Style,
        out: &mut Vec<u8>,
    ) {
        let paint = |sequence: &'static str| if style.colour { sequence } else { "" };
        let mut row = Row::new(out, style.width);
        row.text(&clock(time));
        row.column(PROCESS_COLUMN);
        row.text(&format!("{id:>7}"));
        row.column(USER_COLUMN);
        row.text(&user(program));
        row.column(STATE_COLUMN);
        row.colour(paint(colour));
        row.text(state);
        row.colour(paint(PLAIN));
        row.column(COMMAND_COLUMN);
        row.text(&command(program));
        if let Some((parent_id, key)) = parent {
            let parent = self.living.get(&key).map(|parent| name(&parent.program));
            row.colour(paint(DIM));
            row.text(&format!("  < {} {parent_id}", parent.unwrap_or_default()));
        }
        row.end();
    }
}

/// `02:14:07`, UTC.
fn clock(time: Time) -> String {
    let mut text = time_of_day(time);
    text.truncate(8);
    text
}

fn user(program: &Program) -> String {
    const USER_WIDTH: usize = 8;
    let mut user = match (&program.user, &program.user_id) {
        (Some(user), _) => user.to_string(),
        (None, Some(UserId::Uid(uid))) => uid.to_string(),
        (None, _) => "?".to_owned(),
    };
    // The name without its domain is what tells people apart.
    if let Some((_, name)) = user.rsplit_once('\\') {
        user = name.to_owned();
    }
    if width(&user) > USER_WIDTH {
        user = user.chars().take(USER_WIDTH - 1).collect();
        user.push('…');
    }
    user
}

fn name(program: &Program) -> String {
    let file = program.script.as_ref().or(program.image.as_ref());
    file.map_or("?", |file| base_name(file.shown())).to_owned()
}

/// The name of the program, and its arguments: the directory is what a narrow line can do without.
fn command(program: &Program) -> String {
    let mut command = name(program);
    let skipped = 1 + usize::from(program.script.is_some());
    let arguments = program.arguments.as_deref().unwrap_or_default();
    for argument in arguments.iter().skip(skipped).map(Text::shown) {
        command.push(' ');
        command.push_str(argument);
        if command.len() > 4_096 {
            break;
        }
    }
    if program.image_deleted {
        command.push_str(" (deleted)");
    }
    command
}

/// `exit 0    41.000 ms`.
fn state(exit: &ProcessExit) -> String {
    let how = match (exit.signal, exit.exit_code) {
        (Some(signal), _) if exit.core_dumped => format!("signal {signal} core"),
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit {code}"),
        (None, None) => "exit ?".to_owned(),
    };
    let ran = exit.run_time_ns.map_or_else(String::new, run_time);
    format!("{how:<9} {ran:>11}")
}

fn loss(time: Time, lost: &Lost, style: Style, out: &mut Vec<u8>) {
    let mut row = Row::new(out, style.width);
    row.colour(if style.colour { LOSS } else { "" });
    row.text(&clock(time));
    row.column(PROCESS_COLUMN);
    let (count, kind, reason) = (lost.lost_count, lost.lost_kind, &lost.lost_reason);
    row.text(&format!("LOST {count} {kind}: {reason}"));
    row.end();
}
