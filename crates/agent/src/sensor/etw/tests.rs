//! What the sensor promises, on a Windows that a test scripts.

#[cfg(windows)]
mod here;
mod samples;
mod script;
mod sessions;

use std::time::Duration;

use etw::guid::Guid;
use event::{Event, Extension, Flags, Kind, loss};
use proptest::prelude::*;

use super::{EtwSensor, HELD_SIZE_MAX, INBOX_SIZE_MAX};
use crate::sensor::{BATCH_SIZE_MAX, Batch, Sensor as _, Settings};
use crate::sys::trace::Inbox;
use crate::sys::wake::Waker;
use script::{EPOCH, OWN, Running, Scripted, Windows, Written, payload};

const DIRECTORY: &str = r"\Device\HarddiskVolume3\";

fn settings() -> Settings {
    Settings {
        threads: true,
        images: true,
        failed_execs: false,
        stamps: false,
        environment: crate::environment::Names::default(),
        process_buffer_size: 4 << 20,
        event_buffer_size: 8 << 20,
        flush_interval: Duration::from_millis(50),
        waker: Waker::new().unwrap(),
    }
}

/// A machine where System and `a.exe` (100) run.
fn machine() -> Scripted {
    let scripted = Scripted::default();
    scripted.happen(|windows| {
        windows.stamp = 1_000_000_000;
        windows.running = vec![
            Running {
                process_id: 4,
                parent: 0,
                name: "System",
                command_line: "",
                images: Vec::new(),
            },
            Running {
                process_id: 100,
                parent: 4,
                name: "a.exe",
                command_line: "a.exe -x",
                images: vec![
                    (0x1000, r"\Device\HarddiskVolume3\ntdll.dll"),
                    (0x8000, r"\Device\HarddiskVolume3\a.exe"),
                ],
            },
        ];
        windows.created.insert(100, EPOCH + 700);
    });
    scripted
}

impl Scripted {
    fn happen<R>(&self, happen_fn: impl FnOnce(&mut Windows) -> R) -> R {
        happen_fn(&mut self.0.lock().unwrap())
    }
}

struct Fixture {
    machine: Scripted,
    sensor: EtwSensor<Scripted>,
    batch: Batch,
}

/// What is told of a record: kind, process, thread, whether it was there, and its text.
type Told = (Kind, u32, u32, bool, String);

impl Fixture {
    fn started(machine: Scripted) -> Self {
        Self::started_with(machine, &settings())
    }

    fn started_with(machine: Scripted, settings: &Settings) -> Self {
        let mut sensor = EtwSensor::open(machine.clone(), settings).unwrap();
        let mut batch = Batch::default();
        sensor.start(&mut batch).unwrap();
        Self {
            machine,
            sensor,
            batch,
        }
    }

    /// Reads until everything that has happened is old enough to be told.
    fn read(&mut self) {
        for _ in 0..8 {
            self.sensor.read(&mut self.batch).unwrap();
        }
    }

    fn stop(&mut self) {
        self.sensor.stop(&mut self.batch).unwrap();
    }

    /// What was told since this was asked last.
    fn told(&mut self) -> Vec<Told> {
        let told = self.batch.records().map(|record| {
            let event::Record { header, event, .. } = event::read(record).unwrap();
            let text = match event {
                Event::ProcessStart(start) => {
                    format!("{}|{}", text(start.image), text(start.command_line))
                }
                Event::ImageLoad(load) => text(load.image),
                Event::ImageUnload(unload) => text(unload.image),
                Event::Lost(lost) => format!("{} {}", lost.reason.name(), lost.count),
                _ => String::new(),
            };
            let existing = header.flags.contains(Flags::EXISTING);
            let told = (header.process_id, header.thread_id);
            (header.kind, told.0, told.1, existing, text)
        });
        let told = told.collect();
        self.batch.clear();
        told
    }

    /// Of the kinds of processes alone: kind, process, whether it was there.
    fn processes(&mut self) -> Vec<(Kind, u32, bool)> {
        let told = self.told().into_iter();
        let is_process = |told: &Told| [Kind::PROCESS_START, Kind::PROCESS_EXIT].contains(&told.0);
        let processes = told.filter(is_process);
        processes
            .map(|(kind, id, _, was, _)| (kind, id, was))
            .collect()
    }
}

fn text(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter();
    let units: Vec<u16> = units.map(|unit| u16::from_le_bytes(*unit)).collect();
    String::from_utf16_lossy(&units).replace(DIRECTORY, "V:")
}

fn losses(told: &[Told]) -> Vec<&str> {
    let losses = told.iter().filter(|told| told.0 == Kind::LOST);
    losses.map(|told| told.4.as_str()).collect()
}

