//! Hashes of images: the SHA-256 and the build id of every file that is executed or mapped, once for each
//! state that it is in.
//!
//! No event waits for one. An event of whose file the hash is known has it; otherwise it says `pending`, and a
//! thread of its own reads the file, slower than a budget allows and no file twice, and hands over what it
//! found, which is an event as well: `image_details`.
//!
//! A hash must be of what was executed. Where the sensor tells which state the file was in
//! ([`event::Stamp`]), a file in another is not it. Where it tells the file alone, what is found says when the
//! file was changed last, and is of events that are not older; such a file is looked at again every
//! [`REVIEW_INTERVAL`] while it is used, and read again when it was changed.
//!
//! On Windows it is the version resource that is read, by the path of the file. Whoever may write a file may
//! write anything there, so an event has what was found up to [`REVIEW_INTERVAL`] before it.

mod budget;
mod cache;
pub mod elf;
#[cfg_attr(windows, path = "image_hash/windows/files.rs")]
mod files;
pub mod pe;
#[cfg(any(windows, test))]
mod place;
mod queue;
mod reader;
mod tally;
mod version;

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use event::{Place, ProcessKey, Stamp};

pub use self::files::ImageFiles;
pub use self::tally::{Counts, Tally};

use self::cache::Cache;
use self::queue::{Queue, Turn};
use self::reader::Reader;
use self::version::Version;
use crate::trail::{self, Body, ExecDetails, ImageDetails, LoadDetails, Name, Text, missing};

/// How often a file is looked at of whose state the sensor does not tell.
pub const REVIEW_INTERVAL: Duration = Duration::from_secs(10);
/// How long the end of a recording waits for a file system that does not answer.
pub const CLOSE_TIME: Duration = Duration::from_secs(1);
/// Files of either generation of the cache: with what each of them holds less than 3 MiB in all.
const GENERATION_COUNT_MAX: usize = 3_072;
/// Results that wait to be told at most; then the thread waits.
const RESULT_COUNT_MAX: usize = 64;

/// What is read of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// All of them, for their hashes (Linux).
    Hashes,
    /// Their version resources (Windows), whatever their size.
    Versions,
}

/// What is read, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What is read of files.
    pub subject: Subject,
    /// Bytes a second.
    pub rate: u64,
    /// Bytes of the largest file.
    pub file_size_max: u64,
    /// How often a file is looked at of whose state the sensor does not tell.
    pub review_interval: Duration,
    /// How long the end waits for a file system that does not answer.
    pub close_time: Duration,
}

/// Which file, and in which state where the sensor tells that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileKey {
    /// The device, as [`Place::device`] has it.
    pub device: u32,
    /// The inode.
    pub inode: u64,
    /// The state.
    pub stamp: Option<Stamp>,
}

impl FileKey {
    /// The file, whatever its state.
    const fn without_stamp(self) -> Self {
        Self {
            stamp: None,
            ..self
        }
    }
}

/// A file that is to be read, and what leads to it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which.
    pub key: FileKey,
    /// A process that uses it.
    pub process_id: u32,
    /// Its identity.
    pub process_key: ProcessKey,
    /// The path that the event tells.
    pub image: Option<Text>,
    /// In whose tree, where not the host's.
    pub path_scope: Option<Name>,
    /// No directory had it.
    pub is_deleted: bool,
    /// Where the process has mapped it; it runs it where that is not said.
    pub mapping: Option<(u64, u64)>,
}

/// Opens files; the seam between the thread and the system.
pub trait Files: Send + fmt::Debug {
    /// The file that is wanted, or why not: a reason as `missing` has them.
    fn open(&self, wanted: &Wanted) -> Result<Box<dyn OpenFile>, &'static str>;
}

/// An open file.
pub trait OpenFile {
    /// The state that it is in now.
    fn stamp(&self) -> io::Result<Stamp>;

    /// Reads at an offset, as far as the file goes.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// What was found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Hashes {
        sha256: Arc<str>,
        build_id: Option<Arc<str>>,
    },
    Version(Arc<Version>),
}

/// A file on its way to the thread, with what was found in it before, where that may still be so.
#[derive(Clone, Debug)]
struct Request {
    wanted: Wanted,
    known: Option<(Stamp, Found)>,
    /// It is not the state that was executed, but the one that the file was found in.
    is_later: bool,
}

impl Request {
    /// Bytes that it takes while it waits.
    fn size(&self) -> usize {
        let text = self.wanted.image.as_ref().map_or(0, Text::size);
        size_of::<Self>().saturating_add(text)
    }
}

