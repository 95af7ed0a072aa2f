//! Windows without a driver: the kernel's own events of processes, threads and images, through a session
//! of event tracing (ETW) that every administrator may start.
//!
//! What it cannot give:
//! - Integrity level and elevation of a process that starts: no event has them.
//! - The whole path of a process that ends before its first image was told, and which nobody holds.
//! - A command line beyond the 512 or 1,024 characters at which the kernel cuts it.
//! - The time of creation of a process that is gone before it was asked for it: its start's is taken,
//!   which is microseconds later, so that another tier has another key of it.
//! - The kinds of lost events: their number alone, and of lost buffers the number of these.
//!
//! The session has a name of its own and is the system's: when the agent is killed it stays, until the
//! next agent finds it by its name and ends it. All three subjects are always recorded, because the
//! first image of a process tells its path and a thread marks a place in the stream; what is not wanted
//! is left out here.
//!
//! Stamps are of the performance counter, so they order what several processors tell; times are made of
//! them by the offset between both clocks, which is followed. An event is told when it is older than the
//! time within which every processor's buffer is handed over. What is here knows the system by the trait
//! [`Tracing`] alone.

mod lives;
mod refusal;
mod rundown;
mod stream;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etw::delivered::is_loss;
use etw::kernel::{Act, Told};
use event::{Flags, Header, loss};

use super::windows::process_list::{self, Listed};
use super::{BATCH_SIZE_MAX, Batch, Counters, Error, Sensor, Settings, seam};
use crate::sys::offset::Offset;
use crate::sys::trace::{Events, Inbox, NAME, Owner, Plan, Reading, Status, Tracing};
use crate::sys::wake::Waker;
use rundown::Rundown;
use stream::Stream;

/// Bytes of a buffer of the session: what the system recommends for many events, and a few hundred of them.
const BUFFER_SIZE: u32 = 64 * 1024;

/// The most that waits between the system's thread and the sensor's; then the former waits, and the
/// session's buffers fill.
pub const INBOX_SIZE_MAX: usize = 8 << 20;

/// The most that is held back for its order. Beyond it all is told as it is.
const HELD_SIZE_MAX: usize = 16 << 20;

/// The most that is taken while the snapshot is told into the stream: each image that is mapped anywhere.
const RUNDOWN_SIZE_MAX: usize = 256 << 20;

/// The longest sleep, and how often losses are looked for that nothing in the stream tells of.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The longest a buffer that was handed over is on its way.
const SETTLE: Duration = Duration::from_millis(50);

/// The longest the begin of a recording waits for its mark, and one look for it.
const MARK_TIME_MAX: Duration = Duration::from_secs(5);
const MARK_WAIT: Duration = Duration::from_millis(10);

/// The longest that the end waits for what the session has left. A service has 5 s to stop.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(3);

/// How often within a minute a session that others have ended is begun again.
const RESTARTS_MAX: usize = 3;
const RESTARTS_WITHIN_S: u64 = 60;

/// Starts a session, looks that it is there, and ends it.
#[cfg(windows)]
pub fn open(settings: &Settings) -> Result<Box<dyn Sensor>, Error> {
    let tracing = crate::sys::trace_session::Session::new(&settings.waker)
        .map_err(Error::io("preparing to follow a session of event tracing"))?;
    Ok(Box::new(EtwSensor::open(tracing, settings)?))
}

/// The sensor.
#[derive(Debug)]
pub struct EtwSensor<T: Tracing> {
    tracing: T,
    plan: Plan,
    stream: Stream,
    /// Where the session's events come, while it is followed.
    inbox: Option<Arc<Inbox>>,
    /// The most any inbox held.
    peak: u64,
    /// Taken, and not told yet.
    held: Events,
    /// More is to be told than a batch takes.
    is_behind: bool,
    /// Whether there is a session of this sensor's.
    has_session: bool,
    /// How often buffers are handed over, as the session has it.
    interval: Duration,
    /// From the performance counter to the sensor's clock.
    clock: Offset,
    /// When losses were looked for last, and how many had been told when it was looked last what runs
    /// still.
    looked: i64,
    healed: u64,
    /// When the session was begun again.
    restarts: VecDeque<i64>,
    waker: Waker,
}

