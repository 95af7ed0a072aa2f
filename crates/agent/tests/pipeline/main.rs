//! The pipeline through its public door, with a sensor that plays a script and a sink that
//! remembers: what goes in comes out, numbered and counted, and nothing goes missing in silence.

mod alert;
mod context;
mod hashes;
mod hold;
mod rules;
mod stage;
mod windows;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use event::wire::Reader;
use event::{Extension, Flags, Header, Kind, loss, process, thread};
use systrail::account::Account;
use systrail::pipeline::{self, Settings, Status};
use systrail::rules::Rules;
use systrail::sensor::{self, Batch, Counters, Sensor};
use systrail::sink::{Sink, Tally, WhenBehind};
use systrail::sys::wake::Waker;
use systrail::trail::{self, Body, Event};

const TICK: u64 = 10_000_000;
const BOOT_ID: [u8; 16] = [7; 16];

/// One record of a script.
#[derive(Clone, Copy)]
struct Step {
    header: Header,
    event: event::Event<'static>,
    extension: Extension<'static>,
    /// What a broken or a newer sensor makes of the record.
    forge_fn: Option<fn(&mut Vec<u8>)>,
}

fn step(header: Header, event: event::Event<'static>) -> Step {
    Step {
        header,
        event,
        extension: Extension::None,
        forge_fn: None,
    }
}

fn forged(step: Step, forge_fn: fn(&mut Vec<u8>)) -> Step {
    Step {
        forge_fn: Some(forge_fn),
        ..step
    }
}

fn fork(time: u64, parent: u32, child: u32) -> Step {
    let header = Header {
        time,
        process_id: child,
        start_time: time,
        ..Header::default()
    };
    let start = process::Start {
        parent_process_id: parent,
        creator_process_id: parent,
        creator_thread_id: parent,
        ..process::Start::default()
    };
    step(header, event::Event::ProcessStart(start))
}

fn exec(time: u64, process_id: u32, image: &'static [u8], command_line: &'static [u8]) -> Step {
    let flags = Flags::LEAF_FIRST;
    let header = Header {
        time,
        process_id,
        flags,
        ..Header::default()
    };
    let exec = process::Exec {
        image,
        command_line,
        ..process::Exec::default()
    };
    step(header, event::Event::ProcessExec(exec))
}

fn exit(time: u64, process_id: u32, exit_status: u32) -> Step {
    let header = Header {
        time,
        process_id,
        ..Header::default()
    };
    let exit = process::Exit {
        exit_status,
        ..process::Exit::default()
    };
    step(header, event::Event::ProcessExit(exit))
}

fn thread_exit(time: u64, process_id: u32, thread_id: u32) -> Step {
    let header = Header {
        time,
        process_id,
        thread_id,
        ..Header::default()
    };
    step(header, event::Event::ThreadExit(thread::Exit))
}

fn lost(time: u64, kind: Kind, count: u64) -> Step {
    let lost = loss::Lost {
        kind,
        reason: loss::Reason::BUFFER_FULL,
        count,
    };
    step(
        Header {
            time,
            ..Header::default()
        },
        event::Event::Lost(lost),
    )
}

/// A sensor that plays batches, then asks for the end.
struct Script {
    batches: VecDeque<Vec<Step>>,
    counters: Counters,
    waker: Waker,
    broken: bool,
}

impl Script {
    fn new(waker: &Waker, batches: Vec<Vec<Step>>) -> Box<Self> {
        let counters = Counters::default();
        Box::new(Self {
            batches: batches.into(),
            counters,
            waker: waker.clone(),
            broken: false,
        })
    }

    fn play(&mut self, batch: &mut Batch) {
        for step in self.batches.pop_front().unwrap_or_default() {
            let Step {
                header,
                event,
                extension,
                forge_fn,
            } = step;
            if let Some(forge_fn) = forge_fn {
                let mut bytes = vec![0; 1024];
                let size = event::write(header, &event, &mut bytes).unwrap().len();
                bytes.truncate(size);
                forge_fn(&mut bytes);
                let header = Header::read(&mut Reader::new(&bytes)).unwrap();
                batch.push(&header, &bytes);
                self.counters.produced.add(header.kind, 1);
                continue;
            }
            assert!(batch.write_extended(header, &event, &extension));
            if header.flags.contains(Flags::EXISTING) {
                continue;
            }
            let (kind, produced, lost) = match event {
                event::Event::Lost(lost) => (lost.kind, lost.count, lost.count),
                event => (event::kind_and_size(&event).unwrap().0, 1, 0),
            };
            self.counters.produced.add(kind, produced);
            self.counters.lost.add(kind, lost);
        }
    }
}

