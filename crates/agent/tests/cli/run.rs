//! `systrail run`: how it begins, ends and tells what it did.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use systrail::account::Account;

use crate::{file, output, printed, said, systrail};

/// A recording in progress.
pub(crate) struct Recording {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    /// What it said until it recorded.
    pub(crate) said: String,
}

impl Recording {
    /// Starts one and waits until it records; `None` where no sensor runs, which it then has to say
    /// with exit code 4.
    pub(crate) fn start(mut command: Command) -> Option<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // A program that was just copied is busy as long as a child which another test forked
        // meanwhile has its file open, which is until that child's exec.
        let mut child = loop {
            match command.spawn() {
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                    std::thread::yield_now();
                }
                started => break started.expect("the program"),
            }
        };
        let mut stderr = BufReader::new(child.stderr.take().expect("standard error"));
        let mut said = String::new();
        while !said.ends_with("systrail: recording\n") {
            if stderr.read_line(&mut said).expect("a line") == 0 {
                let status = child.wait().expect("an exit");
                assert_eq!(status.code(), Some(4), "{said}");
                assert!(said.contains("no sensor can run here"), "{said}");
                return None;
            }
        }
        Some(Self {
            child,
            stderr,
            said,
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        kill(id, signal).expect("a signal");
    }

    /// Everything it said, and its exit code. Whoever piped its standard output has read it.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        self.stderr.read_to_string(&mut self.said).expect("text");
        let status = self.child.wait().expect("an exit");
        (status.code(), self.said)
    }
}

/// `run`, which leaves the machine's own store alone.
pub(crate) fn run(arguments: &[&str]) -> Command {
    let mut command = systrail();
    command.args(["run", "--no-store"]).args(arguments);
    command
}

#[test]
fn a_recording_ends_cleanly_at_sigterm_and_accounts_for_everything() {
    let directory = tempfile::tempdir().unwrap();
    let (log, summary) = (
        directory.path().join("trail.jsonl"),
        directory.path().join("account"),
    );
    let arguments = [
        "--log",
        log.to_str().unwrap(),
        "--summary",
        summary.to_str().unwrap(),
    ];
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let Some(recording) = Recording::start(run(&arguments)) else {
            return;
        };
        assert_eq!(recording.said.matches("recording").count(), 1);
        recording.signal(signal);
        let (code, said) = recording.end();
        assert_eq!(code, Some(0), "{said}");
        assert!(
            said.ends_with("balanced: produced = delivered + lost\n"),
            "{said}"
        );
        let account: Account = serde_json::from_slice(&fs::read(&summary).unwrap()).unwrap();
        assert!(account.balanced && account.kinds.is_balanced());
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.ends_with("}\n"));
        assert!(
            text.lines()
                .last()
                .unwrap()
                .contains("\"kind\":\"sensor_stop\"")
        );
    }
}

#[test]
fn a_second_signal_gives_up_a_drain_that_hangs() {
    // Nobody reads the log, so closing it would take for ever.
    let Some(recording) = Recording::start(run(&["--log", "-"])) else {
        return;
    };
    for _ in 0..200 {
        Command::new("/bin/true").status().unwrap();
    }
    recording.signal(Signal::SIGTERM);
    recording.signal(Signal::SIGINT);
    let (code, said) = recording.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.ends_with("systrail: aborted; events on their way are in no log\n"),
        "{said}"
    );
}

#[test]
fn a_duration_ends_a_recording() {
    let Some(recording) = Recording::start(run(&["--no-log", "--duration", "10ms"])) else {
        return;
    };
    let (code, said) = recording.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        !said.contains('\u{1b}'),
        "no live line and no colour where nobody sits: {said:?}"
    );
}

#[test]
fn a_log_on_standard_output_is_nothing_but_json_lines() {
    let arguments = ["--log", "-", "--events", "process", "--duration", "10ms"];
    let mut command = run(&arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let output = command.output().unwrap();
    if output.status.code() == Some(4) {
        return;
    }
    assert_eq!(output.status.code(), Some(0));
    let mut sequence = 0;
    for line in printed(&output).lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        sequence += 1;
        assert_eq!(event["sequence"], sequence, "no gap");
        let kind = event["kind"].as_str().unwrap();
        assert!(
            kind.starts_with("process_") || kind.starts_with("sensor_"),
            "{kind}"
        );
    }
    assert!(sequence > 2);
}

