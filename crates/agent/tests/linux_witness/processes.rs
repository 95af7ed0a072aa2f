//! Many processes: each is told once, whole, and by an identity of its own.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::thread;

use crate::lives::Lives;
use crate::recorder::{Kind, Plan, Recorder};
use crate::witness::{End, Stage, now, own_process_id, say, scaled, tiny};

/// How many are started.
const PROCESS_COUNT: usize = 20_000;
/// How many run at a time.
const WIDTH: usize = 4;

/// What the starter of a process knows of it.
struct Started {
    process_id: i32,
    time: i64,
    end: End,
}

#[test]
fn every_process_has_one_start_one_exec_and_one_exit_with_its_code() {
    let Some(stage) = Stage::set() else {
        return;
    };
    let recorder = Recorder::start(stage.path(), Plan::default());
    let half = scaled(PROCESS_COUNT) / 2;
    let mut witness = start_processes(&stage.program, half);
    let first_id = witness.iter().map(|started| started.process_id).min();
    let is_rewound = rewind_process_ids(first_id.unwrap());
    witness.extend(start_processes(&stage.program, half));
    let recording = recorder.stop();

    let lives = Lives::of(&recording);
    let created = lives.created_by(own_process_id());
    assert_eq!(created.len(), witness.len());
    let mut told = HashMap::<i32, Vec<End>>::new();
    for life in &created {
        assert_eq!(life.exec().image.as_deref(), stage.program.to_str());
        assert!(life.thread_starts.is_empty() && life.thread_exits.is_empty());
        assert!(life.start.time <= life.exec().time && life.exec().time <= life.exit().time);
        told.entry(life.start.process_id)
            .or_default()
            .push(End::of(life.exit()));
    }
    assert_eq!(told, ends_by_id(witness));
    let keys: HashSet<u64> = created.iter().map(|life| life.start.process_key).collect();
    assert_eq!(keys.len(), created.len());
    assert!(
        !is_rewound || told.len() < keys.len(),
        "no process id was used twice"
    );
}

#[test]
fn a_recording_without_threads_and_images_has_neither() {
    let Some(stage) = Stage::set() else {
        return;
    };
    let plan = Plan {
        arguments: &["--events", "process"],
        ..Plan::default()
    };
    let recorder = Recorder::start(stage.path(), plan);
    let witness = start_processes(&stage.program, WIDTH);
    let recording = recorder.stop();

    let created = Lives::of(&recording);
    assert_eq!(created.created_by(own_process_id()).len(), witness.len());
    for kind in [Kind::ThreadStart, Kind::ThreadExit, Kind::ImageLoad] {
        assert_eq!(recording.of(kind).count(), 0, "{kind:?}");
    }
}

/// Starts that many processes, a few at a time, each with another exit code than the one before.
fn start_processes(program: &Path, count: usize) -> Vec<Started> {
    let start_share = |share: usize| {
        let codes = (share..count).step_by(WIDTH).map(|index| index % 256);
        codes.map(|code| start_process(program, code)).collect()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..WIDTH)
            .map(|share| scope.spawn(move || -> Vec<Started> { start_share(share) }))
            .collect();
        let shares = threads.into_iter().map(|thread| thread.join().unwrap());
        shares.flatten().collect()
    })
}

fn start_process(program: &Path, code: usize) -> Started {
    let time = now();
    let mut child = tiny(program, u8::try_from(code).unwrap()).spawn().unwrap();
    let process_id = i32::try_from(child.id()).unwrap();
    let status: ExitStatus = child.wait().unwrap();
    assert_eq!(status.code(), i32::try_from(code).ok());
    Started {
        process_id,
        time,
        end: End::Code(status.code().unwrap()),
    }
}

/// The ends of each process id's processes, in order.
fn ends_by_id(mut witness: Vec<Started>) -> HashMap<i32, Vec<End>> {
    witness.sort_by_key(|started| started.time);
    let mut ends = HashMap::<i32, Vec<End>>::new();
    for started in witness {
        ends.entry(started.process_id)
            .or_default()
            .push(started.end);
    }
    ends
}

/// Has the kernel give out process ids from `process_id` on again, as it does by itself after
/// `pid_max` of them.
fn rewind_process_ids(process_id: i32) -> bool {
    let rewound = fs::write("/proc/sys/kernel/ns_last_pid", process_id.to_string());
    if let Err(error) = &rewound {
        say(&format!("process ids are not rewound: {error}"));
    }
    rewound.is_ok()
}
