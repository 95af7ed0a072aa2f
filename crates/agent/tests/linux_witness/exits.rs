//! Ends of processes: exactly one exit each, with the status that `wait` tells, whatever the
//! threads of the process do.

use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use nix::sys::signal::{Signal, raise};
use nix::unistd::{Pid, execve, getpid, gettid};

use crate::lives::{Life, Lives};
use crate::raw::{exit_process, exit_thread, fork_child};
use crate::recorder::{Plan, Recorder};
use crate::witness::{
    End, Machine, directory, now, own_process_id, scaled, tiny_program, wait_until,
};
use crate::workload::{Facts, read_to_end, tell};

/// What a child does; it is given a program to execute.
type Act = fn(&Path) -> i32;

/// The ways to end, by the name under which the end is told.
const WAYS: [(&str, Act); 13] = [
    ("code_0", |_| 0),
    ("code_1", |_| 1),
    ("code_255", |_| 255),
    ("sigkill", |_| die_of(Signal::SIGKILL)),
    ("sigterm", |_| die_of(Signal::SIGTERM)),
    ("sigsegv", |_| die_of(Signal::SIGSEGV)),
    ("sigabrt", |_| die_of(Signal::SIGABRT)),
    ("signal_with_threads", |_| {
        thread::spawn(park);
        die_of(Signal::SIGTERM)
    }),
    ("exit_group_by_thread", |_| {
        thread::spawn(|| exit_process(7));
        park()
    }),
    ("leader_first", |_| {
        outlive_leader(|| exit_thread(4));
        exit_thread(3)
    }),
    ("leader_first_then_exit_group", |_| {
        outlive_leader(|| exit_process(5));
        exit_thread(3)
    }),
    ("exec_by_thread", |program| {
        let program = program.to_owned();
        thread::spawn(move || exec(&program));
        park()
    }),
    ("exec_by_thread_without_leader", |program| {
        let program = program.to_owned();
        outlive_leader(move || exec(&program));
        exit_thread(3)
    }),
];

/// The exit code of the program that is executed.
const EXEC_CODE: u8 = b'x';

/// How often all threads of a process end at once.
const AT_ONCE_COUNT: usize = 500;
const AT_ONCE_THREADS: i32 = 4;

/// Plays a role under a recorder.
fn record(
    role: &str,
    argument: impl FnOnce(&Path) -> std::path::PathBuf,
) -> (Facts, crate::recorder::Recording) {
    let directory = directory();
    let argument = argument(directory.path());
    let recorder = Recorder::start(directory.path(), Plan::default());
    let facts = Facts::of(role, &[&argument]);
    (facts, recorder.stop())
}

#[test]
fn each_way_to_end_is_told_once_as_wait_tells_it() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let (facts, recording) = record("exits", tiny_program);
    let lives = Lives::of(&recording);
    for (name, _act) in WAYS {
        let end = facts.numbers(name);
        let life = lives.one(facts.process_id, end[0]);
        assert_eq!(End::of(life.exit()), End::of_status(end[1]), "{name}");
        assert_eq!(
            Life::thread_ids(&life.thread_starts),
            Life::thread_ids(&life.thread_exits),
            "{name}: each thread that starts also ends"
        );
    }
}

#[test]
fn a_process_ends_with_its_last_thread_and_not_with_its_first() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let (facts, recording) = record("exits", tiny_program);
    let lives = Lives::of(&recording);
    for name in ["leader_first", "leader_first_then_exit_group"] {
        let process_id = facts.numbers(name)[0];
        let life = lives.one(facts.process_id, process_id);
        let last_act = facts
            .all("last_act")
            .into_iter()
            .find(|fact| fact[0] == process_id.to_string());
        let last_act: i64 = last_act.unwrap()[1].parse().unwrap();
        assert!(life.exit().time >= last_act, "{name}: {life:#?}");
    }
}

