//! Many threads: each is told once, by the id it has itself.

use std::path::Path;
use std::thread;

use nix::unistd::gettid;

use crate::lives::{Life, Lives};
use crate::recorder::{Plan, Recorder};
use crate::witness::{Machine, directory, own_process_id, scaled};
use crate::workload::{Facts, tell_all};

const THREAD_COUNT: usize = 20_000;
/// How many run at a time.
const WIDTH: usize = 4;

#[test]
fn every_thread_has_one_start_and_one_exit() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let directory = directory();
    let recorder = Recorder::start(directory.path(), Plan::default());
    let count = scaled(THREAD_COUNT);
    let facts = Facts::of("threads", &[Path::new(&count.to_string())]);
    let recording = recorder.stop();

    let mut witness: Vec<i32> = facts
        .all("thread")
        .iter()
        .map(|fact| fact[0].parse().unwrap())
        .collect();
    witness.sort_unstable();
    assert_eq!(witness.len(), count + WIDTH);
    let lives = Lives::of(&recording);
    let life = lives.one(own_process_id(), facts.process_id);
    assert_eq!(Life::thread_ids(&life.thread_starts), witness);
    assert_eq!(Life::thread_ids(&life.thread_exits), witness);
    for start in &life.thread_starts {
        assert_eq!(start.creator_process_id, Some(facts.process_id));
        assert_eq!(start.remote, Some(false));
    }
    assert_creators_are_right(life, &facts);
}

/// Each worker told which threads it created.
fn assert_creators_are_right(life: &Life<'_>, facts: &Facts) {
    let mut witness: Vec<(i32, i32)> = facts
        .all("thread")
        .iter()
        .map(|fact| (fact[1].parse().unwrap(), fact[0].parse().unwrap()))
        .collect();
    let mut told: Vec<(i32, i32)> = life
        .thread_starts
        .iter()
        .map(|start| (start.creator_thread_id.unwrap(), start.thread_id.unwrap()))
        .collect();
    witness.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, witness);
}

/// Role: starts threads, a few at a time, and tells the ids of all and of their creators.
pub(crate) fn start_threads(count: usize) {
    let creator = gettid();
    let facts: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WIDTH)
            .map(|share| scope.spawn(move || start_share(count.saturating_sub(share))))
            .collect();
        let shares = workers.into_iter().map(|worker| worker.join().unwrap());
        shares
            .flat_map(|(worker, threads)| {
                let threads = threads.into_iter();
                let threads = threads.map(move |thread| format!("thread {thread} {worker}"));
                threads.chain([format!("thread {worker} {creator}")])
            })
            .collect()
    });
    tell_all(&facts);
}

/// Starts one thread after the other; the ids of this one and of those.
fn start_share(count: usize) -> (i32, Vec<i32>) {
    let threads = (0..count).step_by(WIDTH);
    let ids = threads.map(|_| thread::spawn(|| gettid().as_raw()).join().unwrap());
    (gettid().as_raw(), ids.collect())
}

/// Role: starts threads as fast as it can and tells nothing.
pub(crate) fn storm(count: usize) {
    thread::scope(|scope| {
        for share in 0..WIDTH {
            scope.spawn(move || start_share(count.saturating_sub(share)));
        }
    });
}
