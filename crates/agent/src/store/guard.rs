//! What keeps whoever asks the store from doing harm, and the store from doing harm to them: a
//! query is anybody's, and so are a segment's file and the views in it.
//!
//! - **Nothing is changed and nothing else is read**: segments are open read-only, `query_only` is
//!   on, and an authorizer refuses every action but reading and computing: no `ATTACH`, no
//!   `PRAGMA`, no writes, no temporary tables, no `load_extension`.
//! - **Nothing is endless**: SQLite calls back every [`OPERATIONS`] steps; the query ends when it
//!   was interrupted, when its time is over, or when its temporary files leave less than
//!   [`FREE_SIZE_MIN`] on their disk, or less than half of what was free where that is less. That
//!   holds from the first byte that is read of a segment.
//! - **Nothing is huge**: no value is larger than [`VALUE_SIZE_MAX`], all memory of SQLite together
//!   stays below [`MEMORY_SIZE_MAX`], and so much as [`KEPT_SIZE_MAX`] is kept of the answers.
//!   Large sorts go to temporary files. The rows of a query are written as they come.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode};

use super::ReadError;
use crate::quantity;
use crate::sys::wake::Waker;

/// Steps of SQLite's machine between two looks at the clock: few, because one of them can make a
/// text of megabytes.
const OPERATIONS: i32 = 250;

/// Bytes of the largest value, and so of the largest text a function makes.
const VALUE_SIZE_MAX: i32 = 16 << 20;

/// Bytes of all of SQLite's memory.
const MEMORY_SIZE_MAX: u64 = 512 << 20;

/// Bytes that stay free on the disk of the temporary files, where there is as much as twice of it.
const FREE_SIZE_MIN: u64 = 1 << 30;

/// How often the clock's slower companions are asked: the disk, whoever shows progress.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Bytes of the answers that are kept: a tree, a story.
const KEPT_SIZE_MAX: u64 = 1 << 30;

/// How a query is bounded.
#[derive(Default)]
pub struct Limits {
    /// How long it may take; for ever without.
    pub timeout: Option<Duration>,
    /// Ends it when woken. Whoever has none is ended as a whole by the signals that mean it.
    pub stop: Option<Waker>,
    /// Is told now and then how long the query runs and how many rows it gave.
    pub progress_fn: Option<Box<dyn FnMut(Duration, u64) + Send>>,
}

impl fmt::Debug for Limits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Limits")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why a query was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// By whoever asked.
    Interrupted,
    /// Its time was over.
    TimedOut(Duration),
    /// Its temporary files would have filled the disk.
    DiskFull {
        /// Bytes that it leaves free.
        left: u64,
    },
    /// A value or the whole needed too much memory.
    Memory,
}

impl fmt::Display for Stopped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => formatter.write_str("the query was interrupted"),
            Self::TimedOut(timeout) => write!(
                formatter,
                "the query took longer than {}; give it more with --timeout, or bound the time \
                 with --since and --until",
                quantity::show_duration(*timeout)
            ),
            Self::DiskFull { left } => write!(
                formatter,
                "the query's temporary files would leave less than {} on their disk; ask for less \
                 at once, or set SQLITE_TMPDIR",
                quantity::show_size(*left)
            ),
            Self::Memory => write!(
                formatter,
                "the query needs too much memory, or a value larger than {}; ask for less at once",
                quantity::show_size(VALUE_SIZE_MAX.unsigned_abs().into())
            ),
        }
    }
}

/// How long SQLite was at work. Time in which nobody takes the rows does not count: whoever reads
/// them in a pager may take an hour.
#[derive(Clone, Copy, Debug, Default)]
struct Stopwatch {
    /// Before it was last started.
    before: Duration,
    /// When it was last started, while it runs.
    started: Option<Instant>,
}

impl Stopwatch {
    fn started() -> Self {
        Self {
            before: Duration::ZERO,
            started: Some(Instant::now()),
        }
    }

    fn total(&self) -> Duration {
        let now = self.started.map(|started| started.elapsed());
        self.before.saturating_add(now.unwrap_or_default())
    }
}

const NOT_STOPPED: u8 = 0;
const INTERRUPTED: u8 = 1;
const TIMED_OUT: u8 = 2;
const DISK_FULL: u8 = 3;

/// The fence around the connections to a store. Clones are the same guard.
#[derive(Clone, Debug)]
pub struct Guard {
    shared: Arc<Shared>,
}

