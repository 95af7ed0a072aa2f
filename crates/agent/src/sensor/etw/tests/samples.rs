//! Events of a real Windows kernel, which nobody here made: what a session tells of them is what a replay
//! of their trace does. `SYSTRAIL_SAMPLES` names the folder in which `etl/` has it (`docs/TESTING.md`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};

use etw::file::Trace;
use etw::header::Source;
use event::Event;

use super::script::Written;
use super::{Fixture, machine};
use crate::replay;
use crate::trail::Body;

const NAME: &str = "shutdown-win10.etl";

/// How often something was told: what, of which process, and the numbers that name it.
type Told = BTreeMap<(&'static str, u32, u64, u64), u64>;

fn sample() -> Option<PathBuf> {
    let folder = std::env::var_os("SYSTRAIL_SAMPLES");
    if folder.is_none() {
        let mut stderr = std::io::stderr();
        writeln!(
            stderr,
            "not run: SYSTRAIL_SAMPLES names no folder with etl/{NAME}"
        )
        .unwrap();
    }
    Some(Path::new(&folder?).join("etl").join(NAME))
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

#[test]
fn a_session_tells_of_a_real_kernels_events_what_a_replay_of_their_trace_does() {
    let Some(path) = sample() else {
        return;
    };
    let machine = machine();
    machine.happen(|windows| {
        windows.running.clear();
        windows.written = events(&path);
        windows.stamp = windows.written.last().unwrap().stamp;
    });
    let fixture = Fixture::started(machine);
    let (recorded, replayed) = (recorded(&fixture), replayed(&path));
    assert!(replayed.len() > 1000, "{}", replayed.len());
    for (told, count) in &replayed {
        assert_eq!(recorded.get(told), Some(count), "{told:?}");
    }
    for told in recorded.keys() {
        assert!(replayed.contains_key(told), "{told:?}");
    }
}
