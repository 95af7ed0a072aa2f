//! Two sensors at once: one records, and what it tells is compared with what the other tells. Starts and
//! exits that only one of them told are listed at the end.
//!
//! The comparison is of processes alone, by id and time: their clocks differ by microseconds, and an id is
//! used again later than that. What happens at the edges, where one of both recorded already or still, is
//! not held against either.

mod tally;

use std::mem::take;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{Batch, Counters, Error, Sensor};
use crate::sys::offset::Offset;
use crate::sys::wake::Waker;
use tally::{Side, Tally};

/// A sensor that is compared with another.
pub struct Compared {
    recorder: Box<dyn Sensor>,
    /// Until it is read on a thread of its own.
    witness: Option<Box<dyn Sensor>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    waker: Waker,
    now_fn: fn() -> u64,
}

/// What both threads add to.
#[derive(Debug, Default)]
struct Shared {
    tally: Mutex<Tally>,
    is_over: AtomicBool,
}

impl Shared {
    fn change<R>(&self, change_fn: impl FnOnce(&mut Tally) -> R) -> R {
        // A tally that a thread left when it panicked is as whole as before.
        change_fn(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Compared {
    /// Has `recorder` record, and compares it with `witness`. Both end when `waker` is woken. `now_fn` is
    /// the clock of both.
    pub fn new(
        recorder: Box<dyn Sensor>,
        witness: Box<dyn Sensor>,
        waker: &Waker,
        now_fn: fn() -> u64,
    ) -> Self {
        Self {
            recorder,
            witness: Some(witness),
            thread: None,
            shared: Arc::default(),
            waker: waker.clone(),
            now_fn,
        }
    }

    /// Takes what the recorder has told since `from`.
    fn take(&self, batch: &Batch, from: usize) {
        let records = batch.records().skip(from);
        self.shared
            .change(|tally| tally.take(Side::Recorder, records));
    }

    /// Ends both; gives how they compare, in lines.
    fn finish(&mut self, batch: &mut Batch) -> (Result<(), Error>, Vec<String>) {
        let now = (self.now_fn)();
        self.shared.change(|tally| tally.end(now));
        self.shared.is_over.store(true, Ordering::SeqCst);
        let from = batch.count();
        let stopped = self.recorder.stop(batch);
        self.take(batch, from);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that compares panicked");
        }
        (stopped, self.shared.change(|tally| take(tally).conclude()))
    }
}

/// Reads the witness until it is over.
fn watch(mut witness: Box<dyn Sensor>, shared: &Shared, waker: &Waker, now_fn: fn() -> u64) {
    let mut batch = Batch::default();
    let mut told = Ok(());
    while told.is_ok() && !waker.is_woken() && !shared.is_over.load(Ordering::SeqCst) {
        told = witness.read(&mut batch);
        shared.change(|tally| tally.take(Side::Witness, batch.records()));
        batch.clear();
    }
    let now = now_fn();
    shared.change(|tally| tally.end(now));
    let told = told.and_then(|()| witness.stop(&mut batch));
    shared.change(|tally| {
        tally.take(Side::Witness, batch.records());
        if let Err(error) = told {
            tally.fail(&error);
        }
    });
}

impl Sensor for Compared {
    fn source(&self) -> &'static str {
        "driver+etw"
    }

    fn start(&mut self, batch: &mut Batch) -> Result<(), Error> {
        if let Some(mut witness) = self.witness.take() {
            let mut told = Batch::default();
            witness.start(&mut told)?;
            let shared = Arc::clone(&self.shared);
            shared.change(|tally| {
                tally.name(self.recorder.source(), witness.source());
                tally.take(Side::Witness, told.records());
            });
            let (waker, now_fn) = (self.waker.clone(), self.now_fn);
            let watch_fn = move || watch(witness, &shared, &waker, now_fn);
            let thread = crate::sys::thread::named("witness").spawn(watch_fn);
            self.thread = Some(thread.map_err(Error::io("starting the thread that compares"))?);
        }
        self.recorder.start(batch)?;
        self.take(batch, 0);
        let now = (self.now_fn)();
        self.shared.change(|tally| tally.begin(now));
        Ok(())
    }

    fn read(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let from = batch.count();
        self.recorder.read(batch)?;
        self.take(batch, from);
        Ok(())
    }

    fn stop(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let (stopped, lines) = self.finish(batch);
        for line in lines {
            tracing::warn!("{line}");
        }
        stopped
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        self.recorder.counters()
    }

    fn clock(&self) -> (u64, Offset) {
        self.recorder.clock()
    }

    fn buffer_peaks(&self) -> Vec<(&'static str, u64, u64)> {
        self.recorder.buffer_peaks()
    }
}

impl Drop for Compared {
    fn drop(&mut self) {
        // The thread ends by itself: it looks once a second, and holds nothing of this.
        self.shared.is_over.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::AtomicU64;

    use event::{Event, Header, process};

    use super::*;

    /// Tells the process ids of a list as starts, one a read.
    struct Scripted {
        name: &'static str,
        ids: VecDeque<u32>,
        stop_fails: bool,
        waker: Waker,
    }

    fn write(id: u32, batch: &mut Batch) {
        let header = Header {
            time: u64::from(id) * 1_000_000_000,
            process_id: id,
            ..Header::default()
        };
        let start = Event::ProcessStart(process::Start::default());
        assert!(batch.write(header, &start));
    }

    impl Sensor for Scripted {
        fn source(&self) -> &'static str {
            self.name
        }

        fn start(&mut self, _batch: &mut Batch) -> Result<(), Error> {
            Ok(())
        }

        fn read(&mut self, batch: &mut Batch) -> Result<(), Error> {
            match self.ids.pop_front() {
                Some(id) => write(id, batch),
                None => self.waker.wait(std::time::Duration::from_millis(5)),
            }
            Ok(())
        }

        fn stop(&mut self, batch: &mut Batch) -> Result<(), Error> {
            self.ids.drain(..).for_each(|id| write(id, batch));
            if self.stop_fails {
                return Err(Error::io("ending")(std::io::ErrorKind::BrokenPipe.into()));
            }
            Ok(())
        }

        fn counters(&mut self) -> Result<Counters, Error> {
            Ok(Counters::default())
        }

        fn buffer_peaks(&self) -> Vec<(&'static str, u64, u64)> {
            Vec::new()
        }
    }

