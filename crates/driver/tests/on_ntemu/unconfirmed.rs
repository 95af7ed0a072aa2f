//! The count of the starts that no agent confirmed, which ends a crash loop.

use crate::stream::{entry, machine, started};
use event::control::{START_FAILURE, START_STEP, StartStep, UNCONFIRMED_STARTS};
use ntemu::Machine;

const REG_SZ: u32 = 1;
const REG_DWORD: u32 = 4;
const REQUEST_ABORTED: i32 = 0xc000_0240_u32.cast_signed();

/// The driver's own service key.
const OWN: &str = "";

fn set_starts(machine: &Machine, starts: u32) {
    machine.set_value_below(OWN, UNCONFIRMED_STARTS, REG_DWORD, &starts.to_le_bytes());
}

fn starts(machine: &Machine) -> Option<u32> {
    let values = machine.values_below(OWN)?;
    let (kind, data) = values.get(UNCONFIRMED_STARTS)?;
    assert_eq!(*kind, REG_DWORD);
    Some(u32::from_le_bytes(data.as_slice().try_into().unwrap()))
}

#[test]
fn after_two_starts_that_nobody_confirmed_the_driver_refuses_and_says_so() {
    // What crashes leave: a count, and no unload.
    for before in [0, 1] {
        let mut machine = machine();
        set_starts(&machine, before);
        machine.load(entry()).unwrap();
        assert_eq!(
            starts(&machine),
            Some(before + 1),
            "counted before anything can go wrong"
        );
        machine.unload();
    }
    for before in [2, 3, u32::MAX] {
        let mut machine = machine();
        set_starts(&machine, before);
        assert_eq!(machine.load(entry()), Err(REQUEST_ABORTED));
        assert_eq!(
            starts(&machine),
            Some(before),
            "it says so until somebody begins anew"
        );
        let told = machine.values_below(START_FAILURE).unwrap();
        assert_eq!(told[START_STEP].1, StartStep::UNCONFIRMED.0.to_le_bytes());
        assert_eq!(
            machine.take_error_log(),
            [(StartStep::UNCONFIRMED.0, REQUEST_ABORTED)]
        );
    }
}

/// Who unloads the driver, or is refused at another step, has a machine that runs.
#[test]
fn a_start_that_is_undone_does_not_count() {
    let (mut machine, file) = started();
    assert_eq!(starts(&machine), Some(1));
    drop(file);
    machine.unload();
    assert_eq!(starts(&machine), Some(0));

    set_starts(&machine, 1);
    machine.fail("IoCreateDevice", 1);
    machine.load(entry()).unwrap_err();
    assert_eq!(starts(&machine), Some(1));
}

#[test]
fn a_count_that_the_agent_cleared_stays_so_at_the_unload() {
    let (mut machine, file) = started();
    set_starts(&machine, 0);
    drop(file);
    machine.unload();
    assert_eq!(starts(&machine), Some(0));
}

/// The count is there to protect the machine, not to keep the driver from it.
#[test]
fn a_start_that_cannot_be_counted_is_a_start() {
    // Reading what an earlier start left comes first, and then the settings.
    for (function, nth) in [
        ("ZwOpenKey", 2),
        ("ZwQueryValueKey", 1),
        ("ZwSetValueKey", 1),
        ("ZwFlushKey", 1),
    ] {
        let mut machine = machine();
        machine.fail(function, nth);
        machine.load(entry()).unwrap();
        assert!(machine.has_failed(), "{function} {nth}");
        machine.unload();
    }
    let mut machine = machine();
    machine.set_value_below(OWN, UNCONFIRMED_STARTS, REG_SZ, b"2\0\0\0");
    machine.load(entry()).unwrap();
    assert_eq!(
        starts(&machine),
        Some(1),
        "what is no number counts as none"
    );
    machine.unload();
}
