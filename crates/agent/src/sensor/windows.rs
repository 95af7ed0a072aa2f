//! The Windows sensor: follows what the driver hands over.
//!
//! Several reads wait in the driver at any time; it completes one when a batch is due. Nobody polls:
//! with no events there is no call. What is here knows the driver by the trait [`Device`] alone, so
//! it is built and tested on every system; `sys/windows/device.rs` is the device.
//!
//! The driver goes on when the agent stops, so an account is of what was handed over meanwhile:
//! produced is what the driver says it delivered to this reader, and what it told of as lost. An
//! event that the driver delivered and that never came out here shows as an account that does not
//! balance.

mod clock;
pub mod driver_list;
mod first_threads;
#[cfg(any(windows, test))]
mod patience;
pub mod process_list;
pub mod refusal;
mod stream;

#[cfg(windows)]
mod snapshot;

use std::io;
use std::time::{Duration, Instant};

use event::RECORD_SIZE_MAX;
use event::control::{PROTOCOL_VERSION, Welcome};

use super::existing::Existing;
use super::{Batch, Counters, Error, Sensor, Settings, seam};
use crate::sys::driver::{Counted, Device, Next};
use crate::sys::offset::Offset;
use crate::trail::Time;
use stream::Stream;

/// Bytes of one read. A batch that is due early has 64 KiB, so there is room for what comes until
/// the driver fills it.
pub const READ_SIZE: usize = 256 * 1024;

/// How many reads wait in the driver: one is filled while the others are on their way.
pub const READS: usize = 4;

/// The longest that draining what the driver has queued takes; what is left then waits for the next
/// agent. A service has 5 s to stop.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(3);

/// The longest that a cancelled read takes to come back.
const CANCEL_TIME_MAX: Duration = Duration::from_secs(1);

/// How long a recording goes well before the driver's start is confirmed. What a driver does wrong at its start
/// it has done by then, and a service manager would not start an agent again so soon.
const CONFIRM_AFTER: Duration = Duration::from_secs(30);

/// How long one look for a batch takes while draining: the driver may just be putting it together.
const DRAIN_WAIT: Duration = Duration::from_millis(5);

/// The processes that are there now.
#[cfg(windows)]
pub(super) fn processes_now() -> io::Result<Vec<Existing>> {
    snapshot::take(false)
}

/// What a sensor asks the system beside the device.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Every process there is now, with its images where `true` says so.
    pub snapshot_fn: fn(bool) -> io::Result<Vec<Existing>>,
    /// The time of day, in nanoseconds since 1970, UTC.
    pub now_fn: fn() -> u64,
}

/// Opens the driver's device and shakes hands; no read waits yet.
#[cfg(windows)]
pub fn open(settings: &Settings) -> Result<Box<dyn Sensor>, Error> {
    use crate::sys::{clock, device};
    let device = device::Device::open(&settings.waker, READS, READ_SIZE).map_err(refusal::open)?;
    let surroundings = Surroundings {
        snapshot_fn: snapshot::take,
        now_fn: || clock::now().0,
    };
    Ok(Box::new(WindowsSensor::new(
        device,
        surroundings,
        settings,
    )?))
}

/// The sensor.
#[derive(Debug)]
pub struct WindowsSensor<D> {
    device: D,
    surroundings: Surroundings,
    images: bool,
    stream: Stream,
    /// The counters as they were when the device was opened, and as they were told last.
    before: Counted,
    now: Counted,
    has_stopped: bool,
    /// When the driver's start is to be confirmed; `None` when it is.
    unconfirmed_until: Option<Instant>,
}

impl<D: Device> WindowsSensor<D> {
    /// A sensor on a device that is open.
    pub fn new(
        mut device: D,
        surroundings: Surroundings,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let welcome = device.handshake().map_err(refusal::handshake)?;
        check(&welcome)?;
        let before = device
            .counters()
            .map_err(Error::io("reading the driver's counters"))?;
        Ok(Self {
            device,
            surroundings,
            images: settings.images,
            stream: Stream::new(before.known.batches, settings.threads, settings.images),
            now: before.clone(),
            before,
            has_stopped: false,
            unconfirmed_until: Some(Instant::now() + CONFIRM_AFTER),
        })
    }

    fn count(&mut self) -> Result<(), Error> {
        self.now = self
            .device
            .counters()
            .map_err(Error::io("reading the driver's counters"))?;
        Ok(())
    }

    /// Whether everything the driver had seen at `until` came out here, or was lost.
    fn has_all(&self, until: &Counted) -> bool {
        let is_handed_over = until.kinds().all(|(kind, until)| {
            let now = self.now.of(kind);
            now.delivered.saturating_add(now.lost) >= until.produced
        });
        let delivered = self.now.total_delivered_since(&self.before);
        is_handed_over && self.stream.received() >= delivered
    }

