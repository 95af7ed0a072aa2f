//! Looking back: `query`, `tree`, `show`, `replay` and `export`, through the program.
//!
//! `trail.jsonl` is a small trail of two recordings: a build that fails, a process id that is used
//! again, a process that ends while nobody records, hostile names, a loss. Tests that need a store
//! replay it into one.
#![cfg(target_os = "linux")]

mod elastic;
mod export;
mod guard;
mod local;
#[cfg(feature = "parquet")]
mod parquet;
mod query;
mod readme;
mod replay;
mod show;
mod strict;
mod tour;
mod tree;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The small trail.
const TRAIL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lookback/trail.jsonl");

/// After everything in it.
const END: &str = "--until=2026-01-01T00:01:02.000000001Z";

/// The program, out of reach of this machine's data, terminal and pager.
///
/// Signals do what they do by default: who tests in the background of a shell, or under `nohup`, has some
/// ignored, and children take that over.
fn systrail() -> Command {
    let mut command = Command::new("env");
    command
        .args(["--default-signal", env!("CARGO_BIN_EXE_systrail")])
        .env_remove("NOTIFY_SOCKET")
        .env_remove("PAGER")
        .env("XDG_STATE_HOME", "/nonexistent")
        .stdin(Stdio::null());
    command
}

fn output<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Output {
    systrail().args(arguments).output().expect("the program")
}

/// How a program ended that was told to, which takes it a moment.
fn ended(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + Duration::from_mins(1);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("its status") {
            return status;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _killed = child.kill();
    panic!("{child:?} does not end");
}

/// What a tree and a story of the small trail say of it.
const LOST: &str = "systrail: 5 events were lost at 2026-01-01 00:00:02.000000000 UTC, \
                    5 thread_start: what they told may be missing\n";

/// What it printed, having succeeded in silence, but for the small trail's loss.
fn printed<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> String {
    let output = output(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.is_empty() || said == LOST, "{said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What it said, having failed with that code and printed nothing.
fn refused<A: AsRef<OsStr>>(code: i32, arguments: impl IntoIterator<Item = A>) -> String {
    let output = output(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{said}");
    said
}

fn lines_of_json(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// A store with a log in it.
struct Store {
    directory: TempDir,
}

impl Store {
    /// With the small trail.
    fn small() -> Self {
        Self::of(Path::new(TRAIL))
    }

    fn of(log: &Path) -> Self {
        let store = Self {
            directory: tempfile::tempdir().expect("a directory"),
        };
        let arguments: [&OsStr; 4] = [
            "replay".as_ref(),
            log.as_ref(),
            "--store".as_ref(),
            store.directory.path().as_ref(),
        ];
        let output = output(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        store
    }

    fn path(&self) -> &str {
        self.directory.path().to_str().expect("UTF-8")
    }

    /// What a command printed about this store.
    fn printed(&self, arguments: &[&str]) -> String {
        printed(arguments.iter().copied().chain(["--store", self.path()]))
    }

    /// What it said, having failed.
    fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let arguments = arguments.iter().copied();
        refused(code, arguments.chain(["--store", self.path()]))
    }
}

/// A log of these lines.
fn log_of(directory: &TempDir, lines: &[String]) -> PathBuf {
    let path = directory.path().join("log.jsonl");
    let mut text = lines.join("\n");
    text.push('\n');
    fs::write(&path, text).expect("a file");
    path
}

/// A line of a log: a process that starts, with its key and that of its parent.
fn start_line(sequence: u64, process_id: u32, key: u64, parent: u64, command: &str) -> String {
    let command = serde_json::to_string(command).expect("JSON");
    format!(
        "{{\"sequence\":{sequence},\"time\":\"2026-01-01T00:00:00.{sequence:09}Z\",\
         \"kind\":\"process_start\",\"host\":\"h\",\"process_id\":{process_id},\
         \"process_key\":\"{key:016x}\",\"parent_process_id\":1,\
         \"parent_process_key\":\"{parent:016x}\",\"image\":\"/x\",\"command_line\":{command},\
         \"existing\":false}}"
    )
}

/// Fails when a terminal would act on anything in `text`.
fn assert_harmless(text: &str) {
    for character in text.chars().filter(|character| *character != '\n') {
        assert!(
            !trail::control_characters::is_control(character),
            "{character:?} in {text:?}"
        );
    }
}