const START: Kind = Kind::PROCESS_START;
const EXIT: Kind = Kind::PROCESS_EXIT;

#[test]
fn the_rundown_is_the_snapshot_and_what_happens_meanwhile_is_told_once() {
    let machine = machine();
    machine.happen(|windows| {
        let run = |process_id, name, base, path| Running {
            process_id,
            parent: 100,
            name,
            command_line: name,
            images: vec![(base, path)],
        };
        // 200 starts when the rundown has come to 100, which comes to it as well; 300 was there, and is
        // gone before its turn; 400 has the id of a process that is gone.
        let path = r"\Device\HarddiskVolume3\b.exe";
        windows.running.push(run(200, "b.exe", 0x2000, path));
        windows.running.push(run(400, "c.exe", 0x3000, "c.exe"));
        let by = (100, 101);
        let fields = script::process(200, 100, ("b.exe", "b.exe /new"));
        let start = windows.event((Guid::PROCESS, 1), by, fields);
        let load = windows.image_event(10, 200, 0x2000, path);
        let fields = script::process(300, 100, ("gone.exe", "gone.exe 1"));
        let exit = windows.event((Guid::PROCESS, 2), (300, 301), fields);
        windows.meanwhile = vec![(1, start), (1, load), (1, exit)];
        windows.created.insert(400, u64::MAX / 2);
    });
    let mut fixture = Fixture::started(machine);
    let records: Vec<_> = fixture
        .batch
        .records()
        .map(|record| event::read(record).unwrap())
        .collect();
    let of = |id: u32| {
        let mut starts = records.iter().filter(|record| record.header.kind == START);
        starts
            .find(|record| record.header.process_id == id)
            .unwrap()
    };
    assert_eq!(of(100).header.start_time, EPOCH + 700);
    assert_eq!(of(400).header.start_time, 0, "created after the rundown");
    assert!(of(4).header.flags.contains(Flags::KERNEL_PROCESS));
    let Extension::Token(token) = of(100).extension else {
        panic!("{:?}", of(100));
    };
    assert_eq!(token.user_sid.len(), 8 + 3 * 4);
    let expected = [
        (START, 4, 0, true, "System|".to_owned()),
        (START, 100, 0, true, r"V:a.exe|a.exe -x".to_owned()),
        (START, 300, 0, true, "|gone.exe 1".to_owned()),
        (START, 400, 0, true, "c.exe|c.exe".to_owned()),
        (Kind::IMAGE_LOAD, 100, 0, true, "V:ntdll.dll".to_owned()),
        (Kind::IMAGE_LOAD, 100, 0, true, "V:a.exe".to_owned()),
        (Kind::IMAGE_LOAD, 400, 0, true, "c.exe".to_owned()),
        (START, 200, 0, false, "V:b.exe|b.exe /new".to_owned()),
        (Kind::IMAGE_LOAD, 200, 0, false, "V:b.exe".to_owned()),
        (EXIT, 300, 0, false, String::new()),
    ];
    let mut told = fixture.told();
    for told in &mut told {
        told.2 = 0;
    }
    told[..4].sort_by_key(|told| told.1);
    told[4..7].sort_by_key(|told| told.1);
    assert_eq!(told, expected);
    let counters = fixture.sensor.counters().unwrap();
    assert_eq!(
        counters.produced.count(START),
        1,
        "the snapshot is not counted"
    );
    assert_eq!(counters.produced.count(Kind::IMAGE_LOAD), 1);
}

#[test]
fn a_start_has_the_path_of_its_image_wherever_that_is_known() {
    let mut fixture = Fixture::started(machine());
    fixture.told();
    fixture.machine.happen(|windows| {
        windows.process(1, 200, 100, ("b.exe", "b"));
        windows.image(10, 200, 0x1000, "other.dll");
        windows.image(10, 200, 0x2000, r"\Device\HarddiskVolume3\B.EXE");
        // Nothing but itself tells what it runs, or nobody.
        windows
            .created
            .insert(300, EPOCH + windows.stamp.unsigned_abs() * 100);
        windows.images.insert(300, r"\Device\HarddiskVolume3\c.exe");
        windows.process(1, 300, 100, ("c.exe", &"x".repeat(512)));
        windows.process(1, 400, 100, ("d.exe", "d"));
        // Who has the id now was created later.
        windows.created.insert(500, EPOCH * 2);
        windows.images.insert(500, "another's");
        windows.process(1, 500, 100, ("e.exe", "e"));
    });
    fixture.read();
    let starts: Vec<_> = fixture
        .batch
        .records()
        .map(|record| event::read(record).unwrap())
        .filter(|record| record.header.kind == START)
        .collect();
    let has = |place: usize, flag| starts[place].header.flags.contains(flag);
    assert!(!has(0, Flags::COMMAND_LINE_TRUNCATED) && has(1, Flags::COMMAND_LINE_TRUNCATED));
    assert!(has(2, Flags::IMAGE_UNAVAILABLE) && has(3, Flags::IMAGE_UNAVAILABLE));
    let Event::ProcessStart(start) = starts[0].event else {
        panic!("{:?}", starts[0]);
    };
    assert_eq!(start.parent_start_time, EPOCH + 700);
    assert_eq!(
        (start.creator_process_id, start.creator_thread_id),
        (100, 101)
    );
    assert_eq!(starts[3].header.start_time, starts[3].header.time);
    let told = fixture.told();
    let images: Vec<_> = told
        .iter()
        .filter(|told| told.0 == START)
        .map(|told| told.4.split('|').next().unwrap())
        .collect();
    assert_eq!(images, ["V:B.EXE", "V:c.exe", "", ""]);
}

