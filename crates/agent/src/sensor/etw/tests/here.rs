//! What this very Windows says. It starts a session only where it is allowed to; Wine has none, says that
//! it has, and the tests there know it by its environment.

use std::time::{Duration, Instant};

use event::Kind;

use super::settings;
use crate::config::Config;
use crate::doctor;
use crate::sensor::{Batch, Error};

fn is_wine() -> bool {
    std::env::var_os("WINEPREFIX").is_some()
}

#[test]
fn the_doctor_says_whether_a_session_can_be_followed() {
    let directory = tempfile::tempdir().unwrap();
    let report = doctor::examine(&Config::default(), directory.path()).unwrap();
    let etw = report.tiers.iter().find(|tier| tier.name == "etw").unwrap();
    assert_eq!(etw.runs, etw.cause.is_none() && etw.cure.is_none());
    if is_wine() {
        let cause = etw.cause.as_deref().unwrap();
        assert!(
            cause.contains("this system has no event tracing"),
            "{cause}"
        );
    }
}

/// A process that ends at once is told to start and to exit, with its program.
#[test]
fn a_short_process_is_told_where_a_session_can_be_followed() {
    let mut sensor = match super::super::open(&settings()) {
        Ok(sensor) => sensor,
        Err(Error::Unavailable { cause, .. }) if !cause.is_empty() => return,
        Err(error) => panic!("{error}"),
    };
    assert!(!is_wine());
    let mut batch = Batch::default();
    sensor.start(&mut batch).unwrap();
    let mut child = std::process::Command::new("cmd")
        .args(["/c", "exit 3"])
        .spawn()
        .unwrap();
    let process_id = child.id();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut kinds = Vec::new();
    while !kinds.contains(&Kind::PROCESS_EXIT) && Instant::now() < deadline {
        batch.clear();
        sensor.read(&mut batch).unwrap();
        let told = batch.records().map(|record| event::read(record).unwrap());
        let own = told.filter(|record| record.header.process_id == process_id);
        kinds.extend(own.map(|record| record.header.kind));
    }
    sensor.stop(&mut batch).unwrap();
    assert_eq!(kinds.first(), Some(&Kind::PROCESS_START));
    assert_eq!(kinds.last(), Some(&Kind::PROCESS_EXIT));
}
