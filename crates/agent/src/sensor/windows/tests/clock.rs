//! Times: of the driver's clock, of the day, and when the driver's start is confirmed.

use event::{Event, Flags, process};

use super::{Fixture, record};
use crate::enrich::{Enricher, Limits};
use crate::rules::Rules;
use crate::sensor::{Batch, Sensor as _};
use crate::trail::Body;

/// A machine that the driver takes down must not count it as well, and one that runs must count it once.
#[test]
fn a_start_of_the_driver_is_confirmed_once_and_when_it_has_gone_well() {
    let confirmed = |fixture: &Fixture| {
        let driver = fixture.driver.lock().unwrap();
        driver
            .calls
            .iter()
            .filter(|call| **call == "confirm")
            .count()
    };
    let mut fixture = Fixture::started(true, |_driver| {});
    let mut batch = Batch::default();
    fixture.sensor.read(&mut batch).unwrap();
    assert_eq!(confirmed(&fixture), 0, "it has just begun");
    fixture.sensor.unconfirmed_until = Some(std::time::Instant::now());
    for _read in 0..2 {
        fixture.sensor.read(&mut batch).unwrap();
    }
    assert_eq!(confirmed(&fixture), 1);
    fixture.sensor.stop(&mut batch).unwrap();
    assert_eq!(confirmed(&fixture), 1);

    // Who stops it in the first seconds has a machine that runs.
    let mut short = Fixture::started(true, |_driver| {});
    short.sensor.stop(&mut batch).unwrap();
    assert_eq!(confirmed(&short), 1);
}

/// The times of day of what is told, and how long the process that exits ran, by the way of the pipeline.
fn told_times(fixture: &Fixture) -> (Vec<i64>, Vec<Option<u64>>) {
    let (_now, offset) = fixture.sensor.clock();
    let mut enricher = Enricher::new([7; 16], Rules::default(), Limits::default());
    let records = fixture
        .batch
        .records()
        .map(|record| event::read(record).unwrap());
    let records = records.filter(|record| !record.header.flags.contains(Flags::EXISTING));
    let events: Vec<_> = records
        .filter_map(|record| enricher.enrich(&record))
        .collect();
    let times = events
        .iter()
        .map(|event| offset.time(event.time).0)
        .collect();
    let run_times = events.iter().filter_map(|event| match &event.body {
        Body::ProcessExit(exit) => Some(exit.run_time_ns),
        _ => None,
    });
    (times, run_times.collect())
}

/// It was told to have run for no time where the clock was set back, and for an hour and five seconds
/// where it was set ahead.
#[test]
fn a_process_runs_as_long_as_it_runs_whoever_sets_the_clock() {
    const SECOND: u64 = 1_000_000_000;
    const HOUR: i64 = 3_600_000_000_000;
    let began = 1_000_000 * SECOND;
    for set_ahead in [-HOUR, HOUR] {
        let mut fixture = Fixture::started(true, |driver| {
            driver.utc_offset = began.cast_signed();
        });
        // Its start time is by the time of day; the others are of the driver's clock.
        let exit = process::Exit::default();
        fixture.happen(|driver| {
            let start = Event::ProcessStart(process::Start::default());
            driver.produce(record(60 * SECOND, 300, began + 60 * SECOND, &start));
            driver.deliver();
            driver.utc_offset += set_ahead;
            driver.produce(record(
                65 * SECOND,
                300,
                began + 60 * SECOND,
                &Event::ProcessExit(exit),
            ));
            driver.deliver();
        });
        let mut batch = std::mem::take(&mut fixture.batch);
        fixture.sensor.read(&mut batch).unwrap();
        fixture.batch = batch;
        let (times, run_times) = told_times(&fixture);
        assert_eq!(run_times, [Some(5 * SECOND)]);
        let exited = (began + 65 * SECOND).cast_signed() + set_ahead;
        assert_eq!(times.last(), Some(&exited));
    }
}

/// A clock that is wrong until a boot's first synchronisation made everything before it wrong for good.
#[test]
fn what_waited_in_the_driver_is_told_by_the_clock_as_it_is_set_by_then() {
    const SECOND: u64 = 1_000_000_000;
    let fixture = Fixture::started(true, |driver| {
        driver.produce(record(
            2 * SECOND,
            300,
            0,
            &Event::ProcessStart(process::Start::default()),
        ));
        driver.utc_offset = 7_000_000_000_000_000;
    });
    let (times, _run_times) = told_times(&fixture);
    assert_eq!(times, [7_000_002_000_000_000]);
}