impl<T: Tracing> EtwSensor<T> {
    /// A sensor on a system where a session can be started: one was, and was ended again. It is not let
    /// run until it is followed, for its buffers would fill.
    pub fn open(mut tracing: T, settings: &Settings) -> Result<Self, Error> {
        let wanted = settings
            .process_buffer_size
            .saturating_add(settings.event_buffer_size);
        let plan = Plan {
            buffer_size: BUFFER_SIZE,
            buffer_count: wanted.div_ceil(BUFFER_SIZE).max(1),
            flush_interval: settings.flush_interval,
            owner: tracing.own(),
        };
        claim(&mut tracing)?;
        let mut sensor = Self {
            stream: Stream::new(settings.threads, settings.images, plan.owner.process_id),
            tracing,
            plan,
            inbox: None,
            peak: 0,
            held: Events::default(),
            is_behind: false,
            has_session: false,
            interval: settings.flush_interval,
            clock: Offset::default(),
            looked: i64::MIN,
            healed: 0,
            waker: settings.waker.clone(),
            restarts: VecDeque::new(),
        };
        sensor.start_session()?;
        sensor.end_session().map_err(refusal::status)?;
        Ok(sensor)
    }

    /// Starts the session, and does not believe it: there is a system that says so and has none.
    fn start_session(&mut self) -> Result<(), Error> {
        let Self { tracing, plan, .. } = self;
        self.interval = tracing
            .start(plan)
            .map_err(|error| refusal::start(error, plan, tracing))?;
        if self.own_status().map_err(refusal::status)?.is_none() {
            return Err(refusal::no_session());
        }
        self.has_session = true;
        Ok(())
    }

    /// What the system says of the session, if it is there and this sensor's.
    fn own_status(&mut self) -> io::Result<Option<Status>> {
        let own = self.plan.owner.guid();
        let status = self.tracing.status()?;
        Ok(status.filter(|status| status.guid == own))
    }

    /// Ends the session, if it is still this sensor's, and gives its last word.
    fn end_session(&mut self) -> io::Result<Option<Status>> {
        self.has_session = false;
        match self.own_status()? {
            Some(_) => self.tracing.stop(),
            None => Ok(None),
        }
    }

    /// Begins to record; what was there, and what happened meanwhile, comes into `batch`.
    fn begin(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let began = self.follow_clock();
        claim(&mut self.tracing)?;
        self.start_session()?;
        let followed = self.tracing.follow(INBOX_SIZE_MAX);
        let inbox = followed.map_err(Error::io("following a session of event tracing"))?;
        self.inbox = Some(Arc::clone(&inbox));
        self.stream.begin_session();
        let listed = list(&mut self.tracing).unwrap_or_else(|error| {
            tracing::warn!(%error, "when processes were created that are there cannot be told");
            Vec::new()
        });
        let mark = self.await_mark(&inbox)?;
        self.held.sort();
        let is_before = |stamp: i64| mark.is_none_or(|mark| stamp <= mark);
        let stamps = self.held.iter_from(0).map(|event| event.stamp.unwrap_or(0));
        let count = stamps.take_while(|stamp| is_before(*stamp)).count();
        let mut rundown = Rundown::default();
        for event in self.held.iter_from(0).take(count) {
            rundown.take(&event, self.clock_time(event.stamp));
        }
        let existing = rundown.finish(&listed, began.time, &mut self.tracing);
        let known = std::mem::take(&mut self.stream.lives);
        for process in &existing {
            let (id, start) = (process.process_id, process.start_time);
            self.stream.lives.exists(id, start, process.first_thread);
        }
        let mut told = Batch::default();
        self.tell(count, &mut told, usize::MAX);
        let existing = if self.stream.images {
            existing
        } else {
            existing.into_iter().map(without_images).collect()
        };
        let mut joined = Batch::default();
        seam::join(existing, &told, began.time, &mut joined);
        // What was there and is told already, where the session was begun again.
        for record in joined.records() {
            let Ok(header) = Header::read(&mut event::wire::Reader::new(record)) else {
                continue;
            };
            let is_known = header.flags.contains(Flags::EXISTING)
                && known
                    .running(header.process_id)
                    .is_some_and(|life| is_same(life.start_time, header.start_time));
            if !is_known {
                batch.push(&header, record);
            }
        }
        Ok(())
    }

