//! Events for a person: one aligned line each, cut to the width of the terminal, coloured by kind.
//!
//! Nothing an observed process chose (a path, an argument, a user's name) reaches the terminal as
//! anything but visible text: see `shown.rs`.

mod lives;
mod wanted;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;

pub use self::lives::Lives;
pub use self::wanted::Wanted;
use super::stream::Out;
use super::{Sink, Tally};
use crate::shown::{Row, run_time, time_of_day};
use crate::trail::{
    Body, Detection, Event, ExecFailed, ImageDetails, ImageLoad, ImageUnload, ProcessExit, Program,
    Text, ThreadStart,
};
use crate::{moment, zone};
use event::{Kind, ProcessKey};

/// Processes whose program is remembered, to choose by it.
const REMEMBERED_MAX: usize = 65_536;

/// Where the columns begin.
const EVENT_COLUMN: usize = 13;
const PROCESS_COLUMN: usize = 28;
const USER_COLUMN: usize = 36;
const WHAT_COLUMN: usize = 45;

/// The sink that prints to a terminal.
#[derive(Debug)]
pub struct Terminal {
    out: Out,
    style: Style,
    chosen: Chosen,
}

/// How lines look.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Whether they are coloured.
    pub colour: bool,
    /// Columns they are cut to; whole without.
    pub width: Option<u16>,
}

/// Which events are printed, and what it takes to know.
#[derive(Debug, Default)]
struct Chosen {
    wanted: Option<Wanted>,
    /// What each process runs.
    programs: HashMap<ProcessKey, Program>,
}

impl Terminal {
    /// A sink that prints to `out`: with colours or without, lines cut to `width` columns or whole.
    pub fn new(out: Box<dyn Write + Send>, colour: bool, width: Option<u16>) -> Self {
        Self {
            out: Out::new("terminal", out),
            style: Style { colour, width },
            chosen: Chosen::default(),
        }
    }

    /// Prints what is wanted alone.
    #[must_use]
    pub fn only(mut self, wanted: Wanted) -> Self {
        self.chosen.wanted = Some(wanted);
        self
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
        format!("{time:<12} EVENT          PROCESS USER     WHAT")
    }
}

impl Sink for Terminal {
    fn name(&self) -> &'static str {
        "terminal"
    }

    fn write(&mut self, events: &[Event], tally: &Tally) {
        let style = self.style;
        let chosen = RefCell::new(&mut self.chosen);
        let line_fn = |event: &Event, out: &mut Vec<u8>| {
            if chosen.borrow_mut().has(event) {
                line(event, style, out);
            }
        };
        self.out.write(events, line_fn, tally);
    }

    fn flush(&mut self, _tally: &Tally) {
        self.out.flush();
    }

    fn close(&mut self, tally: &Tally) {
        let style = self.style;
        self.out.close(|event, out| line(event, style, out), tally);
    }
}

impl Chosen {
    /// Whether an event is printed. What is about the recording is in any case.
    fn has(&mut self, event: &Event) -> bool {
        let Some(wanted) = &self.wanted else {
            return true;
        };
        let key = event.process_key;
        if let Some(program) = event.body.program()
            && (self.programs.len() < REMEMBERED_MAX || self.programs.contains_key(&key))
        {
            self.programs.insert(key, program.clone());
        }
        let has_program = wanted.has_program(self.programs.get(&key)) && wanted.has_rule(event);
        let is_there_before = match &event.body {
            Body::ProcessStart(start) => start.existing,
            Body::ImageLoad(load) => load.existing,
            Body::ProcessExit(exit) => {
                self.programs.remove(&key);
                return wanted.has_kind(event) && has_program && wanted.has_end(exit);
            }
            Body::Detection(_) => return wanted.has_rule(event),
            Body::Lost(_) | Body::SensorStart(_) | Body::SensorStop(_) | Body::Mark(_) => {
                return true;
            }
            _ => false,
        };
        let is_wanted = !wanted.failed && (wanted.existing || !is_there_before);
        is_wanted && wanted.has_kind(event) && has_program
    }
}

/// Appends the event's line, line feed included.
fn line(event: &Event, style: Style, out: &mut Vec<u8>) {
    let kind = event.body.kind();
    let mut row = Row::new(out, style.width);
    row.colour(if style.colour { colour(kind) } else { "" });
    row.text(&time_of_day(event.time));
    row.column(EVENT_COLUMN);
    row.text(kind.name().unwrap_or("unknown"));
    row.column(PROCESS_COLUMN);
    row.text(&format!("{:>7}", event.process_id));
    row.column(USER_COLUMN);
    row.text(user(&event.body));
    row.column(WHAT_COLUMN);
    what(&mut row, &event.body);
    for field in &event.truncated {
        row.text(&format!(" [{field}: cut]"));
    }
    for (field, reason) in &event.missing {
        row.text(&format!(" [{field}: {reason}]"));
    }
    row.end();
}

/// The start of a colour for each kind; `Row::end` puts it back.
fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::PROCESS_START => "\x1b[32m",
        Kind::PROCESS_EXEC => "\x1b[1;32m",
        Kind::PROCESS_EXIT => "\x1b[33m",
        Kind::THREAD_START | Kind::THREAD_EXIT => "\x1b[2m",
        Kind::IMAGE_LOAD | Kind::IMAGE_UNLOAD | Kind::IMAGE_DETAILS => "\x1b[36m",
        // White on red: neither must be overlooked.
        Kind::DETECTION | Kind::LOST => "\x1b[1;37;41m",
        _ => "\x1b[1m",
    }
}

