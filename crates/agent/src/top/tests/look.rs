//! What is told of a store and of a log, at a time and from then on.

use std::path::Path;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use event::ProcessKey;

use super::super::feed::{self, Ask, At, Source, Told};
use super::super::look::Look;
use super::super::model::Model;
use super::{NOW, ago, build, ended, lost, started};
use crate::sink::store::{Settings, Store};
use crate::sink::{Sink as _, Tally};
use crate::store::retention::Retention;
use crate::trail::json;
use crate::trail::{Body, Event, ProcessExit, Time};
use crate::tree::End;

/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(30);

struct Recorder {
    store: Store,
    tally: Tally,
    sequence: u64,
}

impl Recorder {
    fn open(directory: &Path) -> Self {
        let store = Store::open(Settings {
            path: directory.to_path_buf(),
            segment_size: 1 << 30,
            segment_age: Duration::from_hours(24),
            retention: Retention::default(),
        });
        Self {
            store: store.unwrap(),
            tally: Tally::default(),
            sequence: 0,
        }
    }

    fn write(&mut self, events: Vec<Event>) {
        let numbered = events.into_iter().map(|event| {
            self.sequence += 1;
            Event {
                sequence: self.sequence,
                ..event
            }
        });
        let events: Vec<Event> = numbered.collect();
        self.store.write(&events, &self.tally);
        self.store.flush(&self.tally);
    }

    fn close(mut self) {
        self.store.close(&self.tally);
    }
}

fn look(source: &Source, at: At) -> Model {
    Look::new(source.clone()).at(at).unwrap().model
}

/// The ids of the processes that are shown, in their order.
fn shown(model: &Model, now: Time) -> Vec<u32> {
    let processes = model.tree.processes().iter();
    let shown = processes.filter(|process| Model::is_shown(process, now));
    let mut ids: Vec<u32> = shown.map(|process| process.process_id).collect();
    ids.sort_unstable();
    ids
}

fn end_of(model: &Model, id: u64) -> (End, Option<Time>) {
    let process = model.tree.with_key(ProcessKey(id)).unwrap();
    (process.end, process.known_until)
}

#[test]
fn a_store_that_is_written_tells_what_runs_now() {
    let directory = tempfile::tempdir().unwrap();
    let source = Source::Store(directory.path().to_path_buf());
    let mut recorder = Recorder::open(directory.path());
    let mut events = build();
    events.push(lost(ago(500), 14));
    recorder.write(events);
    let model = look(&source, At::Live);
    assert_eq!(&*model.recording.host, "atlas");
    assert_eq!(model.recording.source.as_deref(), Some("ebpf"));
    assert_eq!(model.recording.since, Some(ago(11_520_000)));
    assert_eq!(model.recording.ended, None);
    assert_eq!(model.lost_count, 14);
    assert_eq!(model.end, Some(ago(13)));
    assert_eq!(shown(&model, NOW), [1, 100, 1000, 1011, 1012, 1013, 2201]);
    assert_eq!(end_of(&model, 1000), (End::Running, None));
    assert_eq!(
        model.rates.history(0, Time(NOW.0 + 2_000_000_000), 3),
        [1, 2, 0]
    );
    recorder.close();
    // Nobody records any more: nothing is told to run that nobody sees.
    let model = look(&source, At::Live);
    assert_eq!(model.recording.ended, Some(ago(13)));
    assert_eq!(end_of(&model, 1000), (End::Running, Some(ago(13))));
}

#[test]
fn a_moment_of_a_store_is_as_it_was_then() {
    let directory = tempfile::tempdir().unwrap();
    let source = Source::Store(directory.path().to_path_buf());
    let mut recorder = Recorder::open(directory.path());
    recorder.write(build());
    let at = |ms| (look(&source, At::Time(ago(ms))), ago(ms));
    let (model, now) = at(8_500);
    assert_eq!(shown(&model, now), [1, 100, 1014, 2201]);
    assert_eq!(end_of(&model, 1014), (End::Running, None));
    // It ended just then, and that is shown.
    let (model, now) = at(7_000);
    assert_eq!(shown(&model, now), [1, 100, 1014, 2201]);
    assert!(model.tree.with_key(ProcessKey(1014)).unwrap().has_failed());
    let (model, now) = at(4_000);
    assert_eq!(shown(&model, now), [1, 100, 2201]);
    // Before anything was recorded.
    let (model, now) = at(10 * 86_400_000);
    assert_eq!(shown(&model, now), [0; 0]);
    assert_eq!(model.recording.since, None);
}

fn begin(source: Source) -> (Sender<Ask>, Receiver<Told>) {
    let (ask, asked) = bounded(8);
    let (tell, told) = bounded(4);
    feed::start(source, asked, tell).unwrap();
    ask.send(Ask::Look(At::Live)).unwrap();
    (ask, told)
}

