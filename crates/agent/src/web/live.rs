//! What happens while somebody looks: a thread follows the store while there are viewers, reads it once for
//! all of them, and hands each the same few lines (server-sent events).
//!
//! A viewer holds a bounded queue. One that does not read is dropped and nobody waits for it: neither the
//! others nor the store. When more happens than can be told, the page is told to look anew instead.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use event::{Kind, ProcessKey};
use serde::Serialize;
use serde_json::json;

use super::answer::Answer;
use super::processes::milliseconds;
use super::stream::Stream;
use crate::page::{Chosen, Row, Texts};
use crate::shown::safe;
use crate::store::{self, ReadError, Tail};
use crate::sys::thread;
use crate::trail::{Body, Event, Time};
use crate::tree::{End, Tree, short};

/// Viewers at once. A browser has one, whatever it has of our pages.
const VIEWERS_MAX: usize = 16;

/// Messages that wait for a viewer: a quarter of a minute of them.
const MESSAGES_MAX: usize = 16;

/// The store is asked for new events this often; a recorder commits twice a second.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Pages of events that are read at once; when there are more, it is quicker to look anew.
const PAGES_MAX: usize = 8;

/// Processes that are told at once.
const ROWS_MAX: usize = 2_000;

/// Processes that are remembered; then all are forgotten, and told with what is known from then on.
const PROCESSES_MAX: usize = 16_384;

/// Bytes of their texts.
const TEXTS_SIZE_MAX: usize = 16 << 20;

/// A viewer hears something after this long, so that both sides notice when the other has gone.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// Whether a viewer is still there is looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// A message is taken after this long, or the viewer is dropped.
const WRITE_TIME_MAX: Duration = Duration::from_secs(5);

/// Who looks, and what they are told.
#[derive(Clone, Debug)]
pub(super) struct Live {
    directory: PathBuf,
    viewers: Arc<Mutex<Viewers>>,
}

#[derive(Debug, Default)]
struct Viewers {
    queues: Vec<(u64, Sender<Arc<str>>)>,
    next_id: u64,
    is_followed: bool,
}

/// A viewer, who makes room when he goes.
#[derive(Debug)]
struct Viewer {
    id: u64,
    live: Live,
    messages: Receiver<Arc<str>>,
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.live.viewers().queues.retain(|(id, _)| *id != self.id);
    }
}

