//! The screen, drawn from the state: head, rates, filter, list, keys; on a wide one the story of the
//! chosen process beside the list, and who starts the most.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};

use super::app::{App, Page, STEPS};
use super::feed::At;
use super::text::{self, Charset};
use super::{list, page};
use crate::quantity::show_count;
use crate::shown::{date_and_time, time_of_day};
use crate::trail::Time;
use crate::zone;

/// From so many columns on the story stands beside the list.
const STORY_WIDTH: u16 = 120;

/// From so many on the busiest starters do, too.
const STARTERS_WIDTH: u16 = 160;

/// Lines of the busiest starters, the heading included.
const STARTERS_HEIGHT: u16 = 12;

/// An answer that takes longer is said to be waited for.
const PATIENCE_NS: i64 = 300_000_000;

/// Writes one line of the screen from the left to the right.
pub(super) struct Pen<'b> {
    buffer: &'b mut Buffer,
    charset: Charset,
    x: u16,
    y: u16,
    /// The first column that is not its own.
    right: u16,
}

impl<'b> Pen<'b> {
    /// For the line `y` of an area, which must be in the buffer.
    pub(super) fn new(buffer: &'b mut Buffer, area: Rect, y: u16, charset: Charset) -> Self {
        // Whatever was asked for, nothing is written outside of the screen.
        let area = area.intersection(*buffer.area());
        let is_inside = y >= area.top() && y < area.bottom();
        Self {
            right: if is_inside { area.right() } else { area.left() },
            buffer,
            charset,
            x: area.left(),
            y,
        }
    }

    pub(super) const fn left_over(&self) -> u16 {
        self.right.saturating_sub(self.x)
    }

    /// Writes text that may hold anything, cut where the line ends.
    pub(super) fn text(&mut self, text: &str, style: Style) {
        self.cell(text, self.left_over(), style);
    }

    /// Writes text in a column of so many characters.
    pub(super) fn column(&mut self, text: &str, width: u16, style: Style) {
        let end = self.x.saturating_add(width).min(self.right);
        self.cell(text, width, style);
        self.x = end;
    }

    /// The same to the right of the column.
    pub(super) fn number(&mut self, text: &str, width: u16, style: Style) {
        let columns = text::fitted(text, usize::from(width), self.charset).1;
        let columns = u16::try_from(columns).unwrap_or(width);
        self.skip(width.saturating_sub(columns));
        self.column(text, columns, style);
    }

    pub(super) fn skip(&mut self, count: u16) {
        self.x = self.x.saturating_add(count).min(self.right);
    }

    /// Goes on so that `width` columns are left, where there are more.
    pub(super) fn skip_to_last(&mut self, width: u16) {
        self.x = self.x.max(self.right.saturating_sub(width));
    }

    fn cell(&mut self, text: &str, width: u16, style: Style) {
        let width = width.min(self.left_over());
        if width == 0 {
            return;
        }
        let (fitted, columns) = text::fitted(text, usize::from(width), self.charset);
        self.buffer
            .set_stringn(self.x, self.y, fitted, usize::from(width), style);
        let columns = u16::try_from(columns).unwrap_or(width).min(width);
        self.x = self.x.saturating_add(columns);
    }
}

/// The colours: 16, and none where they are not welcome. A word or a sign always stands beside one.
#[derive(Clone, Copy)]
pub(super) struct Paint {
    is_on: bool,
}

impl Paint {
    fn colour(self, colour: Color) -> Style {
        let style = Style::new();
        if self.is_on { style.fg(colour) } else { style }
    }

    pub(super) fn failed(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn started(self) -> Style {
        self.colour(Color::Green)
    }

    pub(super) fn lost(self) -> Style {
        self.colour(Color::Yellow).add_modifier(Modifier::BOLD)
    }
}

/// What matters less.
pub(super) const DIM: Style = Style::new().add_modifier(Modifier::DIM);
/// Headings, and what stands for something.
pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
/// Everything else.
pub(super) const PLAIN: Style = Style::new();

impl App {
    pub(super) const fn paint(&self) -> Paint {
        Paint {
            is_on: self.style.colour,
        }
    }

    /// Draws the screen as it is at `now`. Any size will do.
    pub(super) fn draw(&mut self, buffer: &mut Buffer, now: Time) {
        self.refresh(now);
        let area = *buffer.area();
        let mut rest = area;
        let take = |is_wanted: bool, rest: &mut Rect| -> Option<u16> {
            // The list keeps a line.
            if !is_wanted || rest.height < 2 {
                return None;
            }
            let y = rest.y;
            rest.y += 1;
            rest.height -= 1;
            Some(y)
        };
        let head = take(true, &mut rest);
        let rates = take(area.height >= 6, &mut rest);
        let has_filter = self.is_editing || !self.choice.filter.is_empty() || self.notice.is_some();
        let filter = take(area.height >= 4 && has_filter, &mut rest);
        let keys = (area.height >= 5).then(|| {
            rest.height -= 1;
            rest.bottom()
        });
        if let Some(y) = head {
            self.draw_head(buffer, y, now);
        }
        if let Some(y) = rates {
            self.draw_rates(buffer, y, now);
        }
        if let Some(y) = filter {
            self.draw_filter(buffer, y);
        }
        if let Some(y) = keys {
            self.draw_keys(buffer, y);
        }
        self.draw_body(buffer, rest, now);
    }

