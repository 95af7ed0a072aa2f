//! Messages on a thread of their own, so that whoever does not read them holds nothing up.
//!
//! Standard error may be a pipe whose reader is paused, and a write to it then takes until it goes on.
//! The pipe is not ours alone, so it is not made non-blocking: all who write to it share the flag.
//! What waits is bounded, and what finds no room is counted and told when there is room again.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of messages that wait at most.
const WAITING_SIZE_MAX: usize = 256 * 1024;

/// What is to be written.
#[derive(Debug)]
pub(super) enum Said {
    /// A line that stays.
    Line(String),
    /// What the live line is from now on; nothing takes it away.
    Live(String),
}

impl Said {
    const fn size(&self) -> usize {
        match self {
            Self::Line(text) | Self::Live(text) => text.len(),
        }
    }
}

/// The thread that writes, and what it has still to write.
#[derive(Debug)]
pub(super) struct Messages {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Said>,
    waiting_size: usize,
    lost_count: u64,
    is_writing: bool,
}

impl Messages {
    /// Starts the thread, which writes with `write_fn` for as long as the program runs.
    pub(super) fn start(write_fn: impl Fn(&Said) + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let own = Arc::clone(&shared);
        systrail::sys::thread::named("messages").spawn(move || {
            loop {
                write_fn(&own.next());
            }
        })?;
        Ok(Self { shared })
    }

    /// Has it written, and waits for nobody.
    pub(super) fn push(&self, said: Said) {
        let mut state = self.shared.lock();
        if let Said::Live(_) = said
            && let Some(Said::Live(_)) = state.waiting.back()
            && let Some(outdated) = state.waiting.pop_back()
        {
            state.waiting_size = state.waiting_size.saturating_sub(outdated.size());
        }
        let size = state.waiting_size.saturating_add(said.size());
        if size <= WAITING_SIZE_MAX {
            state.waiting_size = size;
            state.waiting.push_back(said);
        } else if let Said::Line(_) = said {
            state.lost_count = state.lost_count.saturating_add(1);
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Waits until everything is written, but for `limit` at most.
    pub(super) fn wait(&self, limit: Duration) {
        let state = self.shared.lock();
        let is_busy = |state: &mut State| state.is_writing || !state.is_empty();
        // Written or not, nothing more can be done.
        let _waited = self
            .shared
            .changed
            .wait_timeout_while(state, limit, is_busy);
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.lost_count == 0
    }

    /// Takes the oldest; after those that wait comes how many found no room.
    fn take(&mut self) -> Option<Said> {
        if let Some(said) = self.waiting.pop_front() {
            self.waiting_size = self.waiting_size.saturating_sub(said.size());
            return Some(said);
        }
        match std::mem::take(&mut self.lost_count) {
            0 => None,
            lost_count => Some(Said::Line(format!(
                "systrail: {lost_count} messages are lost: standard error was not read in time"
            ))),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next message. The one before it is written.
    fn next(&self) -> Said {
        let mut state = self.lock();
        state.is_writing = false;
        self.changed.notify_all();
        loop {
            if let Some(said) = state.take() {
                state.is_writing = true;
                return said;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_does_not_read_holds_nothing_up_and_is_told_what_is_lost() {
        let (written, read) = mpsc::channel();
        let (go_on, wait) = mpsc::channel();
        let messages = Messages::start(move |said| {
            written.send(format!("{said:?}")).unwrap();
            wait.recv().unwrap();
        })
        .unwrap();
        messages.push(Said::Line("first".to_owned()));
        assert_eq!(read.recv().unwrap(), "Line(\"first\")");
        // The writer stands still in the middle of it.
        messages.push(Said::Live("outdated".to_owned()));
        messages.push(Said::Live("live".to_owned()));
        let size = WAITING_SIZE_MAX / 4;
        for _ in 0..6 {
            messages.push(Said::Line("x".repeat(size)));
        }
        messages.wait(Duration::from_millis(1));
        for _ in 0..6 {
            go_on.send(()).unwrap();
        }
        assert_eq!(read.recv().unwrap(), "Live(\"live\")");
        for _ in 0..3 {
            assert!(read.recv().unwrap().starts_with("Line(\"xxx"));
        }
        let last = read.recv().unwrap();
        assert!(last.contains("3 messages are lost"), "{last}");
        messages.wait(Duration::from_mins(1));
        assert!(messages.shared.lock().is_empty());
    }
}
