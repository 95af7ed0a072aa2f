//! Every call that can fail fails, each of its calls in turn, and nothing is left behind.

use crate::stream::{BUFFER_SIZE, FLUSH_MS, IS_THOROUGH, READ_ACCESS, counters, entry, machine};
use event::control::{START_FAILURE, START_STATUS, START_STEP};
use event::process::Unavailable;
use ntemu::{Caller, FAILABLE, INJECTED, LoadImage, Machine, SYSTEM_PROCESS_ID, StartProcess};

const REG_DWORD: u32 = 4;

/// A short life of the driver, which meets every function that it imports.
fn live(machine: &mut Machine) -> Result<(), i32> {
    machine.set_value("QueueLimit", 4, &(64_u32 * 1024).to_le_bytes());
    machine.load(entry())?;
    let file = machine.open(Caller::Administrator, READ_ACCESS);
    let produced = play(machine);
    if let Ok(mut file) = file {
        let requests = [file.read(BUFFER_SIZE), file.read(BUFFER_SIZE)];
        machine.advance_ms(FLUSH_MS);
        let counters = counters(&file);
        let total: u64 = counters
            .kinds
            .iter()
            .map(|(_kind, count)| count.produced)
            .sum();
        assert_eq!(
            total, produced,
            "every event counts, whatever failed meanwhile"
        );
        file.clean_up();
        assert!(requests.iter().all(|request| !request.is_pending()));
    }
    machine.unload();
    Ok(())
}

/// One event of each kind; gives how many.
fn play(machine: &Machine) -> u64 {
    machine.start_process(&StartProcess {
        parent_process_id: 200,
        ..StartProcess::default()
    });
    machine.start_thread((SYSTEM_PROCESS_ID, 8), 100, 104, 1);
    machine.load_image(&LoadImage {
        process_id: 100,
        ..LoadImage::default()
    });
    machine.exit_thread(100, 104);
    machine.exit_process(100, 108, 0);
    5
}

#[test]
fn every_call_that_fails_is_undone_and_what_starts_keeps_its_account() {
    let mut machine = Machine::new();
    machine.count_calls();
    live(&mut machine).unwrap();
    let counts = FAILABLE.map(|function| (function, machine.calls(function)));
    drop(machine);

    for (function, count) in counts {
        let count = if IS_THOROUGH { count } else { count.min(1) };
        for nth in 1..=count {
            let mut machine = Machine::new();
            machine.fail(function, nth);
            let outcome = live(&mut machine);
            assert!(machine.has_failed(), "{function} {nth}");
            assert!(
                matches!(outcome, Ok(()) | Err(INJECTED)),
                "{function} {nth}: {outcome:?}"
            );
        }
    }
}

#[test]
fn a_start_that_fails_says_which_step_and_with_what() {
    let steps = [
        ("ExAllocatePoolWithTag", 1, 1),
        ("ExAllocatePoolWithTag", 2, 1),
        ("ExAllocatePoolWithTag", 3, 1),
        ("ExAllocatePoolWithTag", 4, 1),
        ("PsSetCreateProcessNotifyRoutineEx2", 1, 2),
        ("PsSetCreateThreadNotifyRoutineEx", 1, 3),
        ("PsSetLoadImageNotifyRoutine", 1, 4),
        ("IoCreateDevice", 1, 5),
        ("ObOpenObjectByPointer", 1, 5),
        ("ZwSetSecurityObject", 1, 5),
        ("IoCreateSymbolicLink", 1, 6),
        ("ExAllocatePoolWithTag", 5, 1),
        ("ExAllocatePoolWithTag", 6, 0),
    ];
    for (function, nth, step) in steps {
        let mut machine = machine();
        machine.fail(function, nth);
        assert_eq!(machine.load(entry()), Err(INJECTED), "{function} {nth}");
        assert_eq!(
            machine.take_error_log(),
            [(step, INJECTED)],
            "{function} {nth}"
        );
        assert_eq!(told(&machine), Some((step, INJECTED)), "{function} {nth}");
    }
}

/// What a start that failed left in the registry for the agent; `None` when there is no such key or
/// it does not say which step.
fn told(machine: &Machine) -> Option<(u32, i32)> {
    let values = machine.values_below(START_FAILURE)?;
    let number = |name| match values.get(name)? {
        (REG_DWORD, data) => Some(u32::from_le_bytes(*data.first_chunk()?)),
        _ => None,
    };
    let step = number(START_STEP)?;
    Some((step, number(START_STATUS)?.cast_signed()))
}

#[test]
fn what_a_failed_start_left_goes_with_the_next_start() {
    let mut machine = machine();
    machine.fail("IoCreateDevice", 1);
    assert_eq!(machine.load(entry()), Err(INJECTED));
    let _entry = machine.take_error_log();
    machine.fail("PsSetCreateThreadNotifyRoutineEx", 1);
    assert_eq!(machine.load(entry()), Err(INJECTED));
    assert_eq!(told(&machine), Some((3, INJECTED)), "the last one's");

    let _entry = machine.take_error_log();
    machine.load(entry()).unwrap();
    assert_eq!(machine.values_below(START_FAILURE), None);
    machine.unload();
}

