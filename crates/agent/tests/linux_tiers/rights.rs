//! A set-user-id program, as each sensor tells it: whose rights it has, who asked for it, and that it
//! ends once.

use std::io::{BufRead as _, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use event::{Event, Extension, Flags, process};
use systrail::sensor::{Batch, Sensor};

use crate::machine;
use crate::recording::{SENSORS, settings};

const NOBODY: u32 = 65534;

/// The user of its exec and who asked for it, and how often it ended.
type Told = (Option<(u32, Option<process::Users>)>, usize);

fn told(batches: &[Batch], process_id: u32) -> Told {
    let records = batches.iter().flat_map(Batch::records);
    let records = records.map(|record| event::read(record).unwrap());
    let mut told = (None, 0);
    for record in records.filter(|record| record.header.process_id == process_id) {
        match (record.event, record.extension) {
            (Event::ProcessExec(exec), Extension::Users(users)) => {
                told.0 = Some((exec.user_id, Some(users)));
            }
            (Event::ProcessExec(exec), _) => told.0 = Some((exec.user_id, None)),
            (Event::ProcessExit(_), _) => told.1 += 1,
            _ => {}
        }
    }
    told
}

fn read_until(
    sensor: &mut dyn Sensor,
    batches: &mut Vec<Batch>,
    is_enough_fn: impl Fn(&[Batch]) -> bool,
) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_enough_fn(batches) && Instant::now() < deadline {
        let mut batch = Batch::default();
        sensor.read(&mut batch).unwrap();
        batches.push(batch);
    }
}

/// The effective user, as `/proc` has him.
fn effective_user(child: &Child) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// The logins of a process's start and execs; `None` where one is told as not known.
fn logins(batches: &[Batch], process_id: u32) -> Vec<Option<u32>> {
    let records = batches.iter().flat_map(Batch::records);
    let records = records.map(|record| event::read(record).unwrap());
    let of_it = records.filter(|record| {
        let is_told = matches!(record.event, Event::ProcessStart(_) | Event::ProcessExec(_));
        record.header.process_id == process_id && is_told
    });
    of_it
        .map(|record| match record.extension {
            Extension::Users(users) => {
                let is_unknown = record.header.flags.contains(Flags::LOGIN_UNAVAILABLE);
                (!is_unknown).then_some(users.login_user_id)
            }
            _ => None,
        })
        .collect()
}

// The login that a process had set before an exec was told neither of that nor of its children, and
// not as missing either.
#[test]
fn a_login_is_told_from_when_it_is_set_or_as_not_known() {
    let Some(_machine) = machine() else {
        return;
    };
    let script =
        "echo 54326 >/proc/self/loginuid\n exec 3<&0; cat <&3 >&1 & echo $!; wait; exec cat";
    for open_fn in SENSORS {
        let (settings, _waker) = settings(true, true);
        let mut sensor = open_fn(&settings).unwrap();
        let mut batches = vec![Batch::default()];
        sensor.start(&mut batches[0]).unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let grandchild_id: u32 = line.trim().parse().unwrap();
        read_until(&mut *sensor, &mut batches, |batches| {
            logins(batches, grandchild_id).len() == 2
        });
        let witness = std::fs::read_to_string(format!("/proc/{}/loginuid", child.id()));
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        read_until(&mut *sensor, &mut batches, |batches| {
            told(batches, child.id()).1 > 0
        });
        sensor.stop(&mut batches[0]).unwrap();
        // A kernel without audit has none.
        let Ok(witness) = witness else {
            return;
        };
        let witness: u32 = witness.trim().parse().unwrap();
        let expected = [Some(witness); 2];
        assert_eq!(
            logins(&batches, grandchild_id),
            expected,
            "{}",
            sensor.source()
        );
        // The last program ends at once, so that it may be gone.
        let last = *logins(&batches, child.id()).last().unwrap();
        assert!(
            [Some(witness), None].contains(&last),
            "{last:?}, {}",
            sensor.source()
        );
    }
}

// The perf sensor told it under its caller, and that it ended when it began: the kernel takes its
// events from it, and tells that as an exit.
#[test]
fn a_set_user_id_program_has_its_own_rights_and_ends_once() {
    let Some(_machine) = machine() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let set_mode = |path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(directory.path(), 0o755);
    let program = directory.path().join("cat");
    std::fs::copy("/bin/cat", &program).unwrap();
    set_mode(&program, 0o4755);
    for open_fn in SENSORS {
        let (settings, _waker) = settings(true, true);
        let mut sensor = open_fn(&settings).unwrap();
        let mut batches = vec![Batch::default()];
        sensor.start(&mut batches[0]).unwrap();
        let mut command = Command::new(&program);
        command
            .uid(NOBODY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"?").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let process_id = child.id();
        read_until(&mut *sensor, &mut batches, |batches| {
            told(batches, process_id).0.is_some()
        });
        let expected = effective_user(&child);
        child.kill().unwrap();
        child.wait().unwrap();
        read_until(&mut *sensor, &mut batches, |batches| {
            told(batches, process_id).1 > 0
        });
        sensor.stop(&mut batches[0]).unwrap();

        let (exec, exit_count) = told(&batches, process_id);
        let (user_id, users) = exec.unwrap();
        assert_eq!(user_id, expected, "{}", sensor.source());
        assert_eq!(users.unwrap().real_user_id, NOBODY, "{}", sensor.source());
        assert_eq!(exit_count, 1, "{}", sensor.source());
    }
}
