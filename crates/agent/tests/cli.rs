//! The command line as scripts see it: exit codes, places of errors, what stands on which stream.
//!
//! The program runs as itself, with whatever privilege the tests have; nothing here needs root. A
//! recording is waited for by the line `systrail: recording`, never by time.
#![cfg(target_os = "linux")]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use agent::account::Account;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The program, with nothing of this machine's configuration in reach of its data.
fn systrail() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_systrail"));
    command
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .stdin(Stdio::null());
    command
}

fn output<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Output {
    systrail().args(arguments).output().expect("the program")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn file(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).expect("a file");
    path
}

/// A recording in progress.
struct Recording {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    /// What it said until it recorded.
    said: String,
}

impl Recording {
    /// Starts one and waits until it records; `None` where no sensor runs, which it then has to say
    /// with exit code 4.
    fn start(mut command: Command) -> Option<Self> {
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

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        kill(id, signal).expect("a signal");
    }

    /// Everything it said, and its exit code. Whoever piped its standard output has read it.
    fn end(mut self) -> (Option<i32>, String) {
        self.stderr.read_to_string(&mut self.said).expect("text");
        let status = self.child.wait().expect("an exit");
        (status.code(), self.said)
    }
}

/// `run`, which leaves the machine's own store alone.
fn run(arguments: &[&str]) -> Command {
    let mut command = systrail();
    command.args(["run", "--no-store"]).args(arguments);
    command
}

#[test]
fn every_command_has_a_help_with_examples() {
    let commands: [&[&str]; 16] = [
        &[],
        &["run"],
        &["watch"],
        &["replay"],
        &["query"],
        &["tree"],
        &["show"],
        &["export"],
        &["doctor"],
        &["config", "check"],
        &["service", "install"],
        &["service", "uninstall"],
        &["service", "start"],
        &["service", "stop"],
        &["service", "restart"],
        &["service", "status"],
    ];
    for command in commands {
        let output = output(command.iter().chain(&["--help"]));
        assert_eq!(output.status.code(), Some(0), "{command:?}");
        assert!(printed(&output).contains("Example"), "{command:?}");
        assert_eq!(said(&output), "", "{command:?}");
    }
}

#[test]
fn wrong_arguments_end_with_2_and_say_what_is_allowed() {
    let cases: [(&[&str], &str); 21] = [
        (&[], "Usage"),
        (&["runn"], "'run'"),
        (&["run", "--duration", "10"], "no unit"),
        (&["run", "--duration", "0s"], "longer than nothing"),
        (&["run", "--flush-interval", "2s"], "from 1ms to 1s"),
        (
            &["run", "--events", "process,files"],
            "process, thread, image",
        ),
        (
            &["run", "--source", "magic"],
            "auto, driver, ebpf, perf, connector",
        ),
        (&["run", "--on-loss", "cry"], "log, fail"),
        (&["run", "--log", "x", "--no-log"], "cannot be used with"),
        (
            &["run", "--store", "x", "--no-store"],
            "cannot be used with",
        ),
        (&["run", "--metrics", "here"], "--metrics"),
        (
            &["run", "--summary", "/no/such/directory/x"],
            "no directory",
        ),
        (&["doctor", "--format", "csv"], "table, json"),
        (&["query"], "<SQL>"),
        (
            &["query", "x", "--format", "xml"],
            "table, json, jsonl, csv",
        ),
        (&["query", "x", "--timeout", "5"], "no unit"),
        (
            &["tree", "--format", "yaml"],
            "table, json, jsonl, csv, dot",
        ),
        (
            &["tree", "--at", "1m", "--since", "1m"],
            "cannot be used with",
        ),
        (&["show"], "<PID|KEY>"),
        (&["export", "--format", "xml"], "jsonl, csv, ecs, ocsf"),
        (
            &["export", "--log", "x", "--store", "y"],
            "cannot be used with",
        ),
    ];
    for (arguments, expected) in cases {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(expected), "{}", said(&output));
        assert_eq!(printed(&output), "", "{arguments:?}");
    }
}

#[test]
fn a_wrong_configuration_ends_with_2_and_names_line_and_column() {
    let directory = tempfile::tempdir().unwrap();
    let text = "source = \"auto\"\n[log]\n  rotate_sise = \"1 MiB\"\n  keep_files = 0\n";
    let path = file(directory.path(), "wrong.toml", text);
    let shown = path.to_str().unwrap();
    for arguments in [
        ["run", "--no-log", "--config"],
        ["watch", "--no-log", "--config"],
    ] {
        let output = output(arguments.iter().copied().chain([shown]));
        assert_eq!(output.status.code(), Some(2));
        let said = said(&output);
        assert!(said.contains(&format!(
            "{shown}:3:3: error: unknown key `log.rotate_sise`"
        )));
        assert!(said.contains(&format!("{shown}:4:16: error: log.keep_files: 0")));
    }
}

