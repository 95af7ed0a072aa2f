//! What happens while somebody looks.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use systrail::sink::store::{Settings, Store};
use systrail::sink::{Sink as _, Tally};
use systrail::store::retention::Retention;
use systrail::trail::{Event, json};

use crate::{PATIENCE, Served, line, log_of, store_of};

/// Somebody who records.
struct Recorder {
    sink: Store,
    tally: Tally,
}

impl Recorder {
    fn start(store: &Path) -> Self {
        let settings = Settings {
            path: store.to_path_buf(),
            segment_size: 256 << 20,
            segment_age: Duration::from_hours(24),
            retention: Retention::default(),
        };
        Self {
            sink: Store::open(settings).expect("a store"),
            tally: Tally::default(),
        }
    }

    /// Records the lines of a log.
    fn write(&mut self, lines: &str) {
        let events = lines.lines().map(|line| json::read_line(line.as_bytes()));
        let events: Result<Vec<Event>, _> = events.collect();
        self.sink.write(&events.expect("events"), &self.tally);
        self.sink.flush(&self.tally);
    }

    fn end(mut self) {
        self.sink.close(&self.tally);
    }
}

/// A stream of events.
struct Stream {
    lines: BufReader<TcpStream>,
}

impl Stream {
    fn open(served: &Served) -> Self {
        let mut stream = served.connect();
        let request = format!(
            "GET /api/events HTTP/1.1\r\nHost: {}\r\nSec-Fetch-Site: same-origin\r\n{}\r\n",
            served.address, served.cookie
        );
        stream.write_all(request.as_bytes()).expect("a request");
        Self {
            lines: BufReader::new(stream),
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let size = self.lines.read_line(&mut line).ok()?;
        (size > 0).then(|| line.trim_end().to_owned())
    }

    fn status(&mut self) -> u16 {
        let line = self.line().expect("a status");
        line.split(' ')
            .nth(1)
            .expect("a status")
            .parse()
            .expect("a number")
    }

    /// The data of the next message of that kind.
    fn next(&mut self, kind: &str) -> Value {
        let wanted = format!("event: {kind}");
        let begun = Instant::now();
        while self.line().expect("a message") != wanted {
            assert!(begun.elapsed() < PATIENCE, "no {kind}");
        }
        let data = self.line().expect("its data");
        serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON")
    }
}

fn start(number: u64) -> String {
    line(number, &serde_json::json!(["sleep", "1"]), "sleep 1")
}

fn exit(number: u64) -> String {
    let mut event: Value = serde_json::from_str(&start(number)).expect("JSON");
    event["kind"] = "process_exit".into();
    event["sequence"] = (number + 500).into();
    event["exit_code"] = 3.into();
    event["run_time_ns"] = 1_000.into();
    for field in [
        "command_line",
        "arguments",
        "user",
        "user_id",
        "existing",
        "parent_process_id",
        "parent_process_key",
    ] {
        event.as_object_mut().expect("fields").remove(field);
    }
    format!("{event}\n")
}

#[test]
fn what_is_recorded_is_told_to_all_who_look() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = log_of(directory.path(), &["first"]);
    let store = store_of(&log, directory.path());
    let served = Served::start(&store);
    let mut viewers = [Stream::open(&served), Stream::open(&served)];
    for viewer in &mut viewers {
        assert_eq!(viewer.status(), 200);
    }
    viewers[0].next("anew");
    let mut recorder = Recorder::start(&store);
    recorder.write(&(2..5).map(start).collect::<String>());
    for viewer in &mut viewers {
        let news = viewer.next("news");
        let keys = news["keys"].as_array().expect("keys");
        assert!(keys.iter().any(|key| key == "c000000000000002"), "{news}");
        assert_eq!(news["parents"][0], "c000000000000000");
        assert_eq!(news["is_partial"][0], false);
    }
    // Its end, of which the start came before; and a loss.
    let lost = serde_json::json!({
        "sequence": 900, "time": "2026-11-27T02:40:00.000000000Z", "kind": "lost", "host": "atlas",
        "run": 1_795_744_800_000_000_000_u64, "process_id": 1, "process_key": "c000000000000000",
        "lost_kind": "thread_start", "lost_count": 312, "lost_reason": "buffer_full",
    });
    recorder.write(&format!("{}{lost}\n", exit(1)));
    let mut losses = Vec::new();
    let mut ended = Value::Null;
    while losses.is_empty() || ended.is_null() {
        let news = viewers[0].next("news");
        losses.extend(news["losses"].as_array().expect("losses").clone());
        let keys = news["keys"].as_array().expect("keys");
        if let Some(place) = keys.iter().position(|key| key == "c000000000000001") {
            assert_eq!(news["is_partial"][place], true);
            ended = news["rows"][place].clone();
        }
    }
    assert_eq!(losses[0][2], 312);
    assert_eq!(ended[4], 1, "it has failed: {ended}");
    assert_eq!(served.told("/api/overview")["is_written"], true);
    recorder.end();
    while viewers[0].next("state")["is_written"] != false {}
    assert_eq!(
        served.told("/api/processes")["keys"]
            .as_array()
            .map(Vec::len),
        Some(4)
    );
}