/// What whoever asks and SQLite's callback share.
#[derive(Debug)]
struct Shared {
    timeout: Option<Duration>,
    stop: Option<Waker>,
    clock: Mutex<Stopwatch>,
    slower: Mutex<Slower>,
    /// Bytes that stay free on the disk of the temporary files.
    free_size_min: AtomicU64,
    row_count: AtomicU64,
    kept_size: AtomicU64,
    stopped: AtomicU8,
}

/// What is not looked after at every call.
struct Slower {
    looked: Instant,
    progress_fn: Option<Box<dyn FnMut(Duration, u64) + Send>>,
}

impl fmt::Debug for Slower {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Slower").finish_non_exhaustive()
    }
}

impl Default for Guard {
    /// Without an end to the time; all else is bounded.
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Guard {
    /// With these limits; the time begins now.
    pub fn new(limits: Limits) -> Self {
        Self {
            shared: Arc::new(Shared {
                timeout: limits.timeout,
                stop: limits.stop,
                clock: Mutex::new(Stopwatch::started()),
                slower: Mutex::new(Slower {
                    looked: Instant::now(),
                    progress_fn: limits.progress_fn,
                }),
                free_size_min: AtomicU64::new(free_size_min(free_size())),
                row_count: AtomicU64::new(0),
                kept_size: AtomicU64::new(0),
                stopped: AtomicU8::new(NOT_STOPPED),
            }),
        }
    }

    /// Bounds what `connection` does from now on.
    pub(super) fn bound(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        connection.execute_batch(&format!("PRAGMA hard_heap_limit = {MEMORY_SIZE_MAX}"))?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_SIZE_MAX)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 256)?;
        connection.set_limit(Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 0)?;
        let shared = Arc::clone(&self.shared);
        connection.progress_handler(OPERATIONS, Some(move || shared.must_stop()))
    }

    /// A query begins.
    pub(crate) fn begin(&self) {
        *self.shared.clock() = Stopwatch::started();
        let left = free_size_min(free_size());
        self.shared.free_size_min.store(left, Ordering::Relaxed);
        self.shared.row_count.store(0, Ordering::Relaxed);
        self.shared.stopped.store(NOT_STOPPED, Ordering::Relaxed);
    }

    /// SQLite has done its work for now.
    pub(crate) fn pause(&self) {
        let mut clock = self.shared.clock();
        clock.before = clock.total();
        clock.started = None;
    }

    /// SQLite goes on, after so many rows.
    pub(crate) fn resume(&self, row_count: u64) {
        self.shared.clock().started = Some(Instant::now());
        self.shared.row_count.store(row_count, Ordering::Relaxed);
    }

    /// How long the query has been at work.
    pub fn time(&self) -> Duration {
        self.shared.clock().total()
    }

    /// So many bytes more are kept of the answers; fails where that is too much.
    pub(super) fn keep(&self, size: usize) -> Result<(), Stopped> {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        let before = self.shared.kept_size.fetch_add(size, Ordering::Relaxed);
        if before.saturating_add(size) > KEPT_SIZE_MAX {
            return Err(Stopped::Memory);
        }
        Ok(())
    }

    /// Whether `error` of SQLite is that the query was stopped, and why it was.
    pub(crate) fn stopped(&self, error: &rusqlite::Error) -> Option<Stopped> {
        match code_of(error)? {
            ErrorCode::OperationInterrupted => match self.shared.stopped.load(Ordering::Relaxed) {
                INTERRUPTED => Some(Stopped::Interrupted),
                TIMED_OUT => Some(Stopped::TimedOut(self.shared.timeout.unwrap_or_default())),
                DISK_FULL => Some(Stopped::DiskFull {
                    left: self.shared.free_size_min.load(Ordering::Relaxed),
                }),
                _ => None,
            },
            ErrorCode::TooBig | ErrorCode::OutOfMemory => Some(Stopped::Memory),
            _ => None,
        }
    }

    /// The same of an error of the store, where it is not a segment that is at fault.
    pub(super) fn interrupted(&self, error: ReadError) -> ReadError {
        match &error {
            ReadError::Sqlite { source, .. } => match self.stopped(source) {
                None | Some(Stopped::Memory) => error,
                Some(stopped) => ReadError::Stopped(stopped),
            },
            _ => error,
        }
    }
}

/// SQLite's code, also where the error came while a text was compiled.
pub(crate) fn code_of(error: &rusqlite::Error) -> Option<ErrorCode> {
    match error {
        rusqlite::Error::SqlInputError { error, .. } => Some(error.code),
        other => other.sqlite_error_code(),
    }
}

/// Lets `connection` read and compute, and nothing else, for good.
pub(super) fn fence(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.authorizer(Some(judge))
}

