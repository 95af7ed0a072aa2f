//! Start, unload, and what may be opened.

use crate::stream::{
    READ_ACCESS, SHARING_VIOLATION, counters, entry, flushed, machine, started, started_on, stop,
};
use event::control::Conditions;
use ntemu::{Caller, Machine, StartProcess};

const ACCESS_DENIED: i32 = 0xc000_0022_u32.cast_signed();
const NOT_FOUND: i32 = 0xc000_0034_u32.cast_signed();
#[cfg(not(miri))]
const REG_SZ: u32 = 1;
const REG_DWORD: u32 = 4;

#[test]
fn leaves_nothing_behind_when_it_is_unloaded() {
    let mut machine = machine();
    for _turn in 0..3 {
        machine.load(entry()).unwrap();
        machine.unload();
    }
    assert_eq!(
        machine.open(Caller::Administrator, 0).err(),
        Some(NOT_FOUND)
    );
}

#[test]
fn records_from_its_start_and_keeps_what_nobody_has_read_yet() {
    let mut machine = machine();
    machine.load(entry()).unwrap();
    machine.start_process(&StartProcess::default());

    let file = machine.open(Caller::Administrator, READ_ACCESS).unwrap();
    assert_eq!(flushed(&machine, &file).len(), 1);
    stop(machine, file);
}

#[test]
fn only_administrators_may_open_the_device() {
    let mut machine = machine();
    machine.load(entry()).unwrap();
    for caller in [
        Caller::User,
        Caller::AdministratorAsUser,
        Caller::UserIdentifyingAdministrator,
    ] {
        assert_eq!(
            machine.open(caller, 0).err(),
            Some(ACCESS_DENIED),
            "{caller:?}"
        );
    }
    for caller in [Caller::Administrator, Caller::UserAsAdministrator] {
        assert!(machine.open(caller, 0).is_ok(), "{caller:?}");
    }
    machine.unload();
}

#[test]
fn the_device_carries_a_descriptor_that_names_system_and_administrators_alone() {
    let mut machine = machine();
    machine.load(entry()).unwrap();
    let descriptor = machine.security_descriptor().unwrap();

    assert_eq!(descriptor, nt::security::ADMINISTRATORS_ONLY);
    let sids: [&[u8]; 2] = [
        &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0],
        &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0],
    ];
    for sid in sids {
        assert!(descriptor.windows(sid.len()).any(|window| window == sid));
    }
    machine.unload();
}

/// `\\.\SysTrail\any\path` opened the device.
#[test]
fn nobody_opens_a_name_below_the_device() {
    const NOT_FOUND: i32 = 0xc000_0034_u32.cast_signed();
    let mut machine = machine();
    machine.load(entry()).unwrap();
    for name in [r"\", r"\any\path"] {
        for access in [READ_ACCESS, 0x80] {
            let refused = machine.open_below(name, access);
            assert_eq!(refused.err(), Some(NOT_FOUND), "{name}");
        }
    }
    machine.unload();
}

#[test]
fn one_file_at_a_time_may_read() {
    let (machine, file) = started();
    for access in [READ_ACCESS, 0x8000_0000, 0x1000_0000, 0x0200_0000] {
        let second = machine.open(Caller::Administrator, access);
        assert_eq!(second.err(), Some(SHARING_VIOLATION));
    }
    let watcher = machine.open(Caller::Administrator, 0x80).unwrap();
    counters(&watcher);
    drop(file);
    let next = machine.open(Caller::Administrator, READ_ACCESS).unwrap();
    drop(watcher);
    stop(machine, next);
}

#[test]
fn values_in_range_are_used() {
    let machine = Machine::new();
    machine.set_value("QueueLimit", REG_DWORD, &(128_u32 * 1024).to_le_bytes());
    machine.set_value("FlushIntervalMs", REG_DWORD, &7_u32.to_le_bytes());
    let (machine, file) = started_on(machine);

    let counters = counters(&file);
    assert_eq!(counters.queue_limit, 128 * 1024);
    assert_eq!(counters.conditions, Conditions::default());

    let request = file.read(4096);
    machine.start_process(&StartProcess::default());
    machine.advance_ms(6);
    assert!(request.is_pending());
    machine.advance_ms(1);
    assert!(!request.is_pending());
    drop(request);
    stop(machine, file);
}

// Miri needs minutes to lay out the default queue.
#[cfg(not(miri))]
#[test]
fn values_that_cannot_be_are_refused_and_reported() {
    let refused: &[(u32, &[u8])] = &[
        (REG_DWORD, &65_535_u32.to_le_bytes()),
        (REG_DWORD, &(64 * 1024 * 1024 + 1_u32).to_le_bytes()),
        (REG_DWORD, &[1, 2]),
        (REG_SZ, &[b'4', 0, 0, 0]),
        (REG_SZ, &[0; 40]),
    ];
    for (kind, data) in refused.iter().copied() {
        let machine = Machine::new();
        machine.set_value("QueueLimit", kind, data);
        machine.set_value("FlushIntervalMs", kind, data);
        machine.set_value("StartAddress", kind, data);
        let (machine, file) = started_on(machine);

        let counters = counters(&file);
        assert_eq!(counters.queue_limit, 4 * 1024 * 1024, "the default");
        assert_eq!(
            counters.conditions,
            Conditions::QUEUE_LIMIT_REFUSED
                .with(Conditions::FLUSH_INTERVAL_REFUSED)
                .with(Conditions::START_ADDRESS_REFUSED)
        );
        stop(machine, file);
    }
}
