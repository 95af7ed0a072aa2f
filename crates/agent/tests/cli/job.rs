//! `systrail run -- COMMAND`: one command and everything below it, recorded and told.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{printed, run_script, said, systrail};

/// A recording of a command; `None` where no sensor runs, which it then has to say with exit code 4.
fn job(flags: &[&str], command: &[&str]) -> Option<Output> {
    let mut run = systrail();
    run.arg("run").args(flags).arg("--").args(command);
    recorded(run.output().expect("the program"))
}

fn recorded(output: Output) -> Option<Output> {
    if said(&output).contains("no sensor can run here") {
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        return None;
    }
    Some(output)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a log");
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("JSON lines")
}

#[test]
fn tells_what_failed_and_ends_as_the_command_does() {
    let script = "sh -c 'exit 7'; kill -KILL $$";
    let Some(output) = job(&[], &["sh", "-c", script]) else {
        return;
    };
    let text = said(&output);
    assert_eq!(output.status.code(), Some(137), "{text}");
    assert!(text.contains("was killed by signal 9 after"), "{text}");
    assert!(
        text.contains("2 processes of 1 program, 2 failed"),
        "{text}"
    );
    assert!(
        text.contains("exit 7") && text.contains("signal 9"),
        "{text}"
    );
    assert!(text.contains("longest chain"), "{text}");
    assert_eq!(printed(&output), "");
    let Some(output) = job(&[], &["true"]) else {
        return;
    };
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).starts_with("true ended with 0 after "));
    assert!(said(&output).contains("1 process of 1 program, none failed"));
}

#[test]
fn many_processes_are_told_in_tables() {
    let script = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sh -c \"exit $n\"; done; exit 3";
    let Some(output) = job(&[], &["sh", "-c", script]) else {
        return;
    };
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(
        text.contains("13 processes of 1 program, 13 failed"),
        "{text}"
    );
    assert!(text.contains("FAILED ") && text.contains("TIME "), "{text}");
    assert!(text.contains("(3 more: --all)"), "{text}");
    // The chain may name any of them; the rows of the table begin with how they ended.
    let has_row = |how: &str| text.lines().any(|line| line.starts_with(how));
    assert!(has_row("exit 10 ") && !has_row("exit 11 "), "{text}");
    let all = job(&["--all"], &["sh", "-c", script]).expect("a sensor");
    assert!(said(&all).contains("exit 12"), "{}", said(&all));
}

#[test]
fn the_commands_own_streams_are_untouched() {
    let mut run = systrail();
    run.args(["run", "--", "sh", "-c", "cat; echo oops >&2"]);
    run.stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = run.spawn().expect("the program");
    let mut stdin = child.stdin.take().expect("its input");
    // Nobody reads where no sensor runs.
    let _read = stdin.write_all(b"one\ntwo\n");
    drop(stdin);
    let Some(output) = recorded(child.wait_with_output().expect("an end")) else {
        return;
    };
    assert_eq!(printed(&output), "one\ntwo\n");
    assert!(said(&output).starts_with("oops\n"), "{}", said(&output));
}

#[test]
fn what_cannot_be_run_ends_as_in_a_shell() {
    let directory = tempfile::tempdir().expect("a directory");
    let plain = crate::file(directory.path(), "plain", "text");
    for (command, code) in [("/no/such/program", 127), (plain.to_str().unwrap(), 126)] {
        let Some(output) = job(&[], &[command]) else {
            return;
        };
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        let text = said(&output);
        assert!(text.contains(&format!("systrail: {command}: ")), "{text}");
    }
}

#[test]
fn log_trace_and_report_have_the_commands_processes_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let [log, trace, report] = ["log", "trace", "report"].map(|name| directory.path().join(name));
    let flags = [
        "--log",
        log.to_str().unwrap(),
        "--trace",
        trace.to_str().unwrap(),
        "--report",
        report.to_str().unwrap(),
    ];
    // Beside it runs what is not the command's.
    let mut beside = Command::new("sh");
    beside.args(["-c", "while :; do /bin/true; done"]);
    let mut beside = beside.spawn().expect("a shell");
    let output = job(&flags, &["sh", "-c", "sh -c 'true; true'; exit 2"]);
    beside.kill().expect("a signal");
    beside.wait().expect("an end");
    let Some(output) = output else {
        return;
    };
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let events = lines(&log);
    let starts = events.iter().filter(|line| line["kind"] == "process_start");
    let starts: Vec<_> = starts.collect();
    assert_eq!(starts.len(), 2, "{events:?}");
    assert_eq!(starts[1]["parent_process_key"], starts[0]["process_key"]);
    let keys: Vec<_> = starts.iter().map(|start| &start["process_key"]).collect();
    let marks = ["sensor_start", "sensor_stop", "lost"];
    let of_others = events.iter().find(|line| {
        !keys.contains(&&line["process_key"]) && !marks.iter().any(|mark| line["kind"] == *mark)
    });
    assert_eq!(of_others, None);
    let account = &events.last().expect("an account")["account"];
    assert_eq!(account["balanced"], true);
    let excluded = account["kinds"]["process_start"]["excluded"].as_u64();
    assert!(excluded.expect("a number") > 0, "{account}");
    let trace: Value = serde_json::from_slice(&fs::read(&trace).expect("a trace")).expect("JSON");
    let traced = trace["traceEvents"].as_array().expect("a list");
    let lives = traced.iter().filter(|event| event["cat"] == "process");
    assert_eq!(lives.count(), 2, "{trace}");
    let page = fs::read_to_string(&report).expect("a page");
    let (_, data) = page.split_once("id=\"data\">").expect("data");
    let (data, _) = data.split_once("</script>").expect("its end");
    let data: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(
        data["processes"].as_array().map(Vec::len),
        Some(2),
        "{data}"
    );
    assert_eq!(data["failed"], serde_json::json!([0]));
    let told = data["account"].as_str().expect("a table");
    assert!(
        told.ends_with("balanced: produced = delivered + lost"),
        "{told}"
    );
}

