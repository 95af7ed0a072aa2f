//! The Linux sensor on eBPF: programs in the kernel write records into ring buffers, and this
//! brings them into one stream in the order of time.
//!
//! It never polls: programs wake it for the first record after an idle time and when a buffer
//! fills up, and it wakes itself a flush interval after records began to come.

mod btf;
mod environment;
mod failed_execs;
mod fields;
mod images;
mod object;
mod ring;
mod snapshot;

use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use event::loss::{Lost, Reason};
use event::{ByKind, Kind, Kinds};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use self::failed_execs::FailedExecs;
use self::images::Images;
use self::object::{Loops, Object, Waiting};
use self::ring::{Ring, Told};
use super::merge::{HEARTBEAT, SETTLE_NS};
use super::{BATCH_SIZE_MAX, Batch, Counters, Error, Sensor, Settings, seam};
use crate::sys::{clock, rcu};

/// Without records for this long, the machine counts as idle: the next record wakes the agent. Before, it
/// looks once a flush interval, which costs less where records come more often than that.
const IDLE_NS: u64 = 250_000_000;
/// How often losses are looked for that no record tells.
const SETTLED_NS: u64 = 1_000_000_000;
/// How often it is asked which programs were not run, while no records come: one that keeps another
/// from running is about to write a record, mostly.
const ASKED_NS: u64 = 10_000_000_000;
/// And how often in the seconds after the last record: what the first time may still be told.
const ASKED_AFTER: u8 = 2;
/// Bytes taken from one buffer before the next has its turn: some thousand records, so that more would
/// not be handed over cheaper, and batches stay small while programs with long arguments are run.
const SHARE_MAX: usize = BATCH_SIZE_MAX / 8;

/// Loads everything and attaches nothing.
///
/// # Errors
/// [`Error::Unavailable`] names what this machine does not give.
pub fn open(settings: &Settings) -> Result<Box<dyn Sensor>, Error> {
    Ok(Box::new(Ebpf::open(settings, Loops::OfKernel)?))
}

/// The same with programs that take every step themselves, as kernels before Linux 5.17 need: so that
/// these are tested on any kernel.
///
/// # Errors
/// As of [`open`].
pub fn open_as_on_old_kernels(settings: &Settings) -> Result<Box<dyn Sensor>, Error> {
    Ok(Box::new(Ebpf::open(settings, Loops::OfPrograms)?))
}

/// The sensor.
struct Ebpf {
    object: Object,
    rings: [Ring; 2],
    /// Where the object's image program does not load, or is not run any more.
    images: Option<Images>,
    /// Events that nothing saw, at the least.
    blind: ByKind<u64>,
    /// When it was last seen that the image program is run, and the execs until then.
    seeing: (u64, u64),
    /// When it was last seen whether the programs on execs are run, and whether they were not.
    seeing_execs: (u64, bool),
    told: Told,
    epoll: Epoll,
    settings: Settings,
    /// Records too young to be in order for sure.
    held: Batch,
    pace: Pace,
    /// The last time that buffers were drained there were records.
    found: bool,
    /// When losses were told last.
    settled: u64,
    /// When it was asked last which programs were not run, and how often it is to be asked now.
    asked: (u64, u8),
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
    fn open(settings: &Settings, loops: Loops) -> Result<Self, Error> {
        let mut object = Object::load(settings, loops)?;
        warn_of_failed_execs(settings, &object.failed_execs);
        let (processes, others) = (settings.process_buffer_size, settings.event_buffer_size);
        let rings = [
            Ring::new(
                object.take_ring("PROCESS_EVENTS")?,
                "process_events",
                processes,
                Kinds::PROCESS,
            ),
            Ring::new(
                object.take_ring("EVENTS")?,
                "events",
                others,
                Kinds::ALL.without(Kinds::PROCESS),
            ),
        ];
        let images = if settings.images && !object.sees_images {
            Some(Images::open(settings)?)
        } else {
            None
        };
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(waiting)?;
        for ring in &rings {
            epoll.add(ring.as_fd(), buffer_event()).map_err(waiting)?;
        }
        for fd in images.iter().flat_map(|images| images.rings.fds()) {
            epoll.add(fd, buffer_event()).map_err(waiting)?;
        }
        let event = EpollEvent::new(EpollFlags::EPOLLIN, 0);
        epoll.add(&settings.waker, event).map_err(waiting)?;
        Ok(Self {
            object,
            rings,
            images,
            blind: ByKind::default(),
            seeing: (0, 0),
            seeing_execs: (0, false),
            told: Told::default(),
            epoll,
            settings: settings.clone(),
            held: Batch::default(),
            pace: Pace::Busy(0),
            found: false,
            settled: 0,
            asked: (0, 0),
            is_behind: false,
        })
    }