#[test]
fn a_store_that_is_deleted_and_comes_back_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = log_of(directory.path(), &["first"]);
    let store = store_of(&log, directory.path());
    let served = Served::start(&store);
    let mut viewer = Stream::open(&served);
    viewer.next("anew");
    std::fs::remove_dir_all(&store).expect("it");
    let why = loop {
        if let Some(why) = viewer.next("state")["error"].as_str() {
            break why.to_owned();
        }
    };
    assert!(
        why.starts_with("the store was deleted; what is shown is how it was"),
        "{why}"
    );
    store_of(&log, directory.path());
    viewer.next("anew");
    // It grows by new segments too.
    let mut recorder = Recorder::start(&store);
    recorder.write(&start(7));
    while !viewer.next("news")["keys"]
        .to_string()
        .contains("c000000000000007")
    {}
    recorder.end();
}

#[test]
fn viewers_are_bounded_and_one_that_goes_makes_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = log_of(directory.path(), &["first"]);
    let served = Served::start(&store_of(&log, directory.path()));
    let mut viewers: Vec<Stream> = (0..16).map(|_| Stream::open(&served)).collect();
    for viewer in &mut viewers {
        assert_eq!(viewer.status(), 200);
    }
    let mut further = Stream::open(&served);
    assert_eq!(further.status(), 503);
    // Who looks at the page is still answered.
    assert_eq!(served.get("/api/overview").status, 200);
    viewers.pop();
    let begun = Instant::now();
    while Stream::open(&served).status() != 200 {
        assert!(begun.elapsed() < PATIENCE);
    }
}

/// A tab that does not read was buffered for without end elsewhere, until the memory was full.
#[test]
fn a_viewer_who_does_not_read_is_dropped_and_holds_up_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = log_of(directory.path(), &["first"]);
    let store = store_of(&log, directory.path());
    let served = Served::start(&store);
    let mut idle = Stream::open(&served);
    assert_eq!(idle.status(), 200);
    let mut reads = Stream::open(&served);
    assert_eq!(reads.status(), 200);
    let mut recorder = Recorder::start(&store);
    // More than the system holds for a connection, and than a queue of ours does.
    let text = "x".repeat(4_000);
    let begun = Instant::now();
    let mut number = 1;
    let mut told = 0;
    while told < 24 << 20 {
        let first = number + 1;
        number += 1_500;
        let starts = (first..=number)
            .map(|one| line(one, &serde_json::json!([&text]), &format!("{text} {one}")));
        recorder.write(&starts.collect::<String>());
        told += reads.next("news").to_string().len();
        assert!(begun.elapsed() < PATIENCE * 3, "{told} bytes");
    }
    recorder.end();
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.child.id()));
    let status = status.expect("its status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    assert!(peak.expect("its peak") < 300 << 10, "{peak:?} KiB");
    // What it had not taken is gone; the connection ends.
    let mut rest = Vec::new();
    idle.lines
        .get_ref()
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a limit");
    let ended = idle.lines.read_to_end(&mut rest);
    assert!(ended.is_ok() || rest.len() < 24 << 20, "it is still there");
    assert!(
        rest.len() < 20 << 20,
        "{} bytes were held for it",
        rest.len()
    );
}