impl Shared {
    fn clock(&self) -> MutexGuard<'_, Stopwatch> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What SQLite calls back.
    fn must_stop(&self) -> bool {
        let Some(reason) = self.reason_to_stop() else {
            return false;
        };
        self.stopped.store(reason, Ordering::Relaxed);
        true
    }

    fn reason_to_stop(&self) -> Option<u8> {
        let runs = self.clock().total();
        if self.stop.as_ref().is_some_and(Waker::is_woken) {
            return Some(INTERRUPTED);
        }
        if self.timeout.is_some_and(|timeout| runs > timeout) {
            return Some(TIMED_OUT);
        }
        let mut slower = self.slower.lock().unwrap_or_else(PoisonError::into_inner);
        if slower.looked.elapsed() < LOOK_INTERVAL {
            return None;
        }
        slower.looked = Instant::now();
        if let Some(progress_fn) = &mut slower.progress_fn {
            progress_fn(runs, self.row_count.load(Ordering::Relaxed));
        }
        let left = self.free_size_min.load(Ordering::Relaxed);
        free_size()
            .is_some_and(|free| free < left)
            .then_some(DISK_FULL)
    }
}

/// Whether a statement may do this. SQLite asks while it compiles it.
fn judge(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => {
            Authorization::Allow
        }
        AuthAction::Function { function_name } => {
            // Both can run code. Neither is switched on; this does not rely on it.
            if ["load_extension", "fts3_tokenizer"]
                .iter()
                .any(|name| function_name.eq_ignore_ascii_case(name))
            {
                Authorization::Deny
            } else {
                Authorization::Allow
            }
        }
        _ => Authorization::Deny,
    }
}

/// Bytes that a query leaves free of so many: on a small disk, or one that is nearly full, it may still run, and takes
/// half of what there is at most.
fn free_size_min(free: Option<u64>) -> u64 {
    free.map_or(FREE_SIZE_MIN, |free| FREE_SIZE_MIN.min(free / 2))
}

/// Bytes free where SQLite puts its temporary files.
#[cfg(target_os = "linux")]
fn free_size() -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(&temporary_directory()).ok()?;
    free_of(stat.blocks(), stat.blocks_available(), stat.fragment_size())
}

/// The same of these figures. A file system in memory may have no size that it tells (`ramfs`): all are 0.
#[cfg(target_os = "linux")]
fn free_of(blocks: u64, available: u64, block_size: u64) -> Option<u64> {
    (blocks > 0).then(|| available.saturating_mul(block_size))
}

#[cfg(not(target_os = "linux"))]
fn free_size() -> Option<u64> {
    None
}

/// Where SQLite puts its temporary files (sqlite.org/tempfiles.html, section 5): the first of these
/// that is there. Ours go there too.
#[cfg(target_os = "linux")]
pub(crate) fn temporary_directory() -> PathBuf {
    let named = ["SQLITE_TMPDIR", "TMPDIR"].map(|name| std::env::var_os(name).map(PathBuf::from));
    let usual = ["/var/tmp", "/usr/tmp", "/tmp"].map(|path| Some(PathBuf::from(path)));
    named
        .into_iter()
        .chain(usual)
        .flatten()
        .find(|path| path.is_dir())
        .unwrap_or_else(|| PathBuf::from("."))
}

/// Where temporary files go.
#[cfg(not(target_os = "linux"))]
pub(crate) fn temporary_directory() -> PathBuf {
    std::env::temp_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_system_without_a_size_is_not_full() {
        assert_eq!(free_of(0, 0, 4096), None);
        assert_eq!(free_of(10, 0, 4096), Some(0));
        assert_eq!(free_of(10, 2, 4096), Some(8192));
    }

    /// A query of half a second on a machine with a small disk was ended before it wrote a byte.
    #[test]
    fn a_small_disk_is_not_full_before_anything_is_written() {
        assert_eq!(free_size_min(Some(400 << 20)), 200 << 20);
        assert_eq!(free_size_min(Some(0)), 0);
        assert_eq!(free_size_min(Some(20 << 30)), FREE_SIZE_MIN);
        assert_eq!(free_size_min(None), FREE_SIZE_MIN);
    }

    /// No single answer was too large, but all of them together were.
    #[test]
    fn what_is_kept_of_all_answers_is_bounded() {
        let guard = Guard::default();
        let half = usize::try_from(KEPT_SIZE_MAX / 2).unwrap();
        assert_eq!(guard.keep(half), Ok(()));
        assert_eq!(guard.keep(half), Ok(()));
        assert_eq!(guard.keep(1), Err(Stopped::Memory));
    }
}