    /// Sleeps until it is time to drain.
    fn wait(&mut self) -> Result<(), Error> {
        let (waiting_for, mut timeout) = match self.pace {
            Pace::Busy(_) => (Waiting::ForMany, self.until_flush()),
            Pace::Settling => (Waiting::ForAny, self.settings.flush_interval),
            Pace::Idle => (Waiting::ForAny, HEARTBEAT),
        };
        self.object.set_waiting(waiting_for)?;
        if let Some(images) = &mut self.images
            && !images.arm(waiting_for)
        {
            timeout = timeout.min(self.settings.flush_interval);
        }
        let timeout = EpollTimeout::try_from(timeout).unwrap_or(EpollTimeout::MAX);
        match self.epoll.wait(&mut [EpollEvent::empty(); 4], timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(waiting(errno)),
        }
    }

    /// The flush interval, less what a held record has waited already.
    fn until_flush(&self) -> Duration {
        let interval = self.settings.flush_interval;
        let Some(oldest) = self.held.first_time() else {
            return interval;
        };
        let waited = Duration::from_nanos(now().saturating_sub(oldest));
        interval
            .saturating_sub(waited)
            .max(Duration::from_nanos(SETTLE_NS))
    }

    /// Appends what is in the buffers and old enough, in order.
    fn drain(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let now = now();
        let from = batch.count();
        batch.append(&mut self.held);
        self.collect(now, batch)?;
        let found = batch.count() > from;
        if found {
            self.asked.1 = ASKED_AFTER;
        }
        // While records wait that may mark the place of a loss, it is theirs to tell.
        let is_last = std::mem::replace(&mut self.found, found) && !found;
        let is_due = now.saturating_sub(self.settled) >= SETTLED_NS;
        if !self.is_behind && (is_last || is_due) {
            self.settle(now, false, batch)?;
        }
        let watermark = self.read_until().saturating_sub(SETTLE_NS);
        batch.sort_from(from);
        batch.split_after(watermark, &mut self.held);
        self.pace = match self.pace {
            _ if found => Pace::Busy(now),
            Pace::Busy(last) if now.saturating_sub(last) < IDLE_NS => Pace::Busy(last),
            Pace::Busy(_) => Pace::Settling,
            Pace::Settling | Pace::Idle => Pace::Idle,
        };
        Ok(())
    }

    /// Appends what is in the buffers, in no order, up to a share of each.
    fn collect(&mut self, now: u64, batch: &mut Batch) -> Result<(), Error> {
        // When much is held, that is because one buffer is behind: it alone goes on.
        let last = if batch.has_room() {
            u64::MAX
        } else {
            self.read_until()
        };
        self.is_behind = false;
        for ring in &mut self.rings {
            self.is_behind |= ring.read_until() > last
                || !ring.drain(SHARE_MAX, now, &self.object, &mut self.told, batch)?;
        }
        if let Some(images) = &mut self.images {
            self.is_behind |= images.read_until > last || !images.drain(now, batch)?;
        }
        Ok(())
    }

    /// Every record before this time was read, but for those of programs that still run.
    fn read_until(&self) -> u64 {
        let rings = self.rings.iter().map(Ring::read_until);
        let images = self.images.iter().map(|images| images.read_until);
        rings.chain(images).min().unwrap_or(0)
    }