/// What came of a request. It has its state where the file could be opened.
#[derive(Debug)]
pub struct Answer {
    request: Request,
    stamp: Option<Stamp>,
    found: Result<Found, &'static str>,
}

/// What is known of a file.
#[derive(Debug)]
enum State {
    /// It is being read, or waits for that.
    Pending,
    /// It is this, as long as the state is the key's.
    Known(Found),
    /// It is not read, and never will be in this state.
    Refused(&'static str),
    /// It was looked at, and is again when it is used after that time.
    Resting {
        until: Instant,
        known: Option<(Stamp, Found)>,
        /// What is said until then.
        reason: Option<&'static str>,
    },
}

/// Tells the hashes of images. Dropped, it ends its thread as [`close`](Self::close) does.
#[derive(Debug)]
pub struct ImageHashes {
    states: Cache<FileKey, State>,
    queue: Arc<Queue>,
    answers: Receiver<Answer>,
    tally: Arc<Tally>,
    subject: Subject,
    /// Makes keys of paths, others in each run: nobody can make two paths that have one.
    keys: RandomState,
    review_interval: Duration,
    close_time: Duration,
    thread: Option<Thread>,
}

/// The thread that reads. The channel ends when it does.
type Thread = (JoinHandle<()>, Receiver<()>);

/// What completes the events that wait for a file.
#[derive(Debug)]
pub struct Completion {
    /// The process of the first of them.
    pub process_id: u32,
    /// Its identity.
    pub process_key: ProcessKey,
    /// What is told.
    pub body: Body,
    /// What of it was cut.
    pub truncated: Vec<Name>,
    /// What of it is not known.
    pub missing: Vec<(Name, Name)>,
}

impl ImageHashes {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn start(settings: Settings, files: Box<dyn Files>) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let tally = Arc::new(Tally::new(Arc::clone(&queue)));
        let (sender, answers) = bounded(RESULT_COUNT_MAX);
        let (lives, ended) = bounded(0);
        let reader = Reader::new(settings, files, Arc::clone(&queue), Arc::clone(&tally));
        let thread = crate::sys::thread::named("image_hash").spawn(move || {
            let _lives: Sender<()> = lives;
            reader.run(&sender);
        })?;
        Ok(Self {
            states: Cache::new(GENERATION_COUNT_MAX),
            queue,
            answers,
            tally,
            subject: settings.subject,
            keys: RandomState::new(),
            review_interval: settings.review_interval,
            close_time: settings.close_time,
            thread: Some((thread, ended)),
        })
    }

    /// What was done so far.
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Where answers come.
    pub const fn answers(&self) -> &Receiver<Answer> {
        &self.answers
    }

    /// Puts into an event what is known of its image's file, or why that is not there.
    pub fn tell(
        &mut self,
        (process_id, process_key): (u32, ProcessKey),
        body: &mut Body,
        (truncated, missing): (&mut Vec<Name>, &mut Vec<(Name, Name)>),
        key: Option<FileKey>,
    ) {
        let Some(mut wanted) = wanted(body, self.subject) else {
            return;
        };
        let key = match self.subject {
            Subject::Hashes => key,
            Subject::Versions => self.key_of_path(&wanted),
        };
        let state = match key {
            Some(key) => {
                wanted.key = key;
                (wanted.process_id, wanted.process_key) = (process_id, process_key);
                self.found_or_reason(wanted, is_existing(body))
            }
            None => Err(missing::UNAVAILABLE),
        };
        match state {
            Ok(found) => put(body, &found, truncated),
            Err(reason) => self.lacks(missing, reason),
        }
    }

    fn key_of_path(&self, wanted: &Wanted) -> Option<FileKey> {
        let image = wanted.image.as_ref()?;
        Some(FileKey {
            inode: self.keys.hash_one(image.as_bytes()),
            ..NO_FILE
        })
    }

    /// Says why nothing was found. Whether there is a build id nobody knows either.
    fn lacks(&self, missing: &mut Vec<(Name, Name)>, reason: &'static str) {
        if self.subject == Subject::Versions {
            return version::lacks(missing, reason);
        }
        for field in [&ExecDetails::sha256, &ExecDetails::build_id] {
            missing.push((field.name.into(), reason.into()));
        }
    }

