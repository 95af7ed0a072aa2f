//! A queue and a thread for each sink, and the chunks of events that go through them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use event::{Kind, loss};

use super::Error;
use crate::account::{QueuePeak, SinkCount};
use crate::sink::{FLUSH_INTERVAL_MS, Sink, Tally, WhenBehind};
use crate::trail::{Event, Program};

/// Events in a chunk at most: small enough that memory stays small when a storm comes, large enough
/// that handing over costs next to nothing an event.
const CHUNK_COUNT_MAX: usize = 2_048;

/// Bytes of the programs' texts in a chunk, after which it is sent: an event has tens of kilobytes of
/// them when somebody wants it to, and megabytes in a log of his making. Usual ones do not come near it.
const CHUNK_SIZE_MAX: usize = 512 << 10;

/// Chunks that wait for one sink at most.
const QUEUE_COUNT_MAX: usize = 8;

/// How long a sink that does not take anything is waited for where others would: longer than a busy disk
/// stands still, shorter than the kernel's buffers last.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// How long closing goes on without the sink having written anything.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// How often the losses of a sink that stands still are told: they are told to all.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

type Chunk = Arc<[Event]>;

/// What goes to a sink's thread.
#[derive(Debug)]
enum Message {
    /// Events to write.
    Events(Chunk),
    /// A request to flush, and to answer by dropping the sender.
    CatchUp(Sender<()>),
}

/// Events of one kind that one sink lost.
#[derive(Debug)]
pub(super) struct SinkLoss {
    pub(super) kind: Kind,
    pub(super) count: u64,
    /// Which sink and why: `log:write_failed`.
    pub(super) reason: String,
}

/// Losses by [`Kind::index`].
type Losses = [u64; Kind::OBSERVED.len()];

/// The queues of all sinks. Events are pushed one by one and sent to every sink in chunks that all sinks share.
#[derive(Debug)]
pub(super) struct SinkQueues {
    pending: Vec<Event>,
    /// Bytes of the programs' texts in them.
    pending_size: usize,
    queues: Vec<SinkQueue>,
}

/// One sink's queue, and the thread that empties it.
#[derive(Debug)]
struct SinkQueue {
    name: &'static str,
    when_behind: WhenBehind,
    tally: Arc<Tally>,
    /// How long it is waited for; `None` for ever.
    patience: Option<Duration>,
    /// It did not take anything for that long, and has not since.
    stands_still: bool,
    /// When its losses were told last.
    told_at: Option<Instant>,
    /// Lost because the sink was behind.
    behind: Losses,
    behind_total: u64,
    /// Handed to the sink.
    sent: u64,
    /// Told in the stream already: lost because the sink was behind, and by the sink itself.
    told: [Losses; 2],
    peak: AtomicU64,
    messages: Option<Sender<Message>>,
    thread: Option<Thread>,
}

/// A sink's thread. The channel ends when it does.
type Thread = (JoinHandle<()>, Receiver<()>);

