//! The sensors below eBPF on the real kernel: perf ring buffers, the snapshot, the perf sensor and
//! the proc connector, each against an independent witness. Needs root.

#![cfg(target_os = "linux")]

use std::collections::HashMap;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agent::sensor::perf_buffer::{Records, Rings, RingsSettings};
use agent::sensor::{Batch, Counters, Error, Sensor, Settings, connector, perf};
use agent::sys::wake::Waker;
use event::{Event, Flags, Header, Kind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// One test at a time: they count what happens on the whole machine.
static MACHINE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the test can run here. In CI it must.
#[expect(clippy::print_stderr, reason = "a test that does not run says why")]
fn is_root() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "these tests need root, and CI must run them"
    );
    eprintln!("not run: needs root");
    false
}

fn records(batch: &Batch) -> impl Iterator<Item = (Header, Event<'_>)> {
    batch.records().map(|record| event::read(record).unwrap())
}

fn lost_count(batch: &Batch) -> u64 {
    records(batch)
        .filter_map(|(_, event)| match event {
            Event::Lost(lost) => Some(lost.count),
            _ => None,
        })
        .sum()
}

fn image_rings(buffer_size: usize) -> Rings {
    Rings::open(RingsSettings {
        records: Records::Images,
        buffer_size,
        lost_kind: Kind::IMAGE_LOAD,
    })
    .unwrap()
}

#[test]
fn every_program_and_its_libraries_are_image_loads() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let mut rings = image_rings(4 << 20);
    rings.enable().unwrap();
    let ids: Vec<u32> = (0..20)
        .map(|_| {
            let mut child = Command::new("/bin/true").spawn().unwrap();
            child.wait().unwrap();
            child.id()
        })
        .collect();
    rings.disable().unwrap();
    let mut batch = Batch::default();
    rings.drain(&mut batch).unwrap();
    rings.settle(0, &mut batch).unwrap();

    assert_eq!(rings.lost(), 0);
    assert_eq!(rings.produced(), batch.count() as u64);
    let program = std::fs::canonicalize("/bin/true").unwrap();
    let mut images: HashMap<u32, Vec<String>> = HashMap::new();
    for (header, event) in records(&batch) {
        let Event::ImageLoad(load) = event else {
            panic!("only image loads are recorded");
        };
        assert!(load.image.starts_with(b"/"), "{load:?}");
        images
            .entry(header.process_id)
            .or_default()
            .push(String::from_utf8(load.image.to_vec()).unwrap());
    }
    for id in ids {
        let images = &images[&id];
        assert!(
            images
                .iter()
                .any(|image| *image == program.to_str().unwrap()),
            "{images:?}"
        );
        assert!(
            images.iter().any(|image| image.contains("ld-linux")),
            "{images:?}"
        );
        assert!(
            images.iter().any(|image| image.contains("libc.so")),
            "{images:?}"
        );
    }
}

#[test]
fn a_ring_nobody_drains_loses_exactly_what_it_says() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let now = || agent::sys::clock::now().0;
    let mut witness = image_rings(8 << 20);
    let mut small = image_rings(0);
    witness.enable().unwrap();
    let enabling = now();
    small.enable().unwrap();
    let enabled = now();
    for _ in 0..200 {
        assert!(Command::new("/bin/true").status().unwrap().success());
    }
    let disabling = now();
    small.disable().unwrap();
    let disabled = now();
    witness.disable().unwrap();

    let (mut told, mut all) = (Batch::default(), Batch::default());
    let mut stored = 0;
    small
        .drain_with(&mut told, &mut |_, _| {
            stored += 1;
            1
        })
        .unwrap();
    small.settle(1, &mut told).unwrap();
    // The small rings are switched on one after the other, so what happens meanwhile may be in
    // them or not. On a quiet machine both bounds are the same.
    let (mut at_least, mut at_most) = (0, 0);
    witness
        .drain_with(&mut all, &mut |record, _| {
            at_least += u64::from((enabled..disabling).contains(&record.time));
            at_most += u64::from((enabling..disabled).contains(&record.time));
            1
        })
        .unwrap();
    witness.settle(1, &mut all).unwrap();

    assert_eq!(witness.lost(), 0);
    assert!(small.lost() > 0, "the small rings did not overflow");
    assert_eq!(lost_count(&told), small.lost());
    assert_eq!(stored + small.lost(), small.produced());
    assert!((at_least..=at_most).contains(&small.produced()));
}

/// Waits until one of the rings wakes its reader; says whether one did.
fn wakes_within(rings: &Rings, timeout: Duration) -> bool {
    let mut fds: Vec<PollFd<'_>> = rings
        .fds()
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    poll(&mut fds, PollTimeout::try_from(timeout).unwrap()).unwrap() > 0
}

