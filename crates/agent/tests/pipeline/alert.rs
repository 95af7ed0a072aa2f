//! A command that is run for each match, told of it on its standard input, and never waited for.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::Kind;
use systrail::alert::{Alerts, CLOSE_TIME, INTERVAL, Outcome, QUEUE_COUNT_MAX, TIME_LIMIT, Tally};
use systrail::pipeline::Settings;
use systrail::trail::{Event, json};

use super::stage::FindsExecs;
use super::{Step, TICK, exec, fork, record_with, settings};

/// Alerts that run a script, which is no part of what they tell.
fn alerts(script: &str, time_limit: Duration) -> Alerts {
    Alerts::start(systrail::alert::Settings {
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        time_limit,
        close_time: CLOSE_TIME,
    })
    .unwrap()
}

/// Runs programs, each of which is found; gives the events and what became of the alerts.
fn found(alerts: Alerts, script: Vec<Step>) -> (Vec<Event>, Arc<Tally>) {
    let tally = alerts.tally();
    let settings = Settings {
        stage: Some(Box::new(FindsExecs)),
        alerts: Some(alerts),
        ..settings()
    };
    let (events, account) = record_with(settings, vec![script]);
    assert!(account.balanced);
    (events, tally)
}

fn count(tally: &Tally, outcome: Outcome) -> u64 {
    let names = Outcome::NAMES.iter().zip(tally.counts());
    names
        .filter(|((_, known), _)| *known == outcome)
        .map(|(_, count)| count)
        .sum()
}

/// Each detection's line and the line of what it was found in.
fn expected(events: &[Event]) -> String {
    let mut lines = Vec::new();
    for (index, event) in events.iter().enumerate() {
        if event.body.kind() == Kind::DETECTION {
            json::write_line(event, &mut lines);
            json::write_line(&events[index - 1], &mut lines);
        }
    }
    String::from_utf8(lines).unwrap()
}

fn in_quotes(path: &Path) -> String {
    format!("'{}'", path.display())
}

#[test]
fn a_command_reads_the_match_and_what_matched_and_no_shell_does() {
    let directory = tempfile::tempdir().unwrap();
    let (told, touched) = (
        directory.path().join("told"),
        directory.path().join("touched"),
    );
    let name = format!(
        "x$(touch {0})`touch {0}`;touch {0}\0bin\0",
        touched.display()
    );
    let image: &'static [u8] = name.into_bytes().leak();
    let script = format!("[ $# -eq 0 ] && cat >> {}", in_quotes(&told));
    let steps = vec![
        fork(TICK, 1, 10),
        exec(2 * TICK, 10, image, image),
        exec(3 * TICK, 10, b"true\0bin\0", b"true\0"),
    ];
    let (events, tally) = found(alerts(&script, TIME_LIMIT), steps);
    let expected = expected(&events);
    assert_eq!(expected.lines().count(), 4);
    assert_eq!(fs::read_to_string(told).unwrap(), expected);
    assert_eq!(tally.counts(), [2, 0, 0, 0, 0]);
    assert!(!touched.exists());
}

/// The shell starts a process of its own, which is killed with it, and nobody reads what is more than a pipe
/// holds.
#[test]
fn a_command_that_hangs_is_killed_with_all_it_started_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let child = directory.path().join("child");
    let script = format!("sleep 1000 & echo $! > {}; wait", in_quotes(&child));
    let began = Instant::now();
    let hanging = alerts(&script, Duration::from_secs(3));
    let command_line: &'static [u8] = vec![b'x'; 100 << 10].leak();
    let steps = vec![exec(TICK, 10, b"true\0", command_line)];
    let (_events, tally) = found(hanging, steps);
    assert!(began.elapsed() < Duration::from_secs(9));
    assert_eq!(tally.counts(), [0, 0, 1, 0, 0]);
    let id = fs::read_to_string(child).unwrap();
    // A signal is sent before who gets it has died of it, and the dead wait for who takes up orphans.
    let is_dead = || {
        let state = fs::read_to_string(format!("/proc/{}/stat", id.trim()));
        state.map_or(true, |stat| stat.contains(") Z "))
    };
    let until = Instant::now() + Duration::from_secs(5);
    while !is_dead() {
        assert!(Instant::now() < until, "{id}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_command_that_reads_nothing_has_run_all_the_same() {
    let command_line: &'static [u8] = vec![b'x'; 100 << 10].leak();
    let steps = vec![exec(TICK, 10, b"true\0", command_line)];
    let (_events, tally) = found(alerts("exit 0", TIME_LIMIT), steps);
    assert_eq!(tally.counts(), [1, 0, 0, 0, 0]);
}

#[test]
fn a_command_that_fails_or_is_not_there_is_counted() {
    let steps = || vec![exec(TICK, 10, b"true\0", b"true\0")];
    for script in ["exit 3", "kill -9 $$"] {
        let (_events, tally) = found(alerts(script, TIME_LIMIT), steps());
        assert_eq!(tally.counts(), [0, 1, 0, 0, 0], "{script}");
    }
    let absent = Alerts::start(systrail::alert::Settings {
        program: "/nowhere/program".into(),
        arguments: Vec::new(),
        time_limit: TIME_LIMIT,
        close_time: CLOSE_TIME,
    });
    let (_events, tally) = found(absent.unwrap(), steps());
    assert_eq!(tally.counts(), [0, 1, 0, 0, 0]);
}

#[test]
fn a_thousand_matches_at_once_run_a_few_commands_and_hold_up_nothing() {
    const MATCHES: usize = 1_000;
    let steps = (0..MATCHES).map(|_| exec(TICK, 10, b"true\0", b"true\0"));
    let began = Instant::now();
    let few = Alerts::start(systrail::alert::Settings {
        program: "/bin/true".into(),
        arguments: Vec::new(),
        time_limit: TIME_LIMIT,
        close_time: Duration::from_secs(1),
    });
    let (events, tally) = found(few.unwrap(), steps.collect());
    let time = began.elapsed();
    let is_match = |event: &&Event| event.body.kind() == Kind::DETECTION;
    assert_eq!(events.iter().filter(is_match).count(), MATCHES);
    let (ran, passed_over) = (
        count(&tally, Outcome::Ran),
        count(&tally, Outcome::PassedOver),
    );
    assert_eq!(ran + passed_over, MATCHES as u64);
    let room = (QUEUE_COUNT_MAX + 2) as u64;
    assert!((1..=room).contains(&ran), "{ran}");
    let intervals = u32::try_from(ran).unwrap() - 1;
    assert!(time >= INTERVAL * intervals, "{ran} in {time:?}");
}

/// A command that a rule matches would be the cause of the next alert, for ever.
#[test]
fn no_alert_is_of_what_a_command_did() {
    let mut snapshot = fork(TICK, 1, std::process::id());
    snapshot.header.flags = event::Flags::EXISTING;
    let steps = vec![
        snapshot,
        fork(2 * TICK, std::process::id(), 20),
        fork(3 * TICK, 20, 21),
        exec(4 * TICK, 21, b"curl\0", b"curl\0"),
        exec(5 * TICK, 30, b"curl\0", b"curl\0"),
    ];
    let (_events, tally) = found(alerts("exit 0", TIME_LIMIT), steps);
    assert_eq!(tally.counts(), [1, 0, 0, 0, 1]);
}
