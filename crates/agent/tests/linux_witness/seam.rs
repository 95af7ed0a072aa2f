//! The seam between the snapshot and the stream: whatever happens while the recorder starts is told
//! once, by one of the two.

use std::collections::HashSet;
use std::path::Path;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, execve, getpid, setpgid};

use crate::execs::c_string;
use crate::lives::Lives;
use crate::raw::fork_child;
use crate::recorder::{Kind, Plan, Recorder, Recording};
use crate::witness::{Machine, directory, is_emulated, processes, scaled, tiny_program};
use crate::workload::{Role, read_to_end, tell};

const START_COUNT: usize = 40;
/// Processes that are there from the first start to the last.
const LONG_LIVED_COUNT: usize = 10;
/// Lines of processes that make, execute and end others without a pause.
const TURNOVER_WIDTH: usize = 2;

#[test]
fn the_snapshot_and_the_stream_meet_without_gap_or_duplicate() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let tools = directory();
    let program = tiny_program(tools.path());
    let long_lived: Vec<Role> = (0..LONG_LIVED_COUNT)
        .map(|_| {
            let mut role = Role::start("wait", &[]);
            assert_eq!(role.fact(), "ready");
            role
        })
        .collect();
    let mut turnover = Role::start("turnover", &[&program]);
    assert_eq!(turnover.fact(), "ready");

    // Emulated, the verifier takes its minute for each beside what turns over.
    let start_count = if is_emulated() {
        2
    } else {
        scaled(START_COUNT)
    };
    for _ in 0..start_count {
        let directory = directory();
        let before = processes();
        let recorder = Recorder::start(directory.path(), Plan::default());
        let recording = recorder.stop();
        let after = processes();
        let there_all_the_time: Vec<i32> = before
            .into_iter()
            .filter(|(process_id, tick)| after.get(process_id) == Some(tick))
            .map(|(process_id, _)| process_id)
            .collect();
        check(
            &recording,
            &program,
            &there_all_the_time,
            turnover.process_id(),
        );
    }
    for role in &long_lived {
        kill(Pid::from_raw(role.process_id()), Signal::SIGKILL).unwrap();
    }
    turnover.end();
}

fn check(recording: &Recording, program: &Path, there_all_the_time: &[i32], turnover: i32) {
    // Fails unless every process that is told of has one start, which comes first.
    let lives = Lives::of(recording);
    let existing: Vec<i32> = lives
        .all()
        .filter(|life| life.start.existing)
        .map(|life| life.start.process_id)
        .collect();
    let existing_once: HashSet<i32> = existing.iter().copied().collect();
    assert_eq!(
        existing.len(),
        existing_once.len(),
        "two processes with one id"
    );
    for process_id in there_all_the_time {
        assert!(
            existing_once.contains(process_id),
            "{process_id} is missing"
        );
    }
    for life in lives.descendants(turnover) {
        let is_told_twice = life.images.len() > 1;
        assert!(!is_told_twice, "one image, one load: {life:#?}");
        if !life.execs.is_empty() {
            assert_eq!(life.images.len(), 1, "one exec, one load: {life:#?}");
        }
    }
    assert_images_are_told_once(recording, program);
}

/// The snapshot has each image once, and the one image of a tiny program is in the snapshot or in
/// the stream: nothing unmaps it, and its process executes nothing else.
fn assert_images_are_told_once(recording: &Recording, program: &Path) {
    let mut loaded = HashSet::new();
    for row in recording.of(Kind::ImageLoad) {
        let is_of_tiny = row.image.as_deref() == program.to_str();
        if row.existing || is_of_tiny {
            let is_new = loaded.insert((row.process_key, row.base()));
            assert!(is_new, "told before: {row:?}");
        }
    }
}

/// Role: has processes be made, execute and end until its standard input ends.
pub(crate) fn turn_over(program: &Path) {
    setpgid(Pid::from_raw(0), Pid::from_raw(0)).unwrap();
    for _ in 0..TURNOVER_WIDTH {
        fork_child(|| make_children(program));
    }
    tell("ready");
    read_to_end();
    // The whole group: this process, those it made and those they made.
    kill(Pid::from_raw(-getpid().as_raw()), Signal::SIGKILL).unwrap();
}

fn make_children(program: &Path) -> i32 {
    set_pdeathsig(Signal::SIGKILL).unwrap();
    let path = c_string(program);
    let none: [&std::ffi::CStr; 0] = [];
    loop {
        let child = fork_child(|| {
            let Err(error) = execve(&path, &[&path], &none);
            panic!("{error}");
        });
        waitpid(child, None).unwrap();
    }
}