#[test]
fn an_armed_ring_wakes_at_the_first_image_and_a_disarmed_one_does_not() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let mut rings = image_rings(8 << 20);
    rings.enable().unwrap();
    let run = || assert!(Command::new("/bin/true").status().unwrap().success());
    run();
    assert!(!wakes_within(&rings, Duration::ZERO), "nobody asked");
    for _ in 0..3 {
        // Another process may load an image in between; then the rings are not empty.
        while !rings.arm() {
            rings.drain(&mut Batch::default()).unwrap();
        }
        run();
        assert!(wakes_within(&rings, Duration::from_secs(10)));
        rings.disarm();
        while wakes_within(&rings, Duration::ZERO) {}
        run();
        assert!(!wakes_within(&rings, Duration::ZERO), "it was disarmed");
    }
}

#[test]
fn a_muted_ring_loses_nothing_and_wakes_again_when_armed() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let mut rings = image_rings(8 << 20);
    rings.enable().unwrap();
    let run = || assert!(Command::new("/bin/true").status().unwrap().success());
    for _ in 0..3 {
        rings.mute();
        while wakes_within(&rings, Duration::ZERO) {}
        run();
        assert!(!wakes_within(&rings, Duration::ZERO), "it was muted");
        let mut batch = Batch::default();
        rings.drain(&mut batch).unwrap();
        // The program, the loader and the C library.
        assert!(batch.count() >= 3, "a muted ring records as before");
        while !rings.arm() {
            rings.drain(&mut Batch::default()).unwrap();
        }
        run();
        assert!(wakes_within(&rings, Duration::from_secs(10)));
    }
    assert_eq!(rings.lost(), 0);
}

/// What a scripted set of programs must look like in the trail, by the word of its parent.
struct Witness {
    /// Process id and wait status, in order.
    processes: Vec<(u32, i32)>,
}

/// Runs programs that end in every way: with a code, by a signal, by a shell's exec.
fn run_programs(count: usize) -> Witness {
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

fn settings(threads: bool, images: bool) -> (Settings, Waker) {
    let waker = Waker::new().unwrap();
    let settings = Settings {
        threads,
        images,
        process_buffer_size: 1 << 20,
        event_buffer_size: 8 << 20,
        flush_interval: Duration::from_millis(50),
        waker: waker.clone(),
    };
    (settings, waker)
}

/// Records while `work_fn` runs. The sensor is read on a thread of its own, as the agent does.
fn record<T>(
    open_fn: impl FnOnce(&Settings) -> Result<Box<dyn Sensor>, Error>,
    settings: &Settings,
    work_fn: impl FnOnce() -> T,
) -> (Vec<Batch>, Counters, T) {
    let mut sensor = open_fn(settings).unwrap();
    let waker = settings.waker.clone();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut batches = vec![Batch::default()];
        sensor.start(&mut batches[0]).unwrap();
        ready.send(()).unwrap();
        while !waker.is_woken() {
            let mut batch = Batch::default();
            sensor.read(&mut batch).unwrap();
            batches.push(batch);
        }
        let mut batch = Batch::default();
        sensor.stop(&mut batch).unwrap();
        batches.push(batch);
        (batches, sensor.counters().unwrap())
    });
    is_ready.recv().unwrap();
    let done = work_fn();
    settings.waker.wake();
    let (batches, counters) = reader.join().unwrap();
    (batches, counters, done)
}

/// Whether everything produced, the snapshot aside, was handed over or told as lost, kind by kind.
fn check_account(batches: &[Batch], counters: &Counters) {
    let mut delivered = [0; Kind::OBSERVED.len()];
    let mut lost = [0; Kind::OBSERVED.len()];
    for (header, event) in batches.iter().flat_map(records) {
        match event {
            Event::Lost(event) => lost[event.kind.index().unwrap()] += event.count,
            _ if header.flags.contains(Flags::EXISTING) => {}
            _ => delivered[header.kind.index().unwrap()] += 1,
        }
    }
    assert_eq!(lost, counters.lost);
    for (index, kind) in Kind::OBSERVED.into_iter().enumerate() {
        assert_eq!(
            counters.produced[index],
            delivered[index] + lost[index],
            "{kind}"
        );
    }
}

fn check_order(batches: &[Batch]) {
    let mut last = Header::default();
    for (header, _) in batches.iter().flat_map(records) {
        assert!(
            last.time <= header.time,
            "out of order: {last:?} {header:?}"
        );
        last = header;
    }
}

