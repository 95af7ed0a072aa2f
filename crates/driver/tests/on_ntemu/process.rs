//! Process start and exit.

use crate::stream::{
    IS_THOROUGH, bytes_of, counters, flushed, only, started, started_on, stop, utf_16,
};
use event::process::{self, Unavailable};
use event::{Event, Extension, Flags, Kind};
use ntemu::{Answers, File, Machine, SYSTEM_PROCESS_ID, StartProcess, Token};

/// 1970 in 100 ns units since 1601.
const EPOCH: i64 = 116_444_736_000_000_000;

/// A protected process of Win32 with this path.
fn answers(image_path: Option<&str>) -> Answers {
    Answers {
        image_path: image_path.map(utf_16),
        protection: 0x31,
        subsystem: 0,
    }
}

/// The token of the only record there is, with its image and flags.
fn only_start<R>(
    machine: &Machine,
    file: &File,
    read_fn: impl FnOnce(Flags, process::Start<'_>, process::Token<'_>) -> R,
) -> R {
    let record = only(machine, file);
    let record = event::read(&record).unwrap();
    match (record.event, record.extension) {
        (Event::ProcessStart(start), Extension::Token(token)) => {
            read_fn(record.header.flags, start, token)
        }
        other => panic!("{other:?}"),
    }
}

/// `image` was what the creator typed: an 8.3 name, or a drive that he had defined for himself.
#[test]
fn the_image_is_the_path_of_the_file_and_what_was_typed_stands_beside() {
    let (machine, file) = started();
    let typed = utf_16(r"\??\Z:\PROGRA~1\a.exe");
    let path = r"\Device\HarddiskVolume3\Program Files\a.exe";
    // More than a callback's stack has room for.
    let long = format!(
        "{path}{}",
        "\\d".repeat(if IS_THOROUGH { 10_000 } else { 200 })
    );
    // Path, whether what was typed is exact: what is told, and what beside it.
    let cases = [
        (Some(path), true, Some(path), true),
        (Some(&*long), true, Some(&*long), true),
        (Some(path), false, Some(path), false),
        (None, true, None, false),
        (Some(""), true, None, false),
    ];
    for (image_path, is_image_exact, told, beside) in cases {
        machine.start_process(&StartProcess {
            image: Some(&typed),
            is_image_exact,
            answers: answers(image_path),
            ..StartProcess::default()
        });
        only_start(&machine, &file, |flags, start, token| {
            let told = told.map_or_else(|| typed.clone(), utf_16);
            assert_eq!(start.image, bytes_of(&told));
            let opened = if beside { typed.as_slice() } else { &[] };
            assert_eq!(token.image_opened, bytes_of(opened));
            let lacks_path = token.unavailable.contains(Unavailable::IMAGE_PATH);
            assert_eq!(lacks_path, told == typed);
            assert!(!flags.contains(Flags::IMAGE_PARTIAL));
        });
    }
    stop(machine, file);
}

/// A process of WSL 1 was not told at all.
#[test]
fn a_process_of_another_subsystem_says_of_which() {
    let (machine, file) = started();
    for (subsystem, failing, told) in [(1, 0, 1), (7, 0, 7), (1, 3, u32::MAX)] {
        // Its path, its protection, its subsystem.
        machine.fail("ZwQueryInformationProcess", failing);
        machine.start_process(&StartProcess {
            answers: Answers {
                subsystem,
                ..answers(Some("a"))
            },
            ..StartProcess::default()
        });
        only_start(&machine, &file, |_flags, _start, token| {
            assert_eq!(token.subsystem, told);
        });
    }
    stop(machine, file);
}

#[test]
fn a_start_that_another_driver_refused_says_so() {
    const ACCESS_DENIED: u32 = 0xc000_0022;
    let (machine, file) = started();
    machine.start_process(&StartProcess {
        creation_status: ACCESS_DENIED.cast_signed(),
        ..StartProcess::default()
    });
    only_start(&machine, &file, |_flags, _start, token| {
        assert_eq!(token.creation_status, ACCESS_DENIED);
    });
    stop(machine, file);
}

