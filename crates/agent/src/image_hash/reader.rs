//! The thread that reads, no faster than the budget allows.
//!
//! What is asked for is opened at once, for its process may soon be gone, and with it the only way to the file.
//! Then the file that has the least left to be read is the next, a chunk at a time: a large one holds up no
//! small one.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Sender;
use event::Stamp;
use sha2::{Digest as _, Sha256};

use super::budget::Budget;
use super::queue::Queue;
use super::tally::Tally;
use super::version::Version;
use super::{Answer, Files, Found, OpenFile, Request, Settings, Subject, elf, pe};
use crate::trail::missing;

/// Files that are open at once at most; what is asked for beyond that waits.
const OPEN_MAX: usize = 64;

/// Bytes that are read at once; a low rate has smaller ones, so that they come evenly.
const CHUNK_SIZE_MAX: u64 = 128 * 1024;
const CHUNKS_A_SECOND: u64 = 8;

/// A file that was changed so short a time ago may be changed again without that its time says so: kernels
/// before 6.13 count it in ticks, of 10 ms at the most.
const SETTLE_TIME: Duration = Duration::from_millis(20);

/// Reads what is asked for.
#[derive(Debug)]
pub(super) struct Reader {
    files: Box<dyn Files>,
    subject: Subject,
    file_size_max: u64,
    budget: Budget,
    buffer: Vec<u8>,
    queue: Arc<Queue>,
    tally: Arc<Tally>,
}

/// A file that is being read.
struct Job {
    request: Request,
    file: Box<dyn OpenFile>,
    /// The state that it was in when it was opened.
    before: Stamp,
    hash: Sha256,
    offset: u64,
}

