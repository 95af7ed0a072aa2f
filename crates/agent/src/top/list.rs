//! The list of processes: a line each, columns below each other.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Modifier, Style};

use super::app::App;
use super::draw::{BOLD, DIM, PLAIN, Paint, Pen};
use super::feed::At;
use super::lines::{Line, Place};
use super::model::{JUST_NS, Loss, short_title};
use super::text::Charset;
use crate::shown::time_of_day;
use crate::trail::Time;
use crate::tree::{self, End, Process};

/// Below so many columns there is no user, and below so many no age; the state is always there.
const USER_WIDTH_MIN: u16 = 80;
const AGE_WIDTH_MIN: u16 = 60;

/// Below so many there is no id either.
const ID_WIDTH_MIN: u16 = 30;

/// How wide the columns are.
const MARK_WIDTH: u16 = 2;
const ID_WIDTH: u16 = 7;
const USER_WIDTH: u16 = 8;
const AGE_WIDTH: u16 = 6;
const STATE_WIDTH: u16 = 11;

/// Draws the list into an area, and remembers how much of it was shown.
pub(super) fn draw(app: &mut App, buffer: &mut Buffer, area: Rect, now: Time) {
    let shown = app.shown_time(now);
    let mut area = area;
    let list = List {
        paint: app.paint(),
        charset: app.style.charset,
        width: area.width,
        now: shown,
    };
    if area.height >= 3 {
        list.heading(buffer, area);
        area.y += 1;
        area.height -= 1;
    }
    let height = usize::from(area.height);
    app.height = height;
    // The chosen line is always in view, and the view full where there is enough.
    app.top = app.top.min(app.cursor);
    if app.cursor >= app.top.saturating_add(height) {
        app.top = app.cursor + 1 - height.min(app.cursor + 1);
    }
    app.top = app.top.min(app.lines.len().saturating_sub(height));
    if app.lines.is_empty() {
        let mut pen = Pen::new(buffer, area, area.y, list.charset);
        pen.text(&nothing(app), DIM);
        return;
    }
    let lines = app.lines.iter().enumerate().skip(app.top).take(height);
    for (y, (index, line)) in (area.y..).zip(lines) {
        let mut pen = Pen::new(buffer, area, y, list.charset);
        match line {
            Line::Process { key, place } => {
                if let Some(process) = app.model.tree.with_key(*key) {
                    list.process(&mut pen, process, *place);
                }
            }
            Line::Loss(loss) => {
                if let Some(loss) = app.model.losses.get(*loss) {
                    pen.text(&told(loss), list.paint.lost());
                }
            }
        }
        if app.is_chosen && index == app.cursor {
            let line = Rect {
                y,
                height: 1,
                ..area
            };
            let line = line.intersection(*buffer.area());
            buffer.set_style(line, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}

/// Why the list is empty.
fn nothing(app: &App) -> String {
    if app.waiting.is_some() {
        return "reading the trail…".to_owned();
    }
    if !app.choice.filter.is_empty() {
        return format!("nothing has `{}` in it; Esc shows all", app.choice.filter);
    }
    match (app.at, app.model.recording.since) {
        (At::Time(_), None) => {
            "nothing was recorded then; → goes on in time, End to now".to_owned()
        }
        (At::Time(_), Some(_)) => "nothing ran then, as far as was recorded".to_owned(),
        (At::Live, _) => "nothing is recorded yet; what starts will appear here".to_owned(),
    }
}

/// A loss in a sentence.
pub(super) fn told(loss: &Loss) -> String {
    let Loss {
        time,
        kind,
        count,
        reason,
    } = loss;
    let time = time_of_day(*time);
    format!("! lost {count} {kind} at {time}: {reason}")
}

struct List {
    paint: Paint,
    charset: Charset,
    width: u16,
    now: Time,
}

impl List {
    const fn has_user(&self) -> bool {
        self.width >= USER_WIDTH_MIN
    }

    const fn has_age(&self) -> bool {
        self.width >= AGE_WIDTH_MIN
    }

    const fn has_id(&self) -> bool {
        self.width >= ID_WIDTH_MIN
    }

    fn heading(&self, buffer: &mut Buffer, area: Rect) {
        let style = BOLD;
        let mut pen = Pen::new(buffer, area, area.y, self.charset);
        pen.skip(MARK_WIDTH);
        if self.has_id() {
            pen.number("PROCESS", ID_WIDTH, style);
            pen.skip(1);
        }
        if self.has_user() {
            pen.column("USER", USER_WIDTH, style);
            pen.skip(1);
        }
        if self.has_age() {
            pen.number("AGE", AGE_WIDTH, style);
            pen.skip(2);
        }
        if self.has_id() {
            pen.column("STATE", STATE_WIDTH, style);
            pen.skip(1);
        } else {
            pen.text("STATE ", style);
        }
        pen.text("COMMAND", style);
    }

    fn process(&self, pen: &mut Pen<'_>, process: &Process, place: Place) {
        let (mark, style) = self.mark(process);
        pen.column(mark, MARK_WIDTH, style);
        let plain = PLAIN;
        if self.has_id() {
            pen.number(&process.process_id.to_string(), ID_WIDTH, plain);
            pen.skip(1);
        }
        if self.has_user() {
            pen.column(&tree::user(process), USER_WIDTH, plain);
            pen.skip(1);
        }
        if self.has_age() {
            let ran = process.run_time_ns(self.now);
            let ran = ran.map_or_else(|| "?".to_owned(), |ns| age(i64::try_from(ns).unwrap_or(0)));
            pen.number(&ran, AGE_WIDTH, plain);
            pen.skip(2);
        }
        let (state, style) = self.state(process);
        if self.has_id() {
            pen.column(&state, STATE_WIDTH, style);
            pen.skip(1);
        } else if !state.is_empty() {
            // There is no room for columns.
            pen.text(&state, style);
            pen.skip(1);
        }
        let branch = self.branch(place);
        // Deep in the tree the name still has its place.
        let room = usize::from(pen.left_over()) * 2 / 3;
        let skipped = branch.chars().count().saturating_sub(room);
        let branch: String = branch.chars().skip(skipped).collect();
        pen.text(&branch, DIM);
        let style = if process.is_kernel { DIM } else { plain };
        pen.text(&short_title(process), style);
    }

    fn mark(&self, process: &Process) -> (&'static str, Style) {
        if process.end != End::Running {
            let style = if process.has_failed() {
                self.paint.failed()
            } else {
                DIM
            };
            return ("-", style);
        }
        let start = process.start_time.filter(|_| !process.existing);
        let is_new = start.is_some_and(|start| start.0.saturating_add(JUST_NS) > self.now.0);
        if is_new {
            ("+", self.paint.started())
        } else {
            ("", PLAIN)
        }
    }

    /// Whatever runs has none: what ended, and how, is what is looked for.
    fn state(&self, process: &Process) -> (String, Style) {
        if process.end == End::Running && process.known_until.is_none() {
            return (String::new(), PLAIN);
        }
        let style = if process.has_failed() {
            self.paint.failed()
        } else {
            DIM
        };
        let state = match process.exit() {
            Some(exit) if exit.core_dumped => {
                let signal = exit.signal.unwrap_or_default();
                format!("sig {signal}+core")
            }
            _ => tree::state(process),
        };
        (state, style)
    }

    fn branch(&self, place: Place) -> String {
        let depth = usize::try_from(place.depth).unwrap_or(usize::MAX);
        let bit = |level: usize| place.open >> level & 1 == 1;
        let above: Vec<bool> = (1..depth.min(u64::BITS as usize)).map(bit).collect();
        let branch = tree::branch(depth, place.is_last, &above);
        match self.charset {
            Charset::Utf8 => branch,
            Charset::Ascii => branch
                .chars()
                .map(|character| match character {
                    '│' | '├' => '|',
                    '└' => '`',
                    '─' => '-',
                    other => other,
                })
                .collect(),
        }
    }
}

/// A length of time in at most six columns.
pub(super) fn age(ns: i64) -> String {
    let ns = ns.max(0).unsigned_abs();
    let (us, ms) = (ns / 1_000, ns / 1_000_000);
    let seconds = ms / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0 if ms == 0 => format!("{us}us"),
        0 => format!("{ms}ms"),
        1..10 => format!("{seconds}.{}s", ms / 100 % 10),
        10..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m{:02}s", seconds % 60),
        3_600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ if days < 100 => format!("{days}d{:02}h", hours % 24),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn an_age_has_six_columns_at_most() {
        let ms = 1_000_000;
        let told = [
            (-1, "0us"),
            (13 * ms, "13ms"),
            (1_234 * ms, "1.2s"),
            (59_999 * ms, "59s"),
            (662_000 * ms, "11m02s"),
            (11_520_000 * ms, "3h12m"),
            (3 * 86_400_000 * ms, "3d00h"),
        ];
        for (ns, text) in told {
            assert_eq!(age(ns), text);
        }
        let mut ns: i64 = 1;
        while ns < i64::MAX / 3 {
            assert!(age(ns).len() <= 6, "{}", age(ns));
            ns *= 3;
        }
    }
}
