//! Buffers that overflow: what is lost is counted and told, to the event, and threads never take
//! the room of processes. That lines, losses and counters agree is checked for every recording, in
//! `recorder.rs`; here it is made sure that there is something to count.

use std::path::Path;

use nix::sys::signal::Signal;

use crate::recorder::{Kind, Plan, Recorder, Recording, log_path};
use crate::witness::{Stage, own_process_id, scaled, tiny, wait_until};
use crate::workload::{Facts, Role};

const SMALLEST_BUFFERS: &str = "process_buffer_size = \"64 KiB\"\nevent_buffer_size = \"64 KiB\"\n";
const SMALLEST_EVENT_BUFFER: &str = "event_buffer_size = \"64 KiB\"\n";

#[test]
fn what_a_stopped_recorder_loses_is_counted_to_the_event() {
    let Some(stage) = Stage::set() else {
        return;
    };
    let plan = Plan {
        limits: SMALLEST_BUFFERS,
        ..Plan::default()
    };
    // A buffer of 64 KiB holds less than 300 processes and 1,000 threads.
    let process_count = 600;
    let recorder = Recorder::start(stage.path(), plan);
    recorder.signal(Signal::SIGSTOP);
    let threads = Facts::of("threads", &[Path::new("2000")]);
    for _ in 0..process_count {
        tiny(&stage.program, 1).status().unwrap();
    }
    recorder.signal(Signal::SIGCONT);
    // It tells a loss when it has emptied the buffers; what comes after that is recorded again.
    wait_until(|| {
        let log = std::fs::read_to_string(log_path(stage.path())).unwrap();
        log.contains(r#""kind":"lost""#)
    });
    let last = Facts::of("threads", &[Path::new("4")]);
    let recording = recorder.stop();

    for kind in [Kind::ProcessStart, Kind::ProcessExec, Kind::ProcessExit] {
        let told = own(&recording, kind);
        let count = recording.account.of(kind);
        assert!(count.lost > 0, "{kind:?} {count:?}");
        assert!(count.produced >= process_count, "{kind:?} {count:?}");
        assert!(
            told + count.lost >= process_count,
            "{kind:?} {told} {count:?}"
        );
    }
    let made = u64::try_from(threads.all("thread").len()).unwrap();
    for kind in [Kind::ThreadStart, Kind::ThreadExit] {
        let count = recording.account.of(kind);
        assert!(count.lost > 0, "{kind:?} {count:?}");
        assert!(count.produced >= made, "{kind:?} {count:?}");
    }
    let is_told = |row: &&crate::recorder::Row| row.process_id == last.process_id;
    assert!(recording.of(Kind::ProcessExit).any(|row| is_told(&row)));
}

#[test]
fn a_storm_of_threads_loses_no_process() {
    let Some(stage) = Stage::set() else {
        return;
    };
    let plan = Plan {
        limits: SMALLEST_EVENT_BUFFER,
        ..Plan::default()
    };
    let thread_count = scaled(100_000).to_string();
    let recorder = Recorder::start(stage.path(), plan);
    // The small buffer overflows for certain while nobody reads it.
    recorder.signal(Signal::SIGSTOP);
    Facts::of("threads", &[Path::new("2000")]);
    recorder.signal(Signal::SIGCONT);
    let storm = Role::start("storm", &[Path::new(&thread_count)]);
    let mut witness = Vec::new();
    let stat = format!("/proc/{}/stat", storm.process_id());
    wait_until(|| {
        let mut child = tiny(&stage.program, 1).spawn().unwrap();
        witness.push(i32::try_from(child.id()).unwrap());
        child.wait().unwrap();
        let stat = std::fs::read_to_string(&stat).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    });
    assert!(storm.end().success());
    let recording = recorder.stop();

    let lost = recording.account.of(Kind::ThreadStart).lost;
    assert!(lost > 0, "{:?}", recording.account);
    for kind in [Kind::ProcessStart, Kind::ProcessExec, Kind::ProcessExit] {
        assert_eq!(recording.account.of(kind).lost, 0, "{kind:?}");
    }
    assert_each_is_told_whole(&recording, &witness);
}

/// The starts, execs and exits of the tiny processes, in which thread events play no part.
fn assert_each_is_told_whole(recording: &Recording, witness: &[i32]) {
    let mut lives = std::collections::HashMap::new();
    for start in recording.of(Kind::ProcessStart) {
        if start.creator_process_id == Some(own_process_id()) && !start.existing {
            lives.insert(start.process_key, [0_u32; 2]);
        }
    }
    for exec in recording.of(Kind::ProcessExec) {
        lives
            .entry(exec.process_key)
            .and_modify(|life| life[0] += 1);
    }
    for exit in recording.of(Kind::ProcessExit) {
        lives
            .entry(exit.process_key)
            .and_modify(|life| life[1] += 1);
    }
    let whole = lives.values().filter(|life| **life == [1, 1]).count();
    // The roles were started by this process too: one to overflow the buffer, one for the storm.
    assert_eq!(whole, witness.len() + 2, "{lives:?}");
}

/// Rows of processes that this one made.
fn own(recording: &Recording, kind: Kind) -> u64 {
    let keys: std::collections::HashSet<u64> = recording
        .of(Kind::ProcessStart)
        .filter(|start| start.creator_process_id == Some(own_process_id()))
        .map(|start| start.process_key)
        .collect();
    let rows = recording.of(kind);
    let count = rows.filter(|row| keys.contains(&row.process_key)).count();
    u64::try_from(count).unwrap()
}
