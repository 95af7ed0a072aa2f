//! A real build, recorded and watched by `strace` at the same time: the same programs, the same
//! ends.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::lives::Lives;
use crate::recorder::{Plan, Recorder, Recording};
use crate::witness::{End, Machine, directory, find};

/// Programs executed and ends, by process id.
#[derive(Debug, Default, PartialEq, Eq)]
struct Story {
    execs: BTreeMap<i32, Vec<PathBuf>>,
    ends: BTreeMap<i32, Vec<End>>,
}

#[test]
fn a_build_is_told_as_strace_tells_it() {
    let Some(_machine) = Machine::take_with_programs(&["strace", "cargo", "cc"]) else {
        return;
    };
    let directory = directory();
    let (recording, strace, trace) = record_build(directory.path(), "execve,execveat");

    let witness = read_trace(&trace);
    let lives = Lives::of(&recording);
    let mut told = Story::default();
    for life in lives.descendants(strace) {
        // Before it begins, strace tries out on a child of its own what ptrace can do.
        if life.start.creator_process_id == Some(strace) && life.execs.is_empty() {
            continue;
        }
        let process_id = life.start.process_id;
        for exec in &life.execs {
            let image = PathBuf::from(exec.image.as_ref().unwrap());
            told.execs.entry(process_id).or_default().push(image);
        }
        let end = End::of(life.exit());
        told.ends.entry(process_id).or_default().push(end);
    }
    told.ends.retain(|id, _| told.execs.contains_key(id));
    assert!(witness.execs.len() > 3, "{witness:#?}");
    assert_eq!(told, witness);
}

/// Records a build under strace in that directory; what was recorded, which process strace was, and
/// what it says of those calls.
pub(crate) fn record_build(directory: &Path, calls: &str) -> (Recording, i32, String) {
    let package = directory.join("package");
    write_package(&package);
    let trace = directory.join("trace");
    let recorder = Recorder::start(directory, Plan::default());
    let strace = build(&package, &trace, calls);
    let recording = recorder.stop();
    (recording, strace, fs::read_to_string(&trace).unwrap())
}

/// A package whose build runs a build script, the compiler and the linker.
pub(crate) fn write_package(directory: &Path) {
    fs::create_dir_all(directory.join("src")).unwrap();
    let manifest = "[package]\nname = \"package\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
                    [workspace]\n";
    fs::write(directory.join("Cargo.toml"), manifest).unwrap();
    fs::write(directory.join("build.rs"), "fn main() {}\n").unwrap();
    fs::write(directory.join("src/main.rs"), "fn main() {}\n").unwrap();
}

/// Builds the package under strace, which traces those calls, and says which process strace is.
fn build(package: &Path, trace: &Path, calls: &str) -> i32 {
    let mut strace = Command::new(find("strace").unwrap());
    strace.args([
        "--follow-forks",
        "--seccomp-bpf",
        "--quiet=attach,personality",
    ]);
    strace.arg(format!("--trace={calls}"));
    strace.args(["--signal=none", "--string-limit=4096"]);
    strace.arg("--output").arg(trace);
    strace.args(["cargo", "build", "--offline", "--quiet"]);
    strace.current_dir(package).stdin(Stdio::null());
    strace
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTC_WRAPPER");
    let mut child = strace.spawn().unwrap();
    assert!(child.wait().unwrap().success());
    i32::try_from(child.id()).unwrap()
}

/// `PID execve("PATH", …) = 0`, in one line or in two when others interrupt; `PID +++ exited with
/// CODE +++` and `PID +++ killed by SIGNAL +++`, a line for each thread.
fn read_trace(trace: &str) -> Story {
    let mut story = Story::default();
    let mut unfinished = HashMap::<i32, PathBuf>::new();
    for line in trace.lines() {
        let (process_id, line) = line.split_once(' ').unwrap();
        let (process_id, line) = (process_id.parse().unwrap(), line.trim_start());
        if let Some(call) = line.strip_prefix("execve(\"") {
            let path = PathBuf::from(call.split_once('"').unwrap().0);
            unfinished.insert(process_id, path);
        }
        let is_exec = line.starts_with("execve(") || line.starts_with("<... execve resumed>");
        if is_exec && line.ends_with("= 0") {
            let path = unfinished.remove(&process_id).unwrap();
            story
                .execs
                .entry(process_id)
                .or_default()
                .push(image(&path));
        }
        if let Some(end) = line.strip_prefix("+++ ") {
            story.ends.insert(process_id, vec![read_end(end)]);
        }
    }
    // Threads end too, and only an exec says that it is a process.
    story.ends.retain(|id, _| story.execs.contains_key(id));
    story
}

fn read_end(text: &str) -> End {
    let word = |index: usize| text.split_whitespace().nth(index).unwrap();
    if word(0) == "exited" {
        End::Code(word(2).parse().unwrap())
    } else {
        let signal: nix::sys::signal::Signal = word(2).parse().unwrap();
        End::Signal(signal as i32)
    }
}

/// The file that runs for that path: what links lead to, and for a script its interpreter.
fn image(path: &Path) -> PathBuf {
    let file = fs::canonicalize(path).unwrap();
    let bytes = fs::read(&file).unwrap();
    let Some(line) = bytes.strip_prefix(b"#!") else {
        return file;
    };
    let line = line.split(|byte| *byte == b'\n').next().unwrap();
    let line = String::from_utf8_lossy(line);
    image(Path::new(line.split_whitespace().next().unwrap()))
}
