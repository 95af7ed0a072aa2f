//! What `cargo xtask bench agent` counts the instructions of: a recorded trail on its way from the
//! bytes of its records to the lines of the log and the rows of the store, each step a function that
//! callgrind can find.
//!
//! The trail is `build.trail`, wire records one after the other as the eBPF sensor wrote them, of
//! `make` building a small C project and a shell script around it. `instructions capture FILE
//! PROGRAM ARGUMENTS` records another one (Linux, root).

#![expect(
    clippy::print_stdout,
    reason = "says how many events the instructions are of"
)]

#[cfg(target_os = "linux")]
mod capture;

use event::wire::{Invalid, Reader};
use event::{Header, Record};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use systrail::enrich::{Enricher, Limits};
use systrail::environment::Names;
use systrail::rules::Rules;
use systrail::sink::store::{self, Store};
use systrail::sink::{Sink as _, Tally};
use systrail::store::retention::Retention;
use systrail::trail::{self, Further, Origin, Time, json};

static TRAIL: &[u8] = include_bytes!("build.trail");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["trail"] => println!("{}", play()),
        #[cfg(target_os = "linux")]
        ["capture", file, program, rest @ ..] => capture::run(file, program, rest),
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

/// Takes every record of the trail through every step, and gives how many there are.
fn play() -> usize {
    // What a machine is asked once, and what it says of how it is mounted, is no event's.
    let _path = systrail::sys::machine::cgroup_path(1, 0);
    let mut caches = Enricher::new([7; 16], Rules::default(), Limits::default())
        .with_environment(Names::usual());
    let origin = Origin::of_host("host");
    let mut lines = Vec::new();
    let mut events = Vec::new();
    for record in records(TRAIL) {
        let record = decode(record).unwrap();
        let known = enrich(&mut caches, &record).unwrap();
        let event = trail::Event {
            sequence: u64::try_from(events.len()).unwrap() + 1,
            time: Time(known.time.cast_signed()),
            origin: Arc::clone(&origin),
            process_id: known.process_id,
            process_key: known.process_key,
            body: known.body,
            kept_by: known.kept_by,
            truncated: known.truncated,
            missing: known.missing,
            further: Further::default(),
        };
        json_line(&event, &mut lines);
        events.push(event);
    }
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(store::Settings {
        path: directory.path().to_owned(),
        segment_size: 1 << 30,
        segment_age: Duration::from_hours(24),
        retention: Retention::default(),
    })
    .unwrap();
    let tally = Tally::default();
    store_rows(&mut store, &events, &tally);
    assert_eq!(tally.written(), u64::try_from(events.len()).unwrap());
    events.len()
}

/// The records of a trail.
fn records(trail: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = trail;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let header = Header::read(&mut Reader::new(rest)).unwrap();
        let (record, after) = rest.split_at(usize::try_from(header.size).unwrap());
        rest = after;
        Some(record)
    })
}

#[inline(never)]
fn decode(record: &[u8]) -> Result<Record<'_>, Invalid> {
    event::read(record)
}

#[inline(never)]
fn enrich(caches: &mut Enricher, record: &Record<'_>) -> Option<systrail::enrich::Enriched> {
    caches.enrich(record)
}

#[inline(never)]
fn json_line(event: &trail::Event, lines: &mut Vec<u8>) {
    json::write_line(event, lines);
}

/// What the store's thread does with a chunk: its rows, and the end of their transaction.
#[inline(never)]
fn store_rows(store: &mut Store, events: &[trail::Event], tally: &Tally) {
    store.write(events, tally);
    store.flush(tally);
}