#[test]
fn whoever_stops_reading_ends_a_recording_quietly() {
    for command in ["run", "watch"] {
        let mut command = {
            let mut started = systrail();
            started.arg(command);
            started
        };
        if command.get_args().any(|argument| argument == "run") {
            command.args(["--no-store", "--log", "-"]);
        }
        let Some(mut recording) = Recording::start(command) else {
            return;
        };
        drop(recording.child.stdout.take());
        // Something to write, so that the closed pipe is noticed.
        Command::new("/bin/true").status().unwrap();
        let (code, said) = recording.end();
        assert_eq!(code, Some(0), "{said}");
        assert!(
            !said.contains("roken pipe") && !said.contains("panicked"),
            "{said}"
        );
    }
}

#[test]
fn exclude_rules_keep_events_out_and_in_the_account() {
    let directory = tempfile::tempdir().unwrap();
    let config = file(
        directory.path(),
        "rules.toml",
        // Also what others start in a mount namespace of their own.
        "[[exclude]]\nimage = \"*\"\npath_scope = \"*\"\n",
    );
    let arguments = [
        "--log",
        "-",
        "--duration",
        "10ms",
        "--config",
        config.to_str().unwrap(),
    ];
    let output = run(&arguments).output().unwrap();
    if output.status.code() == Some(4) {
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for line in printed(&output).lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let kind = event["kind"].as_str().unwrap();
        let has_image = event["image"].is_string() && kind != "image_load";
        assert!(!has_image, "{line}");
    }
}

#[test]
fn metrics_are_served_while_it_records() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    let mut command = systrail();
    command.args(["run", "--no-log", "--metrics", "127.0.0.1:0", "--store"]);
    command.arg(&store);
    let Some(recording) = Recording::start(command) else {
        return;
    };
    let (_, address) = recording.said.split_once("metrics on http://").unwrap();
    let (address, _) = address.split_once('/').unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    assert!(response.contains("systrail_recording 1\n"), "{response}");
    for name in [
        "memory_bytes",
        "store_bytes",
        "store_oldest_seconds",
        "store_written_seconds",
    ] {
        let line = response
            .lines()
            .find_map(|line| line.strip_prefix(&format!("systrail_{name} ")));
        assert!(line.is_some_and(|value| value != "0"), "{name}: {response}");
    }
    assert!(
        recording
            .said
            .contains(&format!("store {}\n", store.display()))
    );
    recording.signal(Signal::SIGTERM);
    assert_eq!(recording.end().0, Some(0));
}

/// A directory as `--summary` was a wrong argument, and one as `--log` a failure while running.
#[test]
fn a_path_that_cannot_be_what_it_is_named_for_ends_with_2_and_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let plain = file(directory.path(), "plain", "");
    let plain = plain.to_str().unwrap();
    let cases: [(&[&str], String); 3] = [
        (&["--no-store", "--log", path], format!("log {path}")),
        (
            &["--no-store", "--log", "/proc/no/such.jsonl"],
            "log /proc/no".to_owned(),
        ),
        (&["--no-log", "--store", plain], format!("store {plain}")),
    ];
    for (arguments, expected) in cases {
        let output = output(["run", "--duration", "10ms"].iter().chain(arguments));
        if output.status.code() == Some(4) {
            return;
        }
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn a_log_that_another_recording_writes_ends_with_1() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("trail.jsonl");
    let arguments = ["--log", log.to_str().unwrap()];
    let Some(recording) = Recording::start(run(&arguments)) else {
        return;
    };
    let output = run(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("another process"));
    recording.signal(Signal::SIGTERM);
    assert_eq!(recording.end().0, Some(0));
}

/// It was noticed when the recording was over, and the account was lost.
#[test]
fn a_summary_that_cannot_be_written_is_refused_before_anything_is_recorded() {
    let directory = tempfile::tempdir().unwrap();
    // Nobody, and not root either, can make a file there.
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("/proc", &link).unwrap();
    for parent in [Path::new("/proc"), &link] {
        let summary = parent.join("account.json");
        let summary = summary.to_str().unwrap();
        let arguments = ["--no-log", "--duration", "10ms", "--summary", summary];
        let output = run(&arguments).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("summary {summary}: ")), "{said}");
        assert!(!said.contains("source"), "{said}");
    }
}

