//! What the Windows sensor promises, on a device that a test scripts.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event::control::{Batch as Head, Count, PROTOCOL_VERSION, Welcome};
use event::loss::{Lost, Reason};
use event::wire::Writer;
use event::{Event, Flags, Header, Kind, image, process, thread};

use super::{Device, Next, READS, Surroundings, WindowsSensor};
use crate::sensor::existing::{Existing, ExistingImage};
use crate::sensor::{Batch, Sensor as _, Settings};
use crate::sys::driver::{Counted, counted};
use crate::sys::wake::Waker;

mod clock;
mod versions;

/// A driver with its queue and counters. What a test makes happen is queued, and comes out when it
/// is flushed, two records a batch.
#[derive(Debug, Default)]
struct Driver {
    queue: VecDeque<Vec<u8>>,
    /// Losses that the stream has not told of.
    untold: Vec<(Kind, u64)>,
    /// What the time of day is more than its clock.
    utc_offset: i64,
    counters: Counted,
    /// Completed reads that nobody has taken out of the port.
    completed: VecDeque<Vec<u8>>,
    pended: usize,
    is_cancelled: bool,
    /// Told to the next who waits.
    failure: Option<i32>,
    /// Completed reads come out the other way round, as from several processors.
    is_disordered: bool,
    calls: Vec<&'static str>,
    /// What it answers to a handshake, where that is not what this version does: bytes, or an error
    /// of Windows.
    welcome: Option<Result<Vec<u8>, i32>>,
}

#[derive(Clone, Debug)]
struct Scripted {
    driver: Arc<Mutex<Driver>>,
    taken: Vec<u8>,
}

impl Driver {
    /// The counters of a kind, which this agent need not know.
    fn count(&mut self, kind: Kind) -> &mut Count {
        if let Some(known) = self.counters.known.kinds.get_mut(kind) {
            return known;
        }
        let unknown = &mut self.counters.unknown;
        if !unknown.iter().any(|(other, _count)| *other == kind) {
            unknown.push((kind, Count::default()));
        }
        let mut counts = unknown.iter_mut();
        let found = counts.find(|(other, _count)| *other == kind);
        &mut found.unwrap().1
    }

    fn produce(&mut self, record: Vec<u8>) {
        let header = Header::read(&mut event::wire::Reader::new(&record)).unwrap();
        self.count(header.kind).produced += 1;
        self.queue.push_back(record);
    }

    fn lose(&mut self, kind: Kind, count: u64) {
        let counter = self.count(kind);
        counter.produced += count;
        counter.lost += count;
        self.untold.push((kind, count));
    }

    /// Completes pended reads with what is queued, two records a batch.
    fn deliver(&mut self) {
        while self.pended > 0 && !(self.queue.is_empty() && self.untold.is_empty()) {
            let mut records: Vec<Vec<u8>> = self.untold.drain(..).map(lost).collect();
            let two: Vec<_> = self.queue.drain(..self.queue.len().min(2)).collect();
            for record in two {
                let header = Header::read(&mut event::wire::Reader::new(&record)).unwrap();
                self.count(header.kind).delivered += 1;
                records.push(record);
            }
            self.counters.known.batches += 1;
            self.pended -= 1;
            let batch = framed(self.counters.known.batches, &records, self.utc_offset);
            if self.is_disordered {
                self.completed.push_front(batch);
            } else {
                self.completed.push_back(batch);
            }
        }
    }
}

fn framed(sequence: u64, records: &[Vec<u8>], utc_offset: i64) -> Vec<u8> {
    let bytes = records.concat();
    let mut batch = vec![0; Head::SIZE];
    Head {
        sequence,
        size: u32::try_from(Head::SIZE + bytes.len()).unwrap(),
        records: u32::try_from(records.len()).unwrap(),
        utc_offset,
    }
    .write(&mut Writer::new(&mut batch));
    batch.extend(bytes);
    batch
}

fn record(time: u64, process_id: u32, start_time: u64, event: &Event<'_>) -> Vec<u8> {
    let header = Header {
        time,
        process_id,
        start_time,
        ..Header::default()
    };
    let mut buffer = vec![0; 4_096];
    event::write(header, event, &mut buffer).unwrap().to_vec()
}

fn lost((kind, count): (Kind, u64)) -> Vec<u8> {
    let lost = Lost {
        kind,
        reason: Reason::BUFFER_FULL,
        count,
    };
    record(1, 0, 0, &Event::Lost(lost))
}