    /// The stream up to now, complete and in order; what is younger is held.
    fn drain_until_now(&mut self) -> Result<Batch, Error> {
        rcu::wait_for_readers();
        let until = now();
        let mut stream = Batch::default();
        loop {
            self.collect(now(), &mut stream)?;
            if self.read_until() >= until {
                break;
            }
        }
        stream.sort_from(0);
        stream.split_after(until, &mut self.held);
        Ok(stream)
    }

    /// Tells the losses that no record has told. `is_over` where the programs are gone.
    fn settle(&mut self, time: u64, is_over: bool, batch: &mut Batch) -> Result<(), Error> {
        for ring in &mut self.rings {
            ring.settle(time, &self.object, &mut self.told, batch)?;
        }
        let (asked, left) = self.asked;
        if is_over || left > 0 || time.saturating_sub(asked) >= ASKED_NS {
            let missed = self.object.missed(is_over)?;
            self.told.tell_missed(time, &missed, batch);
            self.asked = (time, left.saturating_sub(1));
        }
        self.settled = time;
        self.watch_tracing(time, batch)?;
        self.watch_execs(time, batch);
        self.follow_cpus(time, batch)
    }

    /// Takes image loads from perf events from when the kernel does not run programs on its functions
    /// any more, which root can switch off for all tracers (`kernel.ftrace_enabled`). Tracepoints go
    /// on. What was mapped meanwhile is told as lost: a program at least with each exec.
    fn watch_tracing(&mut self, time: u64, batch: &mut Batch) -> Result<(), Error> {
        let is_watched = self.object.sees_images && self.images.is_none();
        if !is_watched || time.saturating_sub(self.seeing.0) < SETTLED_NS {
            return Ok(());
        }
        let execs = self.object.produced()?.count(Kind::PROCESS_EXEC);
        let (_, before) = std::mem::replace(&mut self.seeing, (time, execs));
        if !images::is_tracing_off() {
            return Ok(());
        }
        let count = execs.saturating_sub(before).max(1);
        self.tell_blind(Kind::IMAGE_LOAD, count, time, batch);
        let images = Images::open(&self.settings).and_then(|mut images| {
            // First, so that none is told twice should tracing be switched on now.
            self.object.stop_images()?;
            images.begin(time)?;
            Ok(images)
        });
        match images {
            Ok(images) => {
                tracing::warn!(
                    "kernel.ftrace_enabled was set to 0, so that image loads were not seen for a \
                     moment; from now on they come from perf events"
                );
                self.watch(&images)?;
                self.images = Some(images);
            }
            Err(error) => tracing::warn!(
                %error,
                "kernel.ftrace_enabled is 0: image loads are not seen (sysctl kernel.ftrace_enabled=1)"
            ),
        }
        Ok(())
    }

    /// Tells once that execs which fail are not seen while the kernel runs no programs on its functions.
    fn watch_execs(&mut self, time: u64, batch: &mut Batch) {
        let is_watched = matches!(self.object.failed_execs, FailedExecs::ByFunctions(_));
        if !is_watched || time.saturating_sub(self.seeing_execs.0) < IDLE_NS {
            return;
        }
        let is_off = images::is_tracing_off();
        let (_, was_off) = std::mem::replace(&mut self.seeing_execs, (time, is_off));
        if is_off && !was_off {
            self.tell_blind(Kind::EXEC_FAILED, 1, time, batch);
            tracing::warn!(
                "kernel.ftrace_enabled is 0: execs that fail are not seen \
                 (sysctl kernel.ftrace_enabled=1)"
            );
        }
    }

    /// Tells events that nothing saw.
    fn tell_blind(&mut self, kind: Kind, count: u64, time: u64, batch: &mut Batch) {
        self.blind.add(kind, count);
        let reason = Reason::BLIND;
        batch.write_lost(
            time,
            Lost {
                kind,
                reason,
                count,
            },
        );
    }

    /// Is woken by these buffers, too.
    fn watch(&self, images: &Images) -> Result<(), Error> {
        for fd in images.rings.fds() {
            match self.epoll.add(fd, buffer_event()) {
                Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
                Err(errno) => return Err(waiting(errno)),
            }
        }
        Ok(())
    }

