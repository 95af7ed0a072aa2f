//! A recorded log as commands read it: what is no event, or one only a newer version knows, is told
//! and passed over, and on a terminal a line says how far the reading is.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use systrail::quantity;
use systrail::replay::newer::Newer;
use systrail::replay::{self, Error, Progress};
use systrail::trail::Event;

use super::Failure;
use super::console::{self, say};

/// The most parts that are no event which are told one by one.
const TOLD_MAX: u64 = 10;

/// The line of progress is redrawn this often, and looked after each so many events.
pub(super) const DRAW_INTERVAL: Duration = Duration::from_millis(250);
pub(super) const DRAW_COUNT: u64 = 1024;

/// The events of a log; what is none is told, and counted.
pub(super) struct Log {
    events: replay::Log,
    /// What was passed over; after [`end`](Self::end), also what only the end told of.
    pub(super) invalid_count: u64,
    damaged_count: u64,
    newer: Newer,
    /// Why reading ended early.
    pub(super) broke_off: Option<Error>,
    bar: Option<Bar>,
    count: u64,
    path: PathBuf,
    /// Whether its end was seen.
    has_ended: bool,
}

/// The line of progress.
struct Bar {
    progress: Progress,
    began: Instant,
    drawn: Instant,
}

impl Log {
    /// Opens a log; `-` is standard input. `shows_progress` unless somebody else draws on the
    /// terminal.
    pub(super) fn open(path: &Path, shows_progress: bool) -> Result<Self, Error> {
        let events = replay::open(path)?;
        let now = Instant::now();
        let is_shown = shows_progress && io::stderr().is_terminal();
        let bar = events.progress().filter(|_| is_shown).map(|progress| Bar {
            progress,
            began: now,
            drawn: now,
        });
        Ok(Self {
            events,
            invalid_count: 0,
            damaged_count: 0,
            newer: Newer::default(),
            broke_off: None,
            bar,
            count: 0,
            path: path.to_path_buf(),
            has_ended: false,
        })
    }

    /// Says what was passed over and returns how much; fails if reading broke off.
    pub(super) fn end(&mut self) -> Result<u64, Failure> {
        self.take_bar_away();
        if let Some(error) = self.broke_off.take() {
            return Err(error.into());
        }
        let mut passed_over_count = self.invalid_count + self.newer.count();
        if self.has_ended && self.count + self.newer.count() == 0 {
            self.check_is_log()?;
        }
        let (part, parts) = self.events.part_names();
        match self.invalid_count {
            0 => {}
            1 => say!("passed over 1 {part} that is no event"),
            count => say!("passed over {count} {parts} that are no events"),
        }
        if self.newer.count() > 0 {
            say!("{}", self.newer);
        }
        for remark in self.events.remarks() {
            say!("{}", remark.text);
            passed_over_count += remark.passed_over_count;
            self.invalid_count += remark.passed_over_count;
        }
        Ok(passed_over_count)
    }

    /// Says that a log without an event is empty; fails where it is nothing but lines that are no
    /// events, for it is no log then. A log of another format was told by its content.
    fn check_is_log(&self) -> Result<(), Failure> {
        let path = self.path.display();
        if self.invalid_count == 0 || !self.events.is_lines() {
            say!("log {path} has no events");
            return Ok(());
        }
        let lines = quantity::show_count(self.invalid_count, "line");
        let error = anyhow::anyhow!(
            "{path} is no log: of {lines} none is an event; name one that `systrail run --log FILE` \
             wrote"
        );
        Err(error.into())
    }

    fn draw(&mut self) {
        self.count += 1;
        if !self.count.is_multiple_of(DRAW_COUNT) {
            return;
        }
        if let Some(bar) = &mut self.bar {
            let now = Instant::now();
            if now.duration_since(bar.drawn) >= DRAW_INTERVAL {
                bar.drawn = now;
                console::live_line(&bar.text(self.count, now));
            }
        }
    }

    fn take_bar_away(&mut self) {
        if self.bar.take().is_some() {
            console::end_live_line();
        }
    }
}

impl Bar {
    fn text(&self, count: u64, now: Instant) -> String {
        let (read, size) = (self.progress.read(), self.progress.size());
        let seconds = now.duration_since(self.began).as_secs().max(1);
        let rate = count / seconds;
        if size == 0 {
            return format!("{count} events  {rate} events/s");
        }
        let mib = |bytes: u64| quantity::show_size(bytes >> 20 << 20);
        format!(
            "{}  {} of {}  {count} events  {rate} events/s",
            bar(read, size),
            mib(read),
            mib(size)
        )
    }
}

/// How much of a whole is done, as a bar and in percent.
pub(super) fn bar(done: u64, whole: u64) -> String {
    const WIDTH: u64 = 30;
    let whole = whole.max(1);
    let part = |of: u64| u128::from(done.min(whole)) * u128::from(of) / u128::from(whole);
    let filled = usize::try_from(part(WIDTH)).unwrap_or(0);
    let empty = usize::try_from(WIDTH).unwrap_or(0).saturating_sub(filled);
    let (full, empty) = ("━".repeat(filled), "─".repeat(empty));
    format!("{full}{empty} {:>3} %", part(100))
}

impl Iterator for Log {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            match self.events.next() {
                Some(Ok(event)) => {
                    self.draw();
                    return Some(event);
                }
                Some(Err(error)) if error.is_passed_over() => {
                    self.invalid_count += 1;
                    if self.invalid_count <= TOLD_MAX {
                        say!("{error}");
                    }
                }
                Some(Err(error)) if error.is_damage() => {
                    self.damaged_count += 1;
                    if self.damaged_count <= TOLD_MAX {
                        say!("{error}");
                    }
                }
                Some(Err(Error::NewerKind { kind, .. })) => self.newer.add(&kind),
                Some(Err(error)) => {
                    self.broke_off = Some(error);
                    self.take_bar_away();
                    return None;
                }
                None => {
                    self.has_ended = true;
                    self.take_bar_away();
                    return None;
                }
            }
        }
    }
}
