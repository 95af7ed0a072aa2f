//! Makes log files durable on a thread of its own. On a busy disk `fdatasync` takes seconds; events
//! do not stop coming meanwhile, and the log must not be what makes them pile up.

use std::fs::File;
use std::io;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Files that wait at most. More can only come of many rotations while the disk stands still; then
/// whoever rotates waits for the disk.
const WAITING_COUNT_MAX: usize = 8;

/// The thread and what it is to do.
#[derive(Debug)]
pub(super) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    /// What is to be made durable: which file, and a handle of it.
    waiting: Vec<(FileNumber, File)>,
    /// How it went since this was asked last; one failure makes it a failure.
    outcome: Option<io::Result<()>>,
    is_closing: bool,
}

/// Tells the files of one log apart: each that is opened has the next number.
pub(super) type FileNumber = u64;

/// The log's directory, which holds the names of its files.
const DIRECTORY: FileNumber = 0;

impl Syncer {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let work = Arc::clone(&shared);
        let thread = crate::sys::thread::named("sync").spawn(move || work.run())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Has everything made durable that is in the file now. How that went is for
    /// [`take_outcome`](Self::take_outcome).
    pub(super) fn request(&self, number: FileNumber, file: &File) -> io::Result<()> {
        let mut work = self.shared.lock();
        if work.waiting.iter().any(|(waiting, _)| *waiting == number) {
            return Ok(());
        }
        if work.waiting.len() == WAITING_COUNT_MAX {
            drop(work);
            return file.sync_data();
        }
        work.waiting.push((number, file.try_clone()?));
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Has the names of the log's files made durable. Where that cannot be done (some network file
    /// systems), a crash may cost the name of a new file; there is nothing to do about it.
    pub(super) fn request_directory(&self, directory: &Path) {
        let requested = File::open(directory).and_then(|file| self.request(DIRECTORY, &file));
        if let Err(error) = requested {
            tracing::debug!(%error, "the log's directory cannot be made durable");
        }
    }

    /// How it went since this was asked last, where anything was done.
    pub(super) fn take_outcome(&self) -> Option<io::Result<()>> {
        self.shared.lock().outcome.take()
    }

    /// Waits until everything asked for is done, and ends the thread.
    pub(super) fn finish(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that makes the log durable panicked");
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Shared {
    /// No code that holds the lock can leave the work half changed.
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let work = self.lock();
            let mut work = self
                .changed
                .wait_while(work, |work| work.waiting.is_empty() && !work.is_closing)
                .unwrap_or_else(PoisonError::into_inner);
            let files = mem::take(&mut work.waiting);
            drop(work);
            if files.is_empty() {
                return;
            }
            for (number, file) in files {
                let outcome = file.sync_data();
                if number != DIRECTORY {
                    self.tell(outcome);
                }
            }
        }
    }

    fn tell(&self, outcome: io::Result<()>) {
        let mut work = self.lock();
        if !matches!(work.outcome, Some(Err(_))) {
            work.outcome = Some(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn does_what_was_asked_before_it_ends() {
        let mut syncer = Syncer::start().unwrap();
        for number in 1..100 {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"a line\n").unwrap();
            syncer.request(number, &file).unwrap();
            syncer.request(number, &file).unwrap();
        }
        syncer.finish();
        assert!(syncer.shared.lock().waiting.is_empty());
        assert!(matches!(syncer.take_outcome(), Some(Ok(()))));
        assert!(syncer.take_outcome().is_none());
    }

    #[test]
    #[cfg(unix)]
    fn a_failure_is_told_once_and_not_hidden_by_what_goes_well() {
        let mut syncer = Syncer::start().unwrap();
        // A device without a disk cannot be made durable.
        let device = File::options().write(true).open("/dev/null").unwrap();
        syncer.request(1, &device).unwrap();
        syncer.request(2, &tempfile::tempfile().unwrap()).unwrap();
        syncer.finish();
        assert!(matches!(syncer.take_outcome(), Some(Err(_))));
        assert!(syncer.take_outcome().is_none());
    }
}