impl Sensor for Script {
    fn source(&self) -> &'static str {
        "script"
    }

    fn start(&mut self, batch: &mut Batch) -> Result<(), sensor::Error> {
        if self.broken {
            let (cause, cure) = ("no kernel".to_owned(), "find one".to_owned());
            return Err(sensor::Error::Unavailable { cause, cure });
        }
        self.play(batch);
        Ok(())
    }

    fn read(&mut self, batch: &mut Batch) -> Result<(), sensor::Error> {
        self.play(batch);
        if self.batches.is_empty() {
            self.waker.wake();
        }
        Ok(())
    }

    fn stop(&mut self, _batch: &mut Batch) -> Result<(), sensor::Error> {
        Ok(())
    }

    fn counters(&mut self) -> Result<Counters, sensor::Error> {
        Ok(self.counters)
    }

    fn buffer_peaks(&self) -> Vec<(&'static str, u64, u64)> {
        vec![("script", 1, 2)]
    }
}

/// A sink that remembers; it can be held up, and can refuse.
#[derive(Clone)]
struct Memory {
    events: Arc<Mutex<Vec<Event>>>,
    closed: Arc<AtomicBool>,
    gate: Arc<(Mutex<bool>, Condvar)>,
    when_behind: WhenBehind,
    refuses: Option<Kind>,
}

impl Memory {
    fn new() -> Self {
        Self {
            events: Arc::default(),
            closed: Arc::default(),
            gate: Arc::new((Mutex::new(true), Condvar::new())),
            when_behind: WhenBehind::Wait,
            refuses: None,
        }
    }

    fn open_gate(&self, open: bool) {
        *self.gate.0.lock().unwrap() = open;
        self.gate.1.notify_all();
    }

    fn events(&self) -> Vec<Event> {
        assert!(
            self.closed.load(Ordering::SeqCst),
            "a sink is closed before the account is told"
        );
        self.events.lock().unwrap().clone()
    }
}

impl Sink for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn when_behind(&self) -> WhenBehind {
        self.when_behind
    }

    fn write(&mut self, events: &[Event], tally: &Tally) {
        let open = self.gate.0.lock().unwrap();
        drop(self.gate.1.wait_while(open, |open| !*open).unwrap());
        for event in events {
            if self.refuses == Some(event.body.kind()) {
                tally.add_lost(event.body.kind());
            } else {
                tally.add_written(1);
                self.events.lock().unwrap().push(event.clone());
            }
        }
    }

    fn flush(&mut self, _tally: &Tally) {}

    fn close(&mut self, _tally: &Tally) {
        self.closed.store(true, Ordering::SeqCst);
    }
}

fn settings() -> Settings {
    Settings {
        host: Arc::from("test"),
        host_id: Some(Arc::from("00112233445566778899aabbccddeeff")),
        boot_id: BOOT_ID,
        rules: Rules::default(),
        process_events: true,
        scope: None,
        environment: systrail::environment::Names::default(),
        limits: systrail::enrich::Limits::default(),
        stage: None,
        alerts: None,
        hashes: None,
        hold: None,
        heartbeat: None,
        patience: Duration::from_millis(20),
    }
}

fn record(batches: Vec<Vec<Step>>) -> (Vec<Event>, Account) {
    record_with(settings(), batches)
}

fn record_with(settings: Settings, batches: Vec<Vec<Step>>) -> (Vec<Event>, Account) {
    let (waker, sink) = (Waker::new().unwrap(), Memory::new());
    let sensor = Script::new(&waker, batches);
    let status = Arc::default();
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(sink.clone())];
    let account = pipeline::record(sensor, sinks, settings, &waker, &status, || {}).unwrap();
    assert_eq!(status.account(), account);
    (sink.events(), account)
}

fn kinds(events: &[Event]) -> Vec<Kind> {
    events.iter().map(|event| event.body.kind()).collect()
}