/// What came of a file: its state where it could be opened, and what is in it or why that is not known.
type Outcome = (Option<Stamp>, Result<Found, &'static str>);

/// Nobody wants anything any more.
struct Over;

impl Job {
    const fn left(&self) -> u64 {
        self.before.size.saturating_sub(self.offset)
    }
}

impl Reader {
    pub(super) fn new(
        settings: Settings,
        files: Box<dyn Files>,
        queue: Arc<Queue>,
        tally: Arc<Tally>,
    ) -> Self {
        let chunk_size = (settings.rate / CHUNKS_A_SECOND).clamp(1, CHUNK_SIZE_MAX);
        Self {
            files,
            subject: settings.subject,
            file_size_max: settings.file_size_max,
            budget: Budget::new(settings.rate),
            buffer: vec![0; usize::try_from(chunk_size).unwrap_or(1)],
            queue,
            tally,
        }
    }

    /// Reads until the queue is closed, or nobody takes the answers any more.
    pub(super) fn run(mut self, answers: &Sender<Answer>) {
        let mut jobs = Vec::new();
        // Either says that it is over.
        while self.open(&mut jobs, answers).is_ok() && self.read_on(&mut jobs, answers).is_ok() {}
    }

    /// Opens what is asked for, and waits for it where nothing is open.
    fn open(&mut self, jobs: &mut Vec<Job>, answers: &Sender<Answer>) -> Result<(), Over> {
        while jobs.len() < OPEN_MAX {
            let request = if jobs.is_empty() {
                self.queue.next().ok_or(Over)?
            } else {
                match self.queue.next_new() {
                    Some(request) => request,
                    None => break,
                }
            };
            match self.begin(&request) {
                Ok((file, before)) => jobs.push(Job {
                    request,
                    file,
                    before,
                    hash: Sha256::new(),
                    // Of a version resource there is nothing to be read in order.
                    offset: match self.subject {
                        Subject::Hashes => 0,
                        Subject::Versions => before.size,
                    },
                }),
                Err(outcome) => self.answer(request, outcome, answers)?,
            }
        }
        Ok(())
    }

    /// The file that is asked for, where it is to be read.
    fn begin(&self, request: &Request) -> Result<(Box<dyn OpenFile>, Stamp), Outcome> {
        let file = self
            .files
            .open(&request.wanted)
            .map_err(|reason| (None, Err(reason)))?;
        let before = file.stamp().map_err(unreadable)?;
        if request.wanted.key.stamp.is_some_and(|told| told != before) {
            return Err((Some(before), Err(missing::CHANGED)));
        }
        match &request.known {
            Some((known, found)) if *known == before => Err((Some(before), Ok(found.clone()))),
            _ if self.subject == Subject::Hashes && before.size > self.file_size_max => {
                Err((Some(before), Err(missing::TOO_LARGE)))
            }
            _ => Ok((file, before)),
        }
    }

    /// Reads a chunk of the file that has the least left, and tells what was found where that was the last.
    fn read_on(&mut self, jobs: &mut Vec<Job>, answers: &Sender<Answer>) -> Result<(), Over> {
        let lefts = jobs.iter().map(Job::left).enumerate();
        let Some((index, _)) = lefts.min_by_key(|(_, left)| *left) else {
            return Ok(());
        };
        let mut job = jobs.swap_remove(index);
        if job.offset == 0 {
            self.pause(time_to_settle(job.before, SystemTime::now()))?;
        }
        self.pause(self.budget.wait(Instant::now()))?;
        let outcome = match self.read_chunk(&mut job) {
            Ok(()) if job.left() > 0 => {
                jobs.push(job);
                return Ok(());
            }
            Ok(()) => self.finish(&job),
            Err(reason) => Err(reason),
        };
        // Of one that has changed, what it is now.
        let stamp = match outcome {
            Err(missing::CHANGED) => job.file.stamp().unwrap_or(job.before),
            _ => job.before,
        };
        let outcome = (Some(stamp), outcome);
        self.answer(job.request, outcome, answers)
    }

    fn read_chunk(&mut self, job: &mut Job) -> Result<(), &'static str> {
        if job.left() == 0 {
            return Ok(());
        }
        let began = Instant::now();
        let read = job.file.read_at(job.offset, &mut self.buffer);
        let read = read.map_err(|_unreadable| missing::GONE)?;
        let bytes = self.buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            // It was cut meanwhile.
            return Err(missing::CHANGED);
        }
        job.hash.update(bytes);
        job.offset += self.spend(read, began);
        Ok(())
    }

    fn finish(&mut self, job: &Job) -> Result<Found, &'static str> {
        let began = Instant::now();
        let mut size = 0;
        let read_at_fn = |offset, buffer: &mut [u8]| {
            let read = job.file.read_at(offset, buffer)?;
            size += read;
            Ok(read)
        };
        let found = match self.subject {
            Subject::Hashes => elf::build_id(read_at_fn).map(|build_id| Found::Hashes {
                sha256: elf::hex(&job.hash.clone().finalize()).into(),
                build_id: build_id.map(Into::into),
            }),
            Subject::Versions => pe::version(read_at_fn)
                .map(|found| Found::Version(Version::of(found.as_ref()).into())),
        };
        self.spend(size, began);
        let unreadable = |_unreadable: io::Error| missing::GONE;
        let found = found.map_err(unreadable)?;
        if job.file.stamp().map_err(unreadable)? != job.before {
            return Err(missing::CHANGED);
        }
        self.tally.count_hashed();
        Ok(found)
    }

    fn answer(
        &self,
        request: Request,
        (stamp, found): Outcome,
        answers: &Sender<Answer>,
    ) -> Result<(), Over> {
        if found.is_err() {
            self.tally.count_refused();
        }
        let answer = Answer {
            request,
            stamp,
            found,
        };
        answers.send(answer).map_err(|_nobody_listens| Over)
    }

    fn pause(&self, time: Duration) -> Result<(), Over> {
        self.queue.pause(time).then_some(()).ok_or(Over)
    }

    fn spend(&mut self, size: usize, began: Instant) -> u64 {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        self.budget.spend(size, began);
        self.tally.add_size(size);
        size
    }
}

fn unreadable(_error: io::Error) -> Outcome {
    (None, Err(missing::GONE))
}

/// How long until a change of the file would show.
fn time_to_settle(stamp: Stamp, now: SystemTime) -> Duration {
    let nanoseconds = u64::try_from(stamp.change_time_ns).unwrap_or(0);
    let settled = UNIX_EPOCH + Duration::from_nanos(nanoseconds) + SETTLE_TIME;
    // Of a time to come, which somebody set, no more than that.
    let wait = settled.duration_since(now).unwrap_or_default();
    wait.min(SETTLE_TIME)
}
