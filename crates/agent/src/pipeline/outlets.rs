//! The sinks' threads, and the chunks of events that go to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use event::{Kind, loss};

use super::Error;
use crate::account::{QueuePeak, SinkCount};
use crate::sink::{FLUSH_INTERVAL_MS, Sink, Tally, WhenBehind};
use crate::trail::Event;

/// Events in a chunk at most: small enough that memory stays small when a storm comes, large enough
/// that handing over costs next to nothing an event.
const CHUNK_COUNT_MAX: usize = 2_048;

/// Chunks that wait for one sink at most.
const QUEUE_COUNT_MAX: usize = 8;

type Chunk = Arc<[Event]>;

/// What goes to a sink's thread.
#[derive(Debug)]
enum Parcel {
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

/// All sinks. Events are pushed one by one and sent to every sink in chunks that all sinks share.
#[derive(Debug)]
pub(super) struct Outlets {
    pending: Vec<Event>,
    outlets: Vec<Outlet>,
}

#[derive(Debug)]
struct Outlet {
    name: &'static str,
    when_behind: WhenBehind,
    tally: Arc<Tally>,
    /// Lost because the sink was behind.
    behind: Losses,
    behind_total: u64,
    /// Handed to the sink.
    sent: u64,
    /// Told in the stream already: lost because the sink was behind, and by the sink itself.
    told: [Losses; 2],
    peak: AtomicU64,
    parcels: Option<Sender<Parcel>>,
    thread: Option<JoinHandle<()>>,
}

impl Outlets {
    /// Starts a thread for each sink.
    pub(super) fn open(sinks: Vec<Box<dyn Sink>>) -> Result<Self, Error> {
        let outlets = sinks
            .into_iter()
            .map(Outlet::open)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            pending: Vec::with_capacity(CHUNK_COUNT_MAX),
            outlets,
        })
    }

    /// Adds an event. Says whether that filled a chunk, which then was sent.
    pub(super) fn push(&mut self, event: Event) -> bool {
        self.pending.push(event);
        let full = self.pending.len() >= CHUNK_COUNT_MAX;
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
        let chunk: Chunk = self.pending.drain(..).collect();
        for outlet in &mut self.outlets {
            outlet.send(&chunk);
        }
    }

    /// Sends what was pushed and waits until every sink has written and flushed it.
    pub(super) fn catch_up(&mut self) {
        self.send();
        let (answer, answers) = bounded(0);
        for parcels in self
            .outlets
            .iter()
            .filter_map(|outlet| outlet.parcels.as_ref())
        {
            // A sink whose thread is gone has nothing to catch up with.
            let _sent = parcels.send(Parcel::CatchUp(answer.clone()));
        }
        drop(answer);
        // Nobody ever answers: the channel ends when the last sink has dropped its sender.
        let _ended = answers.recv();
    }

    /// Sends what was pushed and waits until every sink has closed.
    pub(super) fn close(&mut self) {
        self.send();
        for outlet in &mut self.outlets {
            outlet.parcels = None;
        }
        for outlet in &mut self.outlets {
            if outlet
                .thread
                .take()
                .is_some_and(|thread| thread.join().is_err())
            {
                tracing::error!(sink = outlet.name, "the sink's thread panicked");
            }
        }
    }

    /// What sinks have lost since this was asked last.
    pub(super) fn new_losses(&mut self) -> Vec<SinkLoss> {
        self.outlets
            .iter_mut()
            .flat_map(Outlet::new_losses)
            .collect()
    }

    /// What each sink did.
    pub(super) fn counts(&self) -> Vec<SinkCount> {
        let count = |outlet: &Outlet| {
            let (written, lost) = (outlet.tally.written(), outlet.tally.lost_total());
            SinkCount {
                name: outlet.name.to_owned(),
                written,
                lost: lost.saturating_add(outlet.behind_total),
                waiting: outlet.sent.saturating_sub(written).saturating_sub(lost),
            }
        };
        self.outlets.iter().map(count).collect()
    }

    /// The greatest fill of each sink's queue.
    pub(super) fn peaks(&self) -> Vec<QueuePeak> {
        let peak = |outlet: &Outlet| QueuePeak {
            name: format!("{}_queue", outlet.name),
            peak: outlet.peak.load(Ordering::Relaxed),
            limit: u64::try_from(QUEUE_COUNT_MAX).unwrap_or(u64::MAX),
            unit: "batches".to_owned(),
        };
        self.outlets.iter().map(peak).collect()
    }
}

impl Outlet {
    fn open(sink: Box<dyn Sink>) -> Result<Self, Error> {
        let (parcels, from_pipeline) = bounded(QUEUE_COUNT_MAX);
        let (name, when_behind) = (sink.name(), sink.when_behind());
        let tally = Arc::new(Tally::default());
        let shared = Arc::clone(&tally);
        let thread = std::thread::Builder::new()
            .name(format!("systrail-{name}"))
            .spawn(move || drain(sink, &from_pipeline, &shared))
            .map_err(|source| Error::Thread { name, source })?;
        Ok(Self {
            name,
            when_behind,
            tally,
            behind: Losses::default(),
            behind_total: 0,
            sent: 0,
            told: Default::default(),
            peak: AtomicU64::new(0),
            parcels: Some(parcels),
            thread: Some(thread),
        })
    }

    fn send(&mut self, chunk: &Chunk) {
        let Some(parcels) = &self.parcels else { return };
        // A full queue holds no more while this one waits outside.
        let waiting = parcels.len().saturating_add(1).min(QUEUE_COUNT_MAX);
        let parcel = Parcel::Events(Arc::clone(chunk));
        let refused = match self.when_behind {
            WhenBehind::Wait => parcels.send(parcel).is_err(),
            WhenBehind::Lose => parcels.try_send(parcel).is_err(),
        };
        if refused {
            self.lose(chunk);
        } else {
            let waiting = u64::try_from(waiting).unwrap_or(u64::MAX);
            self.peak.fetch_max(waiting, Ordering::Relaxed);
            self.sent += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        }
    }

    fn new_losses(&mut self) -> Vec<SinkLoss> {
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
/// With nothing to write and nothing to flush it sleeps until something comes.
fn drain(mut sink: Box<dyn Sink>, parcels: &Receiver<Parcel>, tally: &Tally) {
    let mut flush_at: Option<Instant> = None;
    loop {
        let received = match flush_at {
            None => parcels
                .recv()
                .map_err(|_closed| RecvTimeoutError::Disconnected),
            Some(deadline) => parcels.recv_deadline(deadline),
        };
        match received {
            Ok(Parcel::CatchUp(_answer)) => {
                sink.flush(tally);
                flush_at = None;
            }
            Ok(Parcel::Events(chunk)) => {
                sink.write(&chunk, tally);
                let soon = || Instant::now() + Duration::from_millis(FLUSH_INTERVAL_MS);
                flush_at.get_or_insert_with(soon);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if flush_at.is_some_and(|deadline| Instant::now() >= deadline) {
            sink.flush(tally);
            flush_at = None;
        }
    }
    sink.close(tally);
}