    /// Takes everything the driver has seen by now into `batch`.
    fn drain(&mut self, batch: &mut Batch) -> Result<(), Error> {
        self.count()?;
        let until = self.now.clone();
        let deadline = Instant::now() + DRAIN_TIME_MAX;
        while !self.has_all(&until) {
            if Instant::now() > deadline {
                tracing::warn!("the driver has more than could be read in time; it keeps the rest");
                return Ok(());
            }
            self.device.pend().map_err(refusal::read)?;
            self.device.flush().map_err(refusal::read)?;
            self.take(batch, DRAIN_WAIT)?;
            self.count()?;
        }
        Ok(())
    }

    /// Confirms the driver's start, once.
    fn confirm(&mut self) {
        self.unconfirmed_until = None;
        if let Err(error) = self.device.confirm() {
            tracing::warn!(
                %error,
                "it could not be written down that the driver runs well; after two starts without that \
                 it refuses to start until `systrail driver start`"
            );
        }
    }

    /// Takes batches until none comes for `timeout`.
    fn take(&mut self, batch: &mut Batch, timeout: Duration) -> Result<(), Error> {
        loop {
            match self.device.next(Some(timeout)) {
                Next::Batch(bytes) => self.stream.take(bytes, batch)?,
                Next::Failed(error) => return Err(refusal::read(error)),
                Next::Woken => {}
                Next::TimedOut => return Ok(()),
            }
        }
    }
}

/// Whether this agent understands the driver.
pub(crate) fn check(welcome: &Welcome) -> Result<(), Error> {
    if welcome.protocol_version != PROTOCOL_VERSION {
        return Err(refusal::version(welcome.protocol_version));
    }
    if usize::try_from(welcome.record_size_max).is_ok_and(|size| size <= RECORD_SIZE_MAX) {
        return Ok(());
    }
    Err(Error::Unavailable {
        cause: format!(
            "the driver announces records of {} bytes, more than there are",
            welcome.record_size_max
        ),
        cure: "install the driver that came with this agent: `systrail driver install`".to_owned(),
    })
}

impl<D: Device> Sensor for WindowsSensor<D> {
    fn source(&self) -> &'static str {
        "driver"
    }

    fn start(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let now_fn = self.surroundings.now_fn;
        let opened = now_fn();
        self.device.pend().map_err(refusal::read)?;
        let snapshot = (self.surroundings.snapshot_fn)(self.images)
            .map_err(Error::io("reading what runs already"))?;
        self.stream.remember_first_threads(&snapshot);
        let mut stream = Batch::default();
        self.drain(&mut stream)?;
        // What waited in the driver is older than this agent.
        let began = stream
            .earliest_time()
            .map_or(opened, |time| time.min(opened));
        self.stream.remember(&snapshot);
        seam::join(snapshot, &stream, began, batch);
        self.device.pend().map_err(refusal::read)
    }

    fn read(&mut self, batch: &mut Batch) -> Result<(), Error> {
        if self
            .unconfirmed_until
            .is_some_and(|until| Instant::now() >= until)
        {
            self.confirm();
        }
        self.device.pend().map_err(refusal::read)?;
        let mut timeout = None;
        while batch.has_room() {
            match self.device.next(timeout) {
                Next::Batch(bytes) => self.stream.take(bytes, batch)?,
                Next::Failed(error) => return Err(refusal::read(error)),
                Next::Woken | Next::TimedOut => break,
            }
            // What is there already comes along.
            timeout = Some(Duration::ZERO);
        }
        Ok(())
    }

    fn stop(&mut self, batch: &mut Batch) -> Result<(), Error> {
        self.drain(batch)?;
        self.device
            .cancel()
            .map_err(Error::io("taking reads back from the driver"))?;
        let deadline = Instant::now() + CANCEL_TIME_MAX;
        while self.device.pended() > 0 && Instant::now() < deadline {
            match self.device.next(Some(DRAIN_WAIT)) {
                // Completed before it could be cancelled.
                Next::Batch(bytes) => self.stream.take(bytes, batch)?,
                Next::Failed(_) | Next::Woken | Next::TimedOut => {}
            }
        }
        self.stream.take_what_waits(batch)?;
        self.count()?;
        if self.unconfirmed_until.is_some() {
            self.confirm();
        }
        self.has_stopped = true;
        Ok(())
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        if !self.has_stopped {
            self.count()?;
        }
        let mut counters = Counters::default();
        for (kind, delivered) in self.now.delivered_since(&self.before).iter() {
            if self.stream.is_wanted(kind) {
                let passed_over = self.stream.passed_over(kind);
                counters.add_produced(kind, delivered.saturating_sub(passed_over));
                counters.add_lost(kind, self.stream.lost(kind));
            }
        }
        Ok(counters)
    }

    fn clock(&self) -> (u64, Offset) {
        let now = (self.surroundings.now_fn)();
        let offset = self.stream.clock_offset();
        let time = i64::try_from(now).map_or(now, |now| offset.sensor_ns(Time(now)));
        (time, offset)
    }

    fn buffer_peaks(&self) -> Vec<(&'static str, u64, u64)> {
        let driver = &self.now.known;
        vec![("driver_queue", driver.queue_peak, driver.queue_limit)]
    }
}

#[cfg(test)]
mod tests;
