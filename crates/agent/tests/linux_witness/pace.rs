//! How soon an event is in the log, and how little a recorder does when nothing happens.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::ChildStdout;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::recorder::{Kind, Plan, Recorder, Row, parse};
use crate::witness::{Machine, directory, now, own_process_id, say, tiny, tiny_program};

const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
/// What the way from the kernel's buffer to a reader of the log may take beside that: the sensor's
/// 2 ms for processors to agree on the order, two threads that hand a batch on, one write.
const WAY: Duration = Duration::from_millis(10);
/// Threads an event passes, this test's own included. On a machine that is busy with other things
/// each of them waits for its turn, as long as any other thread does: that is measured meanwhile.
const TURNS: u32 = 4;

const EVENT_COUNT: usize = 200;
/// A machine that is busy with other things can spoil a measurement but not improve it.
const ATTEMPTS: usize = 5;

/// The most voluntary context switches a second of all threads of an idle recorder.
const IDLE_SWITCHES_MAX: u64 = 3;
/// The most it reads a second when nothing has happened for some: the list of processors, a setting or a
/// clock a processor. Files about each program, which it once read at each wake, took 18.
const IDLE_READS_MAX: u64 = 8;
/// From which idle second on.
const IDLE_READS_FROM: u64 = 3;
const IDLE_SECONDS: u64 = 5;
/// The most memory of its own: what the start took, 16 MiB, is given back.
const IDLE_MEMORY_MAX: u64 = 12 << 20;
/// How long to wait for that many idle seconds.
const IDLE_PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn an_event_is_in_the_log_within_the_flush_interval() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let mut measured = Vec::new();
    while measured.len() < ATTEMPTS {
        let (latency, turn) = measure_latency();
        if latency <= FLUSH_INTERVAL + WAY + turn * TURNS {
            return;
        }
        measured.push((latency, turn));
    }
    panic!("latency, and how late a thread has its turn: {measured:?}");
}

/// The 99th percentiles of the time from an event to its line, and of how much later than it asked
/// for a thread wakes up.
fn measure_latency() -> (Duration, Duration) {
    let directory = directory();
    let program = tiny_program(directory.path());
    let plan = Plan {
        arguments: &["--flush-interval", "50ms", "--events", "process"],
        ..Plan::default()
    };
    let (recorder, log) = Recorder::start_piped(directory.path(), plan);
    let rows = arrivals(log);
    let (stop, stopped) = channel();
    let turns = thread::spawn(move || measure_turns(&stopped));
    let mut latencies = Vec::new();
    while latencies.len() < EVENT_COUNT {
        let status = tiny(&program, 1).status().unwrap();
        assert_eq!(status.code(), Some(1));
        // One process and then its exit's line, so that processes are spread over the intervals.
        latencies.push(wait_for_exit(&rows));
    }
    drop(stop);
    recorder.stop_without_log();
    (
        percentile_99(latencies),
        percentile_99(turns.join().unwrap()),
    )
}

/// Wakes up again and again until told to stop; how late each time.
fn measure_turns(stopped: &Receiver<()>) -> Vec<Duration> {
    let interval = FLUSH_INTERVAL / 10;
    let mut turns = Vec::new();
    loop {
        let due = Instant::now() + interval;
        if stopped.recv_timeout(interval) == Err(RecvTimeoutError::Disconnected) {
            return turns;
        }
        turns.push(due.elapsed());
    }
}

fn percentile_99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
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
fn an_idle_recorder_hardly_wakes_up_and_takes_little_memory() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let directory = directory();
    let (recorder, log) = Recorder::start_piped(directory.path(), Plan::default());
    let rows = arrivals(log);
    let began = Instant::now();
    let mut idle_seconds = 0;
    let mut switches = 0;
    let mut reads_most = 0;
    let mut in_a_row = 0;
    while idle_seconds < IDLE_SECONDS && began.elapsed() < IDLE_PATIENCE {
        let own = recorder.process_id();
        let (switches_before, reads_before) = (voluntary_switches(own), reads(own));
        if !is_silent_for_a_second(&rows) {
            in_a_row = 0;
            continue;
        }
        let (switches_after, reads_after) = (voluntary_switches(own), reads(own));
        in_a_row += 1;
        // The second after an event is not idle yet: the recorder sees to the next ones sooner.
        if in_a_row > 1 {
            idle_seconds += 1;
            switches += switches_after - switches_before;
        }
        if in_a_row > IDLE_READS_FROM {
            reads_most = reads_most.max(reads_after - reads_before);
        }
    }
    let memory = own_memory(recorder.process_id());
    recorder.stop_without_log();
    assert!(memory <= IDLE_MEMORY_MAX, "{memory} bytes of memory");
    // Whoever else uses the machine decides how often it is idle, but not what we do then.
    say(&format!(
        "{idle_seconds} idle seconds, {switches} wake-ups, at most {reads_most} reads a second"
    ));
    assert!(
        reads_most <= IDLE_READS_MAX,
        "{reads_most} reads in a second"
    );
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

/// Bytes of a process that neither a file nor the kernel's rings have.
fn own_memory(process_id: Pid) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{process_id}/smaps_rollup")).unwrap();
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() << 10
}

/// How often a process has read from anything.
fn reads(process_id: Pid) -> u64 {
    let account = fs::read_to_string(format!("/proc/{process_id}/io")).unwrap();
    let mut lines = account.lines();
    let count = lines.find_map(|line| line.strip_prefix("syscr:"));
    count.unwrap().trim().parse().unwrap()
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