fn start(process_id: u32, time: u64) -> Vec<u8> {
    let start = Event::ProcessStart(process::Start::default());
    record(time, process_id, time, &start)
}

/// A thread that its own process made.
fn thread(process_id: u32) -> Vec<u8> {
    let start = thread::Start {
        creator_process_id: process_id,
        ..thread::Start::default()
    };
    record(9, process_id, 0, &Event::ThreadStart(start))
}

impl Device for Scripted {
    fn handshake(&mut self) -> io::Result<Welcome> {
        match &self.driver.lock().unwrap().welcome {
            None => counted::welcome(&versions::answer(PROTOCOL_VERSION, Welcome::SIZE)),
            Some(Ok(answer)) => counted::welcome(answer),
            Some(Err(code)) => Err(io::Error::from_raw_os_error(*code)),
        }
    }

    fn counters(&mut self) -> io::Result<Counted> {
        let mut driver = self.driver.lock().unwrap();
        driver.calls.push("counters");
        Ok(driver.counters.clone())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut driver = self.driver.lock().unwrap();
        driver.calls.push("flush");
        driver.deliver();
        Ok(())
    }

    fn pend(&mut self) -> io::Result<()> {
        let mut driver = self.driver.lock().unwrap();
        driver.pended = READS - driver.completed.len();
        Ok(())
    }

    fn next(&mut self, timeout: Option<Duration>) -> Next<'_> {
        let mut driver = self.driver.lock().unwrap();
        if let Some(batch) = driver.completed.pop_front() {
            self.taken = batch;
            return Next::Batch(&self.taken);
        }
        if let Some(code) = driver.failure.take() {
            return Next::Failed(io::Error::from_raw_os_error(code));
        }
        if driver.is_cancelled && driver.pended > 0 {
            driver.pended -= 1;
            return Next::Failed(io::Error::from_raw_os_error(995));
        }
        if timeout.is_none() {
            return Next::Woken;
        }
        Next::TimedOut
    }

    fn confirm(&mut self) -> io::Result<()> {
        self.driver.lock().unwrap().calls.push("confirm");
        Ok(())
    }

    fn cancel(&mut self) -> io::Result<()> {
        self.driver.lock().unwrap().is_cancelled = true;
        Ok(())
    }

    fn pended(&self) -> usize {
        self.driver.lock().unwrap().pended
    }
}

/// Processes 100 and 200, which started at those times.
#[expect(clippy::unnecessary_wraps, reason = "a real snapshot can fail")]
fn snapshot(_images: bool) -> io::Result<Vec<Existing>> {
    let existing = |id: u32| Existing {
        process_id: id,
        start_time: u64::from(id) * 1_000_000_000,
        flags: Flags::UTF_16,
        read_until: 1_000_000_000_000,
        ..Existing::default()
    };
    Ok(vec![existing(100), existing(200)])
}

fn settings(threads: bool) -> Settings {
    Settings {
        threads,
        images: true,
        failed_execs: false,
        stamps: false,
        environment: crate::environment::Names::default(),
        process_buffer_size: 0,
        event_buffer_size: 0,
        flush_interval: Duration::from_millis(50),
        waker: Waker::new().unwrap(),
    }
}

/// Kind, process, and whether it existed before.
type Told = (Kind, u32, bool);

/// By kind: produced and lost.
type Counts = [(u64, u64); Kind::OBSERVED.len()];

struct Fixture {
    driver: Arc<Mutex<Driver>>,
    sensor: WindowsSensor<Scripted>,
    batch: Batch,
}

impl Fixture {
    /// A sensor on a driver that has seen what `before_fn` makes happen.
    fn new(threads: bool, before_fn: impl FnOnce(&mut Driver)) -> Self {
        let mut driver = Driver::default();
        before_fn(&mut driver);
        let driver = Arc::new(Mutex::new(driver));
        let device = Scripted {
            driver: Arc::clone(&driver),
            taken: Vec::new(),
        };
        let surroundings = Surroundings {
            snapshot_fn: snapshot,
            now_fn: || 1_000_000_000_000,
        };
        Self {
            driver,
            sensor: WindowsSensor::new(device, surroundings, &settings(threads)).unwrap(),
            batch: Batch::default(),
        }
    }

