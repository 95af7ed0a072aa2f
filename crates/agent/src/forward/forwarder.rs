//! The thread: how it is prepared, begins, and ends.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use crate::config;
use crate::store::Hold;
use crate::trail::Time;

use super::cursor::{Cursor, CursorError};
use super::http::Stop;
use super::tally::{Counts, Tally};
use super::worker::{Next, Worker, pause};

/// How long the end of a recording waits for what is left to be sent; the rest stays owed.
pub const FLUSH_TIME: Duration = Duration::from_secs(3);

/// How long a request that is broken off may take to notice.
const STOP_TIME: Duration = Duration::from_secs(1);

/// The longest a request may take while nobody waits for it.
const PATIENCE: Duration = Duration::from_mins(5);

/// What is forwarded, and where to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The store's directory.
    pub store: PathBuf,
    /// The machine's own id.
    pub host_id: Option<Arc<str>>,
    /// The receiver.
    pub target: config::Forward,
}

/// A store that will be forwarded: its cursor was read, so that retention knows what is needed from
/// the first moment on.
#[derive(Debug)]
pub struct Prepared {
    settings: Settings,
    cursor: Cursor,
    hold: Arc<Hold>,
}

/// The thread that forwards a store.
#[derive(Debug)]
pub struct Forwarder {
    tally: Arc<Tally>,
    hold: Arc<Hold>,
    stop: Stop,
    /// Closed to end it.
    ending: Option<crossbeam_channel::Sender<()>>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// A wish to send again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// From this time on.
    pub from: Time,
}

impl Prepared {
    /// Reads how far the store was forwarded.
    pub fn new(settings: Settings) -> Self {
        let cursor = Cursor::open(&settings.store, settings.host_id.as_deref());
        let hold = Hold::new(settings.target.keep_size, cursor.state.position());
        Self {
            settings,
            cursor,
            hold: Arc::new(hold),
        }
    }

    /// What retention is to ask.
    pub fn hold(&self) -> Arc<Hold> {
        Arc::clone(&self.hold)
    }

    /// Fails where another process forwards the store.
    pub fn lock(&mut self) -> Result<(), CursorError> {
        self.cursor.lock()
    }

    /// Begins to forward. Where another process does, it takes over when that ends. Whoever is told of
    /// progress wants it at once; otherwise the first look waits a moment, as hosts that were started
    /// together must not come together.
    pub fn start(self, mut progress_fn: Option<ProgressFn>) -> io::Result<Forwarder> {
        let (tally, stop) = (Arc::new(Tally::default()), Stop::default());
        let hold = self.hold();
        let Self {
            settings, cursor, ..
        } = self;
        let (shared, counted) = (Arc::clone(&hold), Arc::clone(&tally));
        let mut worker = Worker::new(settings, cursor, stop.clone(), shared, counted);
        let (ending, asked) = bounded(0);
        let (end, ended) = bounded(1);
        let thread = crate::sys::thread::named("forward").spawn(move || {
            run(&mut worker, &asked, &mut progress_fn);
            let _nobody_waits = end.send(());
        })?;
        Ok(Forwarder {
            tally,
            hold,
            stop,
            ending: Some(ending),
            ended,
            thread: Some(thread),
        })
    }
}

/// Is told of every step.
pub type ProgressFn = Box<dyn FnMut(Progress) + Send>;

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A batch was dealt with, and there is more.
    More,
    /// Everything was sent.
    Done,
    /// It failed, and will be tried again.
    Failed,
}

fn run(worker: &mut Worker, asked: &Receiver<()>, progress_fn: &mut Option<ProgressFn>) {
    let mut next = match progress_fn {
        Some(_) => Next::More(Duration::ZERO),
        None => Next::Idle,
    };
    while let Err(error) = asked.recv_timeout(pause(next))
        && error.is_timeout()
    {
        next = worker.step(PATIENCE);
        if let Some(progress_fn) = progress_fn {
            progress_fn(match next {
                Next::More(_) => Progress::More,
                Next::Idle => Progress::Done,
                Next::Failed(_) => Progress::Failed,
            });
        }
    }
    // Who asked to be left alone is; what is owed then stays so.
    let mut goes_on = !matches!(next, Next::Failed(_));
    let deadline = Instant::now() + FLUSH_TIME;
    while goes_on {
        let left = deadline.saturating_duration_since(Instant::now());
        goes_on = !left.is_zero() && matches!(worker.step(left), Next::More(_));
    }
    worker.finish();
}

impl Forwarder {
    /// What is counted.
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// What retention asks, and what went.
    pub fn hold(&self) -> Arc<Hold> {
        Arc::clone(&self.hold)
    }

    /// Sends what is left as far as there is time, and ends. What was not sent stays in the store.
    pub fn finish(mut self) -> Counts {
        self.end();
        self.tally.counts()
    }

    fn end(&mut self) {
        self.ending = None;
        let Some(thread) = self.thread.take() else {
            return;
        };
        if self.ended.recv_timeout(FLUSH_TIME).is_err() {
            // A request that nobody answers; the cursor has its range.
            self.stop.stop();
            if self.ended.recv_timeout(STOP_TIME).is_err() {
                // A name that nobody resolves cannot be broken off; the end of the process does.
                return;
            }
        }
        if thread.join().is_err() {
            tracing::error!("the thread that forwards panicked");
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.end();
    }
}

/// The file in which a wish to send again is left for who forwards.
const REQUEST: &str = "forward.again";

/// Leaves a wish to send again, which whoever forwards the store takes up at the next look.
pub fn ask_again(store: &Path, request: Request) -> io::Result<()> {
    let path = store.join(REQUEST);
    let new = store.join(format!("{REQUEST}.new"));
    fs::write(&new, request.from.0.to_string())?;
    fs::rename(new, path)
}

/// Takes up such a wish, where there is one.
pub(super) fn take_request(store: &Path) -> Result<Option<Request>, String> {
    let path = store.join(REQUEST);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| format!("{}: {error}", path.display())),
    };
    fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let from = text?.trim().parse();
    let from = from.map_err(|_no_number| format!("{}: it is no time", path.display()))?;
    Ok(Some(Request { from: Time(from) }))
}
