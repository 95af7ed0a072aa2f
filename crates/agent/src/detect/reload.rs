//! A directory of rules that changes while it is used: loaded again as a whole, or not at all.
//!
//! A thread of its own looks whether anything changed and reads it, so that who is recording never waits
//! for other people's files; the rules are changed for the new ones between two batches.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::folder::{self, FolderError};
use super::{Detector, Level, RuleSet};
use crate::sys::thread;
use crate::trail::{Detection, Event};

/// How often it is looked. What is still being written is read when it stays as it is from one look to the
/// next.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// Where rules are, and which of them are tried.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The directory.
    pub rules: PathBuf,
    /// The least level.
    pub level: Level,
    /// How often it is looked; [`INTERVAL`].
    pub interval: Duration,
    /// How they are loaded again: [`RuleSet::load_for_here`].
    pub load_fn: fn(&Path, Level) -> Result<RuleSet, FolderError>,
    /// The state of what is used; `None` where there is nothing.
    known: Option<u64>,
}

impl Watched {
    /// The directory as it is now. Made before its rules are loaded, so that what is written meanwhile is seen
    /// at the first look.
    pub fn new(rules: &Path, level: Level) -> Self {
        Self {
            rules: rules.to_path_buf(),
            level,
            interval: INTERVAL,
            load_fn: RuleSet::load_for_here,
            known: folder::state(rules).ok(),
        }
    }

    /// Loads its rules.
    ///
    /// # Errors
    /// As of [`RuleSet::load`].
    pub fn load(&self) -> Result<RuleSet, FolderError> {
        (self.load_fn)(&self.rules, self.level)
    }
}

/// Is told of rules that were loaded again, or why they were not.
type ToldFn = Box<dyn Fn(Result<&RuleSet, &FolderError>) + Send>;

/// The newest rules, until they are taken.
type Loaded = Arc<Mutex<Option<RuleSet>>>;

/// A detector whose rules follow their directory.
pub struct Reloading {
    detector: Detector,
    loaded: Loaded,
    /// The thread ends when this does.
    _stop: Sender<()>,
}

impl fmt::Debug for Reloading {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.detector.fmt(formatter)
    }
}

impl Reloading {
    /// Follows the directory that the rules of `detector` were loaded from.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn new(detector: Detector, watched: Watched, told_fn: ToldFn) -> std::io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let loaded = Loaded::default();
        let follower = Follower {
            watched,
            told_fn,
            loaded: Arc::clone(&loaded),
        };
        std::thread::Builder::new()
            .name("rules".to_owned())
            .spawn(move || follower.run(&stopped))?;
        Ok(Self {
            detector,
            loaded,
            _stop: stop,
        })
    }

    /// Takes rules that were loaded since.
    pub fn refresh(&mut self) {
        // Where the thread is just putting them there, the next batch has them.
        let loaded = self.loaded.try_lock();
        if let Some(rule_set) = loaded.ok().and_then(|mut loaded| loaded.take()) {
            thread::drop_beside(self.detector.replace(rule_set));
        }
    }

    /// As [`Detector::look`].
    pub fn look(&mut self, event: &Event, found: &mut Vec<Detection>) {
        self.detector.look(event, found);
    }

    /// As [`Detector::off_count`].
    pub const fn off_count(&self) -> u64 {
        self.detector.off_count()
    }
}

/// Looks after the directory.
struct Follower {
    watched: Watched,
    told_fn: ToldFn,
    loaded: Loaded,
}

impl Follower {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut before = self.watched.known;
        while stopped.recv_timeout(self.watched.interval) == Err(RecvTimeoutError::Timeout) {
            let now = folder::state(&self.watched.rules).ok();
            if now != self.watched.known && now == before {
                self.watched.known = now;
                self.load();
            }
            before = now;
        }
    }

    /// Where there is nothing to read any more, the rules stay as they are.
    fn load(&self) {
        let loaded = self.watched.load();
        (self.told_fn)(loaded.as_ref());
        if let Ok(rule_set) = loaded {
            let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            *loaded = Some(rule_set);
        }
    }
}
