//! Writers that are killed at any moment: what they have committed is there, and the next goes on.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use systrail::sink::store::Settings;
use systrail::store::{self, Window};
use systrail::trail::{Event, Time};

use super::shelf::{Shelf, numbered, segments, settings};

/// How many writers are killed.
const KILL_COUNT: u64 = 100;

/// What tells a writer where its store is.
const DIRECTORY: &str = "SYSTRAIL_TEST_STORE";

/// What tells it which run it is.
const RUN: &str = "SYSTRAIL_TEST_RUN";

/// Events between two flushes, and flushes until a writer that is not killed ends.
const BATCH_COUNT: u64 = 100;
const FLUSH_COUNT_MAX: u64 = 1_000;

/// Small segments, so that some are killed while they end one and begin the next.
fn small(directory: &Path) -> Settings {
    Settings {
        segment_size: 300 << 10,
        ..settings(directory)
    }
}

/// The event with that number in that run; times tell the runs apart.
fn in_run(run: u64, sequence: u64) -> Event {
    Event {
        time: Time(i64::try_from(run * 1_000_000_000 + sequence).unwrap()),
        ..numbered(sequence)
    }
}

/// Not a test by itself: what the test below starts and kills.
#[test]
fn a_writer_to_be_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let run = std::env::var(RUN).unwrap().parse().unwrap();
    let mut shelf = Shelf::open(small(Path::new(&directory)));
    for _flush in 0..FLUSH_COUNT_MAX {
        let first = shelf.sequence + 1;
        shelf.sequence += BATCH_COUNT;
        let events: Vec<_> = (first..=shelf.sequence)
            .map(|sequence| in_run(run, sequence))
            .collect();
        shelf.write_events(&events);
        assert_eq!(shelf.tally.lost_total(), 0);
        // In one write, so that no line is torn.
        let line = format!("committed {}\n", shelf.sequence);
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn a_hundred_killed_writers_lose_nothing_they_committed_and_need_no_repair() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let mut moments = 0x9e37_79b9_7f4a_7c15_u64;
    let mut kept_count = 0;
    for run in 1..=KILL_COUNT {
        moments ^= moments << 13;
        moments ^= moments >> 7;
        moments ^= moments << 17;
        let committed = kill_after(directory.path(), run, moments % 24);
        let window = Window {
            since: Some(in_run(run, 0).time),
            until: None,
        };
        let events = store::events(&path, &window).unwrap();
        let kept: Vec<_> = events.map(|event| event.unwrap().sequence).collect();
        let last = kept.last().copied().unwrap_or(0);
        assert_eq!(kept, (1..=last).collect::<Vec<_>>(), "run {run} has a gap");
        assert!(last >= committed, "run {run}: {last} of {committed}");
        kept_count += kept.len();
    }
    assert!(
        segments(&path).len() > 3,
        "some were killed in between segments"
    );
    let all = store::events(&path, &Window::default()).unwrap();
    assert_eq!(all.map(Result::unwrap).count(), kept_count);
    assert!(std::fs::read_dir(&path).unwrap().all(|entry| {
        !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .ends_with(".corrupt")
    }));
}

/// Starts a writer, kills it some time after so many commits, and says how many events it had told
/// to be committed by then.
fn kill_after(directory: &Path, run: u64, commit_count: u64) -> u64 {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kills::a_writer_to_be_killed", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(RUN, run.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut committed = 0;
    let mut told = BufReader::new(writer.stderr.take().unwrap()).lines();
    let mut take = |line: std::io::Result<String>| {
        let line = line.unwrap();
        let number = line.strip_prefix("committed ").expect(&line);
        committed = number.parse().unwrap();
    };
    for _commit in 0..commit_count {
        take(told.next().expect("the writer goes on until it is killed"));
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    told.for_each(take);
    committed
}
