//! Events of a real Windows kernel, which nobody here made: what a session tells of them is what a replay
//! of their trace does. `SYSTRAIL_SAMPLES` names the folder in which `etl/` has it (`docs/TESTING.md`).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use etw::file::Trace;
use etw::header::Source;
use event::Event;

use super::script::Written;
use super::{Fixture, machine};
use crate::enrich::{Enricher, Limits};
use crate::replay;
use crate::rules::Rules;
use crate::trail::{Body, Name};

/// The end of a session: exits, unloads, what was there. And a program's run, by a machine of 32 bits.
const SHUTDOWN: &str = "shutdown-win10.etl";
const RUN: &str = "perfview-net452-x86.etl.xz";

/// How often something was told: what, of which process, and the numbers that name it.
type Told = BTreeMap<(&'static str, u32, u64, u64), u64>;

/// A trace, unpacked into `directory` where it is packed; none where there are no samples.
fn sample(name: &str, directory: &Path) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("SYSTRAIL_SAMPLES") else {
        let mut stderr = std::io::stderr();
        writeln!(
            stderr,
            "not run: SYSTRAIL_SAMPLES names no folder with etl/{name}"
        )
        .unwrap();
        return None;
    };
    let path = Path::new(&folder).join("etl").join(name);
    if path.extension() != Some(OsStr::new("xz")) {
        return Some(path);
    }
    let unpacked = Command::new("xz").arg("-dc").arg(&path).output().unwrap();
    assert!(
        unpacked.status.success(),
        "{} cannot be unpacked",
        path.display()
    );
    let plain = directory.join("trace");
    fs::write(&plain, unpacked.stdout).unwrap();
    Some(plain)
}

/// The kernel logger's events of a trace, as a session hands them over.
fn events(path: &Path) -> Vec<Written> {
    let file = BufReader::new(File::open(path).unwrap());
    let mut trace = Trace::open(file).unwrap();
    let mut written = Vec::new();
    while let Some(event) = trace.next_event().unwrap() {
        if let Source::Hook { group, r#type } = event.source
            && let Some(event) = Written::of_hook(group, r#type, &event)
        {
            written.push(event);
        }
    }
    written
}

fn replayed(path: &Path) -> Told {
    let mut told = Told::new();
    for event in replay::open(path).unwrap() {
        let event = event.unwrap();
        let (what, first, second) = match &event.body {
            Body::ProcessStart(start) if !start.existing => {
                ("start", start.parent_process_id.unwrap().into(), 0)
            }
            Body::ProcessExit(exit) => ("exit", exit.exit_code.unwrap().into(), 0),
            Body::ThreadStart(start) => {
                let address = start.start_address.unwrap_or(0);
                ("thread start", start.thread_id.into(), address)
            }
            Body::ThreadExit(exit) => ("thread exit", exit.thread_id.into(), 0),
            Body::ImageLoad(load) if !load.existing => ("load", load.image_base, load.image_size),
            Body::ImageUnload(unload) => ("unload", unload.image_base, unload.image_size),
            _ => continue,
        };
        *told
            .entry((what, event.process_id, first, second))
            .or_default() += 1;
    }
    told
}

fn recorded(fixture: &Fixture) -> Told {
    let mut told = Told::new();
    for record in fixture.batch.records() {
        let event::Record { header, event, .. } = event::read(record).unwrap();
        if header.flags.contains(event::Flags::EXISTING) {
            continue;
        }
        let thread = header.thread_id.into();
        let (what, first, second) = match event {
            Event::ProcessStart(start) => ("start", start.parent_process_id.into(), 0),
            Event::ProcessExit(exit) => ("exit", exit.exit_status.into(), 0),
            Event::ThreadStart(start) => ("thread start", thread, start.start_address),
            Event::ThreadExit(_) => ("thread exit", thread, 0),
            Event::ImageLoad(load) => ("load", load.image_base, load.image_size),
            Event::ImageUnload(unload) => ("unload", unload.image_base, unload.image_size),
            event => panic!("{event:?}"),
        };
        *told
            .entry((what, header.process_id, first, second))
            .or_default() += 1;
    }
    told
}

/// What is said of who starts: image, command line, user, session, parent, creator; and what is cut.
fn described(event: &Body, truncated: &[Name]) -> Option<String> {
    let Body::ProcessStart(start) = event else {
        return None;
    };
    let program = &start.program;
    let user = program.user_id.as_ref();
    Some(format!(
        "{:?} {:?} {user:?} {:?} {:?} {:?} {truncated:?}",
        program.image,
        program.command_line,
        start.session_id,
        start.parent_process_id,
        (start.creator_process_id, start.creator_thread_id),
    ))
}

#[test]
fn who_starts_is_told_by_a_session_as_by_a_replay() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = sample(RUN, directory.path()) else {
        return;
    };
    let replayed: Vec<String> = replay::open(&path)
        .unwrap()
        .map(Result::unwrap)
        .filter(|event| !matches!(&event.body, Body::ProcessStart(start) if start.existing))
        .filter_map(|event| described(&event.body, &event.truncated))
        .collect();
    let fixture = started_with(&path);
    let mut enricher = Enricher::new([7; 16], Rules::default(), Limits::default());
    let recorded: Vec<String> = fixture
        .batch
        .records()
        .filter_map(|record| enricher.enrich(&event::read(record).unwrap()))
        .filter(|event| !matches!(&event.body, Body::ProcessStart(start) if start.existing))
        .filter_map(|event| described(&event.body, &event.truncated))
        .collect();
    assert!(!replayed.is_empty());
    assert_eq!(recorded, replayed);
}

/// A sensor to which the session has told all of a trace.
fn started_with(path: &Path) -> Fixture {
    let machine = machine();
    machine.happen(|windows| {
        windows.running.clear();
        windows.written = events(path);
        windows.stamp = windows.written.last().unwrap().stamp;
    });
    Fixture::started(machine)
}

#[test]
fn a_session_tells_of_a_real_kernels_events_what_a_replay_of_their_trace_does() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = sample(SHUTDOWN, directory.path()) else {
        return;
    };
    let fixture = started_with(&path);
    let (recorded, replayed) = (recorded(&fixture), replayed(&path));
    assert!(replayed.len() > 1000, "{}", replayed.len());
    for (told, count) in &replayed {
        assert_eq!(recorded.get(told), Some(count), "{told:?}");
    }
    for told in recorded.keys() {
        assert!(replayed.contains_key(told), "{told:?}");
    }
}
