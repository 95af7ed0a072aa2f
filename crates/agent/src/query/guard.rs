//! What keeps a query from doing harm.
//!
//! - **Nothing is changed and nothing else is read**: segments are open read-only, `query_only` is
//!   on, and an authorizer refuses every action but reading and computing: no `ATTACH`, no
//!   `PRAGMA`, no writes, no temporary tables, no `load_extension`.
//! - **Nothing is endless**: SQLite calls back every [`OPERATIONS`] steps; the query ends when it
//!   was interrupted, when its time is over, or when its temporary files leave less than
//!   [`FREE_SIZE_MIN`] on their disk.
//! - **Nothing is huge**: no value is larger than [`VALUE_SIZE_MAX`], all memory together stays
//!   below [`MEMORY_SIZE_MAX`]. Large sorts go to temporary files. Rows are written as they come.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;

use crate::quantity;
use crate::sys::wake::Waker;

/// Steps of SQLite's machine between two looks at the clock: few, because one of them can make a
/// text of megabytes.
const OPERATIONS: i32 = 1_000;

/// Bytes of the largest value, and so of the largest text a function makes.
const VALUE_SIZE_MAX: i32 = 16 << 20;

/// Bytes of all of SQLite's memory.
const MEMORY_SIZE_MAX: u64 = 512 << 20;

/// Bytes that stay free on the disk of the temporary files.
const FREE_SIZE_MIN: u64 = 1 << 30;

/// How often the clock's slower companions are asked: the disk, whoever shows progress.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How a query is bounded.
pub struct Settings {
    /// How long it may take; for ever without.
    pub timeout: Option<Duration>,
    /// Ends it when woken.
    pub stop: Waker,
    /// Is told now and then how long the query runs and how many rows it gave.
    pub progress_fn: Option<Box<dyn FnMut(Duration, u64) + Send>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Settings")
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
    DiskFull,
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
            Self::DiskFull => write!(
                formatter,
                "the query's temporary files would leave less than {} on their disk; ask for less \
                 at once, or set SQLITE_TMPDIR",
                quantity::show_size(FREE_SIZE_MIN)
            ),
        }
    }
}

/// What query and callback share.
#[derive(Debug)]
struct Shared {
    timeout: Option<Duration>,
    clock: Mutex<Stopwatch>,
    row_count: AtomicU64,
    stopped: AtomicU8,
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
    fn total(&self) -> Duration {
        let now = self.started.map(|started| started.elapsed());
        self.before.saturating_add(now.unwrap_or_default())
    }
}

/// How long the query of a connection has been at work, for another thread.
#[derive(Clone, Debug)]
pub struct Work(Arc<Shared>);

impl Work {
    /// How long.
    pub fn time(&self) -> Duration {
        self.0.clock().total()
    }
}

impl Shared {
    fn clock(&self) -> std::sync::MutexGuard<'_, Stopwatch> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NOT_STOPPED: u8 = 0;
const INTERRUPTED: u8 = 1;
const TIMED_OUT: u8 = 2;
const DISK_FULL: u8 = 3;

/// The fence around one connection.
#[derive(Debug)]
pub(super) struct Guard {
    shared: Arc<Shared>,
}

impl Guard {
    /// Fences `connection` in, for good.
    pub(super) fn put(connection: &mut Connection, settings: Settings) -> rusqlite::Result<Self> {
        // Before the authorizer, which refuses every PRAGMA.
        connection.execute_batch(&format!("PRAGMA hard_heap_limit = {MEMORY_SIZE_MAX}"))?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_SIZE_MAX)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 256)?;
        connection.set_limit(Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 0)?;
        let shared = Arc::new(Shared {
            timeout: settings.timeout,
            clock: Mutex::default(),
            row_count: AtomicU64::new(0),
            stopped: AtomicU8::new(NOT_STOPPED),
        });
        let mut watch = Watch {
            shared: Arc::clone(&shared),
            settings,
            looked: Instant::now(),
        };
        connection.progress_handler(OPERATIONS, Some(move || watch.must_stop()))?;
        connection.authorizer(Some(judge))?;
        Ok(Self { shared })
    }

    /// A query begins.
    pub(super) fn begin(&self) {
        *self.shared.clock() = Stopwatch {
            before: Duration::ZERO,
            started: Some(Instant::now()),
        };
        self.shared.row_count.store(0, Ordering::Relaxed);
        self.shared.stopped.store(NOT_STOPPED, Ordering::Relaxed);
    }

    /// SQLite has done its work for now.
    pub(super) fn pause(&self) {
        let mut clock = self.shared.clock();
        clock.before = clock.total();
        clock.started = None;
    }

    /// SQLite goes on, after so many rows.
    pub(super) fn resume(&self, row_count: u64) {
        self.shared.clock().started = Some(Instant::now());
        self.shared.row_count.store(row_count, Ordering::Relaxed);
    }

    /// How long it has been at work.
    pub(super) fn work(&self) -> Work {
        Work(Arc::clone(&self.shared))
    }

    /// Why the query was stopped, if it was.
    pub(super) fn stopped(&self) -> Option<Stopped> {
        match self.shared.stopped.load(Ordering::Relaxed) {
            INTERRUPTED => Some(Stopped::Interrupted),
            TIMED_OUT => Some(Stopped::TimedOut(self.shared.timeout.unwrap_or_default())),
            DISK_FULL => Some(Stopped::DiskFull),
            _ => None,
        }
    }
}

/// What SQLite calls back.
struct Watch {
    shared: Arc<Shared>,
    settings: Settings,
    looked: Instant,
}

impl Watch {
    fn must_stop(&mut self) -> bool {
        let now = Instant::now();
        let runs = self.shared.clock().total();
        let is_over = self.settings.timeout.is_some_and(|timeout| runs > timeout);
        let reason = if self.settings.stop.is_woken() {
            INTERRUPTED
        } else if is_over {
            TIMED_OUT
        } else if now.duration_since(self.looked) < LOOK_INTERVAL {
            return false;
        } else {
            self.looked = now;
            let row_count = self.shared.row_count.load(Ordering::Relaxed);
            if let Some(progress_fn) = &mut self.settings.progress_fn {
                progress_fn(runs, row_count);
            }
            if free_size().is_none_or(|free| free >= FREE_SIZE_MIN) {
                return false;
            }
            DISK_FULL
        };
        self.shared.stopped.store(reason, Ordering::Relaxed);
        true
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

/// Bytes free where SQLite puts its temporary files.
#[cfg(target_os = "linux")]
fn free_size() -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(&temporary_directory()).ok()?;
    Some(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

#[cfg(not(target_os = "linux"))]
fn free_size() -> Option<u64> {
    None
}

/// Where SQLite puts its temporary files (sqlite.org/tempfiles.html, section 5): the first of these
/// that is there.
#[cfg(target_os = "linux")]
fn temporary_directory() -> std::path::PathBuf {
    use std::path::PathBuf;
    let named = ["SQLITE_TMPDIR", "TMPDIR"].map(|name| std::env::var_os(name).map(PathBuf::from));
    let usual = ["/var/tmp", "/usr/tmp", "/tmp"].map(|path| Some(PathBuf::from(path)));
    named
        .into_iter()
        .chain(usual)
        .flatten()
        .find(|path| path.is_dir())
        .unwrap_or_else(|| PathBuf::from("."))
}