#[test]
fn numbers_events_without_a_gap_between_start_and_stop() {
    let first = vec![
        fork(TICK, 1, 10),
        exec(2 * TICK, 10, b"true\0bin\0", b"true\0"),
    ];
    let second = vec![thread_exit(3 * TICK, 10, 11), exit(4 * TICK, 10, 0x300)];
    let (events, account) = record(vec![first, second]);
    let expected = [
        Kind::SENSOR_START,
        Kind::PROCESS_START,
        Kind::PROCESS_EXEC,
        Kind::THREAD_EXIT,
        Kind::PROCESS_EXIT,
        Kind::SENSOR_STOP,
    ];
    assert_eq!(kinds(&events), expected);
    assert!(events.iter().map(|event| event.sequence).eq(1..=6));
    assert!(account.balanced);
    assert_eq!(account.sinks[0].written, 6);
}

#[test]
fn every_event_says_the_machine_and_when_its_run_began() {
    let (events, _) = record(vec![vec![fork(TICK, 1, 10)], vec![exit(4 * TICK, 10, 0)]]);
    let run = u64::try_from(events[0].time.0).unwrap();
    for event in &events {
        let (origin, host_id) = (&event.origin, &settings().host_id);
        assert_eq!((&origin.host_id, origin.run), (host_id, Some(run)));
    }
    let Body::SensorStart(start) = &events[0].body else {
        panic!("{:?}", events[0]);
    };
    assert_eq!(start.system.as_deref(), Some(std::env::consts::OS));
}

/// What of each loss is told: kind, count, reason.
fn losses(events: &[Event]) -> Vec<(Kind, u64, &str)> {
    let losses = events.iter().filter_map(|event| match &event.body {
        Body::Lost(lost) => Some((lost.lost_kind, lost.lost_count, &*lost.lost_reason)),
        _ => None,
    });
    losses.collect()
}

/// A newer sensor's events vanished: they were in no account, and nothing in the trail told of them.
#[test]
fn events_of_a_kind_that_is_not_known_are_told_as_lost() {
    let newer = |time| {
        forged(thread_exit(time, 10, 11), |record| {
            record[4..6].copy_from_slice(&300_u16.to_le_bytes());
        })
    };
    let newest = forged(thread_exit(3 * TICK, 10, 11), |record| {
        record[4..6].copy_from_slice(&301_u16.to_le_bytes());
    });
    let first = vec![newer(TICK), fork(2 * TICK, 1, 10), newest, newer(4 * TICK)];
    let (events, account) = record(vec![first, vec![newer(5 * TICK)]]);
    assert_eq!(
        losses(&events),
        [
            (Kind(300), 2, "unknown_kind"),
            (Kind(301), 1, "unknown_kind"),
            (Kind(300), 1, "unknown_kind"),
        ]
    );
    assert!(account.balanced);
    assert_eq!(account.kinds.get(Kind::PROCESS_START).delivered, 1);
    let mut line = Vec::new();
    trail::json::write_line(&events[2], &mut line);
    let line = String::from_utf8(line).unwrap();
    assert!(line.contains(r#""lost_kind":"kind_300""#), "{line}");
}

#[test]
fn a_record_that_is_none_is_told_as_lost_and_the_account_balances() {
    let short = forged(exit(TICK, 10, 0), |record| {
        record.pop();
    });
    let of_no_size = forged(thread_exit(2 * TICK, 10, 11), |record| record[0] = 1);
    let without_extension = forged(fork(3 * TICK, 1, 10), |record| record[7] |= 0x20);
    let script = vec![short, of_no_size, without_extension, fork(4 * TICK, 1, 20)];
    let (events, account) = record(vec![script]);
    let reason = "invalid_record";
    assert_eq!(
        losses(&events),
        [
            (Kind::PROCESS_EXIT, 1, reason),
            (Kind::THREAD_EXIT, 1, reason),
            (Kind::PROCESS_START, 1, reason),
        ]
    );
    assert!(account.balanced, "{account:?}");
}

#[test]
fn a_child_runs_its_creators_program_until_it_execs() {
    let script = vec![
        fork(TICK, 1, 10),
        exec(2 * TICK, 10, b"sh\0bin\0", b"sh\0-c\0exit 3\0"),
        fork(3 * TICK, 10, 20),
        exit(4 * TICK, 20, 9),
    ];
    let (events, _account) = record(vec![script]);
    let Body::ProcessStart(start) = &events[3].body else {
        panic!("{:?}", events[3])
    };
    assert_eq!(start.program.image.as_ref().unwrap().shown(), "/bin/sh");
    assert_eq!(
        start.program.command_line.as_ref().unwrap().shown(),
        "sh -c exit 3"
    );
    let Body::ProcessExit(exit) = &events[4].body else {
        panic!("{:?}", events[4])
    };
    assert_eq!((exit.exit_code, exit.signal), (Some(137), Some(9)));
    assert_eq!(exit.image.as_ref().unwrap().shown(), "/bin/sh");
    assert_eq!(exit.run_time_ns, Some(TICK));
}

/// The flag of the wire ended in the reason of a missing image.
#[test]
fn a_kernel_process_and_what_it_starts_are_told_until_they_exec() {
    let mut registry = fork(TICK, 4, 100);
    registry.header.flags = Flags::EXISTING
        .with(Flags::KERNEL_PROCESS)
        .with(Flags::UTF_16);
    if let event::Event::ProcessStart(start) = &mut registry.event {
        start.image = b"R\0e\0g\0";
    }
    let script = vec![
        registry,
        // The sensor does not say it of this one, which then becomes a helper of the kernel.
        fork(2 * TICK, 100, 101),
        exec(3 * TICK, 101, b"helper\0bin\0", b"helper\0"),
        fork(4 * TICK, 101, 102),
    ];
    let (events, _account) = record(vec![script]);
    let starts: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::ProcessStart(start) => Some((event, &**start)),
            _ => None,
        })
        .collect();
    let told: Vec<_> = starts
        .iter()
        .map(|(_, start)| {
            let name = start.name.as_ref().map(trail::Text::shown);
            (start.kernel_process, name)
        })
        .collect();
    assert_eq!(told, [(true, Some("Reg")), (true, None), (false, None)]);
    let (event, start) = starts[0];
    assert_eq!(start.program.image, None);
    let reason = ("image".into(), "kernel_thread".into());
    assert!(event.missing.contains(&reason));
    assert!(event.missing.iter().all(|(field, _)| field != "name"));
}

