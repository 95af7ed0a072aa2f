//! Thread start and exit.

use crate::stream::{flushed, machine, started, started_on, stop};
use event::{Event, Flags};
use ntemu::{SYSTEM_PROCESS_ID, StartProcess};

#[test]
fn a_start_names_the_creator_and_the_start_address() {
    let (machine, file) = started();
    machine.start_process(&StartProcess::default());
    machine.start_thread((SYSTEM_PROCESS_ID, 77), 100, 108, 0x7ff6_1234_5678);

    let records = flushed(&machine, &file);
    let process = event::read(&records[0]).unwrap().header;
    let event::Record {
        header,
        event: Event::ThreadStart(start),
        ..
    } = event::read(&records[1]).unwrap()
    else {
        panic!("no thread start");
    };
    assert_eq!((header.process_id, header.thread_id), (100, 108));
    assert_eq!(header.start_time, process.start_time);
    assert_eq!(start.creator_process_id, SYSTEM_PROCESS_ID);
    assert_eq!(start.creator_thread_id, 77);
    assert_eq!(start.start_address, 0x7ff6_1234_5678);
    assert_eq!(header.flags, Flags::NONE);
    stop(machine, file);
}

#[test]
fn at_apc_level_the_start_address_is_left_out_and_no_handle_is_opened() {
    let (machine, file) = started();
    machine.start_process(&StartProcess::default());
    machine.start_thread_at_apc_level((SYSTEM_PROCESS_ID, 77), 100, 108);

    let records = flushed(&machine, &file);
    let event::Record {
        header,
        event: Event::ThreadStart(start),
        ..
    } = event::read(&records[1]).unwrap()
    else {
        panic!("no thread start");
    };
    assert_eq!((start.start_address, start.creator_thread_id), (0, 77));
    assert_eq!(header.flags, Flags::START_ADDRESS_UNAVAILABLE);
    stop(machine, file);
}

/// The question was nine tenths of what a thread costs, and is worth it where the thread was put there
/// from outside.
#[test]
fn a_thread_is_asked_for_its_start_address_as_the_setting_says() {
    const NONE: u32 = 0;
    const REMOTE: u32 = 1;
    const ALL: u32 = 2;
    // Setting, whether another process makes the thread, whether it is asked.
    let cases = [
        (None, true, true),
        (None, false, false),
        (Some(NONE), true, false),
        (Some(NONE), false, false),
        (Some(REMOTE), true, true),
        (Some(REMOTE), false, false),
        (Some(ALL), true, true),
        (Some(ALL), false, true),
    ];
    for (setting, is_remote, is_asked) in cases {
        let machine = machine();
        if let Some(setting) = setting {
            machine.set_value("StartAddress", 4, &setting.to_le_bytes());
        }
        let (machine, file) = started_on(machine);
        machine.start_process(&StartProcess {
            create_time: 116_444_736_000_000_070,
            ..StartProcess::default()
        });
        let creator = if is_remote {
            (SYSTEM_PROCESS_ID, 77)
        } else {
            (100, 104)
        };
        machine.count_calls();
        machine.start_thread(creator, 100, 108, 0x1234);
        assert_eq!(
            machine.calls("ZwQueryInformationThread"),
            u64::from(is_asked)
        );
        let is_looked_up = machine.calls("PsLookupThreadByThreadId") != 0;
        assert_eq!(is_looked_up, is_remote || is_asked);
        let records = flushed(&machine, &file);
        let record = event::read(&records[1]).unwrap();
        let Event::ThreadStart(start) = record.event else {
            panic!("no thread start");
        };
        let address = if is_asked { 0x1234 } else { 0 };
        assert_eq!(start.start_address, address, "{setting:?} {is_remote}");
        let told = (record.header.flags, record.header.start_time);
        assert_eq!(told, (Flags::NONE, 7_000), "not asked is not unavailable");
        stop(machine, file);
    }
}

/// A thread that was suspended, or preempted for long, between reserving a record and submitting it
/// kept the reader from everything behind that record.
#[test]
fn a_thread_is_neither_suspended_nor_preempted_while_it_writes_a_record() {
    let (machine, file) = started();
    machine.start_process(&StartProcess::default());
    machine.count_calls();
    machine.start_thread((SYSTEM_PROCESS_ID, 77), 100, 108, 1);
    machine.start_thread_at_apc_level((100, 104), 100, 112);
    machine.exit_thread(100, 108);
    for function in ["KfRaiseIrql", "KeLowerIrql"] {
        assert_eq!(machine.calls(function), 3, "{function}");
    }
    stop(machine, file);
}

#[test]
fn an_exit_names_the_thread() {
    let (machine, file) = started();
    machine.start_process(&StartProcess::default());
    machine.exit_thread(100, 104);

    let records = flushed(&machine, &file);
    let event::Record { header, event, .. } = event::read(&records[1]).unwrap();
    assert!(matches!(event, Event::ThreadExit(_)));
    assert_eq!((header.process_id, header.thread_id), (100, 104));
    assert_eq!(
        header.start_time,
        event::read(&records[0]).unwrap().header.start_time
    );
    stop(machine, file);
}
