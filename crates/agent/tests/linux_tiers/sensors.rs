//! The perf sensor and the proc connector against what their witness did.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use event::{Event, Flags, Header, Kind, Place};
use systrail::sensor::{Batch, Counters, Error, Settings, connector, perf};

use crate::machine;
use crate::recording::{OpenFn, SENSORS, record, record_until, settings};
use crate::stream::{check_account, check_lives, check_order, records};
use crate::witness::{
    Witness, check_processes, check_threads, have_ended, run_programs, run_threads,
};

/// Records that many programs and threads until each has ended.
fn record_programs_and_threads(
    open_fn: OpenFn,
    settings: &Settings,
    count: usize,
) -> (Vec<Batch>, Counters, (Witness, Vec<u32>)) {
    record_until(
        open_fn,
        settings,
        || (run_programs(count), run_threads(count)),
        |batches, (witness, threads)| have_ended(batches, witness.process_ids(), threads),
    )
}

/// Checks that `open_fn`'s sensor tells of every program and thread, in order and without a loss.
fn check_sees_everything(open_fn: OpenFn, images: bool) {
    let (settings, _waker) = settings(true, images);
    let (batches, counters, (witness, threads)) =
        record_programs_and_threads(open_fn, &settings, 60);
    assert_eq!(counters.lost.sum(), 0, "{:?}", losses(&batches));
    check_account(&batches, &counters);
    check_order(&batches);
    check_processes(&batches, &witness, true);
    check_threads(&batches, &threads);
}

/// What was lost, and why.
fn losses(batches: &[Batch]) -> Vec<Event<'_>> {
    let events = batches.iter().flat_map(records).map(|(_, event)| event);
    events
        .filter(|event| matches!(event, Event::Lost(_)))
        .collect()
}

#[test]
fn the_connector_sees_every_process_and_thread() {
    let Some(_machine) = machine() else {
        return;
    };
    check_sees_everything(connector::open, false);
}

#[test]
fn the_perf_sensor_sees_every_process_thread_and_image() {
    let Some(_machine) = machine() else {
        return;
    };
    check_sees_everything(perf::open, true);
}

