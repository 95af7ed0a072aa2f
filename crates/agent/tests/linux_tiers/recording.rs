//! Records with a sensor while something happens.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use systrail::sensor::{Batch, Counters, Error, Sensor, Settings, connector, perf};
use systrail::sys::wake::Waker;

/// Opens a sensor.
pub(crate) type OpenFn = fn(&Settings) -> Result<Box<dyn Sensor>, Error>;

/// Both sensors.
pub(crate) const SENSORS: [OpenFn; 2] = [perf::open, connector::open];

/// How long an event may take to be told before it counts as missing.
const TELL_TIME_MAX: Duration = Duration::from_secs(10);

/// Buffers that nothing here fills.
pub(crate) fn settings(threads: bool, images: bool) -> (Settings, Waker) {
    let waker = Waker::new().unwrap();
    let settings = Settings {
        threads,
        images,
        failed_execs: false,
        stamps: false,
        environment: systrail::environment::Names::usual(),
        process_buffer_size: 1 << 20,
        event_buffer_size: 8 << 20,
        flush_interval: Duration::from_millis(50),
        waker: waker.clone(),
    };
    (settings, waker)
}

/// Records while `work_fn` runs. The sensor is read on a thread of its own, as the agent does.
pub(crate) fn record<T>(
    open_fn: impl FnOnce(&Settings) -> Result<Box<dyn Sensor>, Error>,
    settings: &Settings,
    work_fn: impl FnOnce() -> T,
) -> (Vec<Batch>, Counters, T) {
    record_until(open_fn, settings, work_fn, |_, _| true)
}

/// Records while `work_fn` runs, and then until `is_told_fn` finds in the batches what it looks
/// for, or `TELL_TIME_MAX` has passed.
///
/// A wait or a join comes back while what ended may still run in the kernel: `do_exit` clears the
/// thread's id and notifies the parent before `proc_exit_connector` is called. Who stops at once
/// stops before that exit has happened.
pub(crate) fn record_until<T>(
    open_fn: impl FnOnce(&Settings) -> Result<Box<dyn Sensor>, Error>,
    settings: &Settings,
    work_fn: impl FnOnce() -> T,
    is_told_fn: impl Fn(&[Batch], &T) -> bool,
) -> (Vec<Batch>, Counters, T) {
    let mut sensor = open_fn(settings).unwrap();
    let waker = settings.waker.clone();
    let (sender, receiver) = channel();
    let reader = std::thread::spawn(move || {
        let mut batch = Batch::default();
        sensor.start(&mut batch).unwrap();
        while !waker.is_woken() {
            sender.send(std::mem::take(&mut batch)).unwrap();
            sensor.read(&mut batch).unwrap();
        }
        sender.send(std::mem::take(&mut batch)).unwrap();
        sensor.stop(&mut batch).unwrap();
        sender.send(batch).unwrap();
        sensor.counters().unwrap()
    });
    let mut batches = vec![receiver.recv().unwrap()];
    let done = work_fn();
    let deadline = Instant::now() + TELL_TIME_MAX;
    while !is_told_fn(&batches, &done) {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(batch) = receiver.recv_timeout(left) else {
            break;
        };
        batches.push(batch);
    }
    settings.waker.wake();
    batches.extend(receiver);
    (batches, reader.join().unwrap(), done)
}