/// A start without an image name was taken for Linux' fork, and told as a second explorer.exe with
/// nothing missing.
#[test]
fn on_windows_a_start_without_a_name_is_not_told_as_its_creator() {
    let mut shell = fork(TICK, 4, 100);
    shell.header.flags = Flags::UTF_16;
    if let event::Event::ProcessStart(start) = &mut shell.event {
        (start.image, start.command_line) = (b"e\0", b"e\0 \0x\0");
    }
    let mut ghost = fork(2 * TICK, 100, 200);
    ghost.header.flags = Flags::UTF_16.with(Flags::IMAGE_UNAVAILABLE);
    if let event::Event::ProcessStart(start) = &mut ghost.event {
        start.command_line = b"g\0 \0y\0";
    }
    let (events, _account) = record(vec![vec![shell, ghost]]);
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::ProcessStart(start) => Some((event, &start.program)),
            _ => None,
        })
        .map(|(event, program)| {
            let image = program.image.as_ref().map(trail::Text::shown);
            let command_line = program.command_line.as_ref().map(trail::Text::shown);
            let missing = event.missing.iter().any(|(name, _)| name == "image");
            (image, command_line, missing)
        })
        .collect();
    assert_eq!(
        told,
        [(Some("e"), Some("e x"), false), (None, Some("g y"), true),]
    );
}

#[test]
fn every_event_of_a_process_has_its_key_and_a_reused_id_another() {
    let script = vec![
        fork(TICK, 1, 10),
        exit(2 * TICK, 10, 0),
        fork(3 * TICK, 1, 10),
        thread_exit(4 * TICK, 10, 12),
        exit(5 * TICK, 10, 0),
    ];
    let (events, _account) = record(vec![script]);
    let keys: Vec<_> = events[1..6].iter().map(|event| event.process_key).collect();
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[0], keys[2]);
    assert!(keys[2..].iter().all(|key| *key == keys[2]));
    assert_eq!(keys[0], event::ProcessKey::new(BOOT_ID, 10, 1));
}

fn image(event: &Event) -> Option<&str> {
    let image = match &event.body {
        Body::ProcessStart(start) => &start.program.image,
        Body::ProcessExit(exit) => &exit.image,
        body => panic!("{body:?}"),
    };
    image.as_ref().map(trail::Text::shown)
}

fn is_lost(event: &Event) -> bool {
    let reason = ("image".into(), "lost".into());
    event.missing.contains(&reason)
}

