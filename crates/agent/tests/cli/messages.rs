//! A recording goes on and ends also where nobody reads what it says.

use std::fs;
use std::io::{ErrorKind, PipeWriter, Write as _};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::{file, systrail};

const EVENT: &str = "{\"sequence\":1,\"time\":\"2026-01-01T00:00:00.000000000Z\",\
\"kind\":\"thread_exit\",\"host\":\"h\",\"process_id\":7,\"process_key\":\"00000000000000aa\",\
\"thread_id\":8}";

fn flags(pipe: &PipeWriter) -> OFlag {
    OFlag::from_bits_retain(fcntl(pipe, FcntlArg::F_GETFL).expect("flags"))
}

/// Writes until there is no room for a byte more.
fn fill(pipe: &mut PipeWriter) {
    let flags = flags(pipe);
    fcntl(&*pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).expect("flags");
    for size in [4_096, 1] {
        let full = loop {
            if let Err(error) = pipe.write(&vec![b'x'; size]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
    }
    fcntl(&*pipe, FcntlArg::F_SETFL(flags)).expect("flags");
}

/// Runs the command with a standard error that is full, and that somebody holds open unread.
fn run_unread(mut command: Command) -> ExitStatus {
    let (_unread, mut pipe) = std::io::pipe().expect("a pipe");
    fill(&mut pipe);
    let own_end = pipe.try_clone().expect("the pipe");
    let mut child = command
        .stdout(Stdio::null())
        .stderr(own_end)
        .spawn()
        .expect("the program");
    let deadline = Instant::now() + Duration::from_mins(1);
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("a child");
            panic!("it waits for somebody to read");
        }
        std::thread::yield_now();
    };
    let is_changed = flags(&pipe).contains(OFlag::O_NONBLOCK);
    assert!(!is_changed, "the flag is shared with who else writes there");
    status
}

/// One warning into a pipe that nobody read held up the whole recording, and its end.
#[test]
fn a_standard_error_that_nobody_reads_holds_up_no_replay() {
    let directory = tempfile::tempdir().unwrap();
    let log = file(directory.path(), "torn.jsonl", &format!("torn\n{EVENT}\n"));
    let copy = directory.path().join("copy.jsonl");
    let mut command = systrail();
    command.arg("replay").arg(log).arg("--log").arg(&copy);
    assert_eq!(run_unread(command).code(), Some(0));
    assert_eq!(fs::read_to_string(copy).unwrap(), format!("{EVENT}\n"));
}

#[test]
fn a_standard_error_that_nobody_reads_holds_up_no_recording() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("trail.jsonl");
    let mut command = systrail();
    command.args(["run", "--no-store", "--duration", "100ms", "--log"]);
    command.arg(&log);
    let code = run_unread(command).code();
    // Where no sensor runs.
    if code == Some(4) {
        return;
    }
    assert_eq!(code, Some(0));
    let text = fs::read_to_string(log).unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.contains("\"kind\":\"sensor_stop\""), "{last}");
}

/// A recording waited for ever for a service manager that took nothing any more.
#[test]
fn a_service_manager_that_stands_still_holds_up_no_recording() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let _unread = UnixDatagram::bind(&path).unwrap();
    let filling = UnixDatagram::unbound().unwrap();
    filling.set_nonblocking(true).unwrap();
    while filling.send_to(b"full", &path).is_ok() {}
    let mut command = systrail();
    command
        .args(["run", "--no-store", "--no-log", "--duration", "100ms"])
        .env("NOTIFY_SOCKET", &path);
    let code = run_unread(command).code();
    assert!(matches!(code, Some(0 | 4)), "{code:?}");
}
