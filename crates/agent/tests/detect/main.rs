//! `systrail detect`, and rules while recording: with rules of our own, through the program.
#![cfg(all(target_os = "linux", feature = "detect"))]

mod live;
mod samples;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Rules for what is staged and for what real logs have.
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/detect/rules");

/// The program, out of reach of this machine's data, terminal and pager.
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
    systrail().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it printed and what it said, having succeeded.
fn printed<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> (String, String) {
    let output = output(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    (text(&output.stdout), said)
}

/// What it said, having failed with that code and printed nothing.
fn refused<A: AsRef<OsStr>>(code: i32, arguments: impl IntoIterator<Item = A>) -> String {
    let output = output(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(text(&output.stdout), "", "{said}");
    said
}

fn lines_of_json(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What the rules find in a log.
fn found(log: &Path) -> Vec<Value> {
    let log = log.to_str().unwrap();
    let (printed, _) = printed([
        "detect", "--rules", RULES, "--format", "jsonl", "--log", log,
    ]);
    lines_of_json(&printed)
}

const LOG: &str = r#"{"sequence":1,"time":"2026-01-01T00:00:00.000000000Z","kind":"sensor_start","host":"atlas","run":7,"process_id":9,"process_key":"00000000000000aa","source":"ebpf","version":"1","system":"linux"}
{"sequence":2,"time":"2026-01-01T00:00:01.000000000Z","kind":"process_exec","host":"atlas","run":7,"process_id":10,"process_key":"00000000000000ab","image":"/usr/bin/bash","command_line":"bash -c 'true\nexec 3<>/dev/tcp/127.0.0.1/9'","user":"ada","user_id":1000}
{"sequence":3,"time":"2026-01-01T00:00:02.000000000Z","kind":"process_exec","host":"atlas","run":7,"process_id":11,"process_key":"00000000000000ac","image":"/usr/bin/true","command_line":"true","user":"ada","user_id":1000}
no event
{"sequence":4,"time":"2026-01-01T00:00:03.000000000Z","kind":"process_exec","host":"atlas","run":7,"process_id":12,"process_key":"00000000000000ad","image":"/tmp/\u001b[31mx","command_line":"x","user":"ada","user_id":1000}
"#;

#[test]
fn a_log_is_looked_through_and_what_was_passed_over_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("trail.jsonl");
    fs::write(&log, LOG).unwrap();
    let found = found(&log);
    let titles: Vec<&str> = found
        .iter()
        .map(|row| row["rule_title"].as_str().unwrap())
        .collect();
    let expected = [
        "A shell is connected with a port of a network",
        "A program is run that everybody could have put there",
    ];
    assert_eq!(titles, expected);
    let first = &found[0];
    assert_eq!(first["time"], "2026-01-01T00:00:01.000000000Z");
    assert_eq!(first["rule_level"], "critical");
    assert_eq!(first["rule_author"], "the authors of SysTrail");
    assert_eq!(first["rule_tags"], "[\"attack.execution\"]");
    assert_eq!(
        (&first["matched_sequence"], &first["process_id"]),
        (&2.into(), &10.into())
    );
    assert_eq!(first["image"], "/usr/bin/bash");

    let log = log.to_str().unwrap();
    let hunt = ["detect", "--rules", RULES, "--log", log];
    let (table, said) = printed(hunt);
    assert!(table.contains("critical  A shell is connected"), "{table}");
    assert!(table.contains("the authors of SysTrail"), "{table}");
    assert!(said.contains("passed over 1 line"), "{said}");
    assert!(
        said.contains("2 detections by 2 rules in 4 events"),
        "{said}"
    );
    let late = [
        "--since",
        "2026-01-01T00:00:02Z",
        "--format",
        "jsonl",
        "--level",
        "medium",
    ];
    let (later, _) = printed(hunt.into_iter().chain(late));
    assert_eq!(lines_of_json(&later).len(), 1, "{later}");
    let (worst, _) = printed(
        hunt.into_iter()
            .chain(["--level", "critical", "--format", "csv"]),
    );
    assert_eq!(worst.matches("a port of a network").count(), 1, "{worst}");
    let strict = output(hunt.into_iter().chain(["--strict"]));
    assert_eq!(strict.status.code(), Some(1), "{}", text(&strict.stderr));
}

#[test]
fn a_store_has_the_same_as_the_log_it_was_made_of() {
    let directory = tempfile::tempdir().unwrap();
    let (log, store) = (
        directory.path().join("trail.jsonl"),
        directory.path().join("store"),
    );
    fs::write(&log, LOG).unwrap();
    let (log, path) = (log.to_str().unwrap(), store.to_str().unwrap());
    printed(["replay", log, "--store", path]);
    let of = |from: [&str; 2]| {
        let hunt = ["detect", "--rules", RULES, "--format", "jsonl"];
        printed(hunt.into_iter().chain(from)).0
    };
    assert_eq!(of(["--store", path]), of(["--log", log]));
    let window = [
        "detect",
        "--rules",
        RULES,
        "--store",
        path,
        "--since",
        "2030-01-01T00:00:00Z",
    ];
    let (nothing, said) = printed(window);
    assert!(nothing.lines().count() <= 1, "{nothing}");
    assert!(said.contains("no events of that time"), "{said}");
}

#[test]
fn check_says_which_rules_can_fire_and_what_the_others_lack() {
    let directory = tempfile::tempdir().unwrap();
    let rule = |name: &str, detection: &str| {
        let text = format!(
            "title: {name}\nlogsource: {{product: linux, category: process_creation}}\n\
             detection:\n  a:\n    {detection}\n  condition: a\n"
        );
        fs::write(directory.path().join(format!("{name}.yml")), text).unwrap();
    };
    rule("able", "Image: a");
    rule("unable", "GrandParentImage: a");
    rule("bad", "Image|nonsense: a");
    let path = directory.path().to_str().unwrap();
    let (json, _) = printed(["detect", "check", path, "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let linux = &json["log_sources"][0];
    assert_eq!(
        (&linux["product"], &linux["category"]),
        (&"linux".into(), &"process_creation".into())
    );
    assert_eq!(
        (&linux["can_fire"], &linux["cannot_fire"]),
        (&1.into(), &1.into())
    );
    assert_eq!(linux["missing_fields"]["GrandParentImage"], 1);
    let refused = &json["refused"][0];
    assert!(
        refused["path"].as_str().unwrap().ends_with("bad.yml"),
        "{refused}"
    );
    assert!(
        refused["reason"].as_str().unwrap().contains("nonsense"),
        "{refused}"
    );
    let (table, _) = printed(["detect", "check", path]);
    for what in ["50.0 %", "GrandParentImage", "bad.yml", "nonsense"] {
        assert!(table.contains(what), "{what}: {table}");
    }
}

#[test]
fn wrong_rules_and_none_are_wrong_arguments() {
    let missing = refused(2, ["detect", "--rules", "/nothing/here", "--log", "-"]);
    assert!(missing.contains("/nothing/here"), "{missing}");
    let none = refused(2, ["detect", "--log", "-"]);
    assert!(none.contains("--rules"), "{none}");
    refused(2, ["detect", "--rules", RULES, "--level", "hihg"]);
    refused(2, ["detect", "check"]);
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("systrail.toml");
    fs::write(&config, "[detect]\nrules = \"/nothing/here\"\n").unwrap();
    let config = config.to_str().unwrap();
    let said = refused(
        2,
        [
            "run",
            "--no-log",
            "--no-store",
            "--config",
            config,
            "--duration",
            "1ms",
        ],
    );
    assert!(said.contains("/nothing/here"), "{said}");
}
