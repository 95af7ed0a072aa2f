//! Sessions that are there already, that do not start, and that others end.

use etw::guid::Guid;
use event::Kind;

use super::script::{EPOCH, OWN, Running, Windows, status};
use super::{EXIT, EtwSensor, Fixture, START, Scripted, losses, machine, settings};
use crate::sensor::{Error, Sensor as _};
use crate::sys::trace::{Owner, Status};

/// Why no sensor opens.
fn refusal(machine: &Scripted) -> String {
    match EtwSensor::open(machine.clone(), &settings()) {
        Err(Error::Unavailable { cause, cure }) => format!("{cause}; {cure}"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it opens"),
    }
}

/// A session is the system's: it stayed when an agent was killed, and the next one could start none.
#[test]
fn a_session_that_a_killed_agent_left_is_ended() {
    let machine = machine();
    let killed = Owner {
        process_id: 777,
        start_time: EPOCH,
    };
    machine.happen(|windows| windows.has_left(killed.guid()));
    let mut fixture = Fixture::started(machine);
    assert_eq!(fixture.told().len(), 4);
    fixture.stop();
    assert!(!fixture.machine.happen(|windows| windows.has_session()));
}

#[test]
fn a_session_that_is_anothers_stays_and_is_named() {
    let machine = machine();
    let running = Owner {
        process_id: 100,
        start_time: EPOCH + 700,
    };
    machine.happen(|windows| windows.has_left(running.guid()));
    let text = refusal(&machine);
    assert!(text.contains("another agent, process 100"), "{text}");
    machine.happen(|windows| windows.has_left(Guid::KERNEL_PROCESS));
    let text = refusal(&machine);
    assert!(text.contains("that no agent has started"), "{text}");
    assert!(machine.happen(|windows| windows.has_session()));
}

#[test]
fn each_reason_why_no_session_starts_is_told() {
    let others = |count: usize, is_system_logger| -> Vec<_> {
        let names = (0..count).map(|number| format!("session {number}"));
        let status = |name: String| Status {
            is_system_logger,
            ..status(&name, Guid::default())
        };
        names.map(status).collect()
    };
    let own = ["NT Kernel Logger", "circular kernel context logger"];
    let own = own.map(|name| status(name, Guid::default()));
    let loggers = |count| [own.to_vec(), others(count, true)].concat();
    let cases = [
        (5, Vec::new(), "administrators"),
        (183, Vec::new(), "a session of another name has the GUID"),
        (
            1450,
            loggers(6),
            "all 6 sessions that may follow the kernel",
        ),
        (
            1450,
            [loggers(5), others(60, false)].concat(),
            "all 64 sessions",
        ),
        (1450, loggers(5), "no resources"),
        (8, Vec::new(), "no memory for 12 MiB of buffers"),
        (120, Vec::new(), "no event tracing"),
    ];
    for (code, others, words) in cases {
        let machine = machine();
        machine.happen(|windows| {
            windows.refusals.push_back(code);
            windows.others = others;
        });
        let text = refusal(&machine);
        assert!(text.contains(words), "{code}: {text}");
    }
}

/// Wine does so.
#[test]
fn a_system_that_says_it_started_a_session_and_did_not_is_found_out() {
    let machine = machine();
    machine.happen(|windows| windows.lies = true);
    let text = refusal(&machine);
    assert!(text.contains("there is none"), "{text}");
}

#[test]
fn a_session_that_others_end_is_begun_again_and_the_gap_is_told() {
    let mut fixture = Fixture::started(machine());
    fixture.told();
    fixture.machine.happen(|windows| {
        windows.process(1, 200, 100, ("b.exe", "b"));
        windows.end_from_outside();
        // Meanwhile one starts and 100 ends.
        windows.running.remove(1);
        windows.running.push(Running {
            process_id: 300,
            parent: 4,
            name: "c.exe",
            command_line: "c",
            images: vec![(0x1000, "c.exe")],
        });
    });
    fixture.read();
    fixture
        .machine
        .happen(|windows| windows.process(2, 300, 300, ("c.exe", "c")));
    fixture.read();
    let told = fixture.told();
    let kinds: Vec<_> = told.iter().map(|told| (told.0, told.1, told.3)).collect();
    let expected = [
        (START, 200, false),
        (Kind::LOST, 0, false),
        (START, 300, true),
        (Kind::IMAGE_LOAD, 300, true),
        (EXIT, 300, false),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(losses(&told), ["blind 1"]);
    assert!(fixture.machine.happen(|windows| windows.has_session()));
}

#[test]
fn a_session_that_others_end_again_and_again_ends_the_recording() {
    let mut fixture = Fixture::started(machine());
    for _ in 0..3 {
        fixture.machine.happen(Windows::end_from_outside);
        fixture.sensor.read(&mut fixture.batch).unwrap();
    }
    fixture.machine.happen(Windows::end_from_outside);
    let error = fixture.sensor.read(&mut fixture.batch).unwrap_err();
    assert!(
        error.to_string().contains("ended from outside 4 times"),
        "{error}"
    );
    assert!(matches!(error, Error::Io { .. }));
    assert_eq!(losses(&fixture.told()), ["blind 1"; 3]);
}

/// The next agent's session has the same name.
#[test]
fn a_sensor_ends_its_own_session_and_no_other() {
    let fixture = Fixture::started(machine());
    let machine = fixture.machine.clone();
    assert!(machine.happen(|windows| windows.has_session()));
    drop(fixture);
    assert!(!machine.happen(|windows| windows.has_session()));
    let fixture = Fixture::started(machine.clone());
    let other = Owner {
        process_id: 4711,
        ..OWN
    };
    machine.happen(|windows| {
        windows.end_from_outside();
        windows.has_left(other.guid());
    });
    drop(fixture);
    assert!(machine.happen(|windows| windows.has_session()));
}