    /// Marks a place in the stream and takes what comes before it. All that was told before the mark was
    /// made is handed over before it: buffers go in their order, and are flushed before and after. Gives
    /// the stamp of the mark, or none where it does not come.
    fn await_mark(&mut self, inbox: &Inbox) -> Result<Option<i64>, Error> {
        let action = "marking the begin of recording";
        self.tracing.flush().map_err(Error::io(action))?;
        let thread_id = self.tracing.mark().map_err(Error::io(action))?;
        self.stream.add_mark(thread_id);
        self.tracing.flush().map_err(Error::io(action))?;
        inbox.arm(true);
        let deadline = Instant::now() + MARK_TIME_MAX;
        loop {
            let has_ended = inbox.ended().is_some();
            let first = self.held.count();
            inbox.take(&mut self.held);
            let own = self.plan.owner.process_id;
            let is_mark = |event: &etw::header::Event<'_>| {
                matches!(
                    stream::decode(event),
                    Ok(Some(Told::Thread(Act::Began, thread)))
                        if thread.process_id == own && thread.thread_id == thread_id
                )
            };
            if let Some(mark) = self.held.iter_from(first).find(is_mark) {
                return Ok(mark.stamp);
            }
            if has_ended || self.waker.is_woken() {
                return Ok(None);
            }
            if Instant::now() > deadline || self.held.size() > RUNDOWN_SIZE_MAX {
                tracing::warn!(
                    "the mark at the begin of recording does not come; what was there, and what \
                     happens at first, may be told in another order"
                );
                return Ok(None);
            }
            self.tracing.wait(inbox, MARK_WAIT);
        }
    }

    /// Reads both clocks, and takes in that one was set.
    fn follow_clock(&mut self) -> Reading {
        let reading = self.tracing.reading();
        let time = reading.time.cast_signed();
        let measured = Offset::new(time, self.ns(reading.stamp), reading.error_ns);
        self.clock = self.clock.updated(measured);
        reading
    }

    /// A stamp in nanoseconds.
    fn ns(&self, stamp: i64) -> u64 {
        let frequency = i128::from(self.tracing.frequency().max(1));
        let ns = i128::from(stamp) * 1_000_000_000 / frequency;
        u64::try_from(ns).unwrap_or(0)
    }

    /// Nanoseconds as a stamp.
    fn ticks(&self, time: Duration) -> i64 {
        let ns = i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
        let frequency = i128::from(self.tracing.frequency().max(1));
        let ticks = ns.saturating_mul(frequency) / 1_000_000_000;
        i64::try_from(ticks).unwrap_or(i64::MAX)
    }

    /// The sensor's time of a stamp.
    fn clock_time(&self, stamp: Option<i64>) -> u64 {
        let time = self.clock.time(self.ns(stamp.unwrap_or(0)));
        time.0.cast_unsigned()
    }

    /// Tells what is held, up to the stamp `until` and while `batch` is below `size_max`.
    fn release(&mut self, until: i64, batch: &mut Batch, size_max: usize) {
        let stamps = self.held.iter_from(0).map(|event| event.stamp.unwrap_or(0));
        let count = stamps.take_while(|stamp| *stamp <= until).count();
        let told = self.tell(count, batch, size_max);
        self.is_behind = told < count;
    }

    /// Tells the first `count` events that are held, while `batch` is below `size_max`; gives how many.
    fn tell(&mut self, count: usize, batch: &mut Batch, size_max: usize) -> usize {
        let held = std::mem::take(&mut self.held);
        let programs = stream::programs(&held);
        let mut told = 0;
        for (place, event) in held.iter_from(0).take(count).enumerate() {
            if batch.size() >= size_max {
                break;
            }
            let time = self.clock_time(event.stamp);
            if is_loss(event.source) {
                self.look_for_losses(time, batch);
            } else {
                let program = programs.get(&place).map(Vec::as_slice);
                let (stream, tracing) = (&mut self.stream, &mut self.tracing);
                stream.tell(&event, time, program, tracing, batch);
            }
            told += 1;
        }
        self.held = held;
        self.held.forget_first(told);
        told
    }

    /// Tells what the session has lost meanwhile.
    fn look_for_losses(&mut self, time: u64, batch: &mut Batch) {
        match self.own_status() {
            Ok(status) => self.stream.tell_losses(time, status.as_ref(), batch),
            Err(error) => tracing::warn!(%error, "what a session has lost cannot be asked"),
        }
    }

    /// Forgets the processes that run no more, after a loss. Every process is listed for that, so it is
    /// done no more often than losses are looked for.
    fn heal(&mut self) {
        if std::mem::replace(&mut self.healed, self.stream.losses()) == self.stream.losses() {
            return;
        }
        let Ok(listed) = list(&mut self.tracing) else {
            return;
        };
        let running: HashMap<u32, u64> = listed
            .iter()
            .map(|process| (process.process_id, rundown::start_time(process)))
            .collect();
        self.stream.lives.retain(|process_id, life| {
            let start_time = running.get(&process_id);
            start_time.is_some_and(|start_time| is_same(*start_time, life.start_time))
        });
    }

    /// The session was ended by others: it is begun again, and what happened in between is lost.
    fn begin_again(&mut self, code: u32, now: Reading, batch: &mut Batch) -> Result<(), Error> {
        let within = self.ticks(Duration::from_secs(RESTARTS_WITHIN_S));
        self.restarts
            .retain(|restart| now.stamp.saturating_sub(*restart) < within);
        let count = self.restarts.len() + 1;
        if count > RESTARTS_MAX {
            return Err(refusal::ended(code, count));
        }
        self.restarts.push_back(now.stamp);
        tracing::warn!(
            "the session {} was ended from outside ({code}); it is begun again, and what happened in \
             between is lost",
            NAME
        );
        self.end_following();
        let reason = loss::Reason::BLIND;
        self.stream.lose(now.time, reason, 1, batch);
        match self.begin(batch) {
            // What a program or a user is to do first is no business of a run that has begun.
            Err(error @ Error::Unavailable { .. }) => Err(Error::Io {
                action: "beginning the session of event tracing again",
                source: io::Error::other(error.to_string()),
            }),
            begun => begun,
        }
    }

    /// Follows the session no more, whether it is there or not.
    fn end_following(&mut self) {
        if let Some(inbox) = self.inbox.take() {
            self.peak = self.peak.max(inbox.peak().0);
            inbox.close();
            self.tracing.leave();
        }
    }
}

