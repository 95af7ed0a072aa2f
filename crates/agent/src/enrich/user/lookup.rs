//! Names asked for on a thread of its own: who answers may be a network away, or not answer at all,
//! and the stream waits for nobody.
//!
//! A moment of patience there is, because most databases answer at once and an event is better with
//! its name than without. It is limited as a whole, so that a database that is merely slow does not
//! slow the stream down, and there is none for one that was waited for in vain and has not answered
//! since.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use crate::enrich::token_bucket::TokenBucket;
use crate::sys::thread;

/// How long one event waits for a name.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// Nanoseconds that may be waited in all before any time has passed: for the users a machine has when
/// a recording begins.
const CREDIT_MAX: u64 = 1_000_000_000;

/// Nanoseconds that may be waited later, of each second that passes: a twentieth.
const CREDIT_RATE: u64 = 50_000_000;

/// The most users that wait to be asked for, and the most answers that wait to be taken.
pub(super) const QUEUE_COUNT: usize = 256;

/// What the database said: a name, that there is none, or nothing.
pub(super) type Answer = io::Result<Option<String>>;

/// Asks the database for one user.
pub(super) type AskFn<K> = Arc<dyn Fn(&K) -> Answer + Send + Sync>;

/// The thread that asks, and the patience with it.
pub(super) struct Lookup<K> {
    ask_fn: AskFn<K>,
    /// There is none before anybody is asked for.
    thread: Option<Ends<K>>,
    /// Nanoseconds that may be waited, by the time since `began`.
    credit: TokenBucket,
    began: Instant,
    waited_in_vain: bool,
}

/// Our ends of the two queues. The thread ends when they are gone; it is not waited for, because it
/// may never come back from the question it asks.
struct Ends<K> {
    asked: SyncSender<K>,
    answered: Receiver<(K, Answer)>,
}

impl<K: Send + 'static> Lookup<K> {
    pub(super) fn new(ask_fn: AskFn<K>) -> Self {
        Self {
            ask_fn,
            thread: None,
            credit: TokenBucket::full(CREDIT_RATE, CREDIT_MAX, 0),
            began: Instant::now(),
            waited_in_vain: false,
        }
    }

    /// Has a user asked for. Tells whether he will be: not when too many wait.
    pub(super) fn ask(&mut self, user: K) -> bool {
        if self.thread.is_none() {
            match start(Arc::clone(&self.ask_fn)) {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => {
                    tracing::debug!(%error, "no thread that asks for users");
                    return false;
                }
            }
        }
        let sent = self.thread.as_ref().map(|ends| ends.asked.try_send(user));
        if let Some(Err(TrySendError::Disconnected(_))) = sent {
            self.thread = None;
            return false;
        }
        matches!(sent, Some(Ok(())))
    }

    /// An answer that has come.
    pub(super) fn answer(&mut self) -> Option<(K, Answer)> {
        let answer = self.thread.as_ref()?.answered.try_recv().ok()?;
        self.waited_in_vain = false;
        Some(answer)
    }

    /// Waits for answers, as long as patience lasts, until one `is_wanted_fn`.
    pub(super) fn wait(&mut self, mut is_wanted_fn: impl FnMut(K, Answer) -> bool) {
        let began = Instant::now();
        let patience = self.patience(began);
        let Some(ends) = &self.thread else { return };
        let mut left = patience;
        while !left.is_zero() {
            match ends.answered.recv_timeout(left) {
                Ok((user, answer)) => {
                    if is_wanted_fn(user, answer) {
                        break;
                    }
                    left = patience.saturating_sub(began.elapsed());
                }
                Err(error) => {
                    self.waited_in_vain = error == RecvTimeoutError::Timeout;
                    break;
                }
            }
        }
        self.credit.take(nanoseconds(began.elapsed()));
    }

    fn patience(&mut self, now: Instant) -> Duration {
        let left = self.credit.left(nanoseconds(now - self.began));
        if self.waited_in_vain {
            return Duration::ZERO;
        }
        Duration::from_nanos(left).min(PATIENCE)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn start<K: Send + 'static>(ask_fn: AskFn<K>) -> io::Result<Ends<K>> {
    let (asked, questions) = sync_channel::<K>(QUEUE_COUNT);
    let (answers, answered) = sync_channel(QUEUE_COUNT);
    thread::named("users").spawn(move || {
        for user in questions {
            let answer = ask_fn(&user);
            if answers.send((user, answer)).is_err() {
                return;
            }
        }
    })?;
    Ok(Ends { asked, answered })
}

impl<K> fmt::Debug for Lookup<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Lookup")
            .field("credit", &self.credit)
            .field("waited_in_vain", &self.waited_in_vain)
            .finish_non_exhaustive()
    }
}
