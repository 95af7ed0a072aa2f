//! The thread that reads the trail, so that the screen never waits for it: it answers what is asked, and
//! between follows the store. While nobody looks (a pause) it reads nothing, and catches up later.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use event::ProcessKey;

use super::look::Look;
use super::model::Model;
use crate::store::{ReadError, Tail};
use crate::trail::{Body, Event, Time};

/// The store is asked for new events this often; a recorder commits twice a second.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Whether somebody records is looked at this often.
const WRITER_INTERVAL: Duration = Duration::from_secs(1);

/// Full pages after which it is quicker to look anew than to read on.
const PAGES_MAX: u32 = 25;

/// A recording that begins tells what runs within this time.
const SNAPSHOT_TIME: Duration = Duration::from_secs(2);

/// Where the trail is.
#[derive(Clone, Debug)]
pub enum Source {
    /// The store in this directory.
    Store(PathBuf),
    /// This log.
    Log(PathBuf),
}

/// The time that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Now, and from now on; of a log its end.
    Live,
    /// That moment.
    Time(Time),
}

/// What is asked of the thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Look(At),
    /// To read nothing until the next of these.
    Pause(bool),
    /// The story of a process as of then, in lines for this width.
    Story {
        key: ProcessKey,
        at: At,
        width: u16,
    },
}

/// What it says.
#[derive(Debug)]
pub(super) enum Told {
    /// How it was then.
    Looked(At, Box<Model>),
    /// What happened since.
    Events(Vec<Event>),
    Story(ProcessKey, Vec<String>),
    /// What cannot be had, and why; it may be later.
    Failed(String),
}

/// Starts the thread, which ends when nobody asks any more.
pub(super) fn start(source: Source, asked: Receiver<Ask>, told: Sender<Told>) -> io::Result<()> {
    let feed = Feed {
        look: Look::new(source),
        asked,
        told,
        tail: None,
        is_paused: false,
        full_page_count: 0,
        is_written: false,
        writer_seen: Instant::now(),
        look_at: None,
        failure: None,
    };
    let thread = crate::sys::thread::named("feed");
    thread.spawn(move || feed.run()).map(drop)
}

struct Feed {
    look: Look,
    asked: Receiver<Ask>,
    told: Sender<Told>,
    /// There while what happens now is looked at.
    tail: Option<Tail>,
    is_paused: bool,
    full_page_count: u32,
    is_written: bool,
    writer_seen: Instant,
    /// When to look anew.
    look_at: Option<Instant>,
    /// What was said last of what cannot be had.
    failure: Option<String>,
}

/// Nobody listens any more.
struct Over;

impl Feed {
    fn run(mut self) {
        while self.step().is_ok() {}
    }

    fn step(&mut self) -> Result<(), Over> {
        let wait = if self.full_page_count > 0 {
            Duration::ZERO
        } else {
            POLL_INTERVAL
        };
        let asked = if self.follows() {
            self.asked.recv_timeout(wait)
        } else {
            self.asked.recv().map_err(RecvTimeoutError::from)
        };
        match asked {
            Ok(ask) => self.answer(ask),
            Err(RecvTimeoutError::Timeout) => self.follow(),
            Err(RecvTimeoutError::Disconnected) => Err(Over),
        }
    }

    const fn follows(&self) -> bool {
        !self.is_paused && (self.tail.is_some() || self.look_at.is_some())
    }

    /// Answers the latest of what is asked: who presses a key ten times wants what it leads to.
    fn answer(&mut self, first: Ask) -> Result<(), Over> {
        let (mut look, mut story) = (None, None);
        for ask in std::iter::once(first).chain(self.asked.try_iter()) {
            match ask {
                Ask::Look(at) => look = Some(at),
                Ask::Pause(is_paused) => self.is_paused = is_paused,
                Ask::Story { key, at, width } => story = Some((key, at, width)),
            }
        }
        if let Some(at) = look {
            self.look(at)?;
        }
        if let Some((key, at, width)) = story {
            let lines = match self.look.story(key, at, width) {
                Ok(lines) => lines,
                Err(error) => vec![error.to_string()],
            };
            self.tell(Told::Story(key, lines))?;
        }
        Ok(())
    }

    fn look(&mut self, at: At) -> Result<(), Over> {
        self.tail = None;
        self.full_page_count = 0;
        self.look_at = None;
        match self.look.at(at) {
            Ok(looked) => {
                self.failure = None;
                self.tail = looked.tail;
                self.is_written = self.look.is_written();
                self.tell(Told::Looked(at, Box::new(looked.model)))
            }
            Err(error) => {
                // Of a store that is not there, or cannot be read, there may be one later.
                let is_live = at == At::Live && self.look.is_of_store();
                self.look_at = is_live.then(|| Instant::now() + SNAPSHOT_TIME);
                self.fail(error.to_string())
            }
        }
    }

    fn follow(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        if self.look_at.is_some_and(|at| at <= now) {
            return self.look(At::Live);
        }
        let Some(tail) = &mut self.tail else {
            return Ok(());
        };
        match tail.poll() {
            Ok(events) if events.is_empty() => {
                self.full_page_count = 0;
                self.look_for_writer(now)
            }
            Ok(events) => {
                self.failure = None;
                let begins_or_ends = |event: &Event| {
                    matches!(event.body, Body::SensorStart(_) | Body::SensorStop(_))
                };
                if events.iter().any(begins_or_ends) {
                    self.look_at = Some(now + SNAPSHOT_TIME);
                }
                self.full_page_count += 1;
                self.tell(Told::Events(events))?;
                if self.full_page_count > PAGES_MAX {
                    return self.look(At::Live);
                }
                Ok(())
            }
            Err(error) => {
                self.full_page_count = 0;
                if matches!(error, ReadError::NotThere { .. }) {
                    self.look_at = Some(now + SNAPSHOT_TIME);
                    return self.fail(format!(
                        "the store was deleted; what is shown is how it was: {error}"
                    ));
                }
                self.fail(error.to_string())
            }
        }
    }

    /// Looks anew where a recorder has come or gone without a word.
    fn look_for_writer(&mut self, now: Instant) -> Result<(), Over> {
        if now.duration_since(self.writer_seen) < WRITER_INTERVAL {
            return Ok(());
        }
        self.writer_seen = now;
        if self.look.is_written() == self.is_written {
            return Ok(());
        }
        self.look(At::Live)
    }

    /// Says once what cannot be had.
    fn fail(&mut self, failure: String) -> Result<(), Over> {
        if self.failure.as_ref() == Some(&failure) {
            return Ok(());
        }
        self.failure = Some(failure.clone());
        self.tell(Told::Failed(failure))
    }

    fn tell(&self, told: Told) -> Result<(), Over> {
        self.told.send(told).map_err(|_nobody| Over)
    }
}