    fn draw_body(&mut self, buffer: &mut Buffer, area: Rect, now: Time) {
        if self.page != Page::List {
            page::draw(self, buffer, area, now);
            return;
        }
        if area.width < STORY_WIDTH {
            list::draw(self, buffer, area, now);
            return;
        }
        let list_width = (area.width / 2).max(80).min(area.width);
        let list_area = Rect {
            width: list_width,
            ..area
        };
        list::draw(self, buffer, list_area, now);
        let mut side = Rect {
            x: area.x + list_width,
            width: area.width - list_width,
            ..area
        };
        for y in side.top()..side.bottom() {
            let bar = match self.style.charset {
                Charset::Utf8 => "│",
                Charset::Ascii => "|",
            };
            let style = DIM;
            Pen::new(buffer, side, y, self.style.charset).text(bar, style);
        }
        side.x += 2;
        side.width = side.width.saturating_sub(2);
        if area.width >= STARTERS_WIDTH {
            let height = STARTERS_HEIGHT.min(side.height / 2);
            side.height -= height;
            let below = Rect {
                y: side.bottom(),
                height,
                ..side
            };
            page::draw_starters(self, buffer, below, now);
        }
        page::draw_story(self, buffer, side, 0, now);
    }

    /// Where, since when, what was lost, and when.
    fn draw_head(&self, buffer: &mut Buffer, y: u16, now: Time) {
        let paint = self.paint();
        let area = *buffer.area();
        let mut pen = Pen::new(buffer, area, y, self.style.charset);
        let recording = &self.model.recording;
        let width = area.width;
        if width >= 40 && !recording.host.is_empty() {
            pen.text(&recording.host, BOLD);
            pen.skip(2);
        }
        let (text, style) = self.told_recording(now);
        // Losses are not cut off by what stands before them.
        let lost = format!("lost {}", self.model.lost_count);
        let lost_width = u16::try_from(lost.len()).unwrap_or(u16::MAX);
        let room = pen.left_over().saturating_sub(lost_width.saturating_add(2));
        let (text, columns) = text::fitted(&text, usize::from(room), self.style.charset);
        if columns > 0 {
            pen.text(&text, style);
            pen.skip(2);
        }
        let style = if self.model.lost_count > 0 {
            paint.lost()
        } else {
            PLAIN
        };
        pen.text(&lost, style);
        if self.model.unshown_count > 0 {
            pen.skip(2);
            let count = show_count(self.model.unshown_count, "process");
            pen.text(&format!("{count} not shown"), paint.lost());
        }
        let clock = match (self.at, self.paused) {
            (At::Time(_), _) => "live: End".to_owned(),
            (At::Live, Some(at)) => format!("PAUSED at {} {}", clock(at), zone::name(at)),
            (At::Live, None) => format!("{} {}", clock(now), zone::name(now)),
        };
        let clock_width = u16::try_from(clock.len()).unwrap_or(u16::MAX);
        if pen.left_over() > clock_width {
            pen.skip_to_last(clock_width);
            let is_told = self.paused.is_some() || self.at != At::Live;
            pen.text(&clock, if is_told { BOLD } else { PLAIN });
        }
    }

    /// What is looked at, in words.
    fn told_recording(&self, now: Time) -> (String, Style) {
        let paint = self.paint();
        let recording = &self.model.recording;
        let waits = self
            .waiting
            .is_some_and(|since| now.0.saturating_sub(since.0) > PATIENCE_NS);
        let reading = if waits { "  reading…" } else { "" };
        if let At::Time(time) = self.at {
            let (_, step) = STEPS.get(self.step).copied().unwrap_or_default();
            let date = date_and_time(time);
            let date = date.get(..19).unwrap_or(&date);
            let gap = match recording.ended {
                Some(ended) if ended <= time => "  (not recorded then)",
                _ => "",
            };
            let zone = zone::name(time);
            return (format!("at {date} {zone}{gap}  step {step}{reading}"), BOLD);
        }
        if waits {
            return ("reading the trail…".to_owned(), DIM);
        }
        let by = recording
            .source
            .as_ref()
            .map_or_else(String::new, |source| format!(" ({source})"));
        match (recording.since, recording.ended, self.model.end) {
            (_, Some(ended), _) => {
                let ago = list::age(now.0.saturating_sub(ended.0));
                let (date, zone) = (date_and_time(ended), zone::name(ended));
                let date = date.get(..19).unwrap_or(&date);
                (
                    format!("recording ended {date} {zone}, {ago} ago"),
                    paint.lost(),
                )
            }
            (Some(since), None, _) => {
                let shown = self.shown_time(now);
                let age = list::age(shown.0.saturating_sub(since.0));
                (format!("recording {age}{by}"), PLAIN)
            }
            (None, None, Some(_)) => ("recording".to_owned(), PLAIN),
            (None, None, None) => ("nothing is recorded yet".to_owned(), DIM),
        }
    }