    fn found_or_reason(
        &mut self,
        wanted: Wanted,
        is_existing: bool,
    ) -> Result<Found, &'static str> {
        let mut turn = if is_existing { Turn::Last } else { Turn::Next };
        let mut known = None;
        match self.states.get_mut(&wanted.key) {
            Some(State::Pending) => return Err(missing::PENDING),
            Some(State::Known(found)) => return Ok(found.clone()),
            Some(State::Refused(reason)) => return Err(reason),
            Some(State::Resting {
                until,
                known: Some(before),
                ..
            }) if self.subject == Subject::Versions => {
                let found = before.1.clone();
                let now = Instant::now();
                if *until <= now {
                    // Nothing waits for what comes of that.
                    *until = now + self.review_interval;
                    let known = Some(before.clone());
                    let is_later = false;
                    let request = Request {
                        wanted,
                        known,
                        is_later,
                    };
                    self.queue.offer(request, turn);
                }
                return Ok(found);
            }
            Some(State::Resting {
                until,
                known: before,
                reason,
            }) => {
                if *until > Instant::now() {
                    if let Some(reason) = reason {
                        return Err(reason);
                    }
                    turn = Turn::NotBefore(*until);
                }
                known.clone_from(before);
            }
            None => {
                if let Some(found) = self.found_without_stamp(wanted.key) {
                    self.states.insert(wanted.key, State::Known(found.clone()));
                    return Ok(found);
                }
            }
        }
        let key = wanted.key;
        let request = Request {
            wanted,
            known,
            is_later: false,
        };
        if !self.queue.offer(request, turn) {
            self.tally.count_busy();
            return Err(missing::BUSY);
        }
        self.states.insert(key, State::Pending);
        Err(missing::PENDING)
    }

    /// What was found in the file in this state when somebody looked who was not told the state.
    fn found_without_stamp(&mut self, key: FileKey) -> Option<Found> {
        match self.states.get_mut(&key.without_stamp())? {
            State::Resting {
                known: Some((stamp, found)),
                ..
            } if Some(*stamp) == key.stamp => Some(found.clone()),
            _ => None,
        }
    }

    /// Lets those who are not told the state of a file have it looked at instead of read.
    fn keep_without_stamp(&mut self, key: FileKey, known: (Stamp, Found)) {
        let key = key.without_stamp();
        if !matches!(self.states.get_mut(&key), Some(State::Pending)) {
            let state = State::Resting {
                until: Instant::now(),
                known: Some(known),
                reason: None,
            };
            self.states.insert(key, state);
        }
    }

    /// Has a file read in the state that it was found in instead of the one that was executed. Whoever
    /// deletes itself when it runs has changed its file, and what that is says much all the same.
    fn ask_for_later(&mut self, wanted: &Wanted, stamp: Option<Stamp>) {
        let mut wanted = wanted.clone();
        if wanted.key.stamp.is_none() || wanted.key.stamp == stamp {
            return;
        }
        wanted.key.stamp = stamp;
        let key = wanted.key;
        if self.states.get_mut(&key).is_some() {
            return;
        }
        let request = Request {
            wanted,
            known: None,
            is_later: true,
        };
        if self.queue.offer(request, Turn::Next) {
            self.states.insert(key, State::Pending);
        } else {
            self.tally.count_busy();
        }
    }

    /// Whether events before it told something else, or nothing.
    fn is_news(&mut self, answer: &Answer) -> bool {
        let told = match self.states.get_mut(&answer.request.wanted.key) {
            Some(State::Resting {
                known: Some((_, told)),
                ..
            }) if self.subject == Subject::Versions => told,
            _ => return true,
        };
        answer.found.as_ref().is_ok_and(|found| found != told)
    }

    /// Takes an answer: what is to be told of it, where anything is.
    pub fn take(&mut self, answer: Answer) -> Option<Completion> {
        let is_news = self.is_news(&answer);
        let Answer {
            request,
            stamp,
            found,
        } = answer;
        let wanted = request.wanted;
        let key = wanted.key;
        let state = match (&found, key.stamp, stamp) {
            (Ok(found), Some(_), _) => State::Known(found.clone()),
            (Err(reason), Some(_), _) if *reason != missing::GONE => State::Refused(reason),
            _ => State::Resting {
                until: Instant::now() + self.review_interval,
                known: stamp.zip(found.as_ref().ok().cloned()),
                reason: found.as_ref().err().copied(),
            },
        };
        self.states.insert(key, state);
        if let (Ok(found), Some(stamp)) = (&found, key.stamp) {
            self.keep_without_stamp(key, (stamp, found.clone()));
        }
        if found == Err(missing::CHANGED) && !request.is_later {
            self.ask_for_later(&wanted, stamp);
        }
        is_news.then(|| self.completion(wanted, key.stamp.or(stamp), found))
    }

    fn completion(
        &self,
        wanted: Wanted,
        stamp: Option<Stamp>,
        found: Result<Found, &'static str>,
    ) -> Completion {
        let device = wanted.key.device;
        let place = Place {
            device,
            ..Place::default()
        };
        let (major, minor) = place.device_numbers();
        let has_inode = self.subject == Subject::Hashes;
        let mut body = Body::from(ImageDetails {
            image: wanted.image,
            path_scope: wanted.path_scope,
            device: has_inode.then(|| format!("{major}:{minor}").into()),
            inode: has_inode.then_some(wanted.key.inode),
            change_time_ns: stamp.and_then(|stamp| u64::try_from(stamp.change_time_ns).ok()),
            file_size: stamp.map(|stamp| stamp.size),
            ..ImageDetails::default()
        });
        let (mut truncated, mut missing) = (Vec::new(), Vec::new());
        match found {
            Ok(found) => put(&mut body, &found, &mut truncated),
            Err(reason) => self.lacks(&mut missing, reason),
        }
        Completion {
            process_id: wanted.process_id,
            process_key: wanted.process_key,
            body,
            truncated,
            missing,
        }
    }

    /// Ends the thread. What waits is not read any more; a file system that does not answer is not waited for,
    /// and the thread is left to it.
    pub fn close(&mut self) {
        let Some((thread, ended)) = self.thread.take() else {
            return;
        };
        self.queue.close();
        let deadline = Instant::now() + self.close_time;
        // It may wait for room among the answers, of which nobody takes one any more.
        let (_, no_answers) = bounded(0);
        self.answers = no_answers;
        let is_left = Err(crossbeam_channel::RecvTimeoutError::Timeout);
        if ended.recv_deadline(deadline) == is_left {
            tracing::warn!(
                "a file system does not answer the thread that hashes images; it is left behind"
            );
        } else if thread.join().is_err() {
            tracing::error!("the thread that hashes images panicked");
        }
    }
}

