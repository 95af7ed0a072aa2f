//! One line of text for a terminal: aligned, cut to a width, with everything a terminal would act
//! on shown as an escape. And times, as such a line has them, and JSON that is safe to look at.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::trail::Time;
use crate::trail::control_characters::is_control;
use crate::zone;

/// A line under construction.
#[derive(Debug)]
pub struct Row<'o> {
    out: &'o mut Vec<u8>,
    /// Columns taken.
    column: usize,
    /// Columns there are.
    width: usize,
    /// Something did not fit: nothing more is taken.
    is_cut: bool,
    /// Where the last character that leaves room for the mark of a cut ends in `out`.
    cut_at: usize,
    is_coloured: bool,
}

/// The end of a colour. A colour says a state, and never alone: a word stands beside it.
pub const PLAIN: &str = "\x1b[0m";
/// The colour of what matters less.
pub const DIM: &str = "\x1b[2m";
/// The colour of what failed.
pub const RED: &str = "\x1b[1;31m";
/// The colour of what runs.
pub const GREEN: &str = "\x1b[32m";

/// Stands at the end of a line that is cut.
const CUT_MARK: &str = "…";

impl<'o> Row<'o> {
    /// A line of at most `width` columns; of any length without.
    pub fn new(out: &'o mut Vec<u8>, width: Option<u16>) -> Self {
        let cut_at = out.len();
        Self {
            out,
            column: 0,
            width: width.map_or(usize::MAX, usize::from),
            is_cut: false,
            cut_at,
            is_coloured: false,
        }
    }

    /// Colours the line from here to the next colour, or to its end.
    pub fn colour(&mut self, sequence: &'static str) {
        if self.is_cut || sequence.is_empty() {
            return;
        }
        self.out.extend_from_slice(sequence.as_bytes());
        self.is_coloured = true;
        // A colour at the very beginning stays even where nothing fits behind it.
        if self.column == 0 || self.column < self.width {
            self.cut_at = self.out.len();
        }
    }

    /// Appends text that may hold anything.
    pub fn text(&mut self, text: &str) {
        for character in text.chars() {
            if self.is_cut {
                return;
            }
            match Shown::of(character) {
                Shown::Escaped => {
                    for escape in character.escape_default() {
                        self.character(escape, 1);
                    }
                }
                Shown::AsItIs { columns } => self.character(character, columns),
            }
        }
    }

    /// Goes on at `column`, or after one blank where the text is past it.
    pub fn column(&mut self, column: usize) {
        self.character(' ', 1);
        while self.column < column && !self.is_cut {
            self.character(' ', 1);
        }
    }

    /// Ends the line.
    pub fn end(self) {
        if self.is_coloured {
            self.out.extend_from_slice(b"\x1b[0m");
        }
        self.out.push(b'\n');
    }

    fn character(&mut self, character: char, columns: usize) {
        if self.is_cut {
            return;
        }
        if self.column.saturating_add(columns) > self.width {
            self.is_cut = true;
            self.out.truncate(self.cut_at);
            if self.width > 0 {
                self.out.extend_from_slice(CUT_MARK.as_bytes());
            }
            return;
        }
        self.column = self.column.saturating_add(columns);
        let bytes = &mut [0; 4];
        self.out
            .extend_from_slice(character.encode_utf8(bytes).as_bytes());
        if self.column < self.width {
            self.cut_at = self.out.len();
        }
    }
}

/// The last part of a path of either system.
pub fn base_name(path: &str) -> &str {
    let name = path.rsplit(['/', '\\']).next();
    name.filter(|name| !name.is_empty()).unwrap_or(path)
}

/// Text of one or more lines in which what a terminal would act on is shown as an escape; the line
/// feeds stay.
pub fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character != '\n' && is_control(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// How many columns a terminal gives `text` as a [`Row`] shows it.
pub fn width(text: &str) -> usize {
    text.chars()
        .map(|character| match Shown::of(character) {
            Shown::Escaped => character.escape_default().count(),
            Shown::AsItIs { columns } => columns,
        })
        .sum()
}

/// Whether a [`Row`] shows a character as an escape: a terminal would act on it, or show nothing.
pub fn is_escaped(character: char) -> bool {
    matches!(Shown::of(character), Shown::Escaped)
}

/// How a terminal is shown a character.
enum Shown {
    /// It would act on it, or show nothing.
    Escaped,
    AsItIs {
        columns: usize,
    },
}

impl Shown {
    fn of(character: char) -> Self {
        if is_control(character) || is_hidden(character) {
            Self::Escaped
        } else {
            Self::AsItIs {
                columns: columns(character),
            }
        }
    }
}

/// JSON text in which the characters a terminal or a line splitter would act on are escaped; the
/// line feeds of its layout stay. Correct for any JSON: outside of strings it has no such character.
pub fn escape_controls(text: String) -> String {
    let is_wanted = |character| character != '\n' && is_control(character);
    if !text.contains(is_wanted) {
        return text;
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_wanted(character) {
            // All of them are below U+FFFF.
            let escape = format!("\\u{:04x}", u32::from(character));
            safe.push_str(&escape);
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Characters that show nothing, behind which a text could hide: zero-width blanks and joiners, the
/// byte order mark, tags.
const fn is_hidden(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// How many columns a terminal gives a character: none for marks that combine with the one before,
/// two for the wide scripts and pictures of East Asia, else one. Rough on purpose: terminals differ,
/// and a miss costs an early cut or a wrapped line.
const fn columns(character: char) -> usize {
    match character {
        '\u{300}'..='\u{36f}'
        | '\u{483}'..='\u{489}'
        | '\u{591}'..='\u{5bd}'
        | '\u{610}'..='\u{61a}'
        | '\u{64b}'..='\u{65f}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{fe20}'..='\u{fe2f}'
        | '\u{e0100}'..='\u{e01ef}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{33ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{a000}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// `15:59:59.123`, UTC as in the log, so that the two can be laid side by side, or as `zone` says.
pub fn time_of_day(time: Time) -> String {
    let time = zone::civil(time);
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )
}

/// `2026-11-22 15:59:59.123456789`, UTC, or as `zone` says.
pub fn date_and_time(time: Time) -> String {
    format!("{:.9}", zone::civil(time)).replace('T', " ")
}

/// The same with its zone: `2026-11-22 15:59:59.123456789 UTC`.
pub fn date_time_and_zone(time: Time) -> String {
    format!("{} {}", date_and_time(time), zone::name(time))
}

/// `2026-11-22T15:59:59.123456789Z`, as the log has it.
pub fn rfc_3339(time: Time) -> String {
    format!("{:.9}Z", utc(time))
}

fn utc(time: Time) -> DateTime {
    let timestamp = Timestamp::from_nanosecond(time.0.into()).unwrap_or_default();
    Offset::UTC.to_datetime(timestamp)
}

/// A length of time at a glance.
pub fn run_time(run_time_ns: u64) -> String {
    let us = run_time_ns / 1000;
    let (ms, seconds) = (us / 1000, us / 1_000_000);
    match seconds {
        0 => format!("{ms}.{:03} ms", us % 1000),
        1..60 => format!("{seconds}.{:03} s", ms % 1000),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
    }
}
