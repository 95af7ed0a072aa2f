//! Windows' traces as a trail: what is told of processes, threads and images, whatever shape a trace has
//! and whatever became of it. Traces are written by `etw::encode`; `samples.rs` reads those of real
//! machines, which are not part of the repository.

mod damage;
mod processes;
mod samples;
mod shapes;

use std::fs;
use std::path::Path;

use etw::encode::{self, Buffer, Payload, Settings, Whence};
use etw::fields::PointerSize;
use systrail::replay::{self, format::Remark};
use systrail::trail::{Body, Event, ImageLoad, ProcessExit, ProcessStart, ThreadStart};

/// The stamp of the header of the traces here, and of their first events.
const BASE: i64 = 1_000_000;
/// The kernel's groups and types.
const START: (u8, u8) = (3, 1);
const EXIT: (u8, u8) = (3, 2);
const THERE: (u8, u8) = (3, 3);
const THERE_AT_END: (u8, u8) = (3, 4);
const LOAD: (u8, u8) = (3, 10);
const UNLOAD: (u8, u8) = (20, 2);
const IMAGE_THERE: (u8, u8) = (20, 3);
const IMAGE_THERE_AT_END: (u8, u8) = (20, 4);
const THREAD_START: (u8, u8) = (5, 1);
const THREAD_EXIT: (u8, u8) = (5, 2);
const THREAD_THERE: (u8, u8) = (5, 3);

/// What a trace told.
struct Replayed {
    events: Vec<Event>,
    remarks: Vec<Remark>,
}

impl Replayed {
    /// What these bytes tell.
    fn of(bytes: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // No name says what it is.
        let path = directory.path().join("boot.etl.002");
        fs::write(&path, bytes).unwrap();
        Self::of_file(&path)
    }

    fn of_file(path: &Path) -> Self {
        let mut log = replay::open(path).unwrap();
        let events: Result<_, _> = log.by_ref().collect();
        Self {
            events: events.unwrap(),
            remarks: log.remarks(),
        }
    }

    fn starts(&self) -> Vec<(&Event, &ProcessStart)> {
        let of = |event: &'_ Event| matches!(event.body, Body::ProcessStart(_));
        let starts = self.events.iter().filter(|event| of(event));
        starts
            .filter_map(|event| match &event.body {
                Body::ProcessStart(start) => Some((event, &**start)),
                _ => None,
            })
            .collect()
    }

    fn start(&self, process_id: u32) -> (&Event, &ProcessStart) {
        let mut starts = self.starts().into_iter();
        starts
            .find(|(event, _)| event.process_id == process_id)
            .unwrap()
    }

    fn exits(&self) -> Vec<(&Event, &ProcessExit)> {
        let exits = self.events.iter().filter_map(|event| match &event.body {
            Body::ProcessExit(exit) => Some((event, exit)),
            _ => None,
        });
        exits.collect()
    }

    fn loads(&self) -> Vec<(&Event, &ImageLoad)> {
        let loads = self.events.iter().filter_map(|event| match &event.body {
            Body::ImageLoad(load) => Some((event, load)),
            _ => None,
        });
        loads.collect()
    }

    fn threads(&self) -> Vec<&ThreadStart> {
        let threads = self.events.iter().filter_map(|event| match &event.body {
            Body::ThreadStart(start) => Some(start),
            _ => None,
        });
        threads.collect()
    }

    /// How many events of each kind, by name.
    fn count(&self, kind: &str) -> usize {
        let kinds = self.events.iter().map(|event| event.body.kind());
        kinds.filter(|of| of.name() == Some(kind)).count()
    }

    /// Whether something is said that has these words.
    fn says(&self, words: &str) -> bool {
        self.remarks
            .iter()
            .any(|remark| remark.text.contains(words))
    }

    fn passed_over_count(&self) -> u64 {
        let counts = self.remarks.iter().map(|remark| remark.passed_over_count);
        counts.sum()
    }
}

/// A trace of one buffer with these events.
fn trace(events: &[Vec<u8>]) -> Vec<u8> {
    trace_with(&Settings::default(), events)
}

fn trace_with(settings: &Settings, events: &[Vec<u8>]) -> Vec<u8> {
    let mut buffer = Buffer::new(0);
    for event in events {
        buffer.add(event);
    }
    encode::trace(settings, &[buffer])
}

/// An event with a system header: by whom, and so many ticks after the begin.
#[expect(clippy::needless_pass_by_value, reason = "callers make it in place")]
fn told(kind: (u8, u8), version: u8, by: (u32, u32), ticks: i64, payload: Payload) -> Vec<u8> {
    let whence = Whence {
        process_id: by.0,
        thread_id: by.1,
        stamp: BASE + ticks,
    };
    encode::system(PointerSize::Eight, kind, version, whence, &payload.bytes)
}

fn payload() -> Payload {
    Payload::new(PointerSize::Eight)
}

/// The fields of a process event of version 4.
fn process(process_id: u32, parent: u32, name: &str, command_line: &str) -> Payload {
    exited(process_id, parent, 259, name, command_line)
}

fn exited(process_id: u32, parent: u32, status: u32, name: &str, command_line: &str) -> Payload {
    payload()
        .pointer(0xffff_ca86_8152_0080)
        .u32(process_id)
        .u32(parent)
        .u32(1)
        .u32(status)
        .pointer(0x1000)
        .u32(0)
        .token(5, &[21, 1, 2, 3, 1001])
        .narrow(name)
        .wide(command_line)
        .wide("")
        .wide("")
}

/// The fields of an image event of version 3.
fn image(process_id: u32, base: u64, size: u64, path: &str) -> Payload {
    payload()
        .pointer(base)
        .pointer(size)
        .u32(process_id)
        .u32(7)
        .u32(8)
        .u32(0x010c)
        .pointer(base)
        .u64(0)
        .u64(0)
        .wide(path)
}

/// The fields of a thread event of version 3.
fn thread(process_id: u32, thread_id: u32, address: u64) -> Payload {
    payload()
        .u32(process_id)
        .u32(thread_id)
        .pointer(1)
        .pointer(2)
        .pointer(3)
        .pointer(4)
        .pointer(0xff)
        .pointer(address)
        .pointer(6)
        .u32(0)
        .u32(0x0002_0508)
}