/// The processes there are.
fn list(tracing: &mut impl Tracing) -> io::Result<Vec<Listed>> {
    process_list::read(&tracing.processes()?).map_err(io::Error::other)
}

/// Whether both are the start of one process: where it could not be asked, that of its start's event.
const fn is_same(left: u64, right: u64) -> bool {
    left.abs_diff(right) < 1_000_000_000
}

fn without_images(existing: super::existing::Existing) -> super::existing::Existing {
    super::existing::Existing {
        images: Vec::new(),
        ..existing
    }
}

/// Sees to it that no session has our name: one that a killed agent has left is ended.
fn claim(tracing: &mut impl Tracing) -> Result<(), Error> {
    let Some(status) = tracing.status().map_err(refusal::status)? else {
        return Ok(());
    };
    let Some(owner) = Owner::of(status.guid) else {
        return Err(refusal::foreign());
    };
    let runs = tracing.creation_time(owner.process_id) == Some(owner.start_time);
    if runs && owner != tracing.own() {
        return Err(refusal::held(owner));
    }
    tracing::warn!(
        "the session {} was left over by process {}, which was killed; it is ended",
        status.name,
        owner.process_id
    );
    tracing.stop().map_err(refusal::status)?;
    Ok(())
}

impl<T: Tracing> Sensor for EtwSensor<T> {
    fn source(&self) -> &'static str {
        "etw"
    }

    fn start(&mut self, batch: &mut Batch) -> Result<(), Error> {
        self.begin(batch)?;
        let now = self.follow_clock();
        self.looked = now.stamp;
        self.look_for_losses(now.time, batch);
        Ok(())
    }

    fn read(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let Some(inbox) = self.inbox.clone() else {
            return Ok(());
        };
        if !self.is_behind {
            let is_idle = self.held.is_empty();
            inbox.arm(is_idle);
            let time = if is_idle { HEARTBEAT } else { self.interval };
            self.tracing.wait(&inbox, time);
        }
        // Asked first: what was put before the end is taken then.
        let ended = inbox.ended();
        inbox.take(&mut self.held);
        self.held.sort();
        let now = self.follow_clock();
        let settled = self.ticks(self.interval.saturating_add(SETTLE));
        let is_full = self.held.size() > HELD_SIZE_MAX;
        let until = if ended.is_some() || is_full {
            i64::MAX
        } else {
            now.stamp.saturating_sub(settled)
        };
        self.release(until, batch, BATCH_SIZE_MAX);
        if now.stamp.saturating_sub(self.looked) >= self.ticks(HEARTBEAT) {
            self.looked = now.stamp;
            // What is told next is not much older.
            let time = self.clock_time(Some(until.min(now.stamp)));
            self.look_for_losses(time, batch);
            self.heal();
        }
        match ended {
            Some(code) if !self.is_behind => self.begin_again(code, now, batch),
            _ => Ok(()),
        }
    }

    fn stop(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let now = self.follow_clock();
        let last = self
            .end_session()
            .map_err(Error::io("ending the session of event tracing"))?;
        if let Some(inbox) = self.inbox.clone() {
            let deadline = Instant::now() + DRAIN_TIME_MAX;
            loop {
                let has_ended = inbox.ended().is_some();
                inbox.take(&mut self.held);
                if has_ended {
                    break;
                }
                if Instant::now() > deadline {
                    tracing::warn!("the session of event tracing does not come to its end in time");
                    break;
                }
                inbox.arm(true);
                self.tracing.wait(&inbox, MARK_WAIT);
            }
        }
        self.end_following();
        self.held.sort();
        self.release(now.stamp, batch, usize::MAX);
        self.held.clear();
        self.stream.tell_losses(now.time, last.as_ref(), batch);
        Ok(())
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        Ok(self.stream.counters)
    }

    fn buffer_peaks(&self) -> Vec<(&'static str, u64, u64)> {
        let limit = u64::try_from(INBOX_SIZE_MAX).unwrap_or(u64::MAX);
        let peak = self.inbox.as_ref().map_or(0, |inbox| inbox.peak().0);
        vec![("etw", self.peak.max(peak), limit)]
    }
}

impl<T: Tracing> Drop for EtwSensor<T> {
    fn drop(&mut self) {
        if self.has_session
            && let Err(error) = self.end_session()
        {
            tracing::warn!(%error, "the session of event tracing could not be ended");
        }
        self.end_following();
    }
}

#[cfg(test)]
mod tests;