/// Checks that each process of the witness has one start, its execs and one exit in the trail.
fn check_processes(batches: &[Batch], witness: &Witness, has_status: bool) {
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

/// Starts threads and returns their ids.
fn run_threads(count: usize) -> Vec<u32> {
    let thread = || nix::unistd::gettid().as_raw().unsigned_abs();
    (0..count)
        .map(|_| std::thread::spawn(thread).join().unwrap())
        .collect()
}

fn check_threads(batches: &[Batch], ids: &[u32]) {
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

#[test]
fn the_connector_sees_every_process_and_thread() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let (settings, _waker) = settings(true, false);
    let (batches, counters, (witness, threads)) = record(connector::open, &settings, || {
        (run_programs(60), run_threads(60))
    });
    assert_eq!(counters.lost.iter().sum::<u64>(), 0);
    check_account(&batches, &counters);
    check_order(&batches);
    check_processes(&batches, &witness, true);
    check_threads(&batches, &threads);
}

#[test]
fn the_perf_sensor_sees_every_process_thread_and_image() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let (settings, _waker) = settings(true, true);
    let (batches, counters, (witness, threads)) = record(perf::open, &settings, || {
        (run_programs(60), run_threads(60))
    });
    assert_eq!(counters.lost.iter().sum::<u64>(), 0);
    check_account(&batches, &counters);
    check_order(&batches);
    check_processes(&batches, &witness, true);
    check_threads(&batches, &threads);
}

/// Checks that the stream tells of no process before its start, of none after its exit, and of no
/// start twice.
fn check_lives(batches: &[Batch]) {
    let mut live: HashMap<u32, Header> = HashMap::new();
    for (header, event) in batches.iter().flat_map(records) {
        let id = header.process_id;
        match event {
            Event::ProcessStart(_) => {
                let before = live.insert(id, header);
                assert!(before.is_none(), "{before:?} starts again: {header:?}");
            }
            Event::ProcessExit(_) => {
                assert!(live.remove(&id).is_some(), "ends unknown: {header:?}");
            }
            Event::ProcessExec(_) | Event::ThreadStart(_) | Event::ImageLoad(_) => {
                assert!(live.contains_key(&id), "unknown: {header:?} {event:?}");
            }
            // A thread's exit may be told just after that of its process.
            _ => {}
        }
    }
}

type OpenFn = fn(&Settings) -> Result<Box<dyn Sensor>, Error>;

#[test]
fn the_seam_is_clean_under_load() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Bounded, should the test fail before it says that it is over.
            for _ in 0..20_000 {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let status = Command::new("/bin/sh").args(["-c", "/bin/true"]).status();
                assert!(status.unwrap().success());
            }
        });
        let opens: [OpenFn; 2] = [perf::open, connector::open];
        for open_fn in opens.into_iter().cycle().take(10) {
            let (settings, _waker) = settings(true, true);
            let (batches, counters, ()) = record(open_fn, &settings, || {
                assert!(Command::new("/bin/true").status().unwrap().success());
            });
            assert_eq!(counters.lost.iter().sum::<u64>(), 0);
            check_account(&batches, &counters);
            check_lives(&batches);
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_sensor_nobody_reads_loses_and_its_account_balances() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let opens: [OpenFn; 2] = [perf::open, connector::open];
    for open_fn in opens {
        let (mut settings, _waker) = settings(true, true);
        settings.process_buffer_size = 4096;
        settings.event_buffer_size = 4096;
        let mut sensor = open_fn(&settings).unwrap();
        let mut batches = [Batch::default(), Batch::default()];
        sensor.start(&mut batches[0]).unwrap();
        for _ in 0..100 {
            assert!(Command::new("/bin/true").status().unwrap().success());
        }
        sensor.stop(&mut batches[1]).unwrap();
        let counters = sensor.counters().unwrap();
        assert!(counters.lost.iter().sum::<u64>() > 0, "nothing was lost");
        check_account(&batches, &counters);
    }
}

/// The texts of every record about a process, as far as these tests look at them.
fn programs_of(batches: &[Batch], process_id: u32) -> Vec<(Header, Vec<u8>, Vec<u8>)> {
    batches
        .iter()
        .flat_map(records)
        .filter(|(header, _)| header.process_id == process_id)
        .filter_map(|(header, event)| match event {
            Event::ProcessStart(start) => Some((header, start.image, start.command_line)),
            Event::ProcessExec(exec) => Some((header, exec.image, exec.command_line)),
            _ => None,
        })
        .map(|(header, image, line)| (header, image.to_vec(), line.to_vec()))
        .collect()
}