#[test]
fn a_start_carries_who_what_when_and_for_whom() {
    let (machine, file) = started();
    machine.start_process(&StartProcess {
        process_id: 300,
        create_time: EPOCH + 70,
        ..StartProcess::default()
    });
    machine.start_process(&StartProcess {
        process_id: 400,
        create_time: EPOCH + 90,
        ..StartProcess::default()
    });
    let (image, command_line) = (utf_16(r"\??\C:\a.exe"), utf_16("a.exe \u{1f600} \u{d7ff}"));
    let token = Token {
        user_sid: vec![1, 2, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 0xe8, 3, 0, 0],
        integrity_level: 0x2000,
        elevated: 1,
        session_id: 3,
        logon_id: 0x2_0000_abcd,
    };
    machine.start_process(&StartProcess {
        process_id: 500,
        create_time: EPOCH + 120,
        parent_process_id: 300,
        creator: (400, 44),
        image: Some(&image),
        is_image_exact: true,
        command_line: Some(&command_line),
        token,
        answers: answers(Some(r"\Device\HarddiskVolume3\a.exe")),
        creation_status: 0,
    });

    let records = flushed(&machine, &file);
    let event::Record { header, event, .. } = event::read(&records[2]).unwrap();
    let Event::ProcessStart(start) = event else {
        panic!("{event:?}");
    };
    assert_eq!((header.process_id, header.start_time), (500, 12_000));
    assert!(header.time > 0);
    assert_eq!(header.flags, Flags::UTF_16.with(Flags::EXTENDED));
    assert_eq!(
        (start.parent_process_id, start.parent_start_time),
        (300, 7_000)
    );
    assert_eq!(
        (start.creator_process_id, start.creator_thread_id),
        (400, 44)
    );
    assert_eq!((start.creator_start_time, start.session_id), (9_000, 3));
    let path = utf_16(r"\Device\HarddiskVolume3\a.exe");
    assert_eq!(start.image, bytes_of(&path));
    assert_eq!(start.command_line, bytes_of(&command_line));
    let Extension::Token(token) = event::read(&records[2]).unwrap().extension else {
        panic!("no token");
    };
    assert_eq!((token.integrity_level, token.elevated), (0x2000, 1));
    assert_eq!(token.logon_id, 0x2_0000_abcd);
    assert_eq!(token.unavailable, Unavailable::default());
    assert_eq!(token.image_opened, bytes_of(&image));
    assert_eq!((token.protection, token.subsystem), (0x31, 0));
    assert_eq!(token.creation_status, 0);
    assert_eq!(
        token.user_sid,
        [1, 2, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 0xe8, 3, 0, 0]
    );
    stop(machine, file);
}

/// The sample this project grew from computed a record's size in a `USHORT`: structure plus command
/// line. From 65,470 bytes of command line on it wrapped, and the copy overran the allocation.
// Miri runs with a queue in which it would be cut.
#[cfg(not(miri))]
#[test]
fn the_longest_command_line_is_kept_whole_and_no_size_wraps() {
    let (machine, file) = started();
    for units in [32_700, 32_766, 32_767] {
        let command_line: Vec<u16> = (0..units).map(|unit| 0x20 + unit % 0x5000).collect();
        let image = vec![0x41; 32_767];
        machine.start_process(&StartProcess {
            image: Some(&image),
            command_line: Some(&command_line),
            ..StartProcess::default()
        });
        let record = only(&machine, &file);
        let event::Record {
            header,
            event: Event::ProcessStart(start),
            ..
        } = event::read(&record).unwrap()
        else {
            panic!("no process start");
        };
        assert_eq!(start.command_line, bytes_of(&command_line));
        assert_eq!(start.image, bytes_of(&image));
        assert!(!header.flags.contains(Flags::COMMAND_LINE_TRUNCATED));
        assert!(record.len() <= event::RECORD_SIZE_MAX);
    }
    stop(machine, file);
}

#[test]
fn a_command_line_that_does_not_fit_is_cut_between_units_and_says_so() {
    let machine = Machine::new();
    machine.set_value("QueueLimit", 4, &(64_u32 * 1024).to_le_bytes());
    let (machine, file) = started_on(machine);
    let command_line: Vec<u16> = (0..32_767).collect();
    machine.start_process(&StartProcess {
        image: Some(&utf_16("a.exe")),
        command_line: Some(&command_line),
        ..StartProcess::default()
    });

    let record = only(&machine, &file);
    let event::Record {
        header,
        event: Event::ProcessStart(start),
        ..
    } = event::read(&record).unwrap()
    else {
        panic!("no process start");
    };
    assert!(header.flags.contains(Flags::COMMAND_LINE_TRUNCATED));
    assert!(!header.flags.contains(Flags::IMAGE_TRUNCATED));
    assert_eq!(start.image, bytes_of(&utf_16("a.exe")));
    assert!(start.command_line.len() > 7_500 && start.command_line.len() % 2 == 0);
    assert!(bytes_of(&command_line).starts_with(start.command_line));
    stop(machine, file);
}