impl SinkQueues {
    /// Starts a thread for each sink. Of several, one that stands still is waited for so long: then
    /// it loses what comes, and the others go on.
    pub(super) fn open(
        sinks: Vec<Box<dyn Sink>>,
        patience: Option<Duration>,
    ) -> Result<Self, Error> {
        let patience = patience.filter(|_| sinks.len() > 1);
        let queues = sinks
            .into_iter()
            .map(|sink| SinkQueue::open(sink, patience))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            pending: Vec::with_capacity(CHUNK_COUNT_MAX),
            pending_size: 0,
            queues,
        })
    }

    /// Adds an event. Says whether that filled a chunk, which then was sent.
    pub(super) fn push(&mut self, event: Event) -> bool {
        let size = event.body.program().map_or(0, Program::size);
        self.pending_size = self.pending_size.saturating_add(size);
        self.pending.push(event);
        let full = self.pending.len() >= CHUNK_COUNT_MAX || self.pending_size >= CHUNK_SIZE_MAX;
        if full {
            self.send();
        }
        full
    }

    /// Sends what was pushed.
    pub(super) fn send(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        self.pending_size = 0;
        let chunk: Chunk = self.pending.drain(..).collect();
        for queue in &mut self.queues {
            queue.send(&chunk);
        }
    }

    /// Sends what was pushed and waits until every sink has written and flushed it.
    pub(super) fn catch_up(&mut self) {
        self.send();
        let (answer, answers) = bounded(0);
        let mut patience = None;
        for queue in &self.queues {
            let Some(messages) = queue.messages.as_ref().filter(|_| !queue.stands_still) else {
                continue;
            };
            patience = patience.max(queue.patience);
            let message = Message::CatchUp(answer.clone());
            // A sink whose thread is gone has nothing to catch up with.
            let _sent = match queue.patience {
                Some(patience) => messages.send_timeout(message, patience).is_ok(),
                None => messages.send(message).is_ok(),
            };
        }
        drop(answer);
        // Nobody ever answers: the channel ends when the last sink has dropped its sender.
        let _ended = match patience {
            Some(patience) => answers.recv_timeout(patience).is_ok(),
            None => answers.recv().is_ok(),
        };
    }

    /// Sends what was pushed and waits until every sink has closed.
    pub(super) fn close(&mut self) {
        self.send();
        for queue in &mut self.queues {
            queue.messages = None;
        }
        for queue in &mut self.queues {
            queue.join();
        }
    }

    /// What sinks have lost since this was asked last; of one that stands still, once a second but for
    /// the last time.
    pub(super) fn new_losses(&mut self, is_last: bool) -> Vec<SinkLoss> {
        let queues = self.queues.iter_mut();
        queues.flat_map(|queue| queue.new_losses(is_last)).collect()
    }

    /// What each sink did.
    pub(super) fn counts(&self) -> Vec<SinkCount> {
        let count = |queue: &SinkQueue| {
            let (written, lost) = (queue.tally.written(), queue.tally.lost_total());
            SinkCount {
                name: queue.name.to_owned(),
                written,
                lost: lost.saturating_add(queue.behind_total),
                waiting: queue.sent.saturating_sub(written).saturating_sub(lost),
            }
        };
        self.queues.iter().map(count).collect()
    }

    /// The greatest fill of each sink's queue.
    pub(super) fn peaks(&self) -> Vec<QueuePeak> {
        let peak = |queue: &SinkQueue| QueuePeak {
            name: format!("{}_queue", queue.name),
            peak: queue.peak.load(Ordering::Relaxed),
            limit: u64::try_from(QUEUE_COUNT_MAX).unwrap_or(u64::MAX),
            unit: "batches".to_owned(),
        };
        self.queues.iter().map(peak).collect()
    }
}

impl SinkQueue {
    fn open(sink: Box<dyn Sink>, patience: Option<Duration>) -> Result<Self, Error> {
        let (messages, from_pipeline) = bounded(QUEUE_COUNT_MAX);
        let (lives, ended) = bounded(0);
        let (name, when_behind) = (sink.name(), sink.when_behind());
        let tally = Arc::new(Tally::default());
        let shared = Arc::clone(&tally);
        let thread = crate::sys::thread::named(name)
            .spawn(move || {
                let _lives: Sender<()> = lives;
                drain(sink, &from_pipeline, &shared);
            })
            .map_err(|source| Error::Thread { name, source })?;
        Ok(Self {
            name,
            when_behind,
            patience,
            stands_still: false,
            told_at: None,
            tally,
            behind: Losses::default(),
            behind_total: 0,
            sent: 0,
            told: Default::default(),
            peak: AtomicU64::new(0),
            messages: Some(messages),
            thread: Some((thread, ended)),
        })
    }