#[test]
fn a_program_that_runs_is_told_with_image_arguments_and_user() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let opens: [OpenFn; 2] = [perf::open, connector::open];
    for open_fn in opens {
        let (settings, _waker) = settings(true, true);
        let mut sensor = open_fn(&settings).unwrap();
        // Both read their standard input, which stays open, so they run as long as we want.
        let waiting = |user_id| {
            let mut command = Command::new("/bin/cat");
            command.args(["-", "\u{e9}\n"]).uid(user_id);
            command.stdin(Stdio::piped()).spawn().unwrap()
        };
        let mut before = waiting(0);
        let mut batches = vec![Batch::default()];
        sensor.start(&mut batches[0]).unwrap();
        let mut during = waiting(65534);
        let deadline = Instant::now() + Duration::from_secs(10);
        while programs_of(&batches, during.id()).len() < 2 && Instant::now() < deadline {
            let mut batch = Batch::default();
            sensor.read(&mut batch).unwrap();
            batches.push(batch);
        }
        before.kill().unwrap();
        during.kill().unwrap();
        before.wait().unwrap();
        during.wait().unwrap();

        let image = std::fs::canonicalize("/bin/cat").unwrap();
        let image = image.into_os_string().into_vec();
        let arguments = "/bin/cat\0-\0\u{e9}\n\0".as_bytes();
        let existing = programs_of(&batches, before.id());
        let [(header, existing_image, line)] = &existing[..] else {
            panic!("one start is told: {existing:?}");
        };
        assert!(header.flags.contains(Flags::EXISTING));
        assert_eq!((&existing_image[..], &line[..]), (&image[..], arguments));
        let told = programs_of(&batches, during.id());
        let [(start, ..), (exec, exec_image, line)] = &told[..] else {
            panic!("a start and an exec are told: {told:?}");
        };
        assert!(!start.flags.contains(Flags::EXISTING));
        assert_eq!(exec.flags, Flags::NONE);
        assert_eq!((&exec_image[..], &line[..]), (&image[..], arguments));
        let user = batches
            .iter()
            .flat_map(records)
            .find_map(|(header, event)| match event {
                Event::ProcessExec(exec) if header.process_id == during.id() => Some(exec.user_id),
                _ => None,
            });
        assert_eq!(user, Some(65534));
    }
}

/// Set in the copy of this program that runs the tests below as somebody else.
const ROLE: &str = "SYSTRAIL_TEST_ROLE";

/// This program again, for the test `name` in the role `role`; from a copy where anybody may run
/// it.
fn this_program(name: &str, role: &str, directory: &Path) -> Command {
    let copy = directory.join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let mut command = Command::new(copy);
    command.args(["--exact", name]).env(ROLE, role);
    command
}

#[test]
fn the_connector_needs_no_privilege() {
    if std::env::var_os(ROLE).is_some() {
        assert!(!nix::unistd::geteuid().is_root());
        let (settings, _waker) = settings(true, false);
        match connector::open(&settings) {
            Err(Error::Unavailable { cause, .. }) if cause.contains("CAP_NET_ADMIN") => {
                // Linux before 6.6.
                return;
            }
            opened => drop(opened.unwrap()),
        }
        let (batches, counters, (witness, threads)) = record(connector::open, &settings, || {
            (run_programs(30), run_threads(30))
        });
        check_account(&batches, &counters);
        check_processes(&batches, &witness, true);
        check_threads(&batches, &threads);
        return;
    }
    if !is_root() {
        return;
    }
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let open_to_all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open_to_all).unwrap();
    let status = this_program(
        "the_connector_needs_no_privilege",
        "nobody",
        directory.path(),
    )
    .uid(65534)
    .gid(65534)
    .current_dir("/")
    .status();
    assert!(status.unwrap().success());
}

#[test]
fn an_exec_by_another_thread_ends_that_thread_and_goes_on_as_the_process() {
    if std::env::var_os(ROLE).is_some() {
        let exec = || Command::new("/bin/true").exec();
        let error = std::thread::spawn(exec).join().unwrap();
        panic!("exec came back: {error}");
    }
    if !is_root() {
        return;
    }
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let opens: [OpenFn; 2] = [perf::open, connector::open];
    for open_fn in opens {
        let (settings, _waker) = settings(true, true);
        let (batches, counters, id) = record(open_fn, &settings, || {
            let name = "an_exec_by_another_thread_ends_that_thread_and_goes_on_as_the_process";
            let mut child = this_program(name, "exec", directory.path())
                .spawn()
                .unwrap();
            assert!(child.wait().unwrap().success());
            child.id()
        });
        check_account(&batches, &counters);
        let (mut exits, mut threads, mut execs) = (0, HashMap::new(), 0);
        for (header, event) in batches.iter().flat_map(records) {
            if header.process_id != id {
                continue;
            }
            match event {
                Event::ThreadStart(_) => *threads.entry(header.thread_id).or_default() += 1,
                Event::ThreadExit(_) => *threads.entry(header.thread_id).or_default() -= 1,
                Event::ProcessExec(_) => execs += 1,
                Event::ProcessExit(exit) => {
                    exits += 1;
                    assert_eq!(exit.exit_status, 0);
                }
                _ => {}
            }
        }
        assert_eq!((exits, execs), (1, 2));
        assert!(
            threads.len() > 1,
            "the test's thread and the one that execs"
        );
        assert!(threads.values().all(|open: &i32| *open == 0), "{threads:?}");
    }
}