#[test]
fn a_text_that_the_kernel_does_not_know_is_named_as_missing() {
    let (machine, file) = started();
    machine.start_process(&StartProcess {
        image: None,
        command_line: None,
        ..StartProcess::default()
    });
    let record = only(&machine, &file);
    let header = event::read(&record).unwrap().header;
    assert!(header.flags.contains(Flags::IMAGE_UNAVAILABLE));
    assert!(header.flags.contains(Flags::COMMAND_LINE_UNAVAILABLE));
    stop(machine, file);
}

/// `FileOpenNameAvailable` was not looked at, so a part of a name passed for the whole.
#[test]
fn a_name_that_may_be_a_part_of_one_is_flagged() {
    let (machine, file) = started();
    let image = utf_16("evil.exe");
    for is_image_exact in [true, false] {
        machine.start_process(&StartProcess {
            image: Some(&image),
            is_image_exact,
            ..StartProcess::default()
        });
        let record = only(&machine, &file);
        let flags = event::read(&record).unwrap().header.flags;
        assert_eq!(flags.contains(Flags::IMAGE_PARTIAL), !is_image_exact);
    }
    stop(machine, file);
}

#[test]
fn an_empty_image_name_is_none_and_an_empty_command_line_is_one() {
    let (machine, file) = started();
    machine.start_process(&StartProcess {
        image: Some(&[]),
        command_line: Some(&[]),
        ..StartProcess::default()
    });
    let record = only(&machine, &file);
    let header = event::read(&record).unwrap().header;
    assert!(header.flags.contains(Flags::IMAGE_UNAVAILABLE));
    assert!(!header.flags.contains(Flags::COMMAND_LINE_UNAVAILABLE));
    stop(machine, file);
}

#[test]
fn an_exit_carries_the_status() {
    let (machine, file) = started();
    machine.start_process(&StartProcess {
        create_time: EPOCH + 1,
        ..StartProcess::default()
    });
    machine.exit_process(100, 104, 0xc000_0005_u32.cast_signed());
    let records = flushed(&machine, &file);
    let event::Record {
        header,
        event: Event::ProcessExit(exit),
        ..
    } = event::read(&records[1]).unwrap()
    else {
        panic!("no process exit");
    };
    assert_eq!(exit.exit_status, 0xc000_0005);
    assert_eq!(
        (header.process_id, header.thread_id, header.start_time),
        (100, 104, 100)
    );
    stop(machine, file);
}

/// Such an end looked like that of a process whose start was lost, with exit code 259
/// (`STATUS_PENDING`) and the thread of a stranger.
#[test]
fn a_process_that_never_had_a_thread_is_told_as_one() {
    let (machine, file) = started();
    machine.delete_process(300, EPOCH + 1, (SYSTEM_PROCESS_ID, 12));
    machine.start_process(&StartProcess::default());
    machine.exit_process(100, 104, 0x103);
    let ends: Vec<_> = flushed(&machine, &file)
        .iter()
        .map(|record| event::read(record).unwrap())
        .filter_map(|record| match record.event {
            Event::ProcessExit(exit) => Some((record.header, exit.exit_status)),
            _ => None,
        })
        .map(|(header, status)| {
            let never_ran = header.flags.contains(Flags::NEVER_RAN);
            (header.process_id, header.thread_id, status, never_ran)
        })
        .collect();
    assert_eq!(ends, [(300, 0, 0x103, true), (100, 104, 0x103, false)]);
    stop(machine, file);
}

#[test]
fn a_parent_that_is_gone_has_no_start_time() {
    let (machine, file) = started();
    machine.start_process(&StartProcess {
        parent_process_id: 9_999,
        ..StartProcess::default()
    });
    let record = only(&machine, &file);
    let event::Record {
        event: Event::ProcessStart(start),
        ..
    } = event::read(&record).unwrap()
    else {
        panic!("no process start");
    };
    assert_eq!(
        (start.parent_process_id, start.parent_start_time),
        (9_999, 0)
    );
    stop(machine, file);
}

#[test]
fn process_events_survive_a_thread_storm() {
    let machine = Machine::new();
    machine.set_value("QueueLimit", 4, &(64_u32 * 1024).to_le_bytes());
    let (machine, file) = started_on(machine);
    // More than the 768 that have room.
    let storm = if IS_THOROUGH { 1_900 } else { 900 };
    for turn in 0..storm {
        machine.exit_thread(SYSTEM_PROCESS_ID, turn);
    }
    for process_id in 100..140 {
        machine.start_process(&StartProcess {
            process_id,
            ..StartProcess::default()
        });
    }
    let counters = counters(&file);
    let count = |kind| counters.kinds.get(kind).unwrap();
    assert!(count(Kind::THREAD_EXIT).lost > u64::from(storm - 800));
    assert_eq!(count(Kind::PROCESS_START).lost, 0);
    assert_eq!(count(Kind::PROCESS_START).produced, 40);
    stop(machine, file);
}