#[test]
fn a_summary_does_not_take_the_place_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("below");
    fs::create_dir(&below).unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&below, &link).unwrap();
    let log = below.join("trail.jsonl");
    for summary in [
        &log,
        &link.join("trail.jsonl"),
        &link.join("../below/trail.jsonl"),
    ] {
        let (log, summary) = (log.to_str().unwrap(), summary.to_str().unwrap());
        let arguments = ["--log", log, "--summary", summary, "--duration", "10ms"];
        let output = run(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("name another file"));
        assert_eq!(fs::read_dir(&below).unwrap().count(), 0);
    }
}

#[test]
fn without_privilege_it_records_with_less_or_says_why_not() {
    let mut command = run(&["--no-log"]);
    if nix::unistd::geteuid().is_root() {
        // Nobody's program must be somewhere nobody may go.
        let directory = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir_in("/tmp")
            .unwrap();
        let program = directory.keep().join("systrail");
        fs::copy(env!("CARGO_BIN_EXE_systrail"), &program).unwrap();
        command = as_nobody(&program);
        let recording = Recording::start(command);
        fs::remove_dir_all(program.parent().unwrap()).unwrap();
        check_unprivileged(recording);
    } else {
        check_unprivileged(Recording::start(command));
    }
}

/// `run --no-log` without any privilege.
fn as_nobody(program: &Path) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(program);
    command
        .args(["run", "--no-log", "--no-store"])
        .uid(65_534)
        .gid(65_534)
        .stdin(Stdio::null());
    command
}

fn check_unprivileged(recording: Option<Recording>) {
    // Exit code 4 with a cause was checked at the start.
    let Some(recording) = recording else {
        return;
    };
    assert!(
        recording.said.contains("ebpf does not run here: "),
        "{}",
        recording.said
    );
    assert!(recording.said.contains("source "), "{}", recording.said);
    recording.signal(Signal::SIGTERM);
    let (code, said) = recording.end();
    assert_eq!(code, Some(0), "{said}");
}

/// The program in a pid namespace of its own; `None` where this user may not make one.
fn in_a_pid_namespace(arguments: &[&str]) -> Option<std::process::Output> {
    let unshare = ["--pid", "--fork", "--mount-proc"];
    let may = Command::new("unshare").args(unshare).arg("true").output();
    if !may.is_ok_and(|output| output.status.success()) {
        let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(
            !is_ci,
            "this test needs root and unshare, and CI must run it"
        );
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(unshare).arg(env!("CARGO_BIN_EXE_systrail"));
    let command = command.args(arguments).env_remove("NOTIFY_SOCKET");
    Some(command.output().expect("the program"))
}

/// The snapshot had the same process under both its ids, host processes were given command lines of
/// what has their id in the namespace, and the agent called itself 1, which is the host's init.
#[test]
fn in_a_pid_namespace_of_its_own_no_process_is_taken_for_another() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log.jsonl");
    let log = log.to_str().expect("UTF-8");
    let arguments = [
        "run",
        "--source",
        "ebpf",
        "--events",
        "process",
        "--duration",
        "300ms",
        "--no-store",
        "--log",
        log,
    ];
    let Some(output) = in_a_pid_namespace(&arguments) else {
        return;
    };
    let said = said(&output);
    if output.status.code() == Some(4) {
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("a pid namespace of its own"), "{said}");
    let text = fs::read_to_string(log).expect("the log");
    let lines = text.lines();
    let events: Vec<serde_json::Value> = lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(events[0]["kind"], "sensor_start");
    assert_eq!(events[0]["missing"]["process_id"], "unavailable");
    let existing = |event: &&serde_json::Value| event["existing"] == true;
    let ours: Vec<_> = events
        .iter()
        .filter(existing)
        .filter(|event| event["image"] == env!("CARGO_BIN_EXE_systrail"))
        .collect();
    assert_eq!(ours.len(), 1, "{ours:?}");
    assert_ne!(ours[0]["process_id"], 1);
    assert_eq!(ours[0]["missing"]["command_line"], "gone");
}

/// It recorded with the ids of its namespace, and 0 for whatever is outside.
#[test]
fn perf_events_are_refused_in_a_pid_namespace_of_their_own() {
    let arguments = [
        "run",
        "--source",
        "perf",
        "--no-log",
        "--no-store",
        "--duration",
        "300ms",
    ];
    if let Some(output) = in_a_pid_namespace(&arguments) {
        let said = said(&output);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains("--pid=host"), "{said}");
    }
}
