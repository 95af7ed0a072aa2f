//! The tables and views of `packaging/clickhouse` in a real engine: what the local store answers, the fleet does.
//!
//! `SYSTRAIL_CHDB` is a Python that has the package `chdb`: the engine as a library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use systrail::trail::{Event, json};

use super::receiver::Receiver;
use super::spool::{HOST_ID, RUN, Spool};

/// The lines of a small run, without what is common.
const LINES: &[&str] = &[
    r#""kind":"sensor_start","source":"ebpf","version":"0.1.0","system":"linux""#,
    r#""kind":"process_start","process_id":10,"process_key":"a0000000000000aa","parent_process_id":1,"parent_process_key":"a000000000000001","creator_process_id":1,"creator_thread_id":1,"image":"/bin/sh","command_line":"sh","arguments":["sh"],"user":"ada","user_id":1000,"existing":false"#,
    r#""kind":"process_exec","process_id":10,"process_key":"a0000000000000aa","image":"/usr/bin/make","command_line":"make all","arguments":["make","all"],"user":"ada","user_id":1000"#,
    r#""kind":"process_start","process_id":11,"process_key":"a0000000000000bb","parent_process_id":10,"parent_process_key":"a0000000000000aa","creator_process_id":10,"creator_thread_id":10,"image":"/usr/bin/make","command_line":"make all","arguments":["make","all"],"user":"ada","user_id":1000,"existing":false"#,
    r#""kind":"image_load","process_id":11,"process_key":"a0000000000000bb","image":"/lib/libc.so.6","image_base":"0x7f0000000000","image_size":4096,"kernel_image":false,"existing":false"#,
    r#""kind":"process_exit","process_id":11,"process_key":"a0000000000000bb","signal":9,"image":"/usr/bin/make","run_time_ns":500"#,
    r#""kind":"process_exit","process_id":10,"process_key":"a0000000000000aa","exit_code":2,"image":"/usr/bin/make","run_time_ns":9000"#,
    r#""kind":"lost","lost_kind":"any","lost_count":3,"lost_reason":"forward_expired","lost_run":7,"lost_from":4,"lost_to":6"#,
    r#""kind":"sensor_stop","source":"ebpf","version":"0.1.0","account":{"source":"ebpf","duration_ns":1,"balanced":true,"kinds":{},"queues":[],"sinks":[]}"#,
];

/// Queries that both have to answer in the same way.
const BOTH: &[&str] = &[
    "SELECT sequence, time, time_text, kind, host, host_id, run, process_id, process_key, exit_code, signal, image, \
     command_line, arguments, user FROM events ORDER BY run, sequence",
    "SELECT process_id, process_key, start_time, parent_process_id, parent_process_key, image, command_line, user, \
     exec_count, exit_time, exit_code, signal, run_time_ns FROM processes ORDER BY process_key",
    "SELECT sequence, lost_kind, lost_count, lost_reason, lost_run, lost_from, lost_to FROM losses ORDER BY sequence",
    "SELECT count(*) AS n FROM processes WHERE exit_code = 0",
    "SELECT image, image_size FROM images",
];