#[test]
fn an_exec_by_a_thread_keeps_the_process_and_ends_the_thread_once() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let (facts, recording) = record("exits", tiny_program);
    let lives = Lives::of(&recording);
    for name in ["exec_by_thread", "exec_by_thread_without_leader"] {
        let process_id = facts.numbers(name)[0];
        let life = lives.one(facts.process_id, process_id);
        let executing = facts
            .all("executing")
            .into_iter()
            .find(|fact| fact[0] == process_id.to_string());
        let thread_id: i32 = executing.unwrap()[1].parse().unwrap();
        assert_ne!(thread_id, process_id);
        assert_eq!(life.exec().process_key, life.start.process_key, "{name}");
        assert_eq!(Life::thread_ids(&life.thread_starts), [thread_id], "{name}");
        assert_eq!(Life::thread_ids(&life.thread_exits), [thread_id], "{name}");
        assert_eq!(End::of(life.exit()), End::Code(EXEC_CODE.into()), "{name}");
    }
}

#[test]
fn threads_that_end_at_once_make_one_exit() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let count = scaled(AT_ONCE_COUNT);
    let (facts, recording) = record("exits_at_once", |_| count.to_string().into());
    let lives = Lives::of(&recording);
    let ends = facts.all("end");
    assert_eq!(ends.len(), count);
    for end in ends {
        let life = lives.one(facts.process_id, end[0].parse().unwrap());
        let status = End::of_status(end[1].parse().unwrap());
        assert_eq!(End::of(life.exit()), status, "{life:#?}");
        let started = Life::thread_ids(&life.thread_starts);
        assert_eq!(started.len(), usize::try_from(AT_ONCE_THREADS).unwrap());
        assert_eq!(started, Life::thread_ids(&life.thread_exits));
    }
    let children = lives.created_by(facts.process_id);
    assert_eq!(children.len(), count, "{}", own_process_id());
}

/// Role: a child for each way to end, one after the other.
pub(crate) fn end_in_every_way(program: &Path) {
    for (name, act_fn) in WAYS {
        let child = fork_child(|| act_fn(program));
        tell(&format!("{name} {child} {}", wait_for(child)));
    }
}

/// Role: children whose threads all end at the same moment, each with a code of its own.
pub(crate) fn end_all_threads_at_once(count: usize) {
    for index in 0..i32::try_from(count).unwrap() {
        let child = fork_child(|| {
            let barrier = Box::leak(Box::new(Barrier::new(5)));
            let barrier: &'static Barrier = barrier;
            for thread in 1..=AT_ONCE_THREADS {
                thread::spawn(move || {
                    barrier.wait();
                    exit_thread(thread);
                });
            }
            barrier.wait();
            exit_thread(10 + index % 100)
        });
        tell(&format!("end {child} {}", wait_for(child)));
    }
}

/// The status of a child, as the kernel encodes it.
fn wait_for(child: Pid) -> i32 {
    use nix::sys::wait::{WaitStatus, waitpid};
    match waitpid(child, None).unwrap() {
        WaitStatus::Exited(_, code) => code << 8,
        WaitStatus::Signaled(_, signal, _) => signal as i32,
        other => panic!("{other:?}"),
    }
}

fn die_of(signal: Signal) -> i32 {
    raise(signal).unwrap();
    park()
}

/// Waits for the end of the process.
fn park() -> ! {
    loop {
        thread::park();
    }
}

/// Has a thread act once the first thread of the process is gone.
pub(crate) fn outlive_leader(act_fn: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        let leader = format!("/proc/{0}/task/{0}/stat", getpid());
        wait_until(|| fs::read_to_string(&leader).is_ok_and(|stat| stat.contains(") Z ")));
        tell(&format!("last_act {} {}", getpid(), now()));
        act_fn();
    });
}

/// Role: ends the first thread and has another wait.
pub(crate) fn wait_without_leader() -> ! {
    outlive_leader(|| {
        read_to_end();
        exit_process(0)
    });
    exit_thread(0)
}

/// Executes the tiny program from this thread.
fn exec(program: &Path) {
    tell(&format!("executing {} {}", getpid(), gettid()));
    let program = crate::execs::c_string(program);
    let code = std::ffi::CString::new([EXEC_CODE]).unwrap();
    let none: [&std::ffi::CStr; 0] = [];
    let Err(error) = execve(&program, &[&program, &code], &none);
    panic!("{error}");
}