impl Drop for ImageHashes {
    fn drop(&mut self) {
        self.close();
    }
}

const NO_FILE: FileKey = FileKey {
    device: 0,
    inode: 0,
    stamp: None,
};

/// What is to be read for an event; nothing where it has no image of its own.
fn wanted(body: &Body, subject: Subject) -> Option<Wanted> {
    let wanted = |image: &Option<Text>, path_scope: &Option<Name>, is_deleted, mapping| Wanted {
        key: NO_FILE,
        process_id: 0,
        process_key: ProcessKey::default(),
        image: image.clone(),
        path_scope: path_scope.clone(),
        is_deleted,
        mapping,
    };
    match body {
        Body::ProcessExec(exec) => {
            let trail::Program {
                image,
                path_scope,
                image_deleted,
                ..
            } = &exec.program;
            Some(wanted(image, path_scope, *image_deleted, None))
        }
        Body::ImageLoad(load) if !load.kernel_image => {
            let end = load.image_base.saturating_add(load.image_size);
            let mapping = Some((load.image_base, end));
            let deleted = load.image_deleted;
            Some(wanted(&load.image, &load.path_scope, deleted, mapping))
        }
        Body::ProcessStart(start) if subject == Subject::Versions => {
            let image = &start.program.image;
            image.is_some().then(|| wanted(image, &None, false, None))
        }
        _ => None,
    }
}

const fn is_existing(body: &Body) -> bool {
    match body {
        Body::ImageLoad(load) => load.existing,
        Body::ProcessStart(start) => start.existing,
        _ => false,
    }
}

fn put(body: &mut Body, found: &Found, truncated: &mut Vec<Name>) {
    let (sha256, build_id) = match found {
        Found::Hashes { sha256, build_id } => (Some(Arc::clone(sha256)), build_id.clone()),
        Found::Version(version) => return version.put(body, truncated),
    };
    match body {
        Body::ProcessExec(exec) => {
            exec.details = Some(Box::new(ExecDetails { sha256, build_id }));
        }
        Body::ImageLoad(load) => {
            let mut details = LoadDetails::default();
            (details.file.sha256, details.build_id) = (sha256, build_id);
            load.details = Some(Box::new(details));
        }
        Body::ImageDetails(details) => (details.sha256, details.build_id) = (sha256, build_id),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