    fn started(threads: bool, before_fn: impl FnOnce(&mut Driver)) -> Self {
        let mut fixture = Self::new(threads, before_fn);
        fixture.sensor.start(&mut fixture.batch).unwrap();
        fixture
    }

    fn happen(&self, happen_fn: impl FnOnce(&mut Driver)) {
        happen_fn(&mut self.driver.lock().unwrap());
    }

    /// Ends the recording; gives kind, process and whether it existed of all that was handed over.
    fn stopped(mut self) -> (Vec<Told>, Counts) {
        self.sensor.stop(&mut self.batch).unwrap();
        let counters = self.sensor.counters().unwrap();
        let told = self.batch.records().map(|record| {
            let header = event::read(record).unwrap().header;
            let existing = header.flags.contains(Flags::EXISTING);
            (header.kind, header.process_id, existing)
        });
        let of = |kind| (counters.produced.count(kind), counters.lost.count(kind));
        let counts = Kind::OBSERVED.map(of);
        (told.collect(), counts)
    }
}

const START: usize = 0;
const THREAD: usize = 3;

#[test]
fn what_waited_in_the_driver_comes_after_the_snapshot_and_nothing_twice() {
    let second = 1_000_000_000;
    let fixture = Fixture::started(true, |driver| {
        // 200 started while the driver ran already, 300 too and is gone.
        driver.produce(start(200, 200 * second));
        driver.produce(start(300, 300 * second));
        driver.produce(thread(300));
    });
    let (told, counts) = fixture.stopped();
    assert_eq!(
        told,
        [
            (Kind::PROCESS_START, 100, true),
            (Kind::PROCESS_START, 200, false),
            (Kind::PROCESS_START, 300, false),
            (Kind::THREAD_START, 300, false),
        ]
    );
    assert_eq!((counts[START], counts[THREAD]), ((2, 0), (1, 0)));
}

#[test]
fn a_start_that_is_told_after_the_snapshot_had_the_process_is_told_once() {
    let fixture = Fixture::started(true, |_driver| {});
    fixture.happen(|driver| driver.produce(start(200, 200_000_000_000)));
    fixture.happen(|driver| driver.produce(start(201, 201_000_000_000)));
    let (told, counts) = fixture.stopped();
    let ids: Vec<u32> = told.iter().map(|(_, id, _)| *id).collect();
    assert_eq!(ids, [100, 200, 201]);
    assert_eq!(counts[START], (1, 0));
}

#[test]
fn the_account_is_of_this_run_alone_and_losses_are_in_it() {
    let fixture = Fixture::started(true, |driver| {
        // Delivered to the agent before this one, and lost while there was none.
        let starts = driver.count(Kind::PROCESS_START);
        (starts.produced, starts.delivered) = (50, 50);
        driver.counters.known.batches = 7;
        driver.lose(Kind::THREAD_START, 5);
    });
    fixture.happen(|driver| driver.produce(thread(100)));
    fixture.happen(|driver| driver.lose(Kind::THREAD_START, 2));
    let (told, counts) = fixture.stopped();
    assert_eq!(counts[START], (0, 0));
    assert_eq!(counts[THREAD], (8, 7));
    let losses = told.iter().filter(|(kind, ..)| *kind == Kind::LOST);
    assert_eq!(losses.count(), 2);
}

