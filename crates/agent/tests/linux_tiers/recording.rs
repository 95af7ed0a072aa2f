//! Records with a sensor while something happens.

use std::time::Duration;

use agent::sensor::{Batch, Counters, Error, Sensor, Settings, connector, perf};
use agent::sys::wake::Waker;

/// Opens a sensor.
pub(crate) type OpenFn = fn(&Settings) -> Result<Box<dyn Sensor>, Error>;

/// Both sensors.
pub(crate) const SENSORS: [OpenFn; 2] = [perf::open, connector::open];

/// Buffers that nothing here fills.
pub(crate) fn settings(threads: bool, images: bool) -> (Settings, Waker) {
    let waker = Waker::new().unwrap();
    let settings = Settings {
        threads,
        images,
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
    let mut sensor = open_fn(settings).unwrap();
    let waker = settings.waker.clone();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut batches = vec![Batch::default()];
        sensor.start(&mut batches[0]).unwrap();
        ready.send(()).unwrap();
        while !waker.is_woken() {
            let mut batch = Batch::default();
            sensor.read(&mut batch).unwrap();
            batches.push(batch);
        }
        let mut batch = Batch::default();
        sensor.stop(&mut batch).unwrap();
        batches.push(batch);
        (batches, sensor.counters().unwrap())
    });
    is_ready.recv().unwrap();
    let done = work_fn();
    settings.waker.wake();
    let (batches, counters) = reader.join().unwrap();
    (batches, counters, done)
}