impl Live {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            viewers: Arc::default(),
        }
    }

    fn viewers(&self) -> MutexGuard<'_, Viewers> {
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a viewer what happens until it has enough; an answer where it cannot be told.
    pub(super) fn show(&self, stream: &mut Stream) -> Option<Answer> {
        let viewer = match self.join() {
            Ok(viewer) => viewer,
            Err(answer) => return Some(answer),
        };
        if Answer::file("text/event-stream", "")
            .write_head(stream)
            .is_ok()
        {
            viewer.listen(stream);
        }
        None
    }

    /// One viewer more, where there is room.
    fn join(&self) -> Result<Viewer, Answer> {
        let mut viewers = self.viewers();
        if viewers.queues.len() >= VIEWERS_MAX {
            let why = "too many browsers follow this store already; close one of them";
            return Err(Answer::error(503, why));
        }
        if !viewers.is_followed {
            let live = self.clone();
            let feed = Feed::new(live.directory.clone());
            let spawned = thread::named("follow").spawn(move || live.follow(feed));
            if let Err(error) = spawned {
                return Err(Answer::error(
                    503,
                    &format!("no thread to follow the store: {error}"),
                ));
            }
            viewers.is_followed = true;
        }
        let (queue, messages) = bounded(MESSAGES_MAX);
        let id = viewers.next_id;
        viewers.next_id += 1;
        viewers.queues.push((id, queue));
        Ok(Viewer {
            id,
            live: self.clone(),
            messages,
        })
    }

    /// Follows the store until nobody looks.
    fn follow(&self, mut feed: Feed) {
        loop {
            let message = feed.step();
            let mut viewers = self.viewers();
            if let Some(message) = message {
                let message: Arc<str> = message.into();
                // Who has gone, or does not read.
                viewers
                    .queues
                    .retain(|(_, queue)| queue.try_send(Arc::clone(&message)).is_ok());
            }
            if viewers.queues.is_empty() {
                viewers.is_followed = false;
                return;
            }
            drop(viewers);
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Viewer {
    /// Hands over the messages until somebody has enough.
    fn listen(&self, stream: &mut Stream) {
        // A browser that loses the stream asks for it again after so many milliseconds.
        let mut text: Arc<str> = Arc::from("retry: 3000\n\n");
        let mut said = Instant::now();
        loop {
            let deadline = Instant::now() + WRITE_TIME_MAX;
            if stream.write_by(text.as_bytes(), deadline).is_err() {
                return;
            }
            text = loop {
                match self.messages.recv_timeout(LOOK_INTERVAL) {
                    Ok(text) => break text,
                    // It was dropped. The page looks anew when it has the stream again.
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) if stream.is_gone() => return,
                    Err(RecvTimeoutError::Timeout) if said.elapsed() >= PING_INTERVAL => {
                        break Arc::from(": still here\n\n");
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                }
            };
            said = Instant::now();
        }
    }
}

/// Reads what is new.
#[derive(Debug)]
struct Feed {
    directory: PathBuf,
    tail: Option<Tail>,
    tree: Tree,
    was_written: Option<bool>,
    failure: Option<String>,
}

/// What has happened.
#[derive(Debug, Serialize)]
struct News {
    end_ms: f64,
    /// Times are told from here on.
    begin_ms: f64,
    event_count: usize,
    rows: Vec<Row>,
    keys: Vec<String>,
    parents: Vec<Option<String>>,
    /// Which of them are known by their end alone.
    is_partial: Vec<bool>,
    texts: Vec<String>,
    losses: Vec<(f64, String, u64, String)>,
}

impl Feed {
    fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            tail: None,
            tree: Tree::of_told_alone(),
            was_written: None,
            failure: None,
        }
    }

    /// The next message, if there is something to say.
    fn step(&mut self) -> Option<String> {
        match self.poll() {
            Ok(Some(news)) => Some(news),
            Ok(None) => {
                let is_written = store::is_written(&self.directory);
                let is_news = self.was_written.replace(is_written) != Some(is_written);
                is_news.then(|| message("state", &json!({ "is_written": is_written })))
            }
            Err(error) => {
                let is_deleted = matches!(error, ReadError::NotThere { .. });
                let mut why = safe(&error.to_string());
                if is_deleted {
                    self.tail = None;
                    why = format!("the store was deleted; what is shown is how it was: {why}");
                }
                if self.failure.as_ref() == Some(&why) {
                    return None;
                }
                self.failure = Some(why.clone());
                Some(message("state", &json!({ "error": why })))
            }
        }
    }

    fn poll(&mut self) -> Result<Option<String>, ReadError> {
        let Some(tail) = &mut self.tail else {
            self.tail = Some(Tail::from_end(&self.directory)?);
            self.tree = Tree::of_told_alone();
            self.failure = None;
            // What came before is not among what is told from here on.
            return Ok(Some(message("anew", &json!({}))));
        };
        let mut events = Vec::new();
        for page in 0.. {
            let more = tail.poll()?;
            if more.is_empty() {
                break;
            }
            events.extend(more);
            if page >= PAGES_MAX {
                self.tail = None;
                return Ok(None);
            }
        }
        self.failure = None;
        let begins =
            |event: &Event| matches!(event.body, Body::SensorStart(_) | Body::SensorStop(_));
        if events.iter().any(begins) {
            // Processes of which no exit was seen end then.
            self.tail = None;
        }
        Ok((!events.is_empty()).then(|| self.tell(&events)))
    }

    fn tell(&mut self, events: &[Event]) -> String {
        let is_full =
            self.tree.processes().len() > PROCESSES_MAX || self.tree.texts_size() > TEXTS_SIZE_MAX;
        if is_full {
            self.tree = Tree::of_told_alone();
        }
        let mut told: BTreeSet<ProcessKey> = BTreeSet::new();
        let mut losses = Vec::new();
        for event in events {
            if let Body::Lost(lost) = &event.body {
                losses.push((
                    milliseconds(event.time),
                    safe(&lost.lost_kind.to_string()),
                    lost.lost_count,
                    safe(&lost.lost_reason),
                ));
            }
            let kind = event.body.kind();
            let is_told = [Kind::PROCESS_START, Kind::PROCESS_EXEC, Kind::PROCESS_EXIT];
            if is_told.contains(&kind) && self.tree.add(event).is_ok() {
                told.insert(event.process_key);
            }
        }
        let times = events.iter().map(|event| event.time);
        let end = times.clone().max().unwrap_or_default();
        let begin = times.min().unwrap_or_default();
        if told.len() > ROWS_MAX {
            return message("anew", &json!({}));
        }
        let processes: Vec<_> = told
            .iter()
            .filter_map(|key| self.tree.with_key(*key))
            .cloned()
            .collect();
        let chosen = Chosen::of(&processes, (begin, end), ROWS_MAX);
        let mut texts = Texts::default();
        let rows = chosen.rows(&mut texts, short, |_| None);
        texts.fit();
        let key = |key: ProcessKey| key.to_string();
        let news = News {
            end_ms: milliseconds(end),
            begin_ms: milliseconds(begin),
            event_count: events.len(),
            rows,
            keys: processes.iter().map(|one| key(one.process_key)).collect(),
            parents: processes
                .iter()
                .map(|one| one.parent_process_key.map(key))
                .collect(),
            is_partial: processes
                .iter()
                .map(|one| one.parent_process_key.is_none())
                .collect(),
            texts: texts.list,
            losses,
        };
        self.tree.retain(|process| match process.end {
            End::Running => true,
            End::Unseen => false,
            End::Exit(exit) => exit.time > Time(end.0.saturating_sub(1_000_000_000)),
        });
        message("news", &news)
    }
}

/// A message of a kind. Its data is one line: JSON has no line feed in it.
fn message(kind: &str, data: &impl Serialize) -> String {
    let mut text = format!("event: {kind}\n");
    match serde_json::to_string(data) {
        // Writing to a string does not fail.
        Ok(data) => drop(write!(text, "data: {data}\n\n")),
        Err(error) => {
            tracing::debug!(%error, "nothing is told");
            return ": nothing\n\n".to_owned();
        }
    }
    text
}
