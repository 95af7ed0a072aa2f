//! The sensor thread: reads the sensor into batches and hands them over.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, never, select};

use super::{Error, Status};
use crate::account::QueuePeak;
use crate::sensor::{self, Batch, Counters, Sensor};
use crate::sys::offset::Offset;
use crate::sys::wake::Waker;

/// How many batches go round. While all are on their way, the sensor waits for one to come back.
const BATCH_COUNT: usize = 4;

/// One batch on its way to the pipeline, with what the sensor knew when it was full.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) batch: Batch,
    pub(super) counters: Counters,
    pub(super) queues: Vec<QueuePeak>,
    pub(super) clock: Offset,
    /// When it was handed over, or, for the first, when the sensor was told to start; on the
    /// sensor's clock.
    pub(super) time: u64,
}

/// What the pipeline waits for.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is taken apart at once"
)]
pub(super) enum Received<A> {
    /// From the sensor.
    Message(Result<Message, sensor::Error>),
    /// From elsewhere.
    Answer(A),
}

/// The pipeline's end of the sensor thread.
#[derive(Debug)]
pub(super) struct Feed {
    messages: Receiver<Result<Message, sensor::Error>>,
    emptied: Sender<Batch>,
    thread: JoinHandle<()>,
}

impl Feed {
    /// Starts the sensor on a thread of its own. The first message is the snapshot.
    pub(super) fn start(
        sensor: Box<dyn Sensor>,
        waker: Waker,
        status: Arc<Status>,
    ) -> Result<Self, Error> {
        let (to_pipeline, messages) = bounded(BATCH_COUNT);
        let (emptied, from_pipeline) = bounded(BATCH_COUNT);
        for _batch in 0..BATCH_COUNT {
            // There is room: the channel holds as many as there are.
            let _sent = emptied.send(Batch::default());
        }
        let reader = Reader {
            sensor,
            waker,
            status,
            to_pipeline,
            from_pipeline,
        };
        let thread = crate::sys::thread::named("sensor")
            .spawn(move || reader.run())
            .map_err(|source| Error::Thread {
                name: "sensor",
                source,
            })?;
        Ok(Self {
            messages,
            emptied,
            thread,
        })
    }

    /// The next message, or answer where it comes first; `None` when the sensor has said its last.
    pub(super) fn receive<A>(&self, answers: Option<&Receiver<A>>) -> Option<Received<A>> {
        let nobody = never();
        select! {
            recv(self.messages) -> message => message.ok().map(Received::Message),
            recv(answers.unwrap_or(&nobody)) -> answer => match answer {
                Ok(answer) => Some(Received::Answer(answer)),
                // Who answers has ended.
                Err(_ended) => self.messages.recv().ok().map(Received::Message),
            },
        }
    }

    /// Lets the sensor use the batch again.
    pub(super) fn give_back(&self, mut batch: Batch) {
        batch.clear();
        // The sensor thread may be gone already; then nobody needs the batch.
        let _sent = self.emptied.send(batch);
    }

    /// Waits for the sensor thread, which must have been woken.
    pub(super) fn join(self) {
        drop((self.messages, self.emptied));
        if self.thread.join().is_err() {
            tracing::error!("the sensor thread panicked");
        }
    }
}

/// The sensor thread's end.
struct Reader {
    sensor: Box<dyn Sensor>,
    waker: Waker,
    status: Arc<Status>,
    to_pipeline: Sender<Result<Message, sensor::Error>>,
    from_pipeline: Receiver<Batch>,
}

impl Reader {
    fn run(mut self) {
        if let Err(error) = self.read_to_end() {
            // The pipeline may be gone already; then it does not wait for this either.
            let _sent = self.to_pipeline.send(Err(error));
        }
    }

    /// Start, read, stop. Every batch that holds anything is handed over; so are the first, which
    /// says that recording has begun, and the last, which carries the final counters.
    fn read_to_end(&mut self) -> Result<(), sensor::Error> {
        let Ok(mut batch) = self.from_pipeline.recv() else {
            return Ok(());
        };
        let (began, _offset) = crate::sys::clock::now();
        self.sensor.start(&mut batch)?;
        let mut message = self.message(batch)?;
        message.time = began;
        while self.hand_over(message).is_continue() {
            let Ok(next) = self.from_pipeline.recv() else {
                return Ok(());
            };
            batch = next;
            if self.waker.is_woken() {
                self.sensor.stop(&mut batch)?;
                let last = self.message(batch)?;
                let _gone_either_way = self.hand_over(last);
                return Ok(());
            }
            while batch.is_empty() && !self.waker.is_woken() {
                self.sensor.read(&mut batch)?;
                self.status.progress();
            }
            message = self.message(batch)?;
        }
        Ok(())
    }

    /// Hands a batch over; says `Break` when the pipeline is gone and there is nobody to take it.
    fn hand_over(&mut self, message: Message) -> ControlFlow<()> {
        match self.to_pipeline.send(Ok(message)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_disconnected) => ControlFlow::Break(()),
        }
    }

    fn message(&mut self, batch: Batch) -> Result<Message, sensor::Error> {
        let counters = self.sensor.counters()?;
        let queues = self
            .sensor
            .buffer_peaks()
            .into_iter()
            .map(|(name, peak, limit)| QueuePeak {
                name: name.to_owned(),
                peak,
                limit,
                unit: "bytes".to_owned(),
            });
        let queues = queues.collect();
        let (time, clock) = self.sensor.clock();
        Ok(Message {
            batch,
            counters,
            queues,
            clock,
            time,
        })
    }
}
