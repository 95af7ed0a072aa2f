//! How long whoever asks the store waits for it.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use clap::Args;
use systrail::quantity;
use systrail::store::{Guard, Limits};

use super::Exit;
use super::console::say;

/// A query that does not stop when it is told to (one function at work on one large value) is given
/// this long.
const GRACE: Duration = Duration::from_secs(5);

/// How long the store may take.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Timeout {
    /// Stop asking the store after this long; 0s lets it take for ever
    #[arg(long, value_name = "TIME", value_parser = quantity::duration, default_value = "5m")]
    timeout: Duration,
}

impl Timeout {
    /// The same as a limit.
    pub(super) fn limit(self) -> Option<Duration> {
        Some(self.timeout).filter(|timeout| !timeout.is_zero())
    }

    /// A guard with this limit, for a command that the signals which mean it end as they are.
    pub(super) fn guard(self) -> Guard {
        Guard::new(Limits {
            timeout: self.limit(),
            ..Limits::default()
        })
    }

    /// Begins to look after `guard`, until the deadline is dropped.
    pub(super) fn start_deadline(self, guard: &Guard) -> Option<Deadline> {
        Deadline::start(self.limit()?, guard.clone())
    }
}

/// Ends the program when a query cannot be stopped otherwise. There is nothing to clean up: it has
/// written nothing, and its temporary files have no names.
pub(super) struct Deadline {
    /// Closed when the query is done.
    _done: Sender<()>,
}

impl Deadline {
    fn start(timeout: Duration, guard: Guard) -> Option<Self> {
        let (done, waiting) = mpsc::channel::<()>();
        let limit = timeout.saturating_add(GRACE);
        let watch_fn = move || {
            // Time in which the rows are not taken does not count, so there may be more left.
            let mut left = limit;
            while waiting.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                left = limit.saturating_sub(guard.time());
                if left.is_zero() {
                    say!("the query did not stop in time and was ended");
                    std::process::exit(Exit::Failed.code().into());
                }
                left = left.max(Duration::from_secs(1));
            }
        };
        let thread = systrail::sys::thread::named("deadline");
        match thread.spawn(watch_fn) {
            Ok(_runs_on) => Some(Self { _done: done }),
            Err(error) => {
                say!("no thread to end a query that does not stop: {error}");
                None
            }
        }
    }
}
