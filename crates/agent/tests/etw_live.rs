//! A live session of event tracing on a real Windows, as an administrator. Wine has no event tracing, so
//! nothing of this runs anywhere else; the same sensor on a scripted Windows is tested everywhere
//! (`src/sensor/etw/tests.rs`).
#![cfg(windows)]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use systrail::trail::{Body, Event, json};

/// What nobody else on the machine says.
const MARK: &str = "systrail-etw-live-7";

#[test]
fn a_program_that_runs_while_the_kernels_events_are_followed_is_told_with_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("trail.jsonl");
    let mut recorder = Command::new(env!("CARGO_BIN_EXE_systrail"))
        .args([
            "run",
            "--source",
            "etw",
            "--no-store",
            "--duration",
            "8s",
            "--log",
        ])
        .arg(&log)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(recorder.stderr.take().unwrap()).lines();
    let mut said = said.map(Result::unwrap);
    assert!(said.any(|line| line == "systrail: recording"));
    let status = Command::new("cmd")
        .args(["/c", "exit 7 &rem", MARK])
        .status();
    assert_eq!(status.unwrap().code(), Some(7));
    // Nobody reads the rest, and it is little.
    drop(said);
    assert!(recorder.wait().unwrap().success());

    let events: Vec<Event> = std::fs::read(&log)
        .unwrap()
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| json::read_line(line).unwrap())
        .collect();
    let start = events.iter().find(|event| match &event.body {
        Body::ProcessStart(start) => {
            let line = start.program.command_line.as_ref();
            line.is_some_and(|line| line.shown().contains(MARK))
        }
        _ => false,
    });
    let key = start.expect("it is told").process_key;
    let code = events.iter().find_map(|event| match &event.body {
        Body::ProcessExit(exit) if event.process_key == key => exit.exit_code,
        _ => None,
    });
    assert_eq!(code, Some(7));
}
