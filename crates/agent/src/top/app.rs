//! What the person looks at, and what their keys do. It knows no terminal, thread or clock: keys, what
//! the trail tells, and the time come in; what is asked of the trail comes out.

use event::ProcessKey;

use super::feed::{Ask, At, Told};
use super::keys::Key;
use super::lines::{Choice, Line, Sort, lines};
use super::model::Model;
use super::text::Charset;
use crate::trail::{Event, Time};
use crate::tree::End;

/// How the screen may be drawn.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Whether colours are welcome.
    pub colour: bool,
    /// What the terminal can show.
    pub charset: Charset,
}

/// Steps through time, with what they are called.
pub(super) const STEPS: [(i64, &str); 6] = [
    (1, "1 s"),
    (10, "10 s"),
    (60, "1 min"),
    (600, "10 min"),
    (3_600, "1 h"),
    (86_400, "1 day"),
];

/// Characters of a filter.
const FILTER_COUNT_MAX: usize = 200;

/// A story that is shown is told anew after this long.
const STORY_AGE_NS: i64 = 10_000_000_000;

const SECOND_NS: i64 = 1_000_000_000;

/// Whether a key moves through lines.
const fn is_move(key: Key) -> bool {
    matches!(
        key,
        Key::Up | Key::Down | Key::PageUp | Key::PageDown | Key::End | Key::Char('j' | 'k')
    )
}

/// What takes the place of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Page {
    #[default]
    List,
    Story(ProcessKey),
    Losses,
    Help,
}

/// The story that is shown or asked for.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) key: ProcessKey,
    pub(super) lines: Vec<String>,
}

/// What was asked for last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AskedStory {
    key: ProcessKey,
    at: At,
    width: u16,
    has_ended: bool,
    time: Time,
}

/// The state of the screen.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is changed by a key, or an answer, of its own"
)]
pub(super) struct App {
    pub(super) style: Style,
    pub(super) model: Model,
    pub(super) at: At,
    pub(super) step: usize,
    pub(super) choice: Choice,
    pub(super) is_editing: bool,
    /// Since when nothing moves.
    pub(super) paused: Option<Time>,
    /// What was on its way when the pause began: a few pages, then nothing is read.
    held: Vec<Event>,
    pub(super) page: Page,
    /// The first line of a page that is shown.
    pub(super) scroll: usize,
    pub(super) lines: Vec<Line>,
    /// Whether a line is chosen. Until then the list is read from its beginning, and new lines are seen.
    pub(super) is_chosen: bool,
    /// The line of the list that is, and the first that is shown.
    pub(super) cursor: usize,
    pub(super) top: usize,
    /// Lines of the list, or of the page, that were shown last.
    pub(super) height: usize,
    pub(super) story: Option<Story>,
    asked_story: Option<AskedStory>,
    /// What cannot be had.
    pub(super) notice: Option<String>,
    /// Since when an answer is waited for.
    pub(super) waiting: Option<Time>,
    asks: Vec<Ask>,
    is_stale: bool,
    is_over: bool,
}

impl App {
    /// Before anything is known.
    pub(super) fn new(at: At, style: Style, now: Time) -> Self {
        Self {
            style,
            model: Model::default(),
            at,
            step: 1,
            choice: Choice::default(),
            is_editing: false,
            paused: None,
            held: Vec::new(),
            page: Page::List,
            scroll: 0,
            lines: Vec::new(),
            is_chosen: false,
            cursor: 0,
            top: 0,
            height: 1,
            story: None,
            asked_story: None,
            notice: None,
            waiting: Some(now),
            asks: vec![Ask::Look(at)],
            is_stale: true,
            is_over: false,
        }
    }