// A process whose exec was lost ended, and had children, as the program it had run before.
#[cfg(target_os = "linux")]
#[test]
fn what_a_process_ran_before_a_loss_is_not_told_after_it() {
    let script = vec![
        fork(TICK, 1, 10),
        exec(2 * TICK, 10, b"old\0", b"old\0"),
        lost(3 * TICK, Kind::PROCESS_EXEC, 1),
        fork(4 * TICK, 10, 11),
        exit(5 * TICK, 11, 0),
        exit(6 * TICK, 10, 0),
        // What is told afterwards is told.
        fork(7 * TICK, 1, 12),
        exec(8 * TICK, 12, b"new\0", b"new\0"),
        exit(9 * TICK, 12, 0),
    ];
    let (events, _account) = record(vec![script]);
    for event in &events[4..7] {
        assert_eq!((image(event), is_lost(event)), (None, true), "{event:?}");
    }
    assert_eq!(image(&events[9]), Some("/new"));
}

// A child that was made after a loss was told to run what its creator executed only later.
#[cfg(target_os = "linux")]
#[test]
fn what_a_process_still_runs_after_a_loss_is_asked_of_the_system() {
    let own_id = std::process::id();
    let ticks = systrail::sys::processes::start_tick(own_id).unwrap();
    let now = systrail::sys::clock::now().0;
    let mut own = fork(ticks * TICK, 1, own_id);
    own.header.flags = Flags::EXISTING;
    let script = vec![
        own,
        exec(now - 2, own_id, b"replaced\0", b"replaced\0"),
        lost(now - 1, Kind::PROCESS_EXEC, 1),
        // It may have executed what it runs now since, and tell so later.
        fork(now, own_id, 4_194_302),
        fork(now + 60_000_000_000, own_id, 4_194_303),
    ];
    let (events, _account) = record(vec![script]);
    let path = std::env::current_exe().unwrap();
    assert_eq!((image(&events[4]), is_lost(&events[4])), (None, true));
    assert_eq!(image(&events[5]), path.to_str());
}

// Nothing said who had started a set-user-id program.
#[test]
fn who_asked_is_told_where_he_is_not_the_user() {
    let asked = |step, real_user_id, login_user_id| Step {
        extension: Extension::Users(process::Users {
            real_user_id,
            login_user_id,
        }),
        ..step
    };
    let nobody = process::Users::NOBODY;
    let script = vec![
        asked(fork(TICK, 1, 10), 0, nobody),
        asked(exec(2 * TICK, 10, b"sudo\0", b"sudo\0"), 3_999_999_999, 0),
        asked(exec(3 * TICK, 10, b"true\0", b"true\0"), 0, nobody),
        exec(4 * TICK, 10, b"unknown\0", b"unknown\0"),
    ];
    let (events, _account) = record(vec![script]);
    let who = |event: &Event| {
        let program = match &event.body {
            Body::ProcessStart(start) => &start.program,
            Body::ProcessExec(exec) => &exec.program,
            body => panic!("{body:?}"),
        };
        (program.real_user_id, program.login_user_id)
    };
    let told: Vec<_> = events[1..5].iter().map(who).collect();
    let sudo = (Some(3_999_999_999), Some(0));
    assert_eq!(told, [(None, None), sudo, (None, None), (None, None)]);
    let is_missing = |event: &Event, name| event.missing.iter().any(|(field, _)| field == name);
    assert!(is_missing(&events[2], "real_user"), "he has no name");
    assert!(!is_missing(&events[3], "real_user_id"));
    assert!(is_missing(&events[4], "real_user_id"), "nobody says");
}

#[test]
fn an_exit_tells_the_session_where_it_was_not_told_before() {
    let in_session = |time, process_id, session_id| Step {
        extension: Extension::Session(process::Session { session_id }),
        ..exit(time, process_id, 0)
    };
    let script = vec![
        fork(TICK, 1, 10),
        fork(TICK, 1, 11),
        in_session(2 * TICK, 10, 0),
        in_session(2 * TICK, 11, 11),
        in_session(2 * TICK, 12, 5),
    ];
    let (events, _account) = record(vec![script]);
    let session = |event: &Event| match &event.body {
        Body::ProcessExit(exit) => exit.session_id,
        body => panic!("{body:?}"),
    };
    let told: Vec<_> = events[3..6].iter().map(session).collect();
    assert_eq!(told, [None, Some(11), Some(5)]);
}