#[test]
fn a_configuration_that_is_not_there_ends_with_2() {
    let output = output(["run", "--config", "/no/such/file.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("/no/such/file.toml: No such file"));
}

#[test]
fn config_check_tells_findings_on_standard_output() {
    let directory = tempfile::tempdir().unwrap();
    let good = file(directory.path(), "good.toml", "source = \"perf\"\n");
    let checked = output([OsStr::new("config"), OsStr::new("check"), good.as_os_str()]);
    assert_eq!(checked.status.code(), Some(0));
    assert!(printed(&checked).ends_with("valid, 0 errors, 0 warnings\n"));

    let doubtful = file(
        directory.path(),
        "doubtful.toml",
        "[[include]]\nimage = \"bash\"\n",
    );
    let checked = output([
        OsStr::new("config"),
        OsStr::new("check"),
        doubtful.as_os_str(),
    ]);
    assert_eq!(checked.status.code(), Some(0));
    assert!(printed(&checked).contains("doubtful.toml:1:1: warning: this rule can never fire"));

    let bad = file(
        directory.path(),
        "bad.toml",
        "source = \"prf\"\nevents = 3\n",
    );
    let checked = output([OsStr::new("config"), OsStr::new("check"), bad.as_os_str()]);
    assert_eq!(checked.status.code(), Some(2));
    let printed = printed(&checked);
    assert!(printed.contains("bad.toml:1:10: error: source: \"prf\": did you mean \"perf\"?"));
    assert!(printed.contains("bad.toml:2:10: error: events"));
    assert!(printed.ends_with("refused, 2 errors, 0 warnings\n"));
}

#[test]
fn doctor_tells_every_tier_as_json() {
    let output = output(["doctor", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let tiers = report["tiers"].as_array().unwrap();
    let names: Vec<_> = tiers.iter().map(|tier| tier["name"].as_str()).collect();
    assert_eq!(names, [Some("ebpf"), Some("perf"), Some("connector")]);
    let first = tiers.iter().find(|tier| tier["runs"] == true);
    assert_eq!(
        report["source"],
        first.map_or(serde_json::Value::Null, |tier| tier["name"].clone())
    );
    assert_eq!(
        output.status.code(),
        Some(if first.is_some() { 0 } else { 4 })
    );
    for tier in tiers.iter().filter(|tier| tier["runs"] == false) {
        assert!(
            tier["cause"].is_string() && tier["cure"].is_string(),
            "{tier}"
        );
    }
    for fact in [
        "kernel",
        "btf",
        "lockdown",
        "capabilities",
        "data_directory",
        "systemd",
    ] {
        let facts = report["facts"].as_array().unwrap();
        assert!(facts.iter().any(|found| found["name"] == fact), "{fact}");
    }
}

#[test]
fn doctor_reads_like_its_json() {
    let output = output(["doctor"]);
    assert!(matches!(output.status.code(), Some(0 | 4)));
    let printed = printed(&output);
    for word in ["ebpf", "perf", "connector", "capabilities"] {
        assert!(printed.contains(word), "{printed}");
    }
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
        "[[exclude]]\nimage = \"*\"\n",
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
    let command = run(&["--no-log", "--metrics", "127.0.0.1:0"]);
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
    recording.signal(Signal::SIGTERM);
    assert_eq!(recording.end().0, Some(0));
}

#[test]
fn a_log_that_cannot_be_opened_ends_with_1_and_says_which() {
    let output = output([
        "run",
        "--no-store",
        "--duration",
        "10ms",
        "--log",
        "/proc/no/such.jsonl",
    ]);
    if output.status.code() == Some(4) {
        return;
    }
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("log /proc/no"), "{}", said(&output));
}

/// A log as a crash leaves it: a loss, and a torn last line.
const TORN_LOG: &str = "\
{\"sequence\":1,\"time\":\"2026-01-01T00:00:00.000000000Z\",\"kind\":\"thread_exit\",\"host\":\"h\",\
\"process_id\":7,\"process_key\":\"00000000000000aa\",\"thread_id\":8}
{\"sequence\":2,\"time\":\"2026-01-01T00:00:00.000000001Z\",\"kind\":\"lost\",\"host\":\"h\",\
\"process_id\":7,\"process_key\":\"00000000000000aa\",\"lost_kind\":\"thread_exit\",\
\"lost_count\":3,\"lost_reason\":\"buffer_full\"}
{\"sequence\":3,\"time\":\"2026-01-01T00";

#[test]
fn replay_passes_over_what_is_no_event_and_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let log = file(directory.path(), "torn.jsonl", TORN_LOG);
    let copy = directory.path().join("copy.jsonl");
    let summary = directory.path().join("account.json");
    let output = systrail()
        .arg("replay")
        .arg(&log)
        .arg("--log")
        .arg(&copy)
        .arg("--summary")
        .arg(&summary)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        said(&output).contains("line 3 is passed over"),
        "{}",
        said(&output)
    );
    let whole: Vec<&str> = TORN_LOG.lines().take(2).collect();
    assert_eq!(
        fs::read_to_string(&copy)
            .unwrap()
            .lines()
            .collect::<Vec<_>>(),
        whole
    );
    let account: Account = serde_json::from_slice(&fs::read(&summary).unwrap()).unwrap();
    let count = account.kinds.thread_exit;
    assert_eq!((count.produced, count.delivered, count.lost), (4, 1, 3));
    assert_eq!(account.source, "replay");
}

#[test]
fn on_loss_fail_ends_with_3() {
    let directory = tempfile::tempdir().unwrap();
    let whole: Vec<&str> = TORN_LOG.lines().take(2).collect();
    let with_loss = file(directory.path(), "loss.jsonl", &whole.join("\n"));
    let torn = file(
        directory.path(),
        "torn.jsonl",
        &TORN_LOG.replace("thread_exit\",\"lost", "x"),
    );
    for log in [with_loss, torn] {
        let log = log.to_str().unwrap();
        assert_eq!(
            output(["replay", log, "--on-loss", "fail"]).status.code(),
            Some(3)
        );
        assert_eq!(
            output(["replay", log, "--on-loss", "log"]).status.code(),
            Some(0)
        );
    }
}

#[test]
fn replay_of_nothing_ends_with_1() {
    let output = output(["replay", "/no/such/log.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("/no/such/log.jsonl"));
}

#[test]
fn a_log_is_not_replayed_into_itself() {
    let directory = tempfile::tempdir().unwrap();
    let log = file(directory.path(), "trail.jsonl", TORN_LOG);
    let path = log.to_str().unwrap();
    assert_eq!(
        output(["replay", path, "--log", path]).status.code(),
        Some(2)
    );
    assert_eq!(fs::read_to_string(&log).unwrap(), TORN_LOG);
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

#[test]
fn a_service_unit_can_be_looked_at_and_put_into_an_image() {
    let program = "--program=/usr/bin/systrail";
    let printed_unit = output(["service", "install", "--print", program]);
    assert_eq!(printed_unit.status.code(), Some(0));
    assert!(printed(&printed_unit).contains("\nExecStart=/usr/bin/systrail run "));

    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    for done in ["installed", "already installed"] {
        let installed = output(["service", "install", "--root", root, program]);
        assert_eq!(installed.status.code(), Some(0), "{}", said(&installed));
        assert!(printed(&installed).contains(done));
    }
    for done in ["uninstalled", "was not installed"] {
        let removed = output(["service", "uninstall", "--root", root]);
        assert_eq!(removed.status.code(), Some(0), "{}", said(&removed));
        assert!(printed(&removed).contains(done));
    }
}

#[test]
fn without_systemd_a_service_is_refused_with_what_to_do_instead() {
    if sd_notify::booted().unwrap_or(false) {
        return;
    }
    for command in ["start", "stop", "restart", "status", "uninstall"] {
        let output = output(["service", command]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            said(&output).contains("not booted with systemd"),
            "{}",
            said(&output)
        );
    }
}

#[test]
fn the_service_manager_is_told_when_everything_is_seen_and_when_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let mut command = run(&["--no-log"]);
    command.env("NOTIFY_SOCKET", &path);
    command.env("WATCHDOG_USEC", "20000");
    let Some(recording) = Recording::start(command) else {
        return;
    };
    let mut bytes = [0; 64];
    let mut receive = || {
        let size = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..size]).trim().to_owned()
    };
    assert_eq!(receive(), "READY=1");
    assert_eq!(receive(), "WATCHDOG=1");
    recording.signal(Signal::SIGTERM);
    while receive() != "STOPPING=1" {}
    assert_eq!(recording.end().0, Some(0));
}
