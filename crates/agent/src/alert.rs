//! Alerts: a command that is run for each match of a detection rule, with the match on its standard input.
//!
//! What matched is text of anybody's making, so it goes to the command's standard input as JSON and nowhere
//! else: there is no shell, and nothing of an event is ever an argument, a name or a variable of the
//! environment. The recording never waits for a command: matches wait in a bounded queue for a thread of
//! their own, which runs one command at a time, not faster than one in [`INTERVAL`], and ends each that takes
//! too long. What is not told for any of these reasons is counted.

mod runner;
mod tally;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

pub use self::tally::{Counts, Outcome, Tally};

use self::runner::Runner;
use crate::trail::{Event, json};

/// Matches that wait for their command at most.
pub const QUEUE_COUNT_MAX: usize = 256;

/// Bytes of their lines at most: an event may have megabytes of arguments.
pub const QUEUE_SIZE_MAX: usize = 8 << 20;

/// The least time from the start of a command to the start of the next: ten a second.
pub const INTERVAL: Duration = Duration::from_millis(100);

/// How long a command may take; then it is killed.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// How long the end of a recording waits for commands: what an intruder who ends it did just before is told.
pub const CLOSE_TIME: Duration = Duration::from_secs(10);

/// How much longer it waits for a command that was killed.
const KILL_TIME_MAX: Duration = Duration::from_secs(2);

/// What is run, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The program, by its absolute path.
    pub program: PathBuf,
    /// Its arguments, as they are.
    pub arguments: Vec<String>,
    /// How long it may take.
    pub time_limit: Duration,
    /// How long the end of a recording waits for the commands of what was found before.
    pub close_time: Duration,
}

/// Has a command run for each match that it is handed. Dropped, it waits for them as
/// [`close`](Self::close) does.
#[derive(Debug)]
pub struct Alerts {
    queue: Option<Sender<Vec<u8>>>,
    shared: Arc<Shared>,
    close_time: Duration,
    thread: Option<Thread>,
}

/// The thread that runs commands. The channel ends when it does.
type Thread = (JoinHandle<()>, Receiver<()>);

/// What both ends of the queue know.
#[derive(Debug, Default)]
struct Shared {
    tally: Arc<Tally>,
    /// Bytes that wait.
    waiting_size: AtomicUsize,
    /// When what waits is given up.
    deadline: OnceLock<Instant>,
}

impl Alerts {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let (queue, waiting) = bounded(QUEUE_COUNT_MAX);
        let (lives, ended) = bounded(0);
        let shared = Arc::new(Shared::default());
        let close_time = settings.close_time;
        let runner = Runner::new(settings, Arc::clone(&shared));
        let thread = crate::sys::thread::named("alert").spawn(move || {
            let _lives: Sender<()> = lives;
            runner.run(&waiting);
        })?;
        Ok(Self {
            queue: Some(queue),
            shared,
            close_time,
            thread: Some((thread, ended)),
        })
    }

    /// What became of the matches.
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.shared.tally)
    }

    /// Hands on a match and the event that matched; never waits. Where there is no room it is counted.
    pub fn offer(&self, detection: &Event, matched: &Event) {
        let Some(queue) = self.queue.as_ref().filter(|queue| !queue.is_full()) else {
            return self.shared.tally.count(Outcome::PassedOver);
        };
        let mut lines = Vec::new();
        json::write_line(detection, &mut lines);
        json::write_line(matched, &mut lines);
        let size = lines.len();
        // Nobody else adds to it, so it cannot grow between the look and the addition.
        let waiting_size = self.shared.waiting_size.load(Ordering::Relaxed);
        if waiting_size.saturating_add(size) > QUEUE_SIZE_MAX {
            return self.shared.tally.count(Outcome::PassedOver);
        }
        self.shared.waiting_size.fetch_add(size, Ordering::Relaxed);
        if queue.try_send(lines).is_err() {
            self.shared.waiting_size.fetch_sub(size, Ordering::Relaxed);
            self.shared.tally.count(Outcome::PassedOver);
        }
    }

    /// Counts a match that is told to no command, because it is of what a command did.
    pub fn count_own(&self) {
        self.shared.tally.count(Outcome::Own);
    }

    /// Waits for the commands of what was handed on, for the time in the settings at most. What waits then is
    /// counted as passed over, and the command that runs is killed.
    pub fn close(&mut self) {
        let Some((thread, ended)) = self.thread.take() else {
            return;
        };
        let deadline = Instant::now() + self.close_time;
        self.shared.deadline.get_or_init(|| deadline);
        self.queue = None;
        let is_left = Err(crossbeam_channel::RecvTimeoutError::Timeout);
        if ended.recv_deadline(deadline + KILL_TIME_MAX) == is_left {
            tracing::error!("the command of alerts does not end though it was killed; it is left");
        } else if thread.join().is_err() {
            tracing::error!("the thread of alerts panicked");
        }
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        self.close();
    }
}