/// Windows says of the service that it runs while the image is held; the agent looks for the device.
#[test]
fn a_failed_start_holds_the_image_only_until_the_event_log_has_its_entry() {
    const IMAGE_ALREADY_LOADED: i32 = 0xc000_010e_u32.cast_signed();
    let mut machine = machine();
    machine.fail("IoCreateDevice", 1);
    assert_eq!(machine.load(entry()), Err(INJECTED));
    assert_eq!(machine.load(entry()), Err(IMAGE_ALREADY_LOADED));
    assert!(machine.open(Caller::Administrator, READ_ACCESS).is_err());
    assert_eq!(machine.take_error_log(), [(5, INJECTED)]);
    machine.load(entry()).unwrap();
    machine.unload();
}

#[test]
fn a_start_goes_on_where_what_an_earlier_one_left_cannot_be_removed() {
    for (function, nth) in [("ZwOpenKey", 1), ("ZwOpenKey", 2), ("ZwDeleteKey", 1)] {
        let mut machine = machine();
        machine.set_value_below(START_FAILURE, START_STEP, REG_DWORD, &[9, 0, 0, 0]);
        machine.fail(function, nth);
        machine.load(entry()).unwrap();
        assert!(machine.has_failed(), "{function} {nth}");
        machine.unload();
    }
}

/// The driver removes the key when it starts, so what is there later is not the driver's.
#[test]
fn a_failed_start_writes_into_no_key_it_did_not_make() {
    let mut machine = machine();
    machine.set_value_below(START_FAILURE, "Theirs", REG_DWORD, &[1, 2, 3, 4]);
    let before = machine.values_below(START_FAILURE);
    machine.fail_each(&[("ZwDeleteKey", 1), ("IoCreateDevice", 1)]);
    assert_eq!(machine.load(entry()), Err(INJECTED));
    assert!(machine.has_failed());
    assert_eq!(machine.values_below(START_FAILURE), before);
}

#[test]
fn a_failure_that_cannot_be_written_is_not_told_in_part() {
    // The first two values are the count of the starts.
    for (function, nth) in [
        ("ZwCreateKey", 1),
        ("ZwSetValueKey", 3),
        ("ZwSetValueKey", 4),
    ] {
        let mut machine = machine();
        machine.fail_each(&[("IoCreateDevice", 1), (function, nth)]);
        assert_eq!(machine.load(entry()), Err(INJECTED), "{function} {nth}");
        assert!(machine.has_failed(), "{function} {nth}");
        assert_eq!(told(&machine), None, "{function} {nth}");
        assert_eq!(machine.take_error_log(), [(5, INJECTED)], "still there");
    }
}

/// One query that failed cost the user and the session as well.
#[test]
fn a_fact_of_a_token_that_cannot_be_read_costs_itself_only() {
    let all = [
        Unavailable::USER,
        Unavailable::INTEGRITY_LEVEL,
        Unavailable::ELEVATED,
        Unavailable::SESSION,
    ];
    let of_handle = all
        .into_iter()
        .fold(Unavailable::default(), Unavailable::with);
    let cases = [
        ("ZwQueryInformationToken", 1, Unavailable::INTEGRITY_LEVEL),
        ("ZwQueryInformationToken", 2, Unavailable::ELEVATED),
        ("ZwQueryInformationToken", 3, Unavailable::USER),
        ("ZwQueryInformationToken", 4, Unavailable::SESSION),
        ("SeQueryAuthenticationIdToken", 1, Unavailable::LOGON),
        ("ObOpenObjectByPointer", 1, Unavailable::PROTECTION),
        ("ObOpenObjectByPointer", 2, of_handle),
        ("ZwQueryInformationProcess", 3, Unavailable::PROTECTION),
    ];
    for (function, nth, lacking) in cases {
        let mut machine = machine();
        machine.load(entry()).unwrap();
        machine.fail(function, nth);
        machine.start_process(&StartProcess::default());
        assert!(machine.has_failed(), "{function} {nth}");
        let file = machine.open(Caller::Administrator, READ_ACCESS).unwrap();
        let request = file.read(BUFFER_SIZE);
        machine.advance_ms(FLUSH_MS);
        let (_batch, records) = crate::stream::batch(&request);
        let event::Record {
            header, extension, ..
        } = event::read(&records[0]).unwrap();
        let event::Extension::Token(token) = extension else {
            panic!("no token");
        };
        // The process has no path here.
        let lacking = lacking.with(Unavailable::IMAGE_PATH);
        assert_eq!(token.unavailable, lacking, "{function} {nth}");
        assert_eq!(
            token.user_sid.is_empty(),
            lacking.contains(Unavailable::USER)
        );
        assert_eq!(
            header.flags.contains(event::Flags::USER_UNAVAILABLE),
            lacking.contains(of_handle),
            "user and session"
        );
        drop(file);
        machine.unload();
    }
}