fn user(body: &Body) -> &str {
    let user = body.program().and_then(|program| program.user.as_deref());
    user.unwrap_or("")
}

fn what(row: &mut Row<'_>, body: &Body) {
    match body {
        Body::ProcessStart(start) => {
            if let Some(parent) = start.parent_process_id {
                row.text(&format!("by {parent} "));
            }
            existing(row, start.existing);
            program(row, &start.program);
        }
        Body::ProcessExec(exec) => program(row, &exec.program),
        Body::ProcessExit(exit) => process_exit(row, exit),
        Body::ThreadStart(start) => thread_start(row, start),
        Body::ThreadExit(exit) => row.text(&format!("thread {}", exit.thread_id)),
        Body::ImageLoad(load) => image_load(row, load),
        Body::ImageUnload(unload) => image_unload(row, unload),
        Body::ExecFailed(failed) => exec_failed(row, failed),
        Body::ImageDetails(details) => image_details(row, details),
        Body::Detection(found) => detection(row, found),
        Body::Lost(lost) => row.text(&format!(
            "LOST {} {}: {}",
            lost.lost_count, lost.lost_kind, lost.lost_reason
        )),
        Body::Mark(mark) => row.text(&mark.mark_reason),
        Body::SensorStart(start) => {
            row.text(&format!("{} {} records", start.source, start.version));
        }
        Body::SensorStop(stop) => {
            let lost: u64 = stop
                .account
                .kinds
                .by_kind()
                .map(|(_, count)| count.lost)
                .sum();
            row.text(&format!(
                "{} {} stopped, lost {lost}",
                stop.source, stop.version
            ));
        }
    }
}

fn program(row: &mut Row<'_>, program: &Program) {
    image(row, program.image.as_ref(), program.image_deleted);
    if let Some(script) = &program.script {
        row.text(" script ");
        row.text(script.shown());
    }
    if let Some(command_line) = &program.command_line {
        row.text("  ");
        row.text(command_line.shown());
    }
}

fn process_exit(row: &mut Row<'_>, exit: &ProcessExit) {
    if let Some(signal) = exit.signal {
        row.text(&format!("signal {signal}"));
    } else if let Some(exit_code) = exit.exit_code {
        row.text(&format!("exit {exit_code}"));
    } else {
        row.text("exit ?");
    }
    if exit.core_dumped {
        row.text(", core dumped");
    }
    if let Some(run_time_ns) = exit.run_time_ns {
        row.text(" after ");
        row.text(&run_time(run_time_ns));
    }
    row.text("  ");
    image(row, exit.image.as_ref(), false);
}

fn thread_start(row: &mut Row<'_>, start: &ThreadStart) {
    row.text(&format!("thread {}", start.thread_id));
    if let Some(creator) = start.creator_thread_id {
        row.text(&format!(" by {creator}"));
    }
    if let (true, Some(creator)) = (start.remote, start.creator_process_id) {
        row.text(&format!(" of process {creator}, REMOTE"));
    }
    if let Some(start_address) = start.start_address {
        row.text(&format!(" at {start_address:#x}"));
    }
}

fn image_load(row: &mut Row<'_>, load: &ImageLoad) {
    row.text(&format!("{:#014x} ", load.image_base));
    row.text(&format!("{:>9} ", load.image_size));
    existing(row, load.existing);
    if load.kernel_image {
        row.text("kernel ");
    }
    image(row, load.image.as_ref(), load.image_deleted);
}

fn image_unload(row: &mut Row<'_>, unload: &ImageUnload) {
    row.text(&format!("{:#014x} ", unload.image_base));
    row.text(&format!("{:>9} ", unload.image_size));
    if unload.kernel_image {
        row.text("kernel ");
    }
    image(row, unload.image.as_ref(), false);
}

fn exec_failed(row: &mut Row<'_>, failed: &ExecFailed) {
    row.text(&failed.error);
    row.text(" ");
    image(row, failed.path.as_ref(), false);
    if let Some(process_image) = &failed.process_image {
        row.text("  tried by ");
        row.text(process_image.shown());
    }
}

fn image_details(row: &mut Row<'_>, details: &ImageDetails) {
    if let Some(sha256) = &details.sha256 {
        row.text(sha256);
        row.text("  ");
    }
    image(row, details.image.as_ref(), false);
}

fn detection(row: &mut Row<'_>, detection: &Detection) {
    row.text(&detection.rule_level.to_uppercase());
    row.text(" ");
    row.text(&detection.rule_title);
    // The licence that most rules are under asks for it.
    if let Some(author) = &detection.rule_author {
        row.text(&format!(" (rule by {author})"));
    }
    row.text(&format!(" in event {}", detection.matched_sequence));
}

fn image(row: &mut Row<'_>, image: Option<&Text>, is_deleted: bool) {
    row.text(image.map_or("?", Text::shown));
    if is_deleted {
        row.text(" (deleted)");
    }
}

fn existing(row: &mut Row<'_>, is_existing: bool) {
    if is_existing {
        row.text("(existing) ");
    }
}