    fn send(&mut self, chunk: &Chunk) {
        let Some(messages) = &self.messages else {
            return;
        };
        // A full queue holds no more while this one waits outside.
        let waiting = messages.len().saturating_add(1).min(QUEUE_COUNT_MAX);
        let message = Message::Events(Arc::clone(chunk));
        let refused = match (self.when_behind, self.patience) {
            (WhenBehind::Wait, None) => messages.send(message).is_err(),
            (WhenBehind::Wait, Some(patience)) if !self.stands_still => {
                let refused = messages.send_timeout(message, patience).is_err();
                if refused {
                    tracing::warn!(
                        sink = self.name,
                        "it takes nothing for {patience:?}; the others go on without it"
                    );
                }
                refused
            }
            _ => messages.try_send(message).is_err(),
        };
        // One that takes a little now and then is not waited for each time.
        let is_behind = self.stands_still && messages.len() > QUEUE_COUNT_MAX / 2;
        self.stands_still = refused || is_behind;
        if refused {
            self.lose(chunk);
        } else {
            let waiting = u64::try_from(waiting).unwrap_or(u64::MAX);
            self.peak.fetch_max(waiting, Ordering::Relaxed);
            self.sent += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        }
    }

    /// Waits until the thread has ended, or writes nothing any more.
    fn join(&mut self) {
        let Some((thread, ended)) = self.thread.take() else {
            return;
        };
        let patience = self.patience.filter(|_| self.stands_still);
        let patience = patience.unwrap_or(CLOSE_PATIENCE);
        let mut written = self.tally.written();
        while ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            let before = std::mem::replace(&mut written, self.tally.written());
            if self.patience.is_some() && written == before {
                tracing::error!(
                    sink = self.name,
                    "it writes nothing any more, and is left with what waits for it"
                );
                return;
            }
        }
        if thread.join().is_err() {
            tracing::error!(sink = self.name, "the sink's thread panicked");
        }
    }

    fn new_losses(&mut self, is_last: bool) -> Vec<SinkLoss> {
        let is_due = self
            .told_at
            .is_none_or(|told| told.elapsed() >= TELL_INTERVAL);
        if self.stands_still && !is_due && !is_last {
            return Vec::new();
        }
        self.told_at = Some(Instant::now());
        let written = Kind::OBSERVED.map(|kind| self.tally.lost(kind));
        let reasons = [loss::Reason::SINK_BEHIND, loss::Reason::WRITE_FAILED];
        let mut losses = Vec::new();
        for ((now, told), reason) in [self.behind, written]
            .iter()
            .zip(&mut self.told)
            .zip(reasons)
        {
            for ((kind, now), told) in Kind::OBSERVED.into_iter().zip(now).zip(told) {
                if *now > *told {
                    let reason = format!("{}:{}", self.name, reason.name());
                    losses.push(SinkLoss {
                        kind,
                        count: *now - *told,
                        reason,
                    });
                    *told = *now;
                }
            }
        }
        losses
    }

    fn lose(&mut self, chunk: &[Event]) {
        for event in chunk {
            if let Some(index) = event.body.kind().index() {
                self.behind[index] += 1;
            }
            self.behind_total += 1;
        }
    }
}

/// A sink's thread: writes what comes, and flushes at most [`FLUSH_INTERVAL_MS`] after a write.
/// With nothing to write and nothing to flush it sleeps until something comes, unless the sink wants to be
/// flushed again.
fn drain(mut sink: Box<dyn Sink>, messages: &Receiver<Message>, tally: &Tally) {
    let mut flush_at: Option<Instant> = None;
    loop {
        let received = match flush_at {
            None => messages
                .recv()
                .map_err(|_closed| RecvTimeoutError::Disconnected),
            Some(deadline) => messages.recv_deadline(deadline),
        };
        match received {
            Ok(Message::CatchUp(_answer)) => {
                sink.flush(tally);
                flush_at = next_flush(&*sink);
            }
            Ok(Message::Events(chunk)) => {
                sink.write(&chunk, tally);
                let soon = Instant::now() + Duration::from_millis(FLUSH_INTERVAL_MS);
                flush_at = Some(flush_at.map_or(soon, |at| at.min(soon)));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if flush_at.is_some_and(|deadline| Instant::now() >= deadline) {
            sink.flush(tally);
            flush_at = next_flush(&*sink);
        }
    }
    sink.close(tally);
}

/// When a sink is flushed though nothing more is written.
fn next_flush(sink: &dyn Sink) -> Option<Instant> {
    sink.flush_again().map(|again| Instant::now() + again)
}
