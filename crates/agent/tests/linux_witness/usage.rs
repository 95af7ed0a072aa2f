//! What a process used by its end, as `wait4` tells its parent.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::exits::outlive_leader;
use crate::lives::Lives;
use crate::raw::{exit_process, exit_thread, fork_child, wait_with_usage};
use crate::recorder::{Plan, Recorder};
use crate::witness::{Machine, directory};
use crate::workload::{Facts, tell};

/// What a child does; it is given a file to write to.
type Act = fn(&Path) -> i32;

/// Children that use much of something, by the name under which they are told.
const USERS: [(&str, Act); 6] = [
    ("nothing", |_| 0),
    ("time", |_| burn(ClockId::CLOCK_PROCESS_CPUTIME_ID, 200)),
    // All of them end at the same moment, while they still run.
    ("time_of_threads", |_| {
        for _ in 1..THREAD_COUNT {
            thread::spawn(|| burn(ClockId::CLOCK_THREAD_CPUTIME_ID, 60_000));
        }
        burn(ClockId::CLOCK_PROCESS_CPUTIME_ID, 400);
        exit_process(0)
    }),
    // What it used stands nowhere but with itself.
    ("time_of_an_ended_leader", |_| {
        burn(ClockId::CLOCK_PROCESS_CPUTIME_ID, 200);
        outlive_leader(|| exit_process(0));
        exit_thread(0)
    }),
    ("memory", |_| {
        let memory = vec![1_u8; 64 << 20];
        i32::from(black_box(&memory)[1 << 20] != 1)
    }),
    ("storage", |path| {
        let mut file = File::create(path).unwrap();
        file.write_all(&vec![7; 8 << 20]).unwrap();
        file.sync_all().unwrap();
        0
    }),
];

const THREAD_COUNT: u64 = 4;

/// What a thread may have run since the kernel counted last: a tick of the slowest clock there is, and
/// what it does from its exit event on.
const UNCOUNTED: Duration = Duration::from_millis(12);

/// A block of `wait4`.
const BLOCK_SIZE: u64 = 512;

#[test]
fn an_exit_tells_what_the_process_used_as_wait_tells_it() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let directory = directory();
    let file = directory.path().join("file");
    let recorder = Recorder::start(directory.path(), Plan::default());
    let facts = Facts::of("usage", &[&file]);
    let recording = recorder.stop();
    let lives = Lives::of(&recording);
    for (name, _act) in USERS {
        let told = facts.all(name).pop().unwrap();
        let number = |index: usize| told[index].parse::<u64>().unwrap();
        let process_id = told[0].parse().unwrap();
        let exit = lives.one(facts.process_id, process_id).exit();
        let time = exit.user_time_ns.unwrap() + exit.system_time_ns.unwrap();
        let (time, witness) = (Duration::from_nanos(time), Duration::from_micros(number(1)));
        let uncounted = UNCOUNTED * u32::try_from(THREAD_COUNT).unwrap();
        assert!(
            time <= witness + Duration::from_micros(2),
            "{name}: {exit:?} {told:?}"
        );
        assert!(time + uncounted >= witness, "{name}: {exit:?} {told:?}");
        assert_eq!(exit.peak_memory, Some(number(2) * 1024), "{name}");
        assert_eq!(exit.read_bytes, Some(number(3) * BLOCK_SIZE), "{name}");
        assert_eq!(exit.written_bytes, Some(number(4) * BLOCK_SIZE), "{name}");
    }
    fs::remove_file(file).unwrap();
}

/// Runs until a clock of processor time has gone on by so many milliseconds.
fn burn(clock: ClockId, milliseconds: u64) -> i32 {
    let now = || Duration::from(clock_gettime(clock).unwrap());
    let end = now() + Duration::from_millis(milliseconds);
    let mut number = 1_u64;
    while now() < end {
        for _ in 0..10_000 {
            number = black_box(number.wrapping_mul(3));
        }
    }
    i32::from(number == 0)
}

/// Role: a child for each thing to use, one after the other.
pub(crate) fn use_much(file: &Path) {
    for (name, act_fn) in USERS {
        let child = fork_child(|| act_fn(file));
        let used = wait_with_usage(child);
        let microseconds = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
        let time = microseconds(used.ru_utime) + microseconds(used.ru_stime);
        let (memory, read, written) = (used.ru_maxrss, used.ru_inblock, used.ru_oublock);
        tell(&format!("{name} {child} {time} {memory} {read} {written}"));
    }
}