#[test]
fn batches_of_several_processors_are_put_into_order() {
    let mut fixture = Fixture::started(true, |_driver| {});
    fixture.happen(|driver| {
        driver.is_disordered = true;
        for id in 1..=8 {
            driver.produce(start(id, 1_000_000_000_000 + u64::from(id)));
        }
        driver.deliver();
    });
    fixture.batch.clear();
    fixture.sensor.read(&mut fixture.batch).unwrap();
    let (told, counts) = fixture.stopped();
    let ids: Vec<u32> = told.iter().map(|(_, id, _)| *id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(counts[START], (8, 0));
}

/// Seen on Wine: each process began with a thread that another process had put there.
/// Where the record of the first thread was lost, the next one made by another process, which may
/// have been put there by an attacker, was taken for the first and not told.
#[test]
fn a_thread_from_outside_is_not_taken_for_a_first_one_that_may_be_lost() {
    let outside = Event::ThreadStart(thread::Start {
        creator_process_id: 60,
        ..thread::Start::default()
    });
    let header = Header {
        time: 2_000_000_000_000,
        process_id: 100,
        thread_id: 9,
        lost_before: 1,
        ..Header::default()
    };
    let mut buffer = vec![0; 256];
    let outside = event::write(header, &outside, &mut buffer).unwrap();
    let fixture = Fixture::started(true, |_driver| {});
    fixture.happen(|driver| {
        driver.lose(Kind::THREAD_START, 1);
        driver.produce(start(100, 2_000_000_000_000));
        driver.produce(outside.to_vec());
    });
    let (_told, counts) = fixture.stopped();
    assert_eq!(counts[THREAD], (2, 1));
}

#[test]
fn the_first_thread_of_a_process_is_the_process() {
    const EXIT: usize = 4;
    let by = |creator_process_id| {
        Event::ThreadStart(thread::Start {
            creator_process_id,
            ..thread::Start::default()
        })
    };
    let about = |thread_id: u32, event: Event<'_>| {
        let header = Header {
            time: 2_000_000_000_000,
            process_id: 100,
            thread_id,
            ..Header::default()
        };
        let mut buffer = vec![0; 256];
        event::write(header, &event, &mut buffer).unwrap().to_vec()
    };
    let fixture = Fixture::started(true, |_driver| {});
    fixture.happen(|driver| {
        driver.produce(start(100, 2_000_000_000_000));
        driver.produce(about(7, by(50)));
        // One of its own, and one that really comes from outside.
        driver.produce(about(8, by(100)));
        driver.produce(about(9, by(60)));
        for thread_id in [8, 9, 7] {
            driver.produce(about(thread_id, Event::ThreadExit(thread::Exit)));
        }
    });
    let (_told, counts) = fixture.stopped();
    assert_eq!(counts[THREAD], (2, 0));
    assert_eq!(counts[EXIT], (2, 0));
}

/// The exit of such a thread was once told, as that of a thread nobody had told the start of.
#[test]
fn the_first_thread_of_a_process_that_was_there_has_no_events_either() {
    const EXIT: usize = 4;
    fn existing(_images: bool) -> io::Result<Vec<Existing>> {
        let mut existing = snapshot(false)?;
        existing[0].first_thread = Some(7);
        Ok(existing)
    }
    let exit = |time: u64, process_id: u32, thread_id: u32| {
        let header = Header {
            time,
            process_id,
            thread_id,
            ..Header::default()
        };
        let mut buffer = vec![0; 256];
        let exit = Event::ThreadExit(thread::Exit);
        event::write(header, &exit, &mut buffer).unwrap().to_vec()
    };
    let late = 2_000_000_000_000;
    let cases = [(0, "while the snapshot is taken"), (late, "afterwards")];
    for (time, when) in cases {
        let all = |driver: &mut Driver| {
            driver.produce(exit(time.max(1), 100, 7));
            // Another of its threads, one of the same id, and the id in a next process.
            driver.produce(exit(time.max(1), 100, 8));
            driver.produce(exit(time.max(1), 200, 7));
            driver.produce(exit(time.max(1), 100, 7));
        };
        let mut fixture = Fixture::new(true, |_driver| {});
        fixture.sensor.surroundings.snapshot_fn = existing;
        if time == 0 {
            fixture.happen(all);
        }
        fixture.sensor.start(&mut fixture.batch).unwrap();
        if time != 0 {
            fixture.happen(all);
        }
        let (told, counts) = fixture.stopped();
        let exits = told.iter().filter(|(kind, ..)| *kind == Kind::THREAD_EXIT);
        let ids: Vec<u32> = exits.map(|(_, process_id, _)| *process_id).collect();
        assert_eq!(ids, [100, 200, 100], "{when}");
        assert_eq!(counts[EXIT], (3, 0), "{when}");
    }
}

