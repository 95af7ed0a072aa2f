//! The Linux sensor on eBPF: programs in the kernel write records into ring buffers, and this
//! brings them into one stream in the order of time.
//!
//! It never polls: programs wake it for the first record after an idle time and when a buffer
//! fills up, and it wakes itself a flush interval after records began to come.

mod btf;
mod object;
mod ring;

use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::time::{ClockId, clock_gettime};

use self::object::{Object, Waiting};
use self::ring::{Ring, Told};
use super::{BATCH_SIZE_MAX, Batch, Counters, Error, Sensor, Settings};

/// A program takes its time before it stores its record. No program takes longer than this, so
/// records older than it are complete on every processor and in every buffer.
const SETTLE_NS: u64 = 2_000_000;
/// Without records for this long, the machine counts as idle.
const IDLE_NS: u64 = 1_000_000_000;
/// The longest sleep: losses with no record after them are told at least this often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Bytes taken from one buffer before the next has its turn.
const SHARE_MAX: usize = BATCH_SIZE_MAX / 2;

/// Loads everything and attaches nothing.
///
/// # Errors
/// [`Error::Unavailable`] names what this machine does not give.
pub fn open(settings: &Settings) -> Result<Box<dyn Sensor>, Error> {
    Ok(Box::new(Ebpf::open(settings)?))
}

/// The sensor.
struct Ebpf {
    object: Object,
    rings: [Ring; 2],
    told: Told,
    epoll: Epoll,
    settings: Settings,
    /// Records too young to be in order for sure.
    held: Batch,
    pace: Pace,
    /// A buffer was not drained to its end.
    is_behind: bool,
}

/// How the agent waits, by when records came last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Records come; the last time they did.
    Busy(u64),
    /// Nothing came for a while. The programs were told to wake us for the next record, and one
    /// that was on its way meanwhile is waited for.
    Settling,
    /// Nothing comes, and whatever does wakes us.
    Idle,
}

impl Ebpf {
    fn open(settings: &Settings) -> Result<Self, Error> {
        let mut object = Object::load(settings)?;
        let (processes, others) = (settings.process_buffer_size, settings.event_buffer_size);
        let rings = [
            Ring::new(
                object.take_ring("PROCESS_EVENTS")?,
                "process_events",
                processes,
                0..3,
            ),
            Ring::new(object.take_ring("EVENTS")?, "events", others, 3..6),
        ];
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(waiting)?;
        for ring in &rings {
            // Edge-triggered: a buffer is readable all the time while records come, but only the
            // programs know when it is worth to wake up.
            let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0);
            epoll.add(ring.as_fd(), event).map_err(waiting)?;
        }
        let event = EpollEvent::new(EpollFlags::EPOLLIN, 0);
        epoll.add(&settings.waker, event).map_err(waiting)?;
        Ok(Self {
            object,
            rings,
            told: Told::default(),
            epoll,
            settings: settings.clone(),
            held: Batch::default(),
            pace: Pace::Busy(0),
            is_behind: false,
        })
    }

    /// Sleeps until it is time to drain.
    fn wait(&mut self) -> Result<(), Error> {
        let (waiting_for, timeout) = match self.pace {
            Pace::Busy(_) => (Waiting::ForMany, self.until_flush()?),
            Pace::Settling => (Waiting::ForAny, self.settings.flush_interval),
            Pace::Idle => (Waiting::ForAny, HEARTBEAT),
        };
        self.object.set_waiting(waiting_for)?;
        let timeout = EpollTimeout::try_from(timeout).unwrap_or(EpollTimeout::from(u16::MAX));
        match self.epoll.wait(&mut [EpollEvent::empty(); 4], timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(waiting(errno)),
        }
    }

    /// The flush interval, less what a held record has waited already.
    fn until_flush(&self) -> Result<Duration, Error> {
        let interval = self.settings.flush_interval;
        let Some(oldest) = self.held.first_time() else {
            return Ok(interval);
        };
        let waited = Duration::from_nanos(boot_time()?.saturating_sub(oldest));
        Ok(interval
            .saturating_sub(waited)
            .max(Duration::from_nanos(SETTLE_NS)))
    }

    /// Appends what is in the buffers and old enough, in order.
    fn drain(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let now = boot_time()?;
        let from = batch.count();
        batch.append(&mut self.held);
        let mut watermark = now.saturating_sub(SETTLE_NS);
        let slowest = self.rings.iter().map(Ring::last_time).min();
        self.is_behind = false;
        for ring in &mut self.rings {
            // Much is held because one buffer is behind: it alone goes on.
            let waits = batch.size() > BATCH_SIZE_MAX && Some(ring.last_time()) > slowest;
            if waits || !ring.drain(SHARE_MAX, &self.object, &mut self.told, batch)? {
                self.is_behind = true;
                watermark = watermark.min(ring.last_time().saturating_sub(SETTLE_NS));
            }
        }
        let found = batch.count() > from;
        batch.sort_from(from);
        batch.split_after(watermark, &mut self.held);
        self.pace = match self.pace {
            _ if found => Pace::Busy(now),
            Pace::Busy(last) if now.saturating_sub(last) < IDLE_NS => Pace::Busy(last),
            Pace::Busy(_) => Pace::Settling,
            Pace::Settling | Pace::Idle => Pace::Idle,
        };
        if !found {
            self.settle(now, batch)?;
        }
        Ok(())
    }

    fn settle(&mut self, time: u64, batch: &mut Batch) -> Result<(), Error> {
        for ring in &mut self.rings {
            ring.settle(time, &self.object, &mut self.told, batch)?;
        }
        Ok(())
    }
}

impl Sensor for Ebpf {
    fn source(&self) -> &'static str {
        "ebpf"
    }

    fn start(&mut self, batch: &mut Batch) -> Result<(), Error> {
        self.object.start()?;
        self.pace = Pace::Busy(boot_time()?);
        let _ = batch;
        Ok(())
    }

    fn read(&mut self, batch: &mut Batch) -> Result<(), Error> {
        if !self.is_behind {
            self.wait()?;
        }
        self.drain(batch)
    }

    fn stop(&mut self, batch: &mut Batch) -> Result<(), Error> {
        self.object.stop()?;
        let from = batch.count();
        batch.append(&mut self.held);
        for ring in &mut self.rings {
            while !ring.drain(SHARE_MAX, &self.object, &mut self.told, batch)? {}
        }
        batch.sort_from(from);
        self.settle(boot_time()?, batch)
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        Ok(Counters {
            produced: self.object.produced()?,
            lost: self.told.per_kind(),
        })
    }

    fn buffer_peaks(&self) -> Vec<(&'static str, u64, u64)> {
        self.rings.iter().map(Ring::peak).collect()
    }
}

/// The boot clock, in nanoseconds.
fn boot_time() -> Result<u64, Error> {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map_err(|errno| Error::Io {
        action: "reading the boot clock",
        source: errno.into(),
    })?;
    Ok(u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX))
}

fn waiting(errno: nix::errno::Errno) -> Error {
    Error::Io {
        action: "waiting for eBPF records",
        source: io::Error::from(errno),
    }
}
