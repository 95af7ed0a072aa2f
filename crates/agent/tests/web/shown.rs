//! What is shown: the store and nothing else, and what of it is not whole.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::{PATIENCE, Served, log_of, night, store_of};

#[test]
fn the_page_is_whole_and_asks_nobody_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::start(&night(directory.path()));
    let page = served.get("/");
    let (style, script) = (served.get("/page.css"), served.get("/page.js"));
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(
        style.header("content-type"),
        Some("text/css; charset=utf-8")
    );
    assert_eq!(
        script.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    for reply in [&page, &style, &script] {
        assert_eq!(reply.status, 200);
        assert!(!reply.body.contains("://"), "an address of somewhere else");
    }
    // The policy would not run or apply what stands in the page itself.
    assert!(!page.body.contains("<style") && !page.body.contains("style="));
    assert!(!page.body.contains(" on") || !page.body.contains("onclick"));
    assert_eq!(page.body.matches("<script").count(), 1);
    // Relative everywhere: it works below any path of a proxy.
    assert!(!page.body.contains("href=\"/") && !page.body.contains("src=\"/"));
    assert!(!script.body.contains("\"/api") && !script.body.contains("`/api"));
    // Text is put into the document as text.
    for way in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
    ] {
        assert!(!script.body.contains(way), "{way}");
    }
}

#[test]
fn a_night_is_told_by_its_time_its_processes_and_their_stories() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::start(&night(directory.path()));
    let all = served.told("/api/overview");
    assert_eq!(all["host"], "atlas");
    assert_eq!(all["event_count"], 63);
    assert_eq!(all["is_written"], false);
    // What was there before is no reason to begin before the recording.
    assert_eq!(all["begin_ms"], 1_795_744_800_000.0);
    let spans = all["spans"].as_array().expect("spans").iter();
    assert_eq!(
        spans
            .map(|count| count.as_u64().expect("a number"))
            .sum::<u64>(),
        63
    );
    assert_eq!(all["stops"].as_array().map(Vec::len), Some(1));
    let told = served.told("/api/processes");
    let keys = told["keys"].as_array().expect("keys").len();
    assert_eq!(told["processes"].as_array().map(Vec::len), Some(keys));
    assert_eq!(keys, 18);
    // In ten minutes of it fewer were there.
    let few = served.told("/api/processes?since=1795745220000000000&until=1795745300000000000");
    assert!(few["keys"].as_array().expect("keys").len() < keys);
    assert_eq!(few["begin"], "1795745220000000000");
    let story = served.told("/api/story?key=a000000000000208");
    assert_eq!(story["state_text"], "was running");
    assert_eq!(story["title"], "sshd");
    assert_eq!(story["story"]["process_id"], 520);
    let schema = served.told("/api/schema");
    assert!(schema["views"].to_string().contains("command_line"));
    for example in schema["examples"].as_array().expect("examples") {
        let sql = example[1].as_str().expect("a query");
        let answer = served.query(sql);
        assert_eq!(answer.status, 200, "{sql}: {}", answer.body);
    }
}

#[test]
fn a_query_reads_and_is_told_why_it_cannot() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::start(&night(directory.path()));
    let answer =
        served.query("SELECT process_id, time, command_line FROM events ORDER BY time LIMIT 2");
    let answer = answer.json();
    assert_eq!(
        answer["columns"],
        serde_json::json!(["process_id", "time", "command_line"])
    );
    assert_eq!(answer["numbers"], serde_json::json!([true, true, false]));
    // A script would round it.
    assert_eq!(answer["rows"][0][1], "1795737600000000000");
    assert_eq!(answer["incomplete"], serde_json::json!([]));
    let why = |sql: &str| {
        let reply = served.query(sql);
        assert_eq!(reply.status, 422, "{sql}: {}", reply.body);
        reply.json()["error"].as_str().expect("why").to_owned()
    };
    assert!(why("DELETE FROM events").contains("cannot modify"));
    assert!(why("ATTACH '/etc/passwd' AS x").contains("only read"));
    assert!(why("SELECT 1; SELECT 2").contains("several"));
    assert!(why("SELECT pid FROM processes").contains("process_id"));
    assert!(why("PRAGMA query_only = 0").contains("only read"));
    assert!(why("SELECT load_extension('x')").contains("load_extension"));
    assert!(!why("").is_empty());
    // Within the chosen time alone.
    let count = |target: &str| {
        let headers = format!("Origin: http://{}\r\n{}", served.address, served.cookie);
        let reply = served.send("POST", target, &headers, "SELECT count(*) FROM events");
        reply.json()["rows"][0][0].as_u64().expect("a number")
    };
    assert_eq!(count("/api/query"), 63);
    assert!(count("/api/query?since=1795745300000000000") < 20);
}

