//! A store in a directory of its own, and what was given to it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use event::ProcessKey;
use systrail::sink::store::{Settings, Store};
use systrail::sink::{Sink as _, Tally};
use systrail::store::retention::Retention;
use systrail::store::{self, Guard, Reader, Window};
use systrail::trail::{Body, Event, Origin, ThreadExit, Time};

use super::any_event::full;

/// A store that is written.
pub(crate) struct Shelf {
    pub(crate) path: PathBuf,
    pub(crate) sink: Store,
    pub(crate) tally: Tally,
    pub(crate) sequence: u64,
}

impl Shelf {
    pub(crate) fn open(settings: Settings) -> Self {
        Self {
            path: settings.path.clone(),
            sink: Store::open(settings).unwrap(),
            tally: Tally::default(),
            sequence: 0,
        }
    }

    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self::open(settings(directory))
    }

    /// Writes so many thread exits and commits them.
    pub(crate) fn write(&mut self, count: u64) {
        let events: Vec<Event> = (0..count)
            .map(|step| numbered(self.sequence + step + 1))
            .collect();
        self.sequence += count;
        self.write_events(&events);
    }

    pub(crate) fn write_events(&mut self, events: &[Event]) {
        self.sink.write(events, &self.tally);
        self.sink.flush(&self.tally);
    }

    /// Writes single events until one is written, as the medium has recovered.
    pub(crate) fn write_until_recovered(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let written = self.tally.written();
        while self.tally.written() == written {
            assert!(Instant::now() < deadline, "the store recovers by itself");
            self.write(1);
            std::thread::yield_now();
        }
    }

    pub(crate) fn close(mut self) -> Tally {
        self.sink.close(&self.tally);
        self.tally
    }
}

pub(crate) fn settings(directory: &Path) -> Settings {
    Settings {
        path: directory.join("store"),
        segment_size: 256 << 20,
        segment_age: Duration::from_hours(24),
        retention: Retention::default(),
    }
}

/// A thread exit with that number, a microsecond after the one before.
pub(crate) fn numbered(sequence: u64) -> Event {
    of_process(
        sequence,
        4242,
        Body::ThreadExit(ThreadExit { thread_id: 1 }),
    )
}

/// An event of the process with that id, whose key is the same number.
///
/// It does not say of which run it is: a `sensor_start` begins one.
pub(crate) fn of_process(sequence: u64, process_id: u32, body: Body) -> Event {
    Event {
        sequence,
        time: time(sequence),
        origin: Origin::of_host("machine"),
        process_id,
        process_key: ProcessKey(process_id.into()),
        kept_by: None,
        truncated: Vec::new(),
        missing: Vec::new(),
        ..full(body)
    }
}

/// When the event with that number happened.
pub(crate) fn time(sequence: u64) -> Time {
    Time(1_795_276_799_000_000_000 + i64::try_from(sequence).unwrap() * 1_000)
}

/// Every event of a store.
pub(crate) fn read_all(path: &Path) -> Vec<Event> {
    let events = store::events(path, &Window::default()).unwrap();
    events.collect::<Result<_, _>>().unwrap()
}

/// The sequence numbers of every event of a store.
pub(crate) fn sequences(path: &Path) -> Vec<u64> {
    let events = store::events(path, &Window::default()).unwrap();
    events.map(|event| event.unwrap().sequence).collect()
}

/// The segments of a store.
pub(crate) fn segments(path: &Path) -> Vec<PathBuf> {
    store::segments(path).unwrap()
}

pub(crate) fn reader(path: &Path) -> Reader {
    Reader::open(path, &Window::default(), &Guard::default()).unwrap()
}

/// The only value of the only row.
pub(crate) fn ask<T: rusqlite::types::FromSql>(reader: &Reader, sql: &str) -> T {
    let connection = reader.connection();
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// The same of one segment, asked as any program would ask it.
pub(crate) fn ask_segment<T: rusqlite::types::FromSql>(path: &Path, sql: &str) -> T {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}
