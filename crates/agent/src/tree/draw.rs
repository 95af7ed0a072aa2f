//! A tree for a terminal: columns that line up, then the lines of the tree and the command line.

use std::io;

use super::{End, Forest, Process, Visit};
use crate::shown::{DIM, GREEN, PLAIN, RED, Row, run_time, time_of_day};
use crate::trail::Time;
use crate::zone;

/// How a tree is drawn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Whether colours are welcome.
    pub colour: bool,
    /// Where lines are cut; nowhere without.
    pub width: Option<u16>,
    /// The moment to which running processes have run.
    pub now: Time,
}

/// Where the columns begin.
const USER_COLUMN: usize = 8;
const START_COLUMN: usize = 17;
const STATE_COLUMN: usize = 30;
const RUN_TIME_COLUMN: usize = 46;
const COMMAND_COLUMN: usize = 57;

/// Levels that are drawn with lines. Deeper ones stand under the last of them with their depth as a
/// number, or a chain of processes would make lines as long as itself.
const LEVELS_MAX: usize = 40;

/// The names of the columns, aligned as the lines are.
pub fn heading(style: Style) -> Vec<u8> {
    let mut out = Vec::new();
    let mut row = Row::new(&mut out, style.width);
    let names = [
        (USER_COLUMN, "USER"),
        (START_COLUMN, &zone::heading("START", style.now)),
        (STATE_COLUMN, "STATE"),
        (RUN_TIME_COLUMN, "RUN TIME"),
        (COMMAND_COLUMN, "COMMAND"),
    ];
    row.text("PROCESS");
    for (column, name) in names {
        row.column(column);
        row.text(name);
    }
    row.end();
    out
}

/// Draws a forest, handing each line to `line_fn`, until that fails.
pub fn draw(
    forest: &Forest<'_>,
    style: Style,
    mut line_fn: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    // For each level above, whether a sibling is still to come there.
    let mut open: Vec<bool> = Vec::new();
    let mut out = Vec::new();
    for visit in forest.visits() {
        open.truncate(visit.depth);
        out.clear();
        let process = forest.whole(visit.process)?;
        line((&visit, &process), &open, style, &mut out);
        line_fn(&out)?;
        open.push(!visit.is_last);
    }
    Ok(())
}

fn line((visit, process): (&Visit<'_>, &Process), open: &[bool], style: Style, out: &mut Vec<u8>) {
    let paint = |sequence: &'static str| if style.colour { sequence } else { "" };
    let mut row = Row::new(out, style.width);
    row.text(&format!("{:>7}", process.process_id));
    row.column(USER_COLUMN);
    row.text(&user(process));
    row.column(START_COLUMN);
    row.text(
        &process
            .start_time
            .map_or_else(|| "?".to_owned(), time_of_day),
    );
    row.column(STATE_COLUMN);
    row.colour(paint(state_colour(process)));
    row.text(&state(process));
    row.colour(paint(PLAIN));
    row.column(RUN_TIME_COLUMN);
    let run_time_ns = process.run_time_ns(style.now);
    row.text(&run_time_ns.map_or_else(|| "?".to_owned(), run_time));
    row.column(COMMAND_COLUMN);
    row.colour(paint(DIM));
    // The roots stand side by side: no line joins them.
    let above = open.get(1..).unwrap_or_default();
    row.text(&branch(visit.depth, visit.is_last, above));
    row.colour(paint(PLAIN));
    if process.is_kernel {
        row.colour(paint(DIM));
    }
    row.text(&process.steps());
    row.text(&process.title());
    if visit.hidden_count > 0 {
        row.colour(paint(DIM));
        row.text(&format!("  (+{} below)", visit.hidden_count));
    }
    row.end();
}

/// The lines that lead to a process: those of its ancestors below the root, of which `above` tells
/// whether they go on, then its own.
pub(crate) fn branch(depth: usize, is_last: bool, above: &[bool]) -> String {
    let Some(levels) = depth.checked_sub(1) else {
        return String::new();
    };
    let above = &above[..above.len().min(LEVELS_MAX)];
    let mut branch: String = above
        .iter()
        .map(|goes_on| if *goes_on { "│  " } else { "   " })
        .collect();
    branch.push_str(if is_last { "└─ " } else { "├─ " });
    if levels > LEVELS_MAX {
        branch.extend(["(", &depth.to_string(), ") "]);
    }
    branch
}

/// Whom it runs for: the name, else the id.
pub(crate) fn user(process: &Process) -> String {
    use crate::trail::UserId;
    let name = process.program.user.as_deref();
    match (name, &process.program.user_id) {
        (Some(name), _) => name.to_owned(),
        (None, Some(UserId::Uid(uid))) => uid.to_string(),
        (None, Some(UserId::Sid(sid))) => sid.as_ref().to_owned(),
        (None, None) => "?".to_owned(),
    }
}

/// `running`, `was running` when the trail ended, `exit 2`, `signal 9`, `ended`.
pub fn state(process: &Process) -> String {
    match &process.end {
        End::Running if process.known_until.is_some() => "was running".to_owned(),
        End::Running => "running".to_owned(),
        End::Unseen => "ended".to_owned(),
        End::Exit(exit) => match (exit.signal, exit.exit_code) {
            (Some(signal), _) if exit.core_dumped => format!("signal {signal}, core"),
            (Some(signal), _) => format!("signal {signal}"),
            (None, Some(code)) => format!("exit {code}"),
            (None, None) => "exit ?".to_owned(),
        },
    }
}

fn state_colour(process: &Process) -> &'static str {
    match &process.end {
        End::Running if process.known_until.is_some() => DIM,
        End::Running => GREEN,
        End::Exit(_) if process.has_failed() => RED,
        End::Unseen | End::Exit(_) => DIM,
    }
}
