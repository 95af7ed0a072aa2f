//! Drivers that are older or newer than this agent.

use std::sync::{Arc, Mutex};

use event::control::{PROTOCOL_VERSION, Welcome};
use event::wire::Writer;
use event::{Event, Kind, RECORD_SIZE_MAX, thread};

use super::{Driver, Fixture, Scripted, record, settings, snapshot};
use crate::sensor::Error;
use crate::sensor::windows::{Surroundings, WindowsSensor};

/// The first bytes of a driver's answer to a handshake, and as many more as it has.
pub(super) fn answer(version: u32, size: usize) -> Vec<u8> {
    let welcome = Welcome {
        protocol_version: version,
        record_size_max: u32::try_from(RECORD_SIZE_MAX).unwrap(),
        ..Welcome::default()
    };
    let mut bytes = vec![0; Welcome::SIZE];
    welcome.write(&mut Writer::new(&mut bytes));
    bytes.resize(size, 0xff);
    bytes
}

/// What a sensor says of a driver that answers so to its handshake.
fn refused(welcome: Result<Vec<u8>, i32>) -> String {
    let driver = Driver {
        welcome: Some(welcome),
        ..Driver::default()
    };
    let device = Scripted {
        driver: Arc::new(Mutex::new(driver)),
        taken: Vec::new(),
    };
    let surroundings = Surroundings {
        snapshot_fn: snapshot,
        now_fn: || 0,
    };
    match WindowsSensor::new(device, surroundings, &settings(true)) {
        Err(error @ Error::Unavailable { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// A driver of version 1 refuses our hello as drivers of all versions do; whatever one answers
/// instead, and however long that is, it is told by its version.
#[test]
fn a_driver_of_another_version_is_refused_with_both_versions() {
    const REVISION_MISMATCH: i32 = 1306;
    let told = refused(Err(REVISION_MISMATCH));
    let expected = format!("does not speak version {PROTOCOL_VERSION}");
    assert!(told.contains(&expected), "{told}");
    for version in [1, PROTOCOL_VERSION + 1] {
        for size in [4, 8, Welcome::SIZE, Welcome::SIZE_MAX] {
            let told = refused(Ok(answer(version, size)));
            let expected = format!("speaks version {version} of the protocol");
            assert!(told.contains(&expected), "{told}");
        }
    }
}

#[test]
fn what_is_no_driver_is_refused_as_such() {
    for bytes in [Vec::new(), vec![2, 0, 0], answer(PROTOCOL_VERSION, 20)] {
        let told = refused(Ok(bytes));
        assert!(told.contains("no driver of SysTrail"), "{told}");
    }
}

/// A newer driver of this version of the protocol: its records are handed on, for the pipeline to
/// tell, and waited for like all others.
#[test]
fn records_of_a_kind_that_is_not_known_are_handed_on_and_drained() {
    let newer = Kind(300);
    let event = |time| {
        let mut record = record(time, 100, 0, &Event::ThreadExit(thread::Exit));
        record[4..6].copy_from_slice(&newer.0.to_le_bytes());
        record
    };
    let fixture = Fixture::started(true, |driver| {
        driver.count(newer).produced = 5;
        driver.count(newer).delivered = 5;
    });
    fixture.happen(|driver| driver.produce(event(9)));
    fixture.happen(|driver| driver.lose(newer, 2));
    let (told, counts) = fixture.stopped();
    let kinds: Vec<Kind> = told.iter().skip(2).map(|(kind, ..)| *kind).collect();
    assert_eq!(kinds, [Kind::LOST, newer]);
    assert_eq!(counts, [(0, 0); Kind::OBSERVED.len()]);
}
