//! Hashes of images, in the events and behind them.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use event::wire::Writer;
use event::{Flags, Header, Kind, Place, Stamp};
use systrail::image_hash::{
    Files, ImageHashes, OpenFile, Settings as HashSettings, Subject, Wanted,
};
use systrail::pipeline::{self, Settings};
use systrail::sensor::{self, Batch, Counters, Sensor};
use systrail::sink::Sink;
use systrail::sys::wake::Waker;
use systrail::trail::json::{read_line, write_line};
use systrail::trail::{Body, Event};

use super::{Memory, Script, Step, TICK, exec, fork, kinds, record_with, settings};

/// That of the text `abc`, of FIPS 180-4.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const STAMP: Stamp = Stamp {
    change_time_ns: 5,
    size: 3,
};

/// Each file there is has the same content.
#[derive(Debug)]
struct Abc;

impl Files for Abc {
    fn open(&self, _wanted: &Wanted) -> Result<Box<dyn OpenFile>, &'static str> {
        Ok(Box::new(Self))
    }
}

impl OpenFile for Abc {
    fn stamp(&self) -> io::Result<Stamp> {
        Ok(STAMP)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = b"abc"
            .get(usize::try_from(offset).unwrap()..)
            .unwrap_or_default();
        let size = rest.len().min(buffer.len());
        buffer[..size].copy_from_slice(&rest[..size]);
        Ok(size)
    }
}

fn hashes() -> ImageHashes {
    let settings = HashSettings {
        subject: Subject::Hashes,
        rate: 1 << 30,
        file_size_max: 1 << 20,
        review_interval: Duration::from_millis(50),
        close_time: Duration::from_secs(10),
    };
    ImageHashes::start(settings, Box::new(Abc)).unwrap()
}

/// An exec of a file, with its state or without.
fn exec_of(time: u64, process_id: u32, stamp: Option<Stamp>) -> Step {
    let mut bytes = b"x\0bin\0".to_vec();
    let mut flags = Flags::LEAF_FIRST.with(Flags::PLACED);
    if let Some(stamp) = stamp {
        flags = flags.with(Flags::STAMPED);
        let mut stamped = [0; Stamp::SIZE];
        stamp.write(&mut Writer::new(&mut stamped));
        bytes.extend(stamped);
    }
    let mut placed = [0; Place::SIZE];
    let place = Place {
        device: Place::device_of(8, 1),
        inode: 7,
        ..Place::default()
    };
    place.write(&mut Writer::new(&mut placed));
    bytes.extend(placed);
    let step = exec(time, process_id, bytes.leak(), b"x\0");
    Step {
        header: Header {
            flags,
            ..step.header
        },
        ..step
    }
}

/// Plays one batch after the other, each when the trail has that many details of images.
struct Patient {
    script: Box<Script>,
    told: Arc<Mutex<Vec<Event>>>,
    details_count: usize,
}

impl Sensor for Patient {
    fn source(&self) -> &'static str {
        self.script.source()
    }

    fn start(&mut self, batch: &mut Batch) -> Result<(), sensor::Error> {
        self.script.start(batch)
    }

    fn read(&mut self, batch: &mut Batch) -> Result<(), sensor::Error> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let is_details = |event: &&Event| event.body.kind() == Kind::IMAGE_DETAILS;
        while self.told.lock().unwrap().iter().filter(is_details).count() < self.details_count {
            assert!(Instant::now() < deadline, "no details come");
            std::thread::yield_now();
        }
        self.details_count += 1;
        self.script.read(batch)
    }

    fn stop(&mut self, batch: &mut Batch) -> Result<(), sensor::Error> {
        self.script.stop(batch)
    }

    fn counters(&mut self) -> Result<Counters, sensor::Error> {
        self.script.counters()
    }

    fn buffer_peaks(&self) -> Vec<(&'static str, u64, u64)> {
        self.script.buffer_peaks()
    }
}

