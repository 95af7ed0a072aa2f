//! What takes the place of the list, or stands beside it: a story, the losses, who starts the most, help.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;

use super::app::{App, Page};
use super::draw::{BOLD, DIM, PLAIN, Pen};
use super::model::short_title;
use super::text;
use crate::quantity::show_count;
use crate::trail::Time;

use super::list;

const HELP: &str = "\
arrows PgUp PgDn End       choose a line, which stays in its place
Home                       back to the beginning, where what is new is seen
Enter                      the story of the process, as `systrail show` has it
/                          filter: all words in id, user, state, image or command
t                          tree, or one after the other
s                          another order: newest, state, name, user, process
Space                      pause, and go on
left, right                through what was recorded; End is now
- +                        smaller or larger steps through time
l                          what was lost, and why
Ctrl-L                     draw anew
Ctrl-Z                     stop; `fg` goes on
q, Ctrl-C                  quit

+ has just started. - has just ended: it stays for three seconds.
A process without a state runs. What failed is bold and red, a loss yellow.
A recorder commits twice a second: what is shown is up to a second late.
The list keeps 1,024 bytes of a command; its story has all of it.";

/// Draws the page that is open.
pub(super) fn draw(app: &mut App, buffer: &mut Buffer, area: Rect, now: Time) {
    match app.page {
        Page::List => {}
        Page::Story(_) => {
            let scroll = app.scroll;
            app.scroll = draw_story(app, buffer, area, scroll, now);
        }
        Page::Losses => {
            let lines = losses(app);
            app.scroll = draw_lines(app, buffer, area, &lines, app.scroll);
        }
        Page::Help => {
            let lines: Vec<String> = HELP.lines().map(str::to_owned).collect();
            app.scroll = draw_lines(app, buffer, area, &lines, app.scroll);
        }
    }
    app.height = usize::from(area.height);
}

/// The losses of the recording, the latest first.
fn losses(app: &App) -> Vec<String> {
    let count = app.model.lost_count;
    if count == 0 {
        return vec!["nothing was lost in this recording".to_owned()];
    }
    let mut lines = vec![format!(
        "{} lost in this recording, the latest first",
        show_count(count, "event")
    )];
    lines.extend(app.model.losses.iter().rev().map(list::told));
    lines
}

/// The story of the chosen process; returns from which line on.
pub(super) fn draw_story(
    app: &mut App,
    buffer: &mut Buffer,
    area: Rect,
    scroll: usize,
    now: Time,
) -> usize {
    app.want_story(area.width, now);
    let key = app.told_key();
    let story = app.story.as_ref().filter(|story| Some(story.key) == key);
    let lines = match story {
        Some(story) => story.lines.clone(),
        None if key.is_some() => vec!["reading its story…".to_owned()],
        None => vec!["choose a process, and its story is here".to_owned()],
    };
    draw_lines(app, buffer, area, &lines, scroll)
}

/// Draws lines, longer ones on several, from one on; returns from which.
fn draw_lines(
    app: &App,
    buffer: &mut Buffer,
    area: Rect,
    lines: &[String],
    scroll: usize,
) -> usize {
    let width = usize::from(area.width);
    if width == 0 || area.height == 0 {
        return scroll;
    }
    let wrapped: Vec<String> = lines
        .iter()
        .flat_map(|line| text::wrapped(line, width, app.style.charset))
        .collect();
    let height = usize::from(area.height);
    let scroll = scroll.min(wrapped.len().saturating_sub(height));
    for (y, line) in (area.top()..area.bottom()).zip(wrapped.iter().skip(scroll)) {
        let mut pen = Pen::new(buffer, area, y, app.style.charset);
        pen.text(line, PLAIN);
    }
    scroll
}

/// Who started the most in the last minute.
pub(super) fn draw_starters(app: &App, buffer: &mut Buffer, area: Rect, now: Time) {
    let shown = app.shown_time(now);
    let rows = usize::from(area.height.saturating_sub(1));
    let busiest = app.model.starters.busiest(shown, rows);
    let mut pen = Pen::new(buffer, area, area.y, app.style.charset);
    pen.text("STARTED in the last minute, by whom", BOLD);
    if busiest.is_empty() {
        let mut pen = Pen::new(buffer, area, area.y.saturating_add(1), app.style.charset);
        pen.text("nothing was started", DIM);
    }
    for (y, starter) in (area.y.saturating_add(1)..).zip(&busiest) {
        let mut pen = Pen::new(buffer, area, y, app.style.charset);
        pen.number(&starter.count.to_string(), 7, PLAIN);
        pen.skip(1);
        pen.number(&starter.process_id.to_string(), 7, PLAIN);
        pen.skip(1);
        // It may run another program by now.
        let process = app.model.tree.with_key(starter.key);
        let title = process.map_or_else(|| starter.title.clone(), short_title);
        pen.text(if title.is_empty() { "?" } else { &title }, PLAIN);
    }
}
