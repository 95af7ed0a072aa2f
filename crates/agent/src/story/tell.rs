//! A story for a person, and as JSON.

use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;

use super::{Details, Exec, Image, List, Story, Thread};
use crate::shown::{Row, date_time_and_zone, escape_controls, run_time, time_of_day};
use crate::trail::{Text, Time, UserId};
use crate::tree::{self, End, Process, Style, state};

/// Lines of a list that are printed unless all are asked for.
const SHOWN_MAX: usize = 20;

/// Characters to which a cell of a list is filled up. One that is longer pushes its own row alone.
const PADDED_MAX: usize = 60;

const BOLD: &str = "\x1b[1m";

/// Tells `story` for a person; of long lists the beginning, or `all` of them.
pub fn tell(story: &Story, style: Style, all: bool) -> Vec<u8> {
    let mut page = Page {
        out: Vec::new(),
        style,
        shown_max: if all { usize::MAX } else { SHOWN_MAX },
    };
    page.process(&story.process);
    page.list(
        "ancestors, nearest first",
        &of(&story.ancestors),
        |process| vec![process.process_id.to_string(), process.title().into_owned()],
    );
    let Details {
        execs,
        threads,
        images,
        inherited_images,
        inherits_unknown,
    } = &story.details;
    page.list("programs", execs, exec_cells);
    page.list("children", &of(&story.children), |process| {
        child_cells(process, style.now)
    });
    // A thread without an end is as its process is.
    let open = match story.process.end {
        End::Running => state(&story.process),
        _ => "?".to_owned(),
    };
    page.list("threads", threads, |thread| thread_cells(thread, &open));
    page.list("images", images, image_cells);
    page.list(
        "images inherited over the fork",
        inherited_images,
        image_cells,
    );
    if *inherits_unknown {
        page.heading("images inherited over the fork: not known, the log has too many at once");
    }
    page.out
}

fn of(processes: &[Process]) -> List<&Process> {
    List {
        count: processes.len() as u64,
        first: processes.iter().collect(),
    }
}

/// A page under construction.
struct Page {
    out: Vec<u8>,
    style: Style,
    shown_max: usize,
}

impl Page {
    fn process(&mut self, process: &Process) {
        let (id, key) = (process.process_id, process.process_key);
        let on_host = if process.host.is_empty() {
            String::new()
        } else {
            format!(" on {}", process.host)
        };
        self.heading(&format!("process {id}, key {key}{on_host}"));
        self.field("state", &state_and_run_time(process, self.style.now));
        self.field("started", &started(process));
        if let Some(exit) = process.exit() {
            self.field("ended", &date_time_and_zone(exit.time));
        }
        let program = &process.program;
        let session = process
            .session_id
            .map(|session| format!(", session {session}"));
        let user = user(process);
        self.field("user", &format!("{user}{}", session.unwrap_or_default()));
        let shown = |text: &Option<Text>| text.as_ref().map_or("?", Text::shown).to_owned();
        let deleted = if program.image_deleted {
            " (deleted)"
        } else {
            ""
        };
        if process.is_kernel {
            self.field("of the kernel", &process.title());
        }
        self.field("image", &format!("{}{deleted}", shown(&program.image)));
        self.field("command line", &shown(&program.command_line));
        if program.script.is_some() {
            self.field("script", &shown(&program.script));
        }
    }

    fn heading(&mut self, text: &str) {
        let bold = if self.style.colour { BOLD } else { "" };
        let mut row = Row::new(&mut self.out, self.style.width);
        row.colour(bold);
        row.text(text);
        row.end();
    }

    fn field(&mut self, name: &str, value: &str) {
        const VALUE_COLUMN: usize = 16;
        // Not cut: whoever asks for one process wants all of its command line.
        let mut row = Row::new(&mut self.out, None);
        row.text(&format!("  {name}"));
        row.column(VALUE_COLUMN);
        row.text(value);
        row.end();
    }

    /// Prints a list, its cells below each other as far as they are not too long for that.
    fn list<T>(&mut self, name: &str, list: &List<T>, cells_fn: impl Fn(&T) -> Vec<String>) {
        if list.count == 0 {
            return;
        }
        self.out.push(b'\n');
        self.heading(&format!("{name}: {}", list.count));
        let shown = list.first.iter().take(self.shown_max);
        let rows: Vec<Vec<String>> = shown.map(cells_fn).collect();
        let columns = rows.first().map_or(0, Vec::len);
        let width_of = |column: usize| {
            let cells = rows.iter().filter_map(|row: &Vec<String>| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max();
            widest.unwrap_or(0).min(PADDED_MAX)
        };
        let widths: Vec<usize> = (0..columns).map(width_of).collect();
        for cells in &rows {
            let mut row = Row::new(&mut self.out, self.style.width);
            for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                row.text("  ");
                // The last cell is the longest, and nothing stands behind it.
                if column + 1 == columns {
                    row.text(cell);
                } else {
                    row.text(cell);
                    row.text(&" ".repeat(width.saturating_sub(cell.chars().count())));
                }
            }
            row.end();
        }
        let more = list.count - rows.len() as u64;
        if more > 0 {
            let hint = if self.shown_max == SHOWN_MAX {
                "; --all shows them"
            } else {
                ""
            };
            let mut row = Row::new(&mut self.out, self.style.width);
            row.text(&format!("  and {more} more{hint}"));
            row.end();
        }
    }
}