/// The hash and why there is none.
fn told(event: &Event) -> (Option<&str>, Option<&str>) {
    let sha256 = match &event.body {
        Body::ProcessExec(exec) => exec.details.as_ref().and_then(|it| it.sha256.as_deref()),
        Body::ImageDetails(details) => details.sha256.as_deref(),
        other => panic!("{other:?}"),
    };
    let mut missing = event.missing.iter();
    let reason = missing.find(|(field, _)| field == "sha256");
    (sha256, reason.map(|(_, reason)| &**reason))
}

#[test]
fn a_hash_is_told_when_it_is_known_and_is_in_the_events_from_then_on() {
    let (waker, sink) = (Waker::new().unwrap(), Memory::new());
    let batches = vec![
        vec![fork(TICK, 1, 10), exec_of(2 * TICK, 10, Some(STAMP))],
        // Nothing comes from the sensor before the first is told.
        vec![
            exec_of(3 * TICK, 10, Some(STAMP)),
            exec_of(4 * TICK, 10, None),
        ],
        vec![exec_of(5 * TICK, 10, None)],
    ];
    let sensor = Box::new(Patient {
        script: Script::new(&waker, batches),
        told: Arc::clone(&sink.events),
        details_count: 1,
    });
    let settings = Settings {
        hashes: Some(hashes()),
        ..settings()
    };
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(sink.clone())];
    let status = Arc::default();
    let account = pipeline::record(sensor, sinks, settings, &waker, &status, || {}).unwrap();
    let events = sink.events();
    assert!(
        events
            .iter()
            .map(|event| event.sequence)
            .eq(1..=events.len() as u64)
    );
    let expected = [
        Kind::SENSOR_START,
        Kind::PROCESS_START,
        Kind::PROCESS_EXEC,
        Kind::IMAGE_DETAILS,
        Kind::PROCESS_EXEC,
        Kind::PROCESS_EXEC,
        Kind::IMAGE_DETAILS,
        Kind::PROCESS_EXEC,
    ];
    // What is pending last may be told before the end, or not.
    assert_eq!(kinds(&events)[..8], expected);
    let pending = (None, Some("pending"));
    let known = (Some(ABC), None);
    let all: Vec<_> = events[2..8].iter().map(told).collect();
    assert_eq!(all, [pending, known, known, pending, known, pending]);
    let (first, details) = (&events[2], &events[3]);
    assert_eq!(details.process_key, first.process_key);
    let Body::ImageDetails(found) = &details.body else {
        panic!("{details:?}");
    };
    assert_eq!(
        (found.device.as_deref(), found.inode),
        (Some("8:1"), Some(7))
    );
    assert_eq!((found.change_time_ns, found.file_size), (Some(5), Some(3)));
    assert_eq!(found.image, Some("/bin/x".into()));

    // They are no events of the sensor's.
    assert!(account.balanced);
    let delivered: u64 = account
        .kinds
        .by_kind()
        .map(|(_, count)| count.delivered)
        .sum();
    assert_eq!(delivered, 5);
    let counts = status.hashed_so_far().unwrap();
    assert_eq!(counts.refused, 0);
    replays_as_it_is(&sink.events());
}

/// A log with such events, replayed, is the same log.
fn replays_as_it_is(events: &[Event]) {
    let lines = |events: &[Event]| -> Vec<u8> {
        let mut lines = Vec::new();
        for event in events {
            write_line(event, &mut lines);
        }
        lines
    };
    let written = lines(events);
    let read: Vec<Event> = written
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| read_line(line).unwrap())
        .collect();
    let sink = Memory::new();
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(sink.clone())];
    let waker = Waker::new().unwrap();
    pipeline::replay(read.into_iter(), sinks, &Arc::default(), &waker, None).unwrap();
    assert_eq!(lines(&sink.events()), written);
}

#[test]
fn without_hashes_no_event_says_a_word_of_them() {
    let script = |stamp| vec![vec![fork(TICK, 1, 10), exec_of(2 * TICK, 10, stamp)]];
    for stamp in [None, Some(STAMP)] {
        let (events, _) = record_with(settings(), script(stamp));
        let exec = events
            .iter()
            .find(|event| event.body.kind() == Kind::PROCESS_EXEC);
        assert_eq!(exec.map(told), Some((None, None)));
        assert!(!kinds(&events).contains(&Kind::IMAGE_DETAILS));
    }
}
