//! The tree of a real build has the parent links that `strace` saw being made, from the log and from
//! the store.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::process::Command;

use serde_json::Value;

use crate::real_build::record_build;
use crate::recorder::log_path;
use crate::witness::{Machine, directory};

/// The parent of each process.
type Parents = BTreeMap<i64, i64>;

#[test]
fn the_tree_of_a_build_has_the_links_that_strace_saw() {
    let Some(_machine) = Machine::take_with_programs(&["strace", "cargo", "cc"]) else {
        return;
    };
    let directory = directory();
    let (recording, strace, trace) = record_build(directory.path(), "clone,clone3,fork,vfork");
    let strace = i64::from(strace);
    recording.assert_nothing_lost();

    let witness = read_trace(&trace);
    assert!(witness.len() > 3, "{witness:?}");
    let log = log_path(directory.path());
    let told = tree(strace, &["--log".as_ref(), log.as_ref()]);
    assert_eq!(below(strace, &told), witness);

    let store = directory.path().join("store-of-log");
    systrail(&[
        "replay".as_ref(),
        log.as_ref(),
        "--store".as_ref(),
        store.as_ref(),
    ]);
    let last_run = ["--last-run".as_ref(), "--store".as_ref(), store.as_ref()];
    assert_eq!(tree(strace, &last_run), told);
}

/// `TID clone3({flags=…}, …) = CHILD`, in one line or in two when others interrupt. The caller may
/// be a thread, whose process is known from the call that made it.
fn read_trace(trace: &str) -> Parents {
    let mut parents = Parents::new();
    let mut process_of = HashMap::<i64, i64>::new();
    // Whether the call that has begun and not ended makes a thread.
    let mut begun = HashMap::<i64, bool>::new();
    for line in trace.lines() {
        let (caller, call) = line.split_once(' ').unwrap();
        let (caller, call): (i64, _) = (caller.parse().unwrap(), call.trim_start());
        let is_thread = begun.remove(&caller).unwrap_or(false) || call.contains("CLONE_THREAD");
        if call.ends_with("<unfinished ...>") {
            begun.insert(caller, is_thread);
            continue;
        }
        let Some((_, made)) = call.rsplit_once(" = ") else {
            continue;
        };
        let Ok(made) = made.parse::<i64>() else {
            // A call that was interrupted, and is made again.
            continue;
        };
        let process = *process_of.get(&caller).unwrap_or(&caller);
        if is_thread {
            process_of.insert(made, process);
        } else {
            parents.insert(made, process);
        }
    }
    parents
}

/// The parents of a process and all below it, as `systrail tree` tells them.
fn tree(process_id: i64, source: &[&std::ffi::OsStr]) -> Parents {
    let id = process_id.to_string();
    let arguments: [&std::ffi::OsStr; 4] = [
        "tree".as_ref(),
        id.as_ref(),
        "--format".as_ref(),
        "jsonl".as_ref(),
    ];
    let text = systrail(&[&arguments, source].concat());
    let rows = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| {
        let number = |name: &str| row[name].as_i64().unwrap();
        (number("process_id"), number("parent_process_id"))
    })
    .collect()
}

/// Those that strace could see: not itself, and not its children, which it made to try out what
/// ptrace can do, and to become the build.
fn below(strace: i64, parents: &Parents) -> Parents {
    let deeper = |(id, parent): &(&i64, &i64)| **id != strace && **parent != strace;
    parents
        .iter()
        .filter(deeper)
        .map(|(id, parent)| (*id, *parent))
        .collect()
}

fn systrail(arguments: &[&std::ffi::OsStr]) -> String {
    let program = std::env::var_os("SYSTRAIL_BIN")
        .unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_systrail")));
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}
