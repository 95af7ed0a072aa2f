//! The command line as scripts see it: exit codes, places of errors, what stands on which stream.
//!
//! Here is what is asked of every command, of the configuration and of `doctor`; `run.rs`, `replay.rs`
//! and `service.rs` have a command each, `messages.rs` and `signals.rs` what holds of a recording whoever
//! reads what it says and whatever it is sent.
//!
//! The program runs as itself, with whatever privilege the tests have; nothing here needs root. A
//! recording is waited for by the line `systrail: recording`, never by time.
#![cfg(target_os = "linux")]

mod config;
mod job;
mod man;
mod messages;
mod queries;
mod reload;
mod replay;
mod run;
mod service;
mod signals;
mod top;
mod watch;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program, with nothing of this machine's configuration in reach of its data.
///
/// Signals do what they do by default: who tests in the background of a shell, or under `nohup`, has some
/// ignored, and children take that over.
fn systrail() -> Command {
    let mut command = Command::new("env");
    command
        .args(["--default-signal", env!("CARGO_BIN_EXE_systrail")])
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .stdin(Stdio::null());
    command
}

fn output<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Output {
    systrail().args(arguments).output().expect("the program")
}

/// Runs a script of this directory, which has the program on a terminal of its own and ends with 1, and why, when
/// something went wrong. Signals do what they do by default, as above.
fn run_script<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) {
    /// What `env` ends with where there is no such program.
    const NOT_FOUND: i32 = 127;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let output = Command::new("env")
        .args(["--default-signal", "python3"])
        .arg(directory.join(name))
        .args(arguments)
        // Nothing is left beside the scripts.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .expect("env");
    // `cargo xtask setup` installs it.
    if output.status.code() == Some(NOT_FOUND) && env::var_os("CI").is_none() {
        writeln!(io::stderr(), "did not run: {}", said(&output)).expect("a line");
        return;
    }
    assert!(
        output.status.success(),
        "{}{}",
        printed(&output),
        said(&output)
    );
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

#[test]
fn every_command_has_a_help_with_examples() {
    let commands: [&[&str]; 19] = [
        &[],
        &["run"],
        &["watch"],
        &["replay"],
        &["query"],
        &["tree"],
        &["top"],
        &["web"],
        &["show"],
        &["export"],
        &["doctor"],
        &["config", "check"],
        &["completions"],
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
fn a_shell_is_told_every_command_in_a_script_it_can_read() {
    let script = output(["completions", "bash"]);
    assert_eq!(script.status.code(), Some(0));
    let directory = tempfile::tempdir().expect("a directory");
    let path = file(directory.path(), "systrail.bash", &printed(&script));
    // The shell's own word: what it would offer after `systrail`.
    let ask = r#"source "$1"; COMP_WORDS=(systrail ""); COMP_CWORD=1
        _systrail systrail "" systrail; printf '%s\n' "${COMPREPLY[@]}""#;
    let mut shell = Command::new("bash");
    let offered = shell.args(["-c", ask, "bash"]).arg(path).output();
    let offered = printed(&offered.expect("bash"));
    for command in ["run", "query", "completions", "--help"] {
        assert!(offered.lines().any(|line| line == command), "{offered}");
    }
    for shell in ["zsh", "fish", "powershell", "elvish"] {
        assert!(printed(&output(["completions", shell])).contains("systrail"));
    }
    assert_eq!(output(["completions", "cmd"]).status.code(), Some(2));
}

#[test]
fn wrong_arguments_end_with_2_and_say_what_is_allowed() {
    let cases: [(&[&str], &str); 23] = [
        (&[], "Usage"),
        (&["runn"], "'run'"),
        (&["run", "--duration", "10"], "no unit"),
        (&["run", "--duration", "0.5s"], "smaller unit"),
        (&["run", "--summary", "-"], "/dev/stdout"),
        (&["run", "--duration", "0s"], "longer than nothing"),
        (&["run", "--flush-interval", "2s"], "from 1ms to 1s"),
        (
            &["run", "--events", "process,files"],
            "process, thread, image",
        ),
        (
            &["run", "--source", "magic"],
            "auto, driver, etw, driver+etw, ebpf, perf, connector",
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
        (&["doctor", "--format", "xml"], "table, json, jsonl, csv"),
        (&["query"], "there is no query"),
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

/// The refusal was that of a word nobody knows, from a command that is documented.
#[test]
fn driver_says_that_it_is_for_windows_and_what_there_is_here() {
    for arguments in [&["driver"][..], &["driver", "install", "--boot"]] {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        for word in ["Windows", "systrail doctor", "systrail service"] {
            assert!(said(&output).contains(word), "{}", said(&output));
        }
    }
    for listed in [&["--help"][..], &["completions", "bash"]] {
        let listed = printed(&output(listed));
        assert!(
            !listed.contains("systrail driver") && !listed.contains("  driver"),
            "{listed}"
        );
    }
}

#[test]
fn a_full_disk_behind_standard_output_ends_with_1_and_is_named() {
    let commands: [&[&str]; 3] = [&["doctor"], &["tree"], &["query", "--examples"]];
    for command in commands {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = systrail().args(command).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let said = said(&output);
        assert!(said.contains("standard output: No space left"), "{said}");
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

/// A named pipe was waited for, until somebody wrote it.
#[test]
fn a_configuration_is_a_regular_file_or_open_already() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [&pipe, directory.path()] {
        let path = path.to_str().unwrap();
        for arguments in [["run", "--config", path], ["config", "check", path]] {
            let output = output(arguments);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            let said = said(&output);
            assert!(
                said.contains(&format!("{path}: not a regular file")),
                "{said}"
            );
        }
    }
    let check = r#"echo 'sorce = "perf"' > "$1/text"; cat "$1/text" | "$0" config check /dev/stdin
        "$0" config check <(cat "$1/text"); "$0" config check /dev/null"#;
    let mut shell = Command::new("bash");
    shell.args(["-c", check, env!("CARGO_BIN_EXE_systrail")]);
    let checked = shell.arg(directory.path()).output().expect("bash");
    let printed = printed(&checked);
    assert_eq!(
        printed.matches("unknown key `sorce`").count(),
        2,
        "{printed}"
    );
    assert!(
        printed.ends_with("/dev/null: valid, 0 errors, 0 warnings\n"),
        "{printed}"
    );
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
        "store",
        "log",
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

/// Both were refused, though they are promised for `doctor` as for `query` and `tree`.
#[test]
fn doctor_tells_a_row_for_the_source_each_tier_and_each_fact() {
    let whole = output(["doctor", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&whole.stdout).unwrap();
    let lists = [&report["tiers"], &report["facts"]];
    let all = lists.into_iter().flat_map(|list| list.as_array().unwrap());
    let mut expected = vec!["source"];
    expected.extend(all.map(|one| one["name"].as_str().unwrap()));

    let lines = output(["doctor", "--format", "jsonl"]);
    assert_eq!(lines.status.code(), whole.status.code());
    let lines = printed(&lines);
    let rows = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let rows: Vec<serde_json::Value> = rows.collect();
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, expected);
    assert!(
        rows.iter()
            .all(|row| row["state"].is_string() && row["value"].is_string())
    );
    assert_eq!(rows[0]["advice"], report["advice"]);

    let csv = output(["doctor", "--format", "csv"]);
    assert_eq!(csv.status.code(), whole.status.code());
    let csv = printed(&csv);
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("name,state,value,advice"));
    let names: Vec<_> = lines.map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(names, expected);
}
