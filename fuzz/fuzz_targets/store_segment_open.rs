//! Any bytes as a segment of a store, and a good segment with any bytes changed: never a panic, and
//! never an end that does not come.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use systrail::sink::store::{Settings, Store};
use systrail::sink::{Sink as _, Tally};
use systrail::store::retention::Retention;
use systrail::store::{self, Guard, Live, Reader, Window, Writer};
use systrail::trail::{Time, json};
use libfuzzer_sys::fuzz_target;

const NAME: &str = "20261122T100000.000Z.sqlite";

/// Events that are read of one segment at most; a damaged one can claim any number.
const EVENT_COUNT_MAX: usize = 1_000;

/// A directory in memory where there is one.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let directory = base.join(format!("systrail-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
});

/// The bytes of a segment with every kind of event in it.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = DIRECTORY.join("good");
    let mut store = Store::open(Settings {
        path: path.clone(),
        segment_size: 1 << 30,
        segment_age: std::time::Duration::from_hours(24),
        retention: Retention::default(),
    })
    .expect("a store");
    let lines = include_str!("../../crates/agent/tests/store/version_1.jsonl");
    let events: Vec<_> = lines
        .lines()
        .map(|line| json::read_line(line.as_bytes()).expect("a golden line"))
        .collect();
    let tally = Tally::default();
    store.write(&events, &tally);
    store.close(&tally);
    let segment = store::segments(&path).expect("segments").remove(0);
    std::fs::read(segment).expect("the segment")
});

fuzz_target!(|input: &[u8]| {
    let path = DIRECTORY.join("store");
    let _gone = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a directory");
    let segment = path.join(NAME);
    std::fs::write(&segment, bytes_of(input)).expect("room for a segment");
    if let Ok(events) = store::events(&path, &Window::default()) {
        for _event in events.take(EVENT_COUNT_MAX) {}
    }
    let _reader = Reader::open(&path, &Window::default(), &Guard::default());
    let _run = store::last_run(&path, &Guard::default());
    let _writer = Writer::resume(&segment, Time(0), &Live::default());
});

/// An even first byte: the rest as it is. An odd one: the good segment, of which each group of four
/// bytes changes one byte.
fn bytes_of(input: &[u8]) -> Vec<u8> {
    let Some((first, rest)) = input.split_first() else {
        return Vec::new();
    };
    if first % 2 == 0 {
        return rest.to_vec();
    }
    let mut bytes = GOOD.clone();
    for change in rest.chunks_exact(4) {
        let place = usize::from(change[0]) << 16 | usize::from(change[1]) << 8;
        let place = (place | usize::from(change[2])) % bytes.len();
        bytes[place] = change[3];
    }
    bytes
}