#[test]
fn what_is_recorded_is_told_but_for_a_pause_in_which_nothing_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::open(directory.path());
    recorder.write(build());
    let (ask, told) = begin(Source::Store(directory.path().to_path_buf()));
    let looked = told.recv_timeout(LIMIT).unwrap();
    assert!(matches!(looked, Told::Looked(At::Live, _)), "{looked:?}");
    recorder.write(vec![started(NOW, 3000, 100, "ada", "true")]);
    let ids = |told: Told| match told {
        Told::Events(events) => events.iter().map(|event| event.process_id).collect(),
        other => panic!("{other:?}"),
    };
    let events: Vec<u32> = ids(told.recv_timeout(LIMIT).unwrap());
    assert_eq!(events, [3000]);
    let story = Ask::Story {
        key: ProcessKey(1000),
        at: At::Time(NOW),
        width: 60,
    };
    ask.send(Ask::Pause(true)).unwrap();
    ask.send(story.clone()).unwrap();
    // Who answers has heard of the pause.
    let answer = told.recv_timeout(LIMIT).unwrap();
    assert!(matches!(answer, Told::Story(..)), "{answer:?}");
    recorder.write(vec![ended(NOW, 3000, 0, None, 1)]);
    ask.send(story).unwrap();
    // A story is told in a pause; what happened meanwhile comes after it.
    match told.recv_timeout(LIMIT).unwrap() {
        Told::Story(key, lines) => {
            assert_eq!(key, ProcessKey(1000));
            assert!(lines[0].starts_with("process 1000, key"), "{lines:#?}");
            assert!(lines.iter().any(|line| line.contains("make -j2 all")));
            assert!(lines.iter().any(|line| line == "children: 2"), "{lines:#?}");
        }
        other => panic!("{other:?}"),
    }
    ask.send(Ask::Pause(false)).unwrap();
    assert_eq!(ids(told.recv_timeout(LIMIT).unwrap()), [3000]);
    // Who records no more has not to say so.
    recorder.close();
    match told.recv_timeout(LIMIT).unwrap() {
        Told::Looked(At::Live, model) => assert!(model.recording.ended.is_some()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_store_that_is_not_there_yet_is_looked_for_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    let (_ask, told) = begin(Source::Store(store.clone()));
    let failed = told.recv_timeout(LIMIT).unwrap();
    assert!(matches!(failed, Told::Failed(_)), "{failed:?}");
    let mut recorder = Recorder::open(&store);
    recorder.write(build());
    let looked = told.recv_timeout(LIMIT).unwrap();
    assert!(matches!(looked, Told::Looked(At::Live, _)), "{looked:?}");
}

#[test]
fn a_log_tells_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trail.jsonl");
    let mut lines = Vec::new();
    for (sequence, event) in (1..).zip(build()) {
        let event = Event { sequence, ..event };
        json::write_line(&event, &mut lines);
    }
    std::fs::write(&path, lines).unwrap();
    let source = Source::Log(path);
    let model = look(&source, At::Live);
    assert_eq!(
        shown(&model, ago(13)),
        [1, 100, 1000, 1011, 1012, 1013, 2201]
    );
    assert_eq!(model.recording.ended, model.end);
    assert_eq!(end_of(&model, 1000).1, model.end);
    let at = At::Time(ago(8_500));
    let model = look(&source, at);
    assert_eq!(shown(&model, ago(8_500)), [1, 100, 1014, 2201]);
    assert_eq!(end_of(&model, 1014), (End::Running, None));
    let story = Look::new(source.clone()).story(ProcessKey(1014), at, 80);
    let story = story.unwrap().join("\n");
    assert!(
        story.contains("gone long ago") && story.contains("running for 500"),
        "{story}"
    );
    let nobody = Look::new(source).story(ProcessKey(77), at, 80);
    assert!(nobody.is_err());
}

/// Of a store of anybody's making nothing is believed.
#[test]
fn what_never_started_and_what_ends_twice_is_no_trouble() {
    let mut model = Model::default();
    for time in [ago(100), ago(50)] {
        let exit = Body::ProcessExit(ProcessExit::default());
        model.add(super::event(time, 9, exit));
    }
    assert_eq!(shown(&model, NOW), [9]);
    model.add(started(Time(i64::MAX), 10, 10, "x", "x"));
    model.add(started(Time(i64::MIN), 11, 12, "x", "x"));
    model.add(started(Time(0), 12, 11, "x", "x"));
    let choice = super::super::lines::Choice::default();
    let lines = super::super::lines::lines(&model, &choice, NOW);
    assert_eq!(
        lines.len(),
        4,
        "a loop of parents is cut, and all are there"
    );
}