/// An answer that is not whole says so, and a query without end ends.
#[test]
fn queries_have_limits_that_are_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = night(directory.path());
    let served = Served::start_with(&store, &["--timeout", "500ms"]);
    let endless = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT";
    let told = |sql: &str| {
        let reply = served.query(sql);
        assert_eq!(reply.status, 200, "{}", reply.body);
        let answer = reply.json();
        let rows = answer["rows"].as_array().expect("rows").len();
        (
            rows,
            answer["incomplete"][0]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let (count, why) = told(&format!("{endless} n FROM n"));
    assert!(
        count == 10_000 && why.contains("first 10000 rows"),
        "{count} {why}"
    );
    let (count, why) = told(&format!("{endless} hex(zeroblob(30000)) FROM n"));
    assert!(count < 200 && why.contains("8 MiB"), "{count} {why}");
    let (count, why) = told(&format!("{endless} n FROM n WHERE n < 3 OR n < 0"));
    assert!(
        count == 2 && why.contains("longer than 500ms"),
        "{count} {why}"
    );
    let none = served.query(&format!("{endless} n FROM n WHERE n < 0"));
    assert_eq!(none.status, 422, "{}", none.body);
    assert!(none.body.contains("longer than 500ms"), "{}", none.body);
    let huge = served.query("SELECT zeroblob(1000000000)");
    assert!(
        huge.status == 422 && huge.body.contains("memory"),
        "{}",
        huge.body
    );
    let answer = served.query("SELECT hex(zeroblob(100000)) AS text").json();
    assert!(
        answer["notes"].to_string().contains("cut"),
        "{}",
        answer["notes"]
    );
    assert!(answer["rows"][0][0].as_str().expect("a text").len() < 70_000);
}

/// A tab that is closed leaves no query behind.
#[test]
fn two_queries_at_once_and_none_for_who_has_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::start_with(&night(directory.path()), &["--timeout", "50s"]);
    let endless = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT n FROM n WHERE n < 0";
    let ask = || {
        let mut stream = served.connect();
        let head = format!(
            "POST /api/query HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\n{1}Content-Length: {2}\r\n\r\n{endless}",
            served.address,
            served.cookie,
            endless.len()
        );
        stream.write_all(head.as_bytes()).expect("a request");
        stream
    };
    let mut asked = vec![ask(), ask()];
    let begun = Instant::now();
    while served.query("SELECT 1").status != 503 {
        assert!(begun.elapsed() < PATIENCE, "both are at work");
        // One of them may have come while this was asked, and was refused.
        asked.push(ask());
    }
    // Whoever only looks is not held up.
    assert_eq!(served.get("/api/overview").status, 200);
    drop(asked);
    while served.query("SELECT 1").status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(30), "they go on");
    }
}

#[test]
fn a_store_that_is_deleted_or_damaged_while_looked_at_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = night(directory.path());
    let served = Served::start(&store);
    assert_eq!(served.get("/api/overview").status, 200);
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&store, &elsewhere).expect("a move");
    for target in [
        "/api/overview",
        "/api/processes",
        "/api/story?key=a000000000000208",
    ] {
        let reply = served.get(target);
        assert_eq!(reply.status, 422, "{target}");
        assert!(reply.body.contains("no store at"), "{}", reply.body);
    }
    assert!(served.query("SELECT 1").body.contains("no store at"));
    assert_eq!(served.get("/").status, 200);
    // An empty one is one.
    fs::create_dir(&store).expect("a directory");
    let empty = served.told("/api/overview");
    assert_eq!(empty["event_count"], 0);
    assert_eq!(
        served.told("/api/processes")["processes"],
        serde_json::json!([])
    );
    fs::remove_dir(&store).expect("it");
    fs::rename(&elsewhere, &store).expect("a move");
    assert_eq!(served.told("/api/overview")["event_count"], 63);
    // A segment that is none is passed over, and that is said everywhere.
    fs::write(
        store.join("20261128T000000.000Z.sqlite"),
        "not a database, and long enough to be read as one".repeat(40),
    )
    .expect("a file");
    assert!(
        served.told("/api/overview")["notes"]
            .to_string()
            .contains("20261128")
    );
    assert!(
        served.told("/api/processes")["notes"]
            .to_string()
            .contains("20261128")
    );
    let answer = served.query("SELECT count(*) FROM events").json();
    assert_eq!(answer["rows"][0][0], 63);
    assert!(answer["incomplete"].to_string().contains("20261128"));
}

#[test]
fn of_more_processes_than_a_page_shows_the_rest_is_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let commands: Vec<String> = (0..20_010).map(|number| format!("x {number}")).collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let log = log_of(directory.path(), &commands);
    let served = Served::start(&store_of(&log, directory.path()));
    let told = served.told("/api/processes");
    assert_eq!(told["processes"].as_array().map(Vec::len), Some(20_000));
    let notes = told["notes"].to_string();
    assert!(notes.contains("10 processes that were shorter"), "{notes}");
}
