//! Whoever asks the store does no harm and comes to none: a query changes nothing, and it, a tree and
//! a story end by their time, their memory, Ctrl-C, or a reader that goes.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Store, ended, systrail};

/// Every file of a store with its bytes.
fn files(store: &Store) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(store.path()).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

#[test]
fn nothing_but_reading_is_allowed() {
    let store = Store::small();
    let before = files(&store);
    let other = store.directory.path().join("evil.db");
    let attach = format!("ATTACH '{}' AS evil", other.display());
    let vacuum = format!("VACUUM INTO '{}'", other.display());
    let hostile = [
        attach.as_str(),
        vacuum.as_str(),
        "PRAGMA journal_mode = DELETE",
        "PRAGMA query_only = OFF",
        "PRAGMA writable_schema = ON",
        "SELECT * FROM pragma_query_only",
        "INSERT INTO all_events(sequence) VALUES (1)",
        "UPDATE all_events SET time = 0",
        "DELETE FROM all_events",
        "DROP TABLE all_events",
        "CREATE TABLE evil(x)",
        "CREATE TEMP TABLE evil(x)",
        "CREATE TEMP VIEW events AS SELECT 1",
        "DROP VIEW temp.events",
        "CREATE VIRTUAL TABLE evil USING fts5(x)",
        "CREATE TEMP TRIGGER t AFTER INSERT ON all_events BEGIN SELECT 1; END",
        "ALTER TABLE all_events RENAME TO evil",
        "REINDEX all_events",
        "ANALYZE",
        "DETACH main",
        "BEGIN IMMEDIATE",
        "SAVEPOINT a",
        "VACUUM",
        "SELECT load_extension('/lib/evil.so')",
        "SELECT 1; DROP TABLE all_events",
        "EXPLAIN DROP TABLE all_events",
    ];
    for sql in hostile {
        let said = store.refused(2, &["query", sql]);
        assert!(!said.contains("panicked"), "{sql}: {said}");
    }
    assert_eq!(files(&store), before);
    // Nor is anything else there to be read or written.
    for sql in [
        "SELECT readfile('/etc/passwd')",
        "SELECT writefile('/tmp/x', 1)",
        "SELECT edit('x')",
    ] {
        store.refused(2, &["query", sql]);
    }
}

#[test]
fn a_query_without_end_ends_in_time() {
    let store = Store::small();
    let endless = [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "SELECT count(*) FROM events a, events b, events c, events d, events e, events f, events g",
        "SELECT sum(length(hex(randomblob(1000000)))) FROM events a, events b, events c",
        "SELECT count(*) FROM events a, events b, events c, events d, events e, events f, events g \
         WHERE a.kind || g.kind REGEXP '(a|b|[^x]*)*z$'",
    ];
    for sql in endless {
        let began = Instant::now();
        let said = store.refused(1, &["query", sql, "--timeout=200ms"]);
        assert!(
            said.contains("longer than 200ms; give it more with --timeout"),
            "{sql}: {said}"
        );
        assert!(began.elapsed() < Duration::from_secs(30), "{sql}");
    }
}

#[test]
fn a_query_that_wants_too_much_memory_is_told_so() {
    let store = Store::small();
    let greedy = [
        "SELECT length(randomblob(1000000000))",
        "SELECT length(zeroblob(2000000000))",
        "SELECT length(replace(hex(zeroblob(8000000)), '0', '0123456789'))",
        "SELECT length(group_concat(hex(zeroblob(1000000)))) FROM events",
        "SELECT printf('%.*c', 1000000000, 'x')",
    ];
    for sql in greedy {
        let said = store.refused(1, &["query", sql]);
        assert!(
            said.contains("too much memory") || said.contains("too big"),
            "{sql}: {said}"
        );
    }
    let long = format!("SELECT '{}'", "x".repeat(100_000));
    store.printed(&["query", &long]);
    let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    store.refused(2, &["query", &deep]);
}

