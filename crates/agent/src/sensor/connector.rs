//! The proc connector: process and thread events of the kernel's netlink connector, with `/proc`
//! for what they lack. On recent kernels (6.6 and later) it needs no privilege.
//!
//! What it cannot give:
//! - Image loads: none.
//! - The program of an exec is read from `/proc` as soon as the sensor is told. It is unavailable
//!   when the process has ended or executed another program by then; an exec that comes while it
//!   is read cannot be told.
//! - The creator of a process where it is not the parent (`CLONE_PARENT`), and the creating thread
//!   of a thread.
//! - The start time of a process is that of its fork message, a few microseconds late. Where that
//!   may make a difference for the process key it is read from `/proc`, if the process is still
//!   there.
//! - `tasks.rs` names the rare cases in which an exit status or an exit is not exact.
//! - After a suspend of the machine, messages from before it have times that are late by its
//!   length: the connector's clock does not count it.
//! - Of what was lost only the number is known, from the gaps in each processor's sequence. The
//!   messages may have been of any kind, also of those that make no event, so all are told as
//!   process starts.

pub(super) mod listener;
pub(super) mod message;
pub(super) mod stream;

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl;
use nix::unistd::{Pid, gettid};

use self::listener::{Listener, sleep};
use self::stream::Stream;
use super::merge::{HEARTBEAT, Merge, PROMPT_INTERVAL, SETTLE_NS, watermark};
use super::{Batch, Counters, Error, Sensor, Settings, seam, snapshot};
use crate::sys::{clock, proc};

/// Checks that the connector answers, and stops it again.
pub fn open(settings: &Settings) -> Result<Box<dyn Sensor>, Error> {
    let mut sensor = Connector::new(settings)?;
    sensor.listener.listen(&mut Vec::new())?;
    // A fresh socket, because this one has heard messages that nobody asked for.
    drop(sensor);
    Ok(Box::new(Connector::new(settings)?))
}

/// The sensor.
struct Connector {
    listener: Listener,
    settings: Settings,
    flush_interval: Duration,
    merge: Merge,
    stream: Stream,
}

impl Connector {
    fn new(settings: &Settings) -> Result<Self, Error> {
        let size = settings.process_buffer_size.max(settings.event_buffer_size);
        let listener = Listener::open(usize::try_from(size).unwrap_or(usize::MAX))?;
        let flush_interval = settings.flush_interval.min(listener.time_to_fill());
        Ok(Self {
            listener,
            settings: settings.clone(),
            flush_interval,
            merge: Merge::default(),
            stream: Stream::new(settings.threads),
        })
    }

    /// Sleeps until it is time to drain. While processes start, every message is taken at once:
    /// what the next one executes can be asked only as long as it runs. Threads and exits are
    /// taken together.
    fn wait(&self) -> Result<(), Error> {
        let (waker, socket) = (self.settings.waker.as_fd(), self.listener.as_fd());
        if self.stream.expects_exec {
            sleep(&[waker, socket], self.flush_interval.min(PROMPT_INTERVAL))?;
        } else {
            sleep(&[waker], self.flush_interval.min(PROMPT_INTERVAL))?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Error> {
        self.listener
            .receive(&mut self.stream.messages)
            .map_err(Error::io("reading the proc connector"))
    }
}

impl Sensor for Connector {
    fn source(&self) -> &'static str {
        "connector"
    }

    fn start(&mut self, batch: &mut Batch) -> Result<(), Error> {
        self.listener.listen(&mut self.stream.messages)?;
        let began = clock::now().0;
        self.stream.recorded = began..=u64::MAX;
        fence().map_err(Error::io("marking the begin of recording"))?;
        let wanted = snapshot::Wanted {
            images: false,
            ..self.settings.wanted()
        };
        let snapshot = snapshot::take(&wanted, || clock::now().0)
            .map_err(Error::io("reading the processes of /proc"))?;
        self.stream.know(&snapshot);
        // A process the snapshot has seen may not have been told of yet.
        std::thread::sleep(Duration::from_nanos(SETTLE_NS));
        let now = clock::now().0;
        let mut stream = Batch::default();
        self.receive()?;
        self.stream.foresee();
        self.stream.write(&mut stream);
        self.merge.merge(&mut stream, 0, watermark(now, None));
        seam::join(snapshot, &stream, began, batch);
        Ok(())
    }

    fn read(&mut self, batch: &mut Batch) -> Result<(), Error> {
        if self.merge.is_idle() {
            let waker = &self.settings.waker;
            if sleep(&[waker.as_fd(), self.listener.as_fd()], HEARTBEAT)? {
                self.merge.woken();
            }
            self.stream.heal();
        } else {
            self.wait()?;
        }
        let now = clock::now().0;
        self.receive()?;
        let from = batch.count();
        self.stream.write(batch);
        self.merge.merge(batch, from, watermark(now, None));
        Ok(())
    }

    fn stop(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let from = batch.count();
        // First make room, so that the marks are not lost themselves.
        self.receive()?;
        self.stream.recorded = *self.stream.recorded.start()..=clock::now().0;
        self.stream.ends_at_name_of = Some(gettid().as_raw().unsigned_abs());
        fence().map_err(Error::io("marking the end of recording"))?;
        self.receive()?;
        self.listener
            .ignore()
            .map_err(Error::io("ending the proc connector"))?;
        self.receive()?;
        self.stream.write(batch);
        self.merge.finish(batch, from);
        Ok(())
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        Ok(self.stream.counters)
    }

    fn buffer_peaks(&self) -> Vec<(&'static str, u64, u64)> {
        let (peak, limit) = self.listener.peak();
        vec![("connector", peak, limit)]
    }
}

/// Makes one message on every processor, so that what was lost before it shows as a gap, and
/// stays on the processors it may run on.
fn fence() -> io::Result<()> {
    let this_thread = Pid::from_raw(0);
    // Not by `prctl::get_name`: the library hands the kernel a buffer it has promised not to
    // change, and in a release build the name comes back empty.
    let name = CString::new(proc::own_thread_name()?)?;
    let allowed = sched_getaffinity(this_thread)?;
    for cpu in 0..CpuSet::count() {
        let mut only = CpuSet::new();
        // Offline, or not ours to run on: its sequence ends with its last message.
        if only.set(cpu).is_err() || sched_setaffinity(this_thread, &only).is_err() {
            continue;
        }
        prctl::set_name(&name)?;
    }
    sched_setaffinity(this_thread, &allowed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_leaves_the_thread_its_name_and_its_processors() {
        let look = || {
            let name = proc::own_thread_name().unwrap();
            (name, sched_getaffinity(Pid::from_raw(0)).unwrap())
        };
        let thread = std::thread::Builder::new().name("marked".to_owned());
        let (before, after) = thread
            .spawn(move || {
                let before = look();
                fence().unwrap();
                (before, look())
            })
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(before.0, b"marked");
        assert_eq!(before, after);
    }
}