// Two processes with one id within a tick were one: the first one vanished from every view.
#[test]
fn an_id_that_is_used_again_within_a_tick_has_a_key_each_time() {
    let twice = |first, second| {
        let script = vec![
            fork(first, 1, 10),
            fork(first, 10, 11),
            exit(first, 10, 1),
            fork(second, 1, 10),
            fork(second, 10, 12),
            exit(second, 10, 2),
        ];
        let (events, _account) = record(vec![script]);
        let keys: Vec<_> = events[1..7].iter().map(|event| event.process_key).collect();
        let parent = |event: &Event| match &event.body {
            Body::ProcessStart(start) => start.parent_process_key,
            _ => None,
        };
        assert_eq!((keys[0], keys[3]), (keys[2], keys[5]));
        assert_eq!(parent(&events[2]), Some(keys[0]));
        assert_eq!(parent(&events[5]), Some(keys[3]));
        (keys[0], keys[3])
    };
    let of_tick = event::ProcessKey::new(BOOT_ID, 10, 1);
    // The nanoseconds are known.
    let exact = (of_tick.with_offset(5), of_tick.with_offset(1_000));
    assert_eq!(twice(TICK + 5, TICK + 1_000), exact);
    // The tick alone is.
    assert_eq!(twice(TICK, TICK), (of_tick, of_tick.with_offset(1)));
}

// The key of the agent, of which `/proc` says the tick, was another than that of its start.
#[test]
fn the_agent_has_the_key_that_the_snapshot_gives_it() {
    let own_id = std::process::id();
    let existing = |start_time| {
        let mut own = fork(start_time, 1, own_id);
        own.header.flags = Flags::EXISTING;
        own
    };
    let (events, _account) = record(vec![vec![existing(7 * TICK + 1_234)]]);
    assert_eq!(events[0].body.kind(), Kind::SENSOR_START);
    assert_eq!(events[0].process_key, events[1].process_key);
}

#[test]
fn a_creating_thread_the_sensor_cannot_name_is_missing() {
    let mut start = fork(TICK, 1, 10);
    let event::Event::ProcessStart(body) = &mut start.event else {
        panic!("a start")
    };
    body.creator_thread_id = 0;
    let (events, _account) = record(vec![vec![start]]);
    let Body::ProcessStart(start) = &events[1].body else {
        panic!("{:?}", events[1])
    };
    assert_eq!(start.creator_process_id, Some(1));
    assert_eq!(start.creator_thread_id, None);
    let missing: Vec<_> = events[1]
        .missing
        .iter()
        .map(|(name, _)| name.as_ref())
        .collect();
    assert!(missing.contains(&"creator_thread_id"), "{missing:?}");
}