/// Whether the process catches SIGINT by now.
fn catches_interrupts(process_id: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process_id}/status")).unwrap();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .unwrap();
    let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
    mask >> (Signal::SIGINT as i32 - 1) & 1 == 1
}

#[test]
fn ctrl_c_ends_a_query_with_a_message() {
    let store = Store::small();
    let endless =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    let mut child = systrail()
        .args(["query", endless, "--store", store.path()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !catches_interrupts(child.id()) {
        std::thread::yield_now();
    }
    let id = Pid::from_raw(child.id().try_into().unwrap());
    kill(id, Signal::SIGINT).unwrap();
    let status = ended(&mut child);
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert_eq!(said, "systrail: the query was interrupted\n");
}

#[test]
fn whoever_closes_the_pipe_has_seen_enough() {
    let store = Store::small();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    for format in ["table", "csv", "json", "jsonl"] {
        let mut child = systrail()
            .args([
                "query",
                endless,
                "--format",
                format,
                "--store",
                store.path(),
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut beginning = [0; 100];
        child
            .stdout
            .take()
            .unwrap()
            .read_exact(&mut beginning)
            .unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{format}");
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{format}");
    }
}

/// A small store whose segments somebody else has changed.
fn changed(sql: &str) -> Store {
    let store = Store::small();
    for segment in systrail::store::segments(store.directory.path()).unwrap() {
        let connection = rusqlite::Connection::open(segment).unwrap();
        connection.execute_batch(sql).unwrap();
    }
    store
}

/// A store with so many processes of one id that a question for it takes seconds.
fn crowded() -> Store {
    changed(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 400000) \
         INSERT INTO process(id, process_id, process_key) \
         SELECT 1000 + i, 100, printf('%016x', i) FROM n; \
         INSERT INTO process_start(id, time, process, parent, program, existing) \
         SELECT id, 1767225600000000000 + id, id, id - 1, 1, 0 FROM process WHERE id > 1000",
    )
}

/// Neither was bounded: a store from elsewhere could keep them at work for ever.
#[test]
fn a_tree_and_a_story_of_a_crowded_store_end_in_time() {
    let store = crowded();
    for command in ["tree", "show"] {
        let began = Instant::now();
        let who = if command == "show" {
            "100"
        } else {
            "--until=2027-01-01"
        };
        let said = store.refused(1, &[command, who, "--timeout=100ms"]);
        assert!(
            said.contains("longer than 100ms; give it more with --timeout"),
            "{command}: {said}"
        );
        assert!(began.elapsed() < Duration::from_secs(30), "{command}");
    }
}

#[test]
fn a_tree_and_a_story_keep_no_values_that_are_too_large() {
    let store = changed(
        "UPDATE strings SET text = hex(zeroblob(10000000)) WHERE id IN \
                         (SELECT command FROM program)",
    );
    for arguments in [&["tree", "100"][..], &["show", "100"]] {
        let said = store.refused(1, arguments);
        assert!(said.contains("too much memory"), "{said}");
    }
}

/// Processor time a process has used, in ticks.
fn work_of(process_id: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process_id}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().nth(11).unwrap().parse().unwrap()
}

#[test]
fn ctrl_c_ends_a_tree_and_a_story() {
    /// Ticks after which it is surely reading the store.
    const AT_WORK: u64 = 20;
    let store = crowded();
    for command in ["tree", "show"] {
        let mut child = systrail()
            .args([command, "100", "--store", store.path()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while work_of(child.id()) < AT_WORK {
            assert_eq!(child.try_wait().unwrap(), None, "{command}");
            std::thread::yield_now();
        }
        let id = Pid::from_raw(child.id().try_into().unwrap());
        kill(id, Signal::SIGINT).unwrap();
        let status = ended(&mut child);
        assert_eq!(status.signal(), Some(Signal::SIGINT as i32), "{command}");
    }
}