    /// Opens perf events on processors that came online. The programs run on every processor.
    fn follow_cpus(&mut self, time: u64, batch: &mut Batch) -> Result<(), Error> {
        let Some(images) = &mut self.images else {
            return Ok(());
        };
        let changed = images.rings.follow_cpus(time, batch);
        if !changed.map_err(reading_images)? {
            return Ok(());
        }
        self.images.iter().try_for_each(|images| self.watch(images))
    }
}

impl Sensor for Ebpf {
    fn source(&self) -> &'static str {
        "ebpf"
    }

    fn start(&mut self, batch: &mut Batch) -> Result<(), Error> {
        // Images before processes, so that no process starts whose images are missed.
        if let Some(images) = &mut self.images {
            images.rings.enable().map_err(reading_images)?;
        }
        let began = now();
        self.object.start()?;
        let existing =
            snapshot::take(&mut self.object, &self.settings.wanted()).map_err(|source| {
                Error::Io {
                    action: "taking the snapshot",
                    source,
                }
            })?;
        let stream = self.drain_until_now()?;
        self.pace = Pace::Busy(now());
        seam::join(existing, &stream, began, batch);
        Ok(())
    }

    fn read(&mut self, batch: &mut Batch) -> Result<(), Error> {
        if !self.is_behind {
            self.wait()?;
        }
        self.drain(batch)
    }

    fn stop(&mut self, batch: &mut Batch) -> Result<(), Error> {
        // Images first: in the other order there would be loads by processes whose starts are not
        // seen any more.
        if let Some(images) = &mut self.images {
            images.rings.disable().map_err(reading_images)?;
        }
        self.object.stop()?;
        let from = batch.count();
        batch.append(&mut self.held);
        let end = now();
        for ring in &mut self.rings {
            while !ring.drain(SHARE_MAX, end, &self.object, &mut self.told, batch)? {}
        }
        if let Some(images) = &mut self.images {
            while !images.drain(end, batch)? {}
            images.rings.settle(end, batch).map_err(reading_images)?;
        }
        batch.sort_from(from);
        self.settle(end, true, batch)
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        let mut counters = Counters {
            produced: self.object.produced()?,
            lost: self.told.per_kind(),
        };
        for (kind, missed) in self.told.missed().iter() {
            counters.produced.add(kind, *missed);
        }
        for (kind, blind) in self.blind.iter() {
            counters.add_lost(kind, *blind);
        }
        let kind = Kind::IMAGE_LOAD;
        if let Some(images) = &self.images {
            counters.produced.add(kind, images.rings.produced());
            counters.lost.add(kind, images.rings.lost());
        }
        Ok(counters)
    }

    fn buffer_peaks(&self) -> Vec<(&'static str, u64, u64)> {
        let mut peaks: Vec<_> = self.rings.iter().map(Ring::peak).collect();
        if let Some(images) = &self.images {
            let (peak, limit) = images.rings.peaks();
            peaks.push(("images", peak, limit));
        }
        peaks
    }
}

/// What whoever asks for execs that fail has to know.
fn warn_of_failed_execs(settings: &Settings, seen: &FailedExecs) {
    match seen {
        FailedExecs::Nowhere if settings.failed_execs => tracing::warn!(
            "execs that fail are not seen: this kernel takes no programs on its functions"
        ),
        FailedExecs::BySystemCalls => tracing::warn!(
            "this kernel takes no programs on its functions, so execs that fail are seen by one that \
             every system call of the machine passes and is a little slower for"
        ),
        FailedExecs::Nowhere | FailedExecs::ByFunctions(_) => {}
    }
}

fn reading_images(source: io::Error) -> Error {
    Error::Io {
        action: "reading image loads from perf events",
        source,
    }
}

/// Edge-triggered: a buffer is readable all the time while records come, but only the kernel side
/// knows when it is worth to wake up.
fn buffer_event() -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0)
}

/// Now on the sensor's clock.
fn now() -> u64 {
    clock::now().0
}

fn waiting(errno: nix::errno::Errno) -> Error {
    Error::Io {
        action: "waiting for eBPF records",
        source: io::Error::from(errno),
    }
}