/// A driver that is loaded while the snapshot is taken is in both.
#[test]
fn what_is_loaded_into_the_kernel_is_told_once() {
    const IMAGE: usize = 5;
    #[expect(clippy::unnecessary_wraps, reason = "a snapshot can fail")]
    fn existing(_images: bool) -> io::Result<Vec<Existing>> {
        let driver = |base: u64| ExistingImage {
            flags: Flags::UTF_16.with(Flags::KERNEL_IMAGE),
            base,
            size: 0x1000,
            path: Vec::new(),
        };
        Ok(vec![Existing {
            images: vec![driver(0x1000), driver(0x4000)],
            read_until: 1_000_000_000_000,
            ..Existing::default()
        }])
    }
    let mut fixture = Fixture::new(true, |_driver| {});
    fixture.sensor.surroundings.snapshot_fn = existing;
    let load = image::Load {
        image_base: 0x4000,
        image_size: 0x1000,
        image: &[],
    };
    let load = record(999_999_999_999, 0, 0, &Event::ImageLoad(load));
    fixture.happen(|driver| driver.produce(load));
    fixture.sensor.start(&mut fixture.batch).unwrap();
    let loads = |batch: &Batch| -> Vec<(u64, bool, bool)> {
        let told = batch.records().filter_map(|record| {
            let event::Record { header, event, .. } = event::read(record).unwrap();
            let Event::ImageLoad(load) = event else {
                return None;
            };
            let has = |flag| header.flags.contains(flag);
            Some((
                load.image_base,
                has(Flags::EXISTING),
                has(Flags::KERNEL_IMAGE),
            ))
        });
        told.collect()
    };
    assert_eq!(
        loads(&fixture.batch),
        [(0x1000, true, true), (0x4000, false, false)]
    );
    let (told, counts) = fixture.stopped();
    assert_eq!(told[0], (Kind::PROCESS_START, 0, true));
    assert_eq!(counts[IMAGE], (1, 0));
}

#[test]
fn kinds_that_are_not_wanted_are_neither_told_nor_counted() {
    let fixture = Fixture::started(false, |_driver| {});
    fixture.happen(|driver| driver.produce(thread(100)));
    fixture.happen(|driver| driver.lose(Kind::THREAD_START, 2));
    let (told, counts) = fixture.stopped();
    assert_eq!(told.len(), 2, "the snapshot alone: {told:?}");
    assert_eq!(counts[THREAD], (0, 0));
}

#[test]
fn an_idle_sensor_makes_no_call() {
    let mut fixture = Fixture::started(true, |_driver| {});
    fixture.happen(|driver| driver.calls.clear());
    fixture.sensor.read(&mut fixture.batch).unwrap();
    fixture.happen(|driver| assert_eq!(driver.calls, [""; 0]));
}

#[test]
fn a_stop_drains_and_leaves_no_read_behind() {
    let fixture = Fixture::started(true, |_driver| {});
    fixture.happen(|driver| (1..=100).for_each(|id| driver.produce(thread(id))));
    let driver = Arc::clone(&fixture.driver);
    let (told, counts) = fixture.stopped();
    assert_eq!((told.len(), counts[THREAD]), (102, (100, 0)));
    assert_eq!(driver.lock().unwrap().pended, 0);
}

#[test]
fn a_driver_that_is_stopped_ends_the_recording_with_its_reason() {
    let mut fixture = Fixture::started(true, |_driver| {});
    fixture.happen(|driver| driver.failure = Some(995));
    let error = fixture.sensor.read(&mut fixture.batch).unwrap_err();
    assert!(
        error.to_string().contains("the driver was stopped"),
        "{error}"
    );
}

#[test]
fn a_batch_that_is_not_as_it_claims_is_refused() {
    let good = framed(1, &[thread(1)], 0);
    let mut forged = vec![
        (Vec::new(), "nothing"),
        (good[..10].to_vec(), "a cut head"),
        (good[..good.len() - 1].to_vec(), "a cut record"),
        (framed(0, &[thread(1)], 0), "a number from before"),
    ];
    let mut more = framed(1, &[thread(1)], 0);
    more[12..16].copy_from_slice(&2_u32.to_le_bytes());
    forged.push((more, "fewer records than it says"));
    let mut fewer = framed(1, &[thread(1), thread(2)], 0);
    fewer[12..16].copy_from_slice(&1_u32.to_le_bytes());
    forged.push((fewer, "more records than it says"));
    let mut small = framed(1, &[thread(1)], 0);
    small[Head::SIZE..Head::SIZE + 4].copy_from_slice(&3_u32.to_le_bytes());
    forged.push((small, "a record smaller than its header"));
    for (bytes, what) in forged {
        let mut fixture = Fixture::started(true, |_driver| {});
        fixture.happen(|driver| driver.completed.push_back(bytes));
        assert!(fixture.sensor.read(&mut fixture.batch).is_err(), "{what}");
    }
}
