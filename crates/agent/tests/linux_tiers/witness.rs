//! What is recorded: programs and threads that are known to the one who started them.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use event::{Event, Flags, Kind};
use systrail::sensor::Batch;

use crate::stream::records;

/// What a scripted set of programs must look like in the trail, by the word of its parent.
pub(crate) struct Witness {
    /// Process id and wait status, in order.
    pub(crate) processes: Vec<(u32, i32)>,
}

impl Witness {
    /// The ids of the programs, in order.
    pub(crate) fn process_ids(&self) -> impl Iterator<Item = u32> {
        self.processes.iter().map(|(id, _status)| *id)
    }
}

/// Runs programs that end in every way: with a code, by a signal, by a shell's exec.
pub(crate) fn run_programs(count: usize) -> Witness {
    let mut processes = Vec::new();
    for index in 0..count {
        let script = match index % 3 {
            0 => format!("exit {}", index % 200),
            1 => "kill -KILL $$".to_owned(),
            _ => "exec /bin/true".to_owned(),
        };
        let mut child = Command::new("/bin/sh")
            .args(["-c", &script])
            .spawn()
            .unwrap();
        let status = child.wait().unwrap();
        processes.push((child.id(), status.into_raw()));
    }
    Witness { processes }
}

/// Starts threads and returns their ids.
pub(crate) fn run_threads(count: usize) -> Vec<u32> {
    let thread = || nix::unistd::gettid().as_raw().unsigned_abs();
    (0..count)
        .map(|_| std::thread::spawn(thread).join().unwrap())
        .collect()
}

/// Whether each of those processes and threads has an exit in the trail for every time it ran.
pub(crate) fn have_ended(
    batches: &[Batch],
    process_ids: impl IntoIterator<Item = u32>,
    thread_ids: &[u32],
) -> bool {
    let processes = process_ids.into_iter().map(|id| (Kind::PROCESS_EXIT, id));
    let threads = thread_ids.iter().map(|id| (Kind::THREAD_EXIT, *id));
    let mut running: HashMap<(Kind, u32), usize> = HashMap::new();
    for task in processes.chain(threads) {
        *running.entry(task).or_default() += 1;
    }
    for (header, _) in batches.iter().flat_map(records) {
        let id = if header.kind == Kind::PROCESS_EXIT {
            header.process_id
        } else {
            header.thread_id
        };
        if let Some(count) = running.get_mut(&(header.kind, id)) {
            *count = count.saturating_sub(1);
        }
    }
    running.into_values().all(|count| count == 0)
}

/// Checks that each process of the witness has one start, its execs and one exit in the trail.
pub(crate) fn check_processes(batches: &[Batch], witness: &Witness, has_status: bool) {
    let own_id = std::process::id();
    for (index, (id, status)) in witness.processes.iter().enumerate() {
        let (mut starts, mut execs, mut exits) = (0, 0, 0);
        for (header, event) in batches.iter().flat_map(records) {
            if header.process_id != *id {
                continue;
            }
            match event {
                Event::ProcessStart(start) => {
                    starts += 1;
                    assert_eq!(start.parent_process_id, own_id);
                    assert!(!header.flags.contains(Flags::EXISTING));
                    assert!(header.start_time <= header.time);
                }
                Event::ProcessExec(_) => execs += 1,
                Event::ProcessExit(exit) => {
                    exits += 1;
                    // 0 where the kernel did not tell.
                    assert!([own_id, 0].contains(&exit.parent_process_id));
                    if has_status {
                        assert_eq!(exit.exit_status.cast_signed(), *status);
                    } else {
                        assert!(header.flags.contains(Flags::EXIT_STATUS_UNAVAILABLE));
                    }
                }
                _ => {}
            }
        }
        let execs_done = if index % 3 == 2 { 2 } else { 1 };
        assert_eq!((starts, execs, exits), (1, execs_done, 1), "process {id}");
    }
}

/// Checks that each start and end of those threads is in the trail once.
pub(crate) fn check_threads(batches: &[Batch], ids: &[u32]) {
    let mut expected: HashMap<u32, usize> = HashMap::new();
    for id in ids {
        *expected.entry(*id).or_default() += 1;
    }
    for (id, times) in expected {
        let (mut starts, mut exits) = (0, 0);
        for (header, event) in batches.iter().flat_map(records) {
            if (header.process_id, header.thread_id) != (std::process::id(), id) {
                continue;
            }
            match event {
                Event::ThreadStart(start) => {
                    starts += 1;
                    assert_eq!(start.creator_process_id, std::process::id());
                }
                Event::ThreadExit(_) => exits += 1,
                _ => {}
            }
        }
        assert_eq!((starts, exits), (times, times), "thread {id}");
    }
}
