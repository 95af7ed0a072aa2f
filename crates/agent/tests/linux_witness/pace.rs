//! How soon an event is in the log, and how little a recorder does when nothing happens.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::ChildStdout;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::recorder::{Kind, Plan, Recorder, Row, parse};
use crate::witness::{Machine, directory, now, own_process_id, say, tiny, write_tiny_program};

const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
/// What the way from the kernel's buffer to a reader of the log may take beside that: the sensor's
/// 2 ms for processors to agree on the order, two threads that hand a batch on, one write.
const WAY: Duration = Duration::from_millis(10);
/// What two processors shared with other work cost on top: a few scheduling slices for each of the
/// four threads an event passes, this test's own included. It is far below the second that a missed
/// wake-up would cost; the exact figures are the bench's.
const SLACK: Duration = Duration::from_millis(90);

const EVENT_COUNT: usize = 200;
/// A machine that is busy with other things can spoil a measurement but not improve it.
const ATTEMPTS: usize = 5;

/// The most voluntary context switches a second of all threads of an idle recorder.
const IDLE_SWITCHES_MAX: u64 = 3;
const IDLE_SECONDS: u64 = 5;
/// How long to wait for that many idle seconds.
const IDLE_PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn an_event_is_in_the_log_within_the_flush_interval() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let limit = FLUSH_INTERVAL + WAY + SLACK;
    let mut latencies = Vec::new();
    while latencies.len() < ATTEMPTS {
        let latency = measure_latency();
        if latency <= limit {
            return;
        }
        latencies.push(latency);
    }
    panic!("{latencies:?}, the limit is {limit:?}");
}

/// The 99th percentile of the time from an event to its line.
fn measure_latency() -> Duration {
    let directory = directory();
    let program = directory.path().join("tiny");
    write_tiny_program(&program);
    let plan = Plan {
        arguments: &["--flush-interval", "50ms", "--events", "process"],
        ..Plan::default()
    };
    let (recorder, log) = Recorder::start_piped(directory.path(), plan);
    let rows = arrivals(log);
    let mut latencies = Vec::new();
    while latencies.len() < EVENT_COUNT {
        let child = tiny(&program, 1)
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert_eq!(child.status.code(), Some(1));
        // One process and then its exit's line, so that processes are spread over the intervals.
        latencies.push(wait_for_exit(&rows));
    }
    recorder.stop_without_log();
    latencies.sort_unstable();
    latencies[latencies.len() * 99 / 100]
}

/// Waits for the exit of the process that this one made last, and says how late its line was.
fn wait_for_exit(rows: &Receiver<(Row, i64)>) -> Duration {
    let mut own_key = None;
    for (row, arrived) in rows {
        if row.kind == Kind::ProcessStart && row.creator_process_id == Some(own_process_id()) {
            own_key = Some(row.process_key);
        }
        if row.kind == Kind::ProcessExit && own_key == Some(row.process_key) {
            return Duration::from_nanos(u64::try_from(arrived - row.time).unwrap_or_default());
        }
    }
    panic!("the log ended");
}

/// The rows of a log and when each arrived.
fn arrivals(log: ChildStdout) -> Receiver<(Row, i64)> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut log = BufReader::new(log);
        let mut line = Vec::new();
        while log.read_until(b'\n', &mut line).unwrap() > 0 {
            let arrived = now();
            if sender.send((parse(&line).unwrap(), arrived)).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

#[test]
fn an_idle_recorder_hardly_wakes_up() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let directory = directory();
    let (recorder, log) = Recorder::start_piped(directory.path(), Plan::default());
    let rows = arrivals(log);
    let began = Instant::now();
    let mut idle_seconds = 0;
    let mut switches = 0;
    let mut was_idle = false;
    while idle_seconds < IDLE_SECONDS && began.elapsed() < IDLE_PATIENCE {
        let before = voluntary_switches(recorder.process_id());
        let is_idle = is_silent_for_a_second(&rows);
        let after = voluntary_switches(recorder.process_id());
        // The second after an event is not idle yet: the recorder sees to the next ones sooner.
        if is_idle && was_idle {
            idle_seconds += 1;
            switches += after - before;
        }
        was_idle = is_idle;
    }
    recorder.stop_without_log();
    // Whoever else uses the machine decides how often it is idle, but not what we do then.
    say(&format!("{idle_seconds} idle seconds, {switches} wake-ups"));
    assert!(
        switches <= IDLE_SWITCHES_MAX * idle_seconds,
        "{switches} context switches in {idle_seconds} idle seconds"
    );
}

/// Whether no event arrives for a second.
fn is_silent_for_a_second(rows: &Receiver<(Row, i64)>) -> bool {
    let until = Instant::now() + Duration::from_secs(1);
    let mut is_silent = true;
    while let Ok(_row) = rows.recv_timeout(until.saturating_duration_since(Instant::now())) {
        is_silent = false;
    }
    is_silent
}

/// How often the threads of a process have gone to sleep.
fn voluntary_switches(process_id: Pid) -> u64 {
    let threads = fs::read_dir(format!("/proc/{process_id}/task")).unwrap();
    let of_thread = |status: String| -> u64 {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("status")).ok())
        .map(of_thread)
        .sum()
}