#[test]
fn a_signal_for_the_recorder_goes_to_the_command() {
    let mut run = systrail();
    let script = "trap 'exit 9' TERM; echo ready; for n in $(seq 1500); do sleep 0.02; done";
    run.args(["run", "--", "sh", "-c", script]);
    run.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = run.spawn().expect("the program");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("its output"));
    out.read_line(&mut line).expect("a line");
    if line == "ready\n" {
        let id = Pid::from_raw(child.id().try_into().expect("an id"));
        kill(id, Signal::SIGTERM).expect("a signal");
    }
    let Some(output) = recorded(child.wait_with_output().expect("an end")) else {
        return;
    };
    assert_eq!(output.status.code(), Some(9), "{}", said(&output));
    assert!(
        said(&output).contains("ended with 9 after"),
        "{}",
        said(&output)
    );
}

/// Ctrl-C, Ctrl-Z and a closed terminal, as a shell with job control sees them.
#[test]
fn the_terminals_keys_reach_the_command() {
    let Some(_) = job(&[], &["true"]) else {
        return;
    };
    run_script("terminal.py", [env!("CARGO_BIN_EXE_systrail")]);
}

#[test]
fn a_process_that_runs_is_recorded_until_it_ends() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "read line; /bin/true; exit 4"])
        .stdin(Stdio::piped());
    let mut shell = shell.spawn().expect("a shell");
    let id = shell.id().to_string();
    let mut run = systrail();
    run.args(["run", "--pid", &id, "--log", log.to_str().unwrap()]);
    let mut child = run.stderr(Stdio::piped()).spawn().expect("the program");
    let mut errors = BufReader::new(child.stderr.take().expect("standard error"));
    let mut text = String::new();
    let records = |text: &str| text.contains("until it ends, or Ctrl-C");
    while !records(&text) && errors.read_line(&mut text).expect("a line") > 0 {}
    drop(shell.stdin.take());
    shell.wait().expect("an end");
    if !records(&text) {
        assert!(text.contains("no sensor can run here"), "{text}");
        child.wait().expect("an end");
        return;
    }
    std::io::Read::read_to_string(&mut errors, &mut text).expect("text");
    assert_eq!(child.wait().expect("an end").code(), Some(0), "{text}");
    assert!(
        text.contains(&format!("process {id} was recorded after")),
        "{text}"
    );
    let exits = lines(&log);
    let exits = exits.iter().filter(|line| line["kind"] == "process_exit");
    let codes: Vec<_> = exits.map(|exit| exit["exit_code"].as_u64()).collect();
    assert_eq!(codes, [Some(0), Some(4)]);
}

#[test]
fn arguments_that_do_not_go_together_are_refused() {
    let cases: [(&[&str], &str); 8] = [
        (&["--pid", "1", "--", "true"], "cannot be used with"),
        (&["--pid", "0"], "0 is not in 1.."),
        (&["--pid", "4194304"], "no process 4194304 runs now"),
        (&["--trace", "x"], "add `-- COMMAND` or --pid PID"),
        (&["--report", "x"], "add `-- COMMAND` or --pid PID"),
        (
            &["--report", "/no/x", "--", "true"],
            "there is no directory /no",
        ),
        (
            &["--report", "x", "--trace", "x", "--", "true"],
            "--report and --trace are two files",
        ),
        (
            &["--log", "-", "--", "true"],
            "standard output is the command's",
        ),
    ];
    for (arguments, wanted) in cases {
        let mut run = systrail();
        let output = run
            .arg("run")
            .args(arguments)
            .output()
            .expect("the program");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            said(&output).contains(wanted),
            "{arguments:?}: {}",
            said(&output)
        );
    }
}