#[test]
fn events_of_several_processors_come_in_the_order_of_their_stamps() {
    let mut fixture = Fixture::started(machine());
    fixture.told();
    fixture.machine.happen(|windows| {
        for id in 1..=50 {
            windows.process(1, 1000 + id, 100, ("b.exe", "b"));
        }
        windows.deliver_disordered();
    });
    fixture.sensor.read(&mut fixture.batch).unwrap();
    assert!(fixture.batch.is_empty(), "none is old enough");
    fixture.read();
    let ids: Vec<u32> = fixture.processes().iter().map(|told| told.1).collect();
    assert_eq!(ids, (1001..=1050).collect::<Vec<_>>());
}

#[test]
fn first_threads_and_the_marks_of_the_agent_are_no_events() {
    let mut fixture = Fixture::started(machine());
    let begin = fixture.told();
    assert!(
        begin.iter().all(|told| told.0 != Kind::THREAD_START),
        "{begin:?}"
    );
    fixture.machine.happen(|windows| {
        windows.process(1, 200, 100, ("b.exe", "b"));
        windows.thread(1, 200, 201, 100);
        windows.thread(1, 200, 202, 100);
        windows.thread(2, 200, 202, 200);
        windows.thread(2, 200, 201, 200);
        windows.process(2, 200, 200, ("b.exe", "b"));
        // The id of the mark's thread is another's of the agent now.
        windows.thread(1, OWN.process_id, windows.last_mark(), OWN.process_id);
    });
    fixture.read();
    let mark = fixture.machine.happen(|windows| windows.last_mark());
    let told: Vec<_> = fixture
        .told()
        .into_iter()
        .map(|told| (told.0, told.2))
        .collect();
    let expected = [
        (START, 0),
        (Kind::THREAD_START, 202),
        (Kind::THREAD_EXIT, 202),
        (EXIT, 0),
        (Kind::THREAD_START, mark),
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_is_not_wanted_is_not_told_though_it_is_recorded() {
    let settings = Settings {
        threads: false,
        images: false,
        ..settings()
    };
    let mut fixture = Fixture::started_with(machine(), &settings);
    fixture.machine.happen(|windows| {
        windows.process(1, 200, 100, ("b.exe", "b"));
        windows.image(10, 200, 0x2000, r"\Device\HarddiskVolume3\b.exe");
        windows.thread(1, 100, 102, 100);
    });
    fixture.read();
    let told = fixture.told();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().any(|told| told.4 == "V:a.exe|a.exe -x"));
    assert_eq!(told[2].4, "V:b.exe|b");
    assert_eq!(fixture.sensor.counters().unwrap().produced.sum(), 1);
}

#[test]
fn losses_are_told_where_they_were_and_as_many_as_the_system_counts() {
    let mut fixture = Fixture::started(machine());
    fixture.told();
    fixture.machine.happen(|windows| {
        windows.process(1, 200, 100, ("b.exe", "b"));
        windows.lose(7, 0, true);
        windows.process(2, 200, 200, ("b.exe", "b"));
    });
    fixture.read();
    let told = fixture.told();
    let kinds: Vec<_> = told.iter().map(|told| told.0).collect();
    assert_eq!(kinds, [START, Kind::LOST, EXIT]);
    assert_eq!(losses(&told), ["buffer_full 7"]);
    // Nothing in the stream tells of these.
    fixture.machine.happen(|windows| windows.lose(2, 3, false));
    fixture.sensor.read(&mut fixture.batch).unwrap();
    assert_eq!(losses(&fixture.told()), ["buffer_full 2", "buffers_lost 3"]);
    fixture.machine.happen(|windows| windows.lose(0, 1, false));
    fixture.stop();
    assert_eq!(losses(&fixture.told()), ["buffers_lost 1"]);
}

#[test]
fn an_event_that_cannot_be_decoded_is_told_as_lost() {
    let mut fixture = Fixture::started(machine());
    fixture.told();
    fixture.machine.happen(|windows| {
        for _ in 0..3 {
            let event = windows.event((Guid::PROCESS, 1), (1, 1), payload().u32(7));
            windows.write(event);
        }
    });
    fixture.read();
    fixture.stop();
    assert_eq!(losses(&fixture.told()), ["invalid_record 3"]);
}

#[test]
fn a_storm_takes_no_more_memory_than_is_said_and_is_counted_to_the_event() {
    const COUNT: u64 = 400_000;
    let mut fixture = Fixture::started(machine());
    fixture.told();
    let (mut told, mut missed, mut largest) = (0, 0, 0);
    let mut take = |fixture: &mut Fixture| {
        largest = largest.max(fixture.batch.size());
        for record in fixture.batch.records() {
            match event::read(record).unwrap().event {
                Event::Lost(lost) => {
                    assert_eq!(lost.kind, Kind::ANY);
                    assert_eq!(lost.reason, loss::Reason::BUFFER_FULL);
                    missed += lost.count;
                }
                _ => told += 1,
            }
        }
        fixture.batch.clear();
    };
    for round in 0..4 {
        fixture.machine.happen(|windows| {
            for number in 0..COUNT / 4 {
                // The system hands buffers over all the time; in one round it comes to nothing.
                if round != 2 && number % 1000 == 0 {
                    windows.deliver();
                }
                windows.thread(1, 100, 8, 100);
            }
        });
        fixture.sensor.read(&mut fixture.batch).unwrap();
        assert!(fixture.sensor.held.size() <= HELD_SIZE_MAX + INBOX_SIZE_MAX);
        take(&mut fixture);
    }
    fixture.read();
    take(&mut fixture);
    fixture.stop();
    take(&mut fixture);
    assert_eq!(told + missed, COUNT);
    assert!(missed > 0 && told > COUNT / 4, "{told} told, {missed} lost");
    assert!(largest <= BATCH_SIZE_MAX * 3, "{largest}");
    let [(_, peak, limit)] = fixture.sensor.buffer_peaks()[..] else {
        panic!("one buffer");
    };
    assert!(
        peak >= limit / 2 && peak < limit + 64 * 1024,
        "{peak} of {limit}"
    );
}

#[test]
fn times_follow_the_clock_when_it_is_set_and_the_order_is_that_of_the_counter() {
    let mut fixture = Fixture::started(machine());
    fixture.told();
    let start = |windows: &mut Windows, id| {
        windows.process(1, id, 100, ("b.exe", "b"));
        EPOCH + windows.set_ns + windows.stamp.unsigned_abs() * 100
    };
    let first = fixture.machine.happen(|windows| start(windows, 200));
    fixture.read();
    let second = fixture.machine.happen(|windows| {
        windows.set_ns += 3_600_000_000_000;
        start(windows, 300)
    });
    fixture.read();
    let times: Vec<u64> = fixture
        .batch
        .records()
        .map(|record| event::read(record).unwrap().header.time)
        .collect();
    assert_eq!(times, [first, second]);
}

#[test]
fn an_inbox_is_told_of_an_end_that_came_first() {
    let inbox = Inbox::new(64, || {});
    inbox.end(5);
    inbox.end(0);
    assert_eq!(inbox.ended(), Some(5));
}

proptest! {
    /// Whoever may write into the session writes what he likes.
    #[test]
    fn no_event_makes_it_panic_and_each_is_told_or_counted(
        events in prop::collection::vec(
            (0..4_usize, 0..40_u8, 0..8_u8, prop::collection::vec(any::<u8>(), 0..120), any::<i64>()),
            0..40,
        )
    ) {
        let mut fixture = Fixture::started(machine());
        fixture.told();
        fixture.machine.happen(|windows| {
            let classes = [Guid::PROCESS, Guid::THREAD, Guid::IMAGE, Guid::LOST_EVENT];
            for (class, r#type, version, payload, stamp) in events {
                windows.write(Written::of_bytes((classes[class], r#type), version, stamp, payload));
            }
        });
        fixture.read();
        fixture.stop();
        let counters = fixture.sensor.counters().unwrap();
        let told = fixture.told();
        let count = told.iter().filter(|told| told.0 != Kind::LOST).count();
        prop_assert_eq!(counters.produced.sum(), u64::try_from(count).unwrap());
    }
}