    /// A clock that stands at 0 when the comparison begins, and is far on when it ends.
    fn advance(now: &AtomicU64) -> u64 {
        now.fetch_add(1_000_000_000_000, Ordering::SeqCst)
    }

    /// What both tell of these processes, in the end.
    fn compared(
        now_fn: fn() -> u64,
        [recorder, witness]: [&[u32]; 2],
        stop_fails: bool,
    ) -> (usize, Vec<String>) {
        let waker = Waker::new().unwrap();
        let of = |name, ids: &[u32], stop_fails| {
            Box::new(Scripted {
                name,
                ids: ids.iter().copied().collect(),
                stop_fails,
                waker: waker.clone(),
            })
        };
        let recorder_of = of("driver", recorder, false);
        let witness_of = of("etw", witness, stop_fails);
        let mut sensor = Compared::new(recorder_of, witness_of, &waker, now_fn);
        let mut batch = Batch::default();
        sensor.start(&mut batch).unwrap();
        for _ in recorder {
            sensor.read(&mut batch).unwrap();
        }
        waker.wake();
        let (stopped, lines) = sensor.finish(&mut batch);
        stopped.unwrap();
        (batch.count(), lines)
    }

    #[test]
    fn what_one_alone_told_is_listed_and_the_recorders_records_alone_are_handed_over() {
        static NOW: AtomicU64 = AtomicU64::new(0);
        let (count, lines) = compared(|| advance(&NOW), [&[1, 2, 3], &[2, 3, 4]], false);
        assert_eq!(count, 3);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].contains("2 starts and 0 exits"), "{lines:?}");
        let told = |by: &str, id: &str| {
            let is_it = |line: &&String| line.contains(by) && line.contains(id);
            lines.iter().filter(is_it).count()
        };
        assert_eq!(told("driver alone told", "process 1 "), 1, "{lines:?}");
        assert_eq!(told("etw alone told", "process 4 "), 1, "{lines:?}");
    }

    #[test]
    fn a_witness_that_breaks_is_told() {
        static NOW: AtomicU64 = AtomicU64::new(0);
        let (_, lines) = compared(|| advance(&NOW), [&[1], &[1]], true);
        assert!(
            lines.iter().any(|line| line.contains("ending: ")),
            "{lines:?}"
        );
    }
}
