//! A store with events that have the name of a run, and what forwards it.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use systrail::config::{self, Url};
use systrail::forward::{Counts, Forwarder, Prepared, Progress, Settings, Tally};
use systrail::sink::store::{self, Store};
use systrail::sink::{self, Sink as _};
use systrail::store::retention::Retention;
use systrail::trail::{Event, json};

/// The host of every event.
pub(crate) const HOST_ID: &str = "0123456789abcdef0123456789abcdef";

/// When the first run began.
pub(crate) const RUN: u64 = 1_795_276_799_000_000_000;

/// The longest a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store in a directory of its own.
pub(crate) struct Spool {
    pub(crate) directory: tempfile::TempDir,
    sink: Option<Store>,
    tally: sink::Tally,
    segment_size: u64,
}

impl Spool {
    /// One with small segments.
    pub(crate) fn new() -> Self {
        Self::with_segments(1 << 20)
    }

    pub(crate) fn with_segments(segment_size: u64) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            sink: None,
            tally: sink::Tally::default(),
            segment_size,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// Writes the events of a run with these sequences, and commits them.
    pub(crate) fn write(&mut self, run: u64, sequences: std::ops::RangeInclusive<u64>) {
        let events: Vec<_> = sequences.map(|sequence| event(run, sequence)).collect();
        self.write_events(&events);
    }

    pub(crate) fn write_events(&mut self, events: &[Event]) {
        let settings = store::Settings {
            path: self.path(),
            segment_size: self.segment_size,
            segment_age: Duration::from_hours(24),
            retention: Retention::default(),
        };
        let sink = self
            .sink
            .get_or_insert_with(|| Store::open(settings).unwrap());
        for events in events.chunks(500) {
            sink.write(events, &self.tally);
            sink.flush(&self.tally);
        }
        assert_eq!(self.tally.lost_total(), 0);
    }

    /// Nobody writes any more.
    pub(crate) fn close(&mut self) {
        if let Some(mut sink) = self.sink.take() {
            sink.close(&self.tally);
        }
    }

    pub(crate) fn settings(&self, url: &str) -> Settings {
        Settings {
            store: self.path(),
            host_id: Some(HOST_ID.into()),
            target: target(url),
        }
    }

    /// Forwards until everything was sent.
    pub(crate) fn forward(&self, url: &str) -> Counts {
        forward(self.settings(url))
    }

    pub(crate) fn cursor(&self) -> PathBuf {
        self.path().join("forward.cursor")
    }
}

pub(crate) fn target(url: &str) -> config::Forward {
    config::Forward {
        url: Url::parse(url).unwrap(),
        token_file: None,
        ca_file: None,
        cert_file: None,
        key_file: None,
        keep_size: 1 << 30,
        heartbeat: config::HEARTBEAT_DEFAULT,
    }
}

/// Forwards until everything was sent.
pub(crate) fn forward(settings: Settings) -> Counts {
    let (counts, progress) = forward_until(settings, |progress, _| progress == Progress::Done);
    assert_eq!(progress, Progress::Done, "everything is sent in the end");
    counts
}

/// Forwards until `is_enough_fn` says so, or for too long; the last progress is told.
pub(crate) fn forward_until(
    settings: Settings,
    is_enough_fn: impl Fn(Progress, &Tally) -> bool,
) -> (Counts, Progress) {
    let (forwarder, told) = start(settings);
    let tally = forwarder.tally();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let progress = told.recv_timeout(left).expect("there is progress");
        if is_enough_fn(progress, &tally) {
            return (forwarder.finish(), progress);
        }
    }
}

/// Starts to forward; what comes of each step is told.
pub(crate) fn start(settings: Settings) -> (Forwarder, mpsc::Receiver<Progress>) {
    let (tell, told) = mpsc::channel();
    let progress_fn = move |progress| {
        let _nobody_listens = tell.send(progress);
    };
    let prepared = Prepared::new(settings);
    (prepared.start(Some(Box::new(progress_fn))).unwrap(), told)
}

/// An exec of that run, with its number in its arguments.
pub(crate) fn event(run: u64, sequence: u64) -> Event {
    with_command(run, sequence, &format!("/usr/bin/make -j{}", sequence % 97))
}

pub(crate) fn with_command(run: u64, sequence: u64, command: &str) -> Event {
    let second = run / 1_000_000_000 % 60;
    let line = format!(
        r#"{{"sequence":{sequence},"time":"2026-11-22T15:59:{second:02}.{:09}Z","kind":"process_exec",
            "host":"atlas","host_id":"{HOST_ID}","run":{run},"process_id":{},
            "process_key":"{sequence:016x}","image":"/usr/bin/make","command_line":"{command}",
            "user":"ada","user_id":1000}}"#,
        sequence % 1_000_000_000,
        sequence % 32_768 + 1,
    );
    json::read_line(line.replace('\n', "").as_bytes()).unwrap()
}

/// What `export --format jsonl` prints.
pub(crate) fn exported(store: &Path) -> Vec<u8> {
    let events = systrail::store::events(store, &systrail::store::Window::default()).unwrap();
    let mut lines = Vec::new();
    for event in events {
        json::write_line(&event.unwrap(), &mut lines);
    }
    lines
}

/// Run and sequence of the events of a run.
pub(crate) fn names(run: u64, sequences: std::ops::RangeInclusive<u64>) -> Vec<(u64, u64)> {
    sequences.map(|sequence| (run, sequence)).collect()
}
