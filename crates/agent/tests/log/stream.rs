//! A stream: whole lines as long as it takes them, everything else counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use systrail::sink::stream::Stream;
use systrail::sink::{Sink as _, Tally};
use systrail::trail::json;

use super::any_event::{full_events, line_feeds};
use super::warnings::warnings_of;

/// Takes a number of bytes, then fails; the test says when it takes bytes again.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<PipeState>>);

#[derive(Default)]
struct PipeState {
    taken: Vec<u8>,
    room: usize,
    error: Option<io::ErrorKind>,
    write_count: usize,
}

impl Pipe {
    fn with_room(room: usize, error: io::ErrorKind) -> Self {
        let pipe = Self::default();
        pipe.0.lock().unwrap().room = room;
        pipe.0.lock().unwrap().error = Some(error);
        pipe
    }

    fn taken(&self) -> Vec<u8> {
        self.0.lock().unwrap().taken.clone()
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock().unwrap();
        state.write_count += 1;
        let size = bytes.len().min(state.room);
        if size == 0
            && let Some(error) = state.error
        {
            return Err(error.into());
        }
        state.room -= size;
        state.taken.extend_from_slice(&bytes[..size]);
        Ok(size)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lines() -> Vec<Vec<u8>> {
    let line_of = |event| {
        let mut line = Vec::new();
        json::write_line(event, &mut line);
        line
    };
    full_events().iter().map(line_of).collect()
}

#[test]
fn a_batch_is_one_write() {
    let pipe = Pipe::with_room(usize::MAX, io::ErrorKind::Other);
    let tally = Tally::default();
    Stream::new(Box::new(pipe.clone())).write(&full_events(), &tally);
    assert_eq!(pipe.taken(), lines().concat());
    assert_eq!(pipe.0.lock().unwrap().write_count, 1);
    assert_eq!(
        (tally.written(), tally.lost_total()),
        (lines().len() as u64, 0)
    );
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly_and_is_told_once() {
    let pipe = Pipe::with_room(lines()[0].len() + 10, io::ErrorKind::BrokenPipe);
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    let mut stream = Stream::new(Box::new(pipe.clone()))
        .when_ended(move || assert!(!tell.swap(true, Ordering::Relaxed)));
    let tally = Tally::default();
    let warnings = warnings_of(|| {
        stream.write(&full_events(), &tally);
        stream.write(&full_events(), &tally);
        stream.close(&tally);
    });
    assert!(told.load(Ordering::Relaxed));
    assert_eq!(warnings, [""; 0]);
    let both = 2 * lines().len() as u64;
    assert_eq!((tally.written(), tally.lost_total()), (1, both - 1));
    assert_eq!(pipe.0.lock().unwrap().write_count, 2, "none after the end");
}

#[test]
fn a_torn_line_is_ended_before_the_next_wherever_it_is_torn() {
    let lines = lines();
    let whole = lines.concat();
    for room in 0..whole.len() {
        let pipe = Pipe::with_room(room, io::ErrorKind::StorageFull);
        let mut stream = Stream::new(Box::new(pipe.clone()));
        let tally = Tally::default();
        let warnings = warnings_of(|| {
            stream.write(&full_events(), &tally);
            stream.write(&full_events(), &tally);
            pipe.0.lock().unwrap().room = usize::MAX;
            stream.write(&full_events(), &tally);
        });
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        let taken = pipe.taken();
        assert!(
            taken.ends_with(&[b"\n", &*whole].concat()) || room == 0,
            "{room}"
        );
        let whole_count = line_feeds(&whole[..room]);
        let count = lines.len() as u64;
        assert_eq!(tally.written(), count + whole_count as u64);
        assert_eq!(tally.written() + tally.lost_total(), 3 * count);
    }
}