#[test]
fn the_seam_is_clean_under_load() {
    let Some(_machine) = machine() else {
        return;
    };
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
        for open_fn in SENSORS.into_iter().cycle().take(10) {
            let (settings, _waker) = settings(true, true);
            let (batches, counters, ()) = record(open_fn, &settings, || {
                assert!(Command::new("/bin/true").status().unwrap().success());
            });
            assert_eq!(counters.lost.sum(), 0);
            check_account(&batches, &counters);
            check_lives(&batches);
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_sensor_nobody_reads_loses_and_its_account_balances() {
    let Some(_machine) = machine() else {
        return;
    };
    for open_fn in SENSORS {
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
        assert!(counters.lost.sum() > 0, "nothing was lost");
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
        .map(|(header, image, line)| {
            let is_placed = header.flags.contains(Flags::PLACED);
            let placed = is_placed.then(|| Place::split(image).unwrap());
            let path = placed.map_or(image, |(path, _)| path);
            (header, path.to_vec(), line.to_vec())
        })
        .collect()
}

// The second one was told as a library of its own, in one of ten: its program was mapped when only the
// first exec was drained.
#[test]
fn an_exec_right_after_another_has_its_own_program() {
    // Where a processor is emulated the two execs are too far apart, and records are lost for time.
    let Some(_machine) = machine().filter(|_| std::env::var_os("SYSTRAIL_VM").is_none()) else {
        return;
    };
    let (settings, _waker) = settings(false, true);
    let run = || {
        let mut ids = Vec::new();
        for _ in 0..200 {
            let mut child = Command::new("/usr/bin/nice")
                .arg("/bin/true")
                .spawn()
                .unwrap();
            child.wait().unwrap();
            ids.push(child.id());
        }
        ids
    };
    let (batches, counters, ids) = record_until(perf::open, &settings, run, |batches, ids| {
        have_ended(batches, ids.iter().copied(), &[])
    });
    assert_eq!(counters.lost.sum(), 0, "{:?}", losses(&batches));
    let expected = ["/usr/bin/nice", "/bin/true"];
    let expected = expected.map(|path| std::fs::canonicalize(path).unwrap());
    for id in ids {
        let told = programs_of(&batches, id);
        let execs = told
            .iter()
            .filter(|(header, _, _)| header.kind == Kind::PROCESS_EXEC);
        let images = execs.map(|(_, image, _)| PathBuf::from(OsString::from_vec(image.clone())));
        assert_eq!(images.collect::<Vec<_>>(), expected, "process {id}");
    }
}

#[test]
fn a_program_that_runs_is_told_with_image_arguments_and_user() {
    let Some(_machine) = machine() else {
        return;
    };
    for open_fn in SENSORS {
        let (settings, _waker) = settings(true, true);
        let mut sensor = open_fn(&settings).unwrap();
        // Both read their standard input, which stays open, so they run as long as we want.
        let waiting = |user_id| {
            let mut command = Command::new("/bin/cat");
            command.args(["-", "\u{e9}\n"]).uid(user_id);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command.spawn().unwrap()
        };
        let mut before = waiting(0);
        // A spawn comes back in the middle of the exec, when the kernel closes the files that ask
        // for it. A program that answers has begun.
        before.stdin.as_mut().unwrap().write_all(b"?").unwrap();
        let answered = before.stdout.as_mut().unwrap().read_exact(&mut [0]);
        answered.unwrap();
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
        assert_eq!(exec.flags.without(Flags::EXTENDED), Flags::PLACED);
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
    let (_executable, module) = module_path!().split_once("::").unwrap();
    command.arg("--exact").arg(format!("{module}::{name}"));
    command.env(ROLE, role);
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
        let (batches, counters, (witness, threads)) =
            record_programs_and_threads(connector::open, &settings, 30);
        check_account(&batches, &counters);
        check_processes(&batches, &witness, true);
        check_threads(&batches, &threads);
        return;
    }
    let Some(_machine) = machine() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let open_to_all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open_to_all).unwrap();
    let output = this_program(
        "the_connector_needs_no_privilege",
        "nobody",
        directory.path(),
    )
    .uid(65534)
    .gid(65534)
    .current_dir("/")
    .output()
    .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "the role was not played: {said}");
}

#[test]
fn an_exec_by_another_thread_ends_that_thread_and_goes_on_as_the_process() {
    if std::env::var_os(ROLE).is_some() {
        let exec = || Command::new("/bin/true").exec();
        let error = std::thread::spawn(exec).join().unwrap();
        panic!("exec came back: {error}");
    }
    let Some(_machine) = machine() else {
        return;
    };
    // The execs are that of this program itself and that of the thread.
    check_role(
        "an_exec_by_another_thread_ends_that_thread_and_goes_on_as_the_process",
        2,
    );
}

#[test]
fn an_exec_that_is_refused_tells_nothing_and_ends_no_thread() {
    if std::env::var_os(ROLE).is_some() {
        let refused = || {
            // Not there, no program, nothing that can be run.
            for path in [c"/nothing/here", c"/proc/self/comm", c"/"] {
                nix::unistd::execv(path, &[path]).unwrap_err();
            }
        };
        std::thread::spawn(refused).join().unwrap();
        return;
    }
    let Some(_machine) = machine() else {
        return;
    };
    // The exec is that of this program itself.
    check_role(
        "an_exec_that_is_refused_tells_nothing_and_ends_no_thread",
        1,
    );
}

/// Runs this program in a role of the test `name`, and checks what each sensor tells of it.
fn check_role(name: &str, execs_done: u32) {
    let directory = tempfile::tempdir().unwrap();
    for open_fn in SENSORS {
        let (settings, _waker) = settings(true, true);
        let run_fn = || {
            let mut child = this_program(name, "exec", directory.path())
                .spawn()
                .unwrap();
            assert!(child.wait().unwrap().success());
            child.id()
        };
        let (batches, counters, id) = record_until(open_fn, &settings, run_fn, |batches, id| {
            // The last thread to end need not be the last whose end is told.
            have_ended(batches, [*id], &[])
                && threads_of(batches, *id).values().all(|open| *open == 0)
        });
        check_account(&batches, &counters);
        check_one_life(&batches, id, execs_done);
    }
}

/// How often each thread of the process began and has not ended.
fn threads_of(batches: &[Batch], id: u32) -> HashMap<u32, i32> {
    let mut threads = HashMap::new();
    for (header, event) in batches.iter().flat_map(records) {
        if header.process_id != id {
            continue;
        }
        match event {
            Event::ThreadStart(_) => *threads.entry(header.thread_id).or_default() += 1,
            Event::ThreadExit(_) => *threads.entry(header.thread_id).or_default() -= 1,
            _ => {}
        }
    }
    threads
}

/// Checks that the process had so many execs, one exit that was none of a failure, and at least two
/// threads beside its first, each told to the end.
fn check_one_life(batches: &[Batch], id: u32, execs_done: u32) {
    let (mut exits, mut execs) = (0, 0);
    for (header, event) in batches.iter().flat_map(records) {
        if header.process_id != id {
            continue;
        }
        match event {
            Event::ProcessExec(_) => execs += 1,
            Event::ProcessExit(exit) => {
                exits += 1;
                assert_eq!(exit.exit_status, 0);
            }
            _ => {}
        }
    }
    assert_eq!((exits, execs), (1, execs_done));
    let threads = threads_of(batches, id);
    assert!(
        threads.len() > 1,
        "the test's thread and the one that execs"
    );
    assert!(threads.values().all(|open| *open == 0), "{threads:?}");
}