/// The field was not there, and nothing said that Windows has one.
#[test]
fn a_start_address_that_could_not_be_had_is_missing() {
    let started = |flags, start_address| {
        let header = Header {
            time: TICK,
            process_id: 10,
            thread_id: 11,
            flags,
            ..Header::default()
        };
        let start = thread::Start {
            creator_process_id: 10,
            creator_thread_id: 10,
            start_address,
        };
        step(header, event::Event::ThreadStart(start))
    };
    let script = vec![
        started(Flags::START_ADDRESS_UNAVAILABLE, 0),
        started(Flags::NONE, 7),
        started(Flags::NONE, 0),
    ];
    let (events, _account) = record(vec![script]);
    let told = events[1..4].iter().map(|event| {
        let Body::ThreadStart(start) = &event.body else {
            panic!("{event:?}")
        };
        let is_missing = |(name, _): &(_, _)| name == "start_address";
        (start.start_address, event.missing.iter().any(is_missing))
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told, [(None, true), (Some(7), false), (None, false)]);
}

#[test]
fn tells_a_loss_where_it_happened_and_balances() {
    let script = vec![
        fork(TICK, 1, 10),
        lost(2 * TICK, Kind::THREAD_START, 5),
        exit(3 * TICK, 10, 0),
    ];
    let (events, account) = record(vec![script]);
    let Body::Lost(lost) = &events[2].body else {
        panic!("{:?}", events[2])
    };
    assert_eq!((lost.lost_kind, lost.lost_count), (Kind::THREAD_START, 5));
    assert_eq!(lost.lost_reason, "buffer_full");
    assert_eq!(account.kinds.get(Kind::THREAD_START).produced, 5);
    assert_eq!(account.kinds.get(Kind::THREAD_START).lost, 5);
    assert!(account.balanced);
}

#[test]
fn counts_the_snapshot_as_produced() {
    let mut existing = fork(TICK, 1, 10);
    existing.header.flags = Flags::EXISTING;
    let (events, account) = record(vec![vec![existing, exit(2 * TICK, 10, 0)]]);
    assert_eq!(events.len(), 4);
    let Body::ProcessStart(start) = &events[1].body else {
        panic!("{:?}", events[1])
    };
    assert_eq!(start.creator_process_id, None, "nobody remembers it");
    let missing = |field: &str| events[1].missing.iter().any(|(name, _)| name == field);
    assert!(missing("creator_process_id") && missing("creator_thread_id"));
    assert_eq!(account.kinds.get(Kind::PROCESS_START).produced, 1);
    assert!(account.balanced);
}

#[test]
fn counts_process_events_that_nobody_asked_for_as_excluded() {
    let (waker, sink) = (Waker::new().unwrap(), Memory::new());
    let sensor = Script::new(
        &waker,
        vec![vec![fork(TICK, 1, 10), thread_exit(TICK, 10, 11)]],
    );
    let settings = Settings {
        process_events: false,
        ..settings()
    };
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(sink.clone())];
    let status = Arc::default();
    let account = pipeline::record(sensor, sinks, settings, &waker, &status, || {}).unwrap();
    assert_eq!(
        kinds(&sink.events()),
        [Kind::SENSOR_START, Kind::THREAD_EXIT, Kind::SENSOR_STOP]
    );
    assert_eq!(account.kinds.get(Kind::PROCESS_START).excluded, 1);
    assert!(account.balanced);
}

#[test]
fn says_recording_when_the_sensor_has_started_and_not_when_it_cannot() {
    for broken in [false, true] {
        let (waker, sink) = (Waker::new().unwrap(), Memory::new());
        let mut sensor = Script::new(&waker, vec![vec![]]);
        sensor.broken = broken;
        let sinks: Vec<Box<dyn Sink>> = vec![Box::new(sink.clone())];
        let (status, said) = (Arc::default(), AtomicBool::new(false));
        let say = || said.store(true, Ordering::SeqCst);
        let result = pipeline::record(sensor, sinks, settings(), &waker, &status, say);
        assert_eq!(result.is_err(), broken);
        assert_eq!(said.into_inner(), !broken);
        assert_eq!(
            sink.events().is_empty(),
            broken,
            "nothing is told of a recording that was not"
        );
    }
}

/// Records 99 thread exits into `kept` and into `held_up`, which takes nothing until all have been
/// delivered, and then only if it `recovers`.
fn record_beside_held_up(kept: &Memory, held_up: &Memory, recovers: bool) -> Account {
    let waker = Waker::new().unwrap();
    let script: Vec<Vec<Step>> = (1..100)
        .map(|time| vec![thread_exit(time, 10, 11)])
        .collect();
    held_up.open_gate(false);
    let sensor = Script::new(&waker, script);
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(kept.clone()), Box::new(held_up.clone())];
    let (status, gate) = (Arc::<Status>::default(), held_up.clone());
    let watched = Arc::clone(&status);
    let opener = std::thread::spawn(move || {
        while watched.account().kinds.get(Kind::THREAD_EXIT).delivered < 99 {
            std::thread::yield_now();
        }
        gate.open_gate(recovers);
    });
    let account = pipeline::record(sensor, sinks, settings(), &waker, &status, || {}).unwrap();
    opener.join().unwrap();
    account
}

#[test]
fn a_sink_that_must_not_be_waited_for_loses_and_the_trail_says_so() {
    let (kept, mut slow) = (Memory::new(), Memory::new());
    slow.when_behind = WhenBehind::Lose;
    let account = record_beside_held_up(&kept, &slow, true);
    let told = |event: &&Event| matches!(&event.body, Body::Lost(lost) if lost.lost_reason == "memory:sink_behind");
    let events = kept.events();
    assert!(
        events.iter().any(|event| told(&event)),
        "the loss is in the trail"
    );
    let exits = events
        .iter()
        .filter(|event| event.body.kind() == Kind::THREAD_EXIT)
        .count();
    assert_eq!(exits, 99, "a sink that is waited for has everything");
    let slow_count = &account.sinks[1];
    assert!(slow_count.lost > 0);
    let all = u64::try_from(events.len()).unwrap();
    assert_eq!(
        slow_count.written + slow_count.lost,
        all,
        "each event is written or counted"
    );
    assert!(account.balanced);
}