fn event(run: u64, sequence: usize, line: &str) -> Event {
    let process = if line.contains("\"process_id\"") {
        ""
    } else {
        r#""process_id":900,"process_key":"a000000000000900","#
    };
    let (kind, rest) = line.split_once(',').unwrap();
    let line = format!(
        r#"{{"sequence":{sequence},"time":"2026-11-22T15:59:59.{sequence:09}Z",{kind},"host":"atlas","host_id":"{HOST_ID}","run":{run},{process}{rest}}}"#
    );
    json::read_line(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The answers of the engine to queries, when these files are inserted.
fn engine(directory: &Path, queries: &[String], files: &[PathBuf]) -> Vec<Value> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let asked = directory.join("queries.sql");
    fs::write(&asked, queries.join("\n")).unwrap();
    let output = Command::new(std::env::var_os("SYSTRAIL_CHDB").unwrap())
        .arg(manifest.join("tests/forward/clickhouse.py"))
        .arg(manifest.join("../../packaging/clickhouse/single-node.sql"))
        .arg(asked)
        .args(files)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What the local store answers.
fn local(store: &Path, query: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_systrail"))
        .args(["query", "--format", "json", "--store"])
        .arg(store)
        .arg(query)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[expect(
    clippy::print_stdout,
    reason = "a test that did not run says so to who looks at it"
)]
fn did_not_run(why: &str) {
    println!("did not run: {why}");
}

#[test]
fn the_fleet_answers_as_the_local_store_and_says_what_is_missing() {
    if std::env::var_os("SYSTRAIL_CHDB").is_none() {
        did_not_run("SYSTRAIL_CHDB is not set");
        return;
    }
    let mut spool = Spool::new();
    let lines = LINES.iter().enumerate();
    let events: Vec<_> = lines.map(|(n, line)| event(RUN, n + 1, line)).collect();
    spool.write_events(&events);
    let receiver = Receiver::taking();
    spool.forward(&receiver.url());
    // A second run, of three batches.
    for first in [1, 101, 201] {
        spool.write(RUN + 1_000_000_000, first..=first + 99);
        spool.forward(&receiver.url());
    }
    spool.close();
    let directory = spool.directory.path();
    let mut files = Vec::new();
    for (n, request) in receiver.ledger().requests.iter().enumerate() {
        let path = directory.join(format!("{n}.jsonl"));
        fs::write(&path, request.lines()).unwrap();
        files.push(path);
    }
    assert_eq!(files.len(), 4);
    // The first comes twice, as after an answer that was lost.
    let twice: Vec<_> = files.iter().chain(&files[..1]).cloned().collect();
    let mut queries: Vec<String> = BOTH
        .iter()
        .map(|query| {
            let (before, after) = query.split_once(" FROM ").unwrap();
            format!("{before} FROM systrail.{after}")
        })
        .collect();
    queries.push(
        "SELECT run, events, missing, told_lost, unexplained, closed FROM systrail.runs ORDER BY run".to_owned(),
    );
    queries.push("SELECT count() AS n FROM systrail.gaps".to_owned());
    let answers = engine(directory, &queries, &twice);
    for (query, answer) in BOTH.iter().zip(&answers) {
        let expected = local(&spool.path(), query);
        let (rows, expected) = (answer.as_array().unwrap(), expected.as_array().unwrap());
        assert_eq!(rows.len(), expected.len(), "{query}");
        for (row, expected) in rows.iter().zip(expected) {
            assert_eq!(row, expected, "{query}");
        }
    }
    let runs = serde_json::json!([
        {"run": 7, "events": 0, "missing": 6, "told_lost": 3, "unexplained": 3, "closed": 0},
        {"run": RUN, "events": 9, "missing": 0, "told_lost": 0, "unexplained": 0, "closed": 1},
        {"run": RUN + 1_000_000_000, "events": 300, "missing": 0, "told_lost": 0, "unexplained": 0, "closed": 0},
    ]);
    assert_eq!(answers[BOTH.len()], runs);
    assert_eq!(answers[BOTH.len() + 1], serde_json::json!([{"n": 0}]));

    // Without the third.
    let some = [files[0].clone(), files[1].clone(), files[3].clone()];
    let queries = [
        "SELECT run, missing FROM systrail.runs WHERE missing > 6".to_owned(),
        "SELECT first_missing, last_missing, count FROM systrail.gaps".to_owned(),
    ];
    let answers = engine(directory, &queries, &some);
    let run = serde_json::json!([{"run": RUN + 1_000_000_000, "missing": 100}]);
    assert_eq!(answers[0], run);
    let gap = serde_json::json!([{"first_missing": 101, "last_missing": 200, "count": 100}]);
    assert_eq!(answers[1], gap);
}