    /// Whether the person has seen enough.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// What is to be asked of the trail.
    pub(super) fn take_asks(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asks)
    }

    /// Says what went wrong.
    pub(super) fn notice(&mut self, text: String) {
        self.notice = Some(text);
    }

    /// The moment that is shown.
    pub(super) fn shown_time(&self, now: Time) -> Time {
        match (self.at, self.paused) {
            (At::Time(time), _) => time,
            (At::Live, Some(paused)) => paused,
            // What ended is shown as it was then.
            (At::Live, None) => match self.model.recording.ended {
                Some(_) => self.model.end.unwrap_or(now),
                None => now,
            },
        }
    }

    /// Takes what the trail tells.
    pub(super) fn told(&mut self, told: Told) {
        match told {
            Told::Looked(at, model) => {
                if at != self.at {
                    // Asked for before the last key.
                    return;
                }
                let starters_before = std::mem::take(&mut self.model.starters);
                self.model = *model;
                if at == At::Live && self.model.starters.is_empty() {
                    self.model.starters = starters_before;
                }
                self.waiting = None;
                self.notice = None;
                self.is_stale = true;
            }
            Told::Events(events) if self.at == At::Live => {
                self.notice = None;
                if self.paused.is_some() {
                    self.held.extend(events);
                } else {
                    self.add(events);
                }
            }
            // What happens now is not what is looked at.
            Told::Events(_) => {}
            Told::Story(key, lines) => {
                if self.told_key() == Some(key) {
                    self.story = Some(Story { key, lines });
                }
            }
            Told::Failed(why) => {
                self.waiting = None;
                self.notice = Some(why);
            }
        }
    }

    fn add(&mut self, events: Vec<Event>) {
        for event in events {
            self.model.add(event);
        }
        self.is_stale = true;
    }

    /// A second has passed, or something was told: chooses the lines anew.
    pub(super) fn refresh(&mut self, now: Time) {
        if !std::mem::take(&mut self.is_stale) && self.paused.is_some() {
            return;
        }
        let shown = self.shown_time(now);
        self.model.tidy(shown);
        let selected = self.selected();
        // Nothing moves under the cursor: its line stays where it is on the screen.
        let offset = self.cursor.saturating_sub(self.top);
        self.lines = lines(&self.model, &self.choice, shown);
        let place = |key| self.lines.iter().position(|line| line.key() == Some(key));
        if let Some(place) = selected.and_then(place) {
            self.cursor = place;
        }
        self.cursor = self.cursor.min(self.lines.len().saturating_sub(1));
        self.top = self.cursor.saturating_sub(offset);
    }

    /// The process that is chosen.
    pub(super) fn selected(&self) -> Option<ProcessKey> {
        self.lines
            .get(self.cursor)
            .filter(|_| self.is_chosen)?
            .key()
    }

    /// The process whose story is shown: on a page of its own it stays, whatever becomes of the list.
    pub(super) fn told_key(&self) -> Option<ProcessKey> {
        match self.page {
            Page::Story(key) => Some(key),
            _ => self.selected(),
        }
    }

    /// Asks for the story, for lines of that width, where it is not the one that is there already.
    pub(super) fn want_story(&mut self, width: u16, now: Time) {
        let Some(key) = self.told_key() else {
            self.story = None;
            return;
        };
        let process = self.model.tree.with_key(key);
        let wanted = AskedStory {
            key,
            at: match self.paused {
                Some(paused) => At::Time(paused),
                None => self.at,
            },
            width,
            has_ended: process.is_none_or(|process| process.end != End::Running),
            time: now,
        };
        let is_same = |asked: &AskedStory| {
            let age = now.0.saturating_sub(asked.time.0);
            let is_fresh = age < STORY_AGE_NS || wanted.has_ended || wanted.at != At::Live;
            let time = asked.time;
            is_fresh && AskedStory { time, ..wanted } == *asked
        };
        if self.asked_story.as_ref().is_some_and(is_same) {
            return;
        }
        if self
            .story
            .as_ref()
            .is_some_and(|story| story.key != wanted.key)
        {
            self.story = None;
        }
        self.asked_story = Some(wanted);
        let AskedStory { key, at, width, .. } = wanted;
        self.asks.push(Ask::Story { key, at, width });
    }

    /// Does what a key says.
    pub(super) fn key(&mut self, key: Key, now: Time) {
        match key {
            Key::Ctrl('c') => self.is_over = true,
            _ if self.is_editing => self.edit(key),
            _ => match self.page {
                Page::List => self.key_in_list(key, now),
                _ => self.key_in_page(key),
            },
        }
    }

    fn edit(&mut self, key: Key) {
        match key {
            Key::Enter | Key::Up | Key::Down => self.is_editing = false,
            Key::Escape => {
                self.is_editing = false;
                self.choice.filter.clear();
            }
            Key::Backspace => {
                self.choice.filter.pop();
            }
            Key::Ctrl('u') => self.choice.filter.clear(),
            Key::Char(character) => {
                if self.choice.filter.chars().count() < FILTER_COUNT_MAX {
                    self.choice.filter.push(character);
                }
            }
            _ => return,
        }
        self.is_stale = true;
    }

    fn key_in_list(&mut self, key: Key, now: Time) {
        match key {
            Key::Char('q') => self.is_over = true,
            Key::Escape if !self.choice.filter.is_empty() => {
                self.choice.filter.clear();
                self.is_stale = true;
            }
            Key::Char('/') => self.is_editing = true,
            Key::Char('s') => self.sort(Some(
                self.choice.sort.map_or_else(Sort::default, Sort::next),
            )),
            Key::Char('t') => {
                let sort = self.choice.sort.is_none().then(Sort::default);
                self.sort(sort);
            }
            Key::Char(' ') => self.pause(now),
            Key::Char('l') => self.open(Page::Losses),
            Key::Char('?' | 'h') => self.open(Page::Help),
            Key::Enter => {
                self.is_chosen = true;
                if let Some(key) = self.selected() {
                    self.open(Page::Story(key));
                }
            }
            Key::Left => self.step_in_time(-1, now),
            Key::Right => self.step_in_time(1, now),
            Key::Char('-' | '[') => self.step = self.step.saturating_sub(1),
            Key::Char('+' | ']') => self.step = (self.step + 1).min(STEPS.len() - 1),
            Key::End if self.at != At::Live => self.look(At::Live, now),
            Key::Home => self.choose_nothing(),
            _ => {
                let moved = self.moved(key, self.cursor, self.lines.len());
                // The first step chooses the line that is there.
                if self.is_chosen || !matches!(key, Key::Down | Key::Char('j')) {
                    self.cursor = moved;
                }
                self.is_chosen |= is_move(key);
            }
        }
    }

    /// Back to the beginning of the list.
    fn choose_nothing(&mut self) {
        self.is_chosen = false;
        self.cursor = 0;
        self.top = 0;
    }

    fn key_in_page(&mut self, key: Key) {
        match key {
            Key::Char('q') | Key::Escape | Key::Enter | Key::Backspace => self.open(Page::List),
            // How far it can be scrolled is known when it is drawn.
            Key::End => self.scroll = usize::MAX,
            _ => self.scroll = self.moved(key, self.scroll, usize::MAX),
        }
    }

    /// Where a key leads from `place` among so many lines.
    fn moved(&self, key: Key, place: usize, count: usize) -> usize {
        let page = self.height.saturating_sub(1).max(1);
        let place = match key {
            Key::Up | Key::Char('k') => place.saturating_sub(1),
            Key::Down | Key::Char('j') => place.saturating_add(1),
            Key::PageUp => place.saturating_sub(page),
            Key::PageDown => place.saturating_add(page),
            Key::Home => 0,
            Key::End => count,
            _ => place,
        };
        place.min(count.saturating_sub(1))
    }

    fn open(&mut self, page: Page) {
        self.page = page;
        self.scroll = 0;
    }

    fn sort(&mut self, sort: Option<Sort>) {
        self.choice.sort = sort;
        self.is_stale = true;
        // Another order is another list: it is read from its beginning.
        self.choose_nothing();
        self.lines.clear();
    }

    fn pause(&mut self, now: Time) {
        if self.at != At::Live {
            return;
        }
        self.paused = match self.paused {
            Some(_) => None,
            None => Some(self.shown_time(now)),
        };
        self.asks.push(Ask::Pause(self.paused.is_some()));
        if self.paused.is_none() {
            let held = std::mem::take(&mut self.held);
            self.add(held);
        }
    }

    fn step_in_time(&mut self, direction: i64, now: Time) {
        let (seconds, _) = STEPS.get(self.step).copied().unwrap_or((1, ""));
        let from = self.shown_time(now);
        if self.at == At::Live && direction > 0 {
            return;
        }
        let step = seconds.saturating_mul(SECOND_NS).saturating_mul(direction);
        let Time(time) = from;
        let time = Time(time.saturating_add(step));
        if time >= now {
            return self.look(At::Live, now);
        }
        self.look(At::Time(time), now);
    }

    fn look(&mut self, at: At, now: Time) {
        self.held.clear();
        if self.paused.take().is_some() {
            self.asks.push(Ask::Pause(false));
        }
        self.at = at;
        self.waiting = Some(now);
        self.asks.push(Ask::Look(at));
        self.is_stale = true;
    }
}