/// A reader of `--log -` that did not read stopped the store as well, and the end of the recording.
#[test]
fn a_sink_that_stands_still_costs_the_others_nothing() {
    for recovers in [true, false] {
        let (kept, still) = (Memory::new(), Memory::new());
        let account = record_beside_held_up(&kept, &still, recovers);
        let events = kept.events();
        let of_kind = |kind| events.iter().filter(move |event| event.body.kind() == kind);
        assert_eq!(of_kind(Kind::THREAD_EXIT).count(), 99);
        let told: u64 = of_kind(Kind::LOST)
            .map(|event| match &event.body {
                Body::Lost(lost) if lost.lost_reason == "memory:sink_behind" => lost.lost_count,
                other => panic!("{other:?}"),
            })
            .sum();
        assert!(
            told > 0 && of_kind(Kind::LOST).count() < 10,
            "a second apart"
        );
        let count = &account.sinks[1];
        let all = u64::try_from(events.len()).unwrap();
        assert_eq!(count.written + count.lost + count.waiting, all);
        assert_eq!(count.waiting > 0, !recovers);
        still.open_gate(true);
    }
}

/// What waited outside a full queue was counted as in it: a peak of 9 where the limit is 8.
#[test]
fn a_queue_is_never_said_to_hold_more_than_it_can() {
    // The sink holds the first chunk, its queue is full with 8 more, and one waits outside.
    const CHUNK: u64 = 2_048;
    let (events, _account) = record(vec![vec![thread_exit(1, 10, 11)]]);
    let event = events[1].clone();
    let waker = Waker::new().unwrap();
    let sink = Memory::new();
    sink.open_gate(false);
    let (reached, waits_for) = std::sync::mpsc::channel();
    let events = (1..=11 * CHUNK).map(move |number| {
        if number == 10 * CHUNK {
            reached.send(()).unwrap();
        }
        event.clone()
    });
    let gate = sink.clone();
    let opener = std::thread::spawn(move || {
        waits_for.recv().unwrap();
        // Gives the pipeline the processor, so that it mostly comes to wait.
        (0..1_000).for_each(|_| std::thread::yield_now());
        gate.open_gate(true);
    });
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(sink)];
    let account = pipeline::replay(events, sinks, &Arc::default(), &waker, None).unwrap();
    opener.join().unwrap();
    let queue = &account.queues[0];
    assert_eq!((queue.peak, queue.limit), (8, 8));
}

#[test]
fn a_sinks_own_loss_is_told_in_the_trail() {
    let waker = Waker::new().unwrap();
    let (kept, mut refusing) = (Memory::new(), Memory::new());
    refusing.refuses = Some(Kind::THREAD_EXIT);
    let sensor = Script::new(
        &waker,
        vec![vec![thread_exit(1, 10, 11), thread_exit(2, 10, 12)]],
    );
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(kept.clone()), Box::new(refusing.clone())];
    let account =
        pipeline::record(sensor, sinks, settings(), &waker, &Arc::default(), || {}).unwrap();
    assert_eq!(account.sinks[1].lost, 2);
    assert!(account.balanced, "a sink's loss is no loss of the sensor's");
    assert_eq!(account.sinks[0].lost, 0);
    let told = |event: &Event| match &event.body {
        Body::Lost(lost) if lost.lost_reason == "memory:write_failed" => lost.lost_count,
        _ => 0,
    };
    assert_eq!(kept.events().iter().map(told).sum::<u64>(), 2);
}

#[test]
fn a_replay_passes_events_on_unchanged() {
    let script = vec![
        fork(TICK, 1, 10),
        lost(2 * TICK, Kind::THREAD_START, 5),
        exit(3 * TICK, 10, 0),
    ];
    let (events, recorded) = record(vec![script]);
    let (waker, sink) = (Waker::new().unwrap(), Memory::new());
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(sink.clone())];
    let status = Arc::default();
    let account = pipeline::replay(events.clone().into_iter(), sinks, &status, &waker, None);
    assert_eq!(sink.events(), events);
    assert_eq!(account.unwrap().kinds, recorded.kinds);
}