    fn draw_rates(&self, buffer: &mut Buffer, y: u16, now: Time) {
        let paint = self.paint();
        let area = *buffer.area();
        let shown = self.shown_time(now);
        let rates = &self.model.rates;
        let mut pen = Pen::new(buffer, area, y, self.style.charset);
        let running = format!("running {}", self.model.running_count());
        let running_width = u16::try_from(running.len()).unwrap_or(u16::MAX);
        for (index, (_, name)) in super::rates::COUNTED.iter().enumerate() {
            let a_second = rates.a_second(index, shown);
            let unit = if index == 0 { "/s" } else { "" };
            let rate = format!("{name} {a_second}{unit}");
            let room = usize::from(pen.left_over());
            let is_last_in_room = index > 0 && room < rate.len() + usize::from(running_width) + 2;
            if is_last_in_room {
                break;
            }
            pen.text(&rate, PLAIN);
            if index == 0 && area.width >= 60 {
                pen.skip(1);
                let count = usize::from(area.width / 10);
                let history = rates.history(index, shown, count);
                pen.text(&sparkline(&history, self.style.charset), paint.started());
            }
            pen.skip(2);
        }
        if pen.left_over() >= running_width {
            pen.skip_to_last(running_width);
            pen.text(&running, PLAIN);
        }
    }

    fn draw_filter(&self, buffer: &mut Buffer, y: u16) {
        let paint = self.paint();
        let area = *buffer.area();
        let mut pen = Pen::new(buffer, area, y, self.style.charset);
        if let Some(notice) = self.notice.as_ref().filter(|_| !self.is_editing) {
            pen.text(notice, paint.lost());
            return;
        }
        pen.text("filter: ", DIM);
        // The end is what is typed.
        let room = usize::from(pen.left_over()).saturating_sub(1);
        let count = self.choice.filter.chars().count();
        let skipped = count.saturating_sub(room);
        let end: String = self.choice.filter.chars().skip(skipped).collect();
        pen.text(&end, BOLD);
        if self.is_editing {
            pen.text(" ", PLAIN.add_modifier(Modifier::REVERSED));
        }
    }

    fn draw_keys(&self, buffer: &mut Buffer, y: u16) {
        let arrows = match self.style.charset {
            Charset::Utf8 => "←→ time",
            Charset::Ascii => "<> time",
        };
        let sort = self
            .choice
            .sort
            .map(|sort| format!("s sort: {}", sort.name()));
        let sort = sort.as_deref().unwrap_or("s sort");
        let keys: &[&str] = match (self.is_editing, self.page) {
            (true, _) => &["Enter keep", "Esc clear", "Backspace", "Ctrl-C quit"],
            (false, Page::List) => &[
                "Enter story",
                "/ filter",
                if self.choice.sort.is_some() {
                    "t tree"
                } else {
                    "t flat"
                },
                sort,
                if self.paused.is_some() {
                    "Space go on"
                } else {
                    "Space pause"
                },
                arrows,
                "l losses",
                "? help",
                "q",
            ],
            (false, _) => &[
                "Esc back",
                "arrows PgUp PgDn Home End scroll",
                "Ctrl-C quit",
            ],
        };
        let area = *buffer.area();
        let mut pen = Pen::new(buffer, area, y, self.style.charset);
        for key in keys {
            // Whole or not at all.
            if usize::from(pen.left_over()) < key.chars().count() {
                break;
            }
            pen.text(key, DIM);
            pen.skip(2);
        }
    }
}

/// `02:14:07`
fn clock(time: Time) -> String {
    let time = time_of_day(time);
    time.get(..8).unwrap_or(&time).to_owned()
}

/// A bar a number, the highest for the greatest.
fn sparkline(history: &[u64], charset: Charset) -> String {
    let bars: &[char] = match charset {
        Charset::Utf8 => &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
        Charset::Ascii => &['_', '.', ':', '-', '=', '+', '*', '#'],
    };
    let greatest = history.iter().copied().max().unwrap_or(0).max(1);
    let last = bars.len() - 1;
    let bar = |count: &u64| {
        // Nothing is the lowest bar, and anything is more than nothing.
        let share = u128::from(*count) * (last as u128);
        let index = usize::try_from(share.div_ceil(u128::from(greatest))).unwrap_or(last);
        bars.get(index).copied().unwrap_or(' ')
    };
    history.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_high_as_its_share_and_nothing_is_the_lowest() {
        assert_eq!(sparkline(&[0, 1, 35, 70], Charset::Utf8), "▁▂▅█");
        assert_eq!(sparkline(&[0, 0], Charset::Ascii), "__");
        assert_eq!(sparkline(&[u64::MAX, 1], Charset::Ascii), "#.");
        assert_eq!(sparkline(&[], Charset::Utf8), "");
    }
}