fn state_and_run_time(process: &Process, now: Time) -> String {
    let ran = process.run_time_ns(now).map(run_time);
    match (&process.end, process.known_until, ran) {
        (End::Unseen, ..) => "ended while nobody recorded".to_owned(),
        (End::Running, Some(end), ran) => {
            let ran = ran.map(|ran| format!(" for {ran}")).unwrap_or_default();
            let end = date_time_and_zone(end);
            format!("running{ran} when the trail ended, at {end}")
        }
        (End::Running, None, Some(ran)) => format!("{} for {ran}", state(process)),
        (End::Exit(_), _, Some(ran)) => format!("{} after {ran}", state(process)),
        (_, _, None) => state(process),
    }
}

fn started(process: &Process) -> String {
    let Some(time) = process.start_time else {
        return "before the trail begins".to_owned();
    };
    let parent = process.parent_process_id;
    let other_creator = process
        .creator_process_id
        .filter(|creator| Some(*creator) != parent);
    let parts = [
        Some(date_time_and_zone(time)),
        parent.map(|parent| format!(" by {parent}")),
        other_creator.map(|creator| format!(", created by {creator}")),
        process
            .existing
            .then(|| ", before the recording".to_owned()),
    ];
    parts.into_iter().flatten().collect()
}

fn user(process: &Process) -> String {
    let program = &process.program;
    let name = program.user.as_deref().unwrap_or("?");
    let user = match &program.user_id {
        Some(UserId::Uid(uid)) => format!("{name} ({uid})"),
        Some(UserId::Sid(sid)) => format!("{name} ({sid})"),
        None => name.to_owned(),
    };
    let other = |as_what: &str, name: &Option<Arc<str>>, id: Option<u32>| {
        let name = name.as_deref().unwrap_or("?");
        id.map_or_else(String::new, |id| format!(", {as_what} {name} ({id})"))
    };
    let real = other("asked for by", &program.real_user, program.real_user_id);
    let login = other("logged in as", &program.login_user, program.login_user_id);
    format!("{user}{real}{login}")
}

fn exec_cells(exec: &Exec) -> Vec<String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
    vec![
        time_of_day(exec.time),
        text(&exec.image),
        text(&exec.command_line),
    ]
}

fn child_cells(process: &Process, now: Time) -> Vec<String> {
    let start = process
        .start_time
        .map_or_else(|| "?".to_owned(), time_of_day);
    let ran = process
        .run_time_ns(now)
        .map_or_else(|| "?".to_owned(), run_time);
    vec![
        process.process_id.to_string(),
        start,
        state(process),
        ran,
        process.title().into_owned(),
    ]
}

fn thread_cells(thread: &Thread, open: &str) -> Vec<String> {
    let time =
        |time: Option<Time>, unknown: &str| time.map_or_else(|| unknown.to_owned(), time_of_day);
    let remote = thread
        .remote_creator
        .map(|creator| format!("REMOTE, by process {creator}"));
    vec![
        thread.thread_id.to_string(),
        time(thread.start_time, "?"),
        time(thread.exit_time, open),
        remote.unwrap_or_default(),
    ]
}

fn image_cells(image: &Image) -> Vec<String> {
    let path = image.image.clone().unwrap_or_else(|| "?".to_owned());
    vec![
        time_of_day(image.time),
        format!("{:>14}", image.image_base),
        format!("{:>9}", image.image_size),
        path,
    ]
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference to the field"
)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Writes `story` as one JSON object.
pub fn write_json<'s>(story: &'s Story, now: Time, out: &mut impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Object<'s> {
        #[serde(flatten)]
        process: tree::Row<'s>,
        ancestors: Vec<tree::Row<'s>>,
        children: Vec<tree::Row<'s>>,
        execs: &'s List<Exec>,
        threads: &'s List<Thread>,
        images: &'s List<Image>,
        inherited_images: &'s List<Image>,
        #[serde(skip_serializing_if = "is_false")]
        inherits_unknown: bool,
    }
    let rows = |processes: &'s [Process]| -> Vec<tree::Row<'s>> {
        processes
            .iter()
            .map(|one| tree::Row::new(one, now))
            .collect()
    };
    let object = Object {
        process: tree::Row::new(&story.process, now),
        ancestors: rows(&story.ancestors),
        children: rows(&story.children),
        execs: &story.details.execs,
        threads: &story.details.threads,
        images: &story.details.images,
        inherited_images: &story.details.inherited_images,
        inherits_unknown: story.details.inherits_unknown,
    };
    writeln!(
        out,
        "{}",
        escape_controls(serde_json::to_string_pretty(&object)?)
    )
}
