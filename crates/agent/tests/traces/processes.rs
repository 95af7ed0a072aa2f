//! Who is who in a trace.

use etw::encode::{self, Whence};
use etw::guid::Guid;
use systrail::trail::UserId;

use super::{
    BASE, EXIT, IMAGE_THERE, IMAGE_THERE_AT_END, LOAD, Replayed, START, THERE, THERE_AT_END,
    THREAD_EXIT, THREAD_START, THREAD_THERE, UNLOAD, exited, image, payload, process, thread, told,
    trace,
};

#[test]
fn a_process_is_told_with_all_the_trace_knows_of_it() {
    let replayed = Replayed::of(&trace(&[
        told(THERE, 4, (0, 0), 0, process(700, 4, "shell.exe", "shell")),
        told(
            START,
            4,
            (700, 9),
            1,
            process(800, 700, "a.exe", "a.exe  b "),
        ),
        told(
            LOAD,
            3,
            (800, 11),
            2,
            image(800, 0x40_0000, 0x8000, r"\Device\HarddiskVolume3\x\a.exe"),
        ),
        told(
            UNLOAD,
            3,
            (800, 11),
            3,
            image(800, 0x40_0000, 0x8000, r"\Device\HarddiskVolume3\x\a.exe"),
        ),
        told(
            EXIT,
            4,
            (800, 11),
            5,
            exited(800, 700, 0xc000_0005, "a.exe", "a.exe  b "),
        ),
    ]));
    let (shell, there) = replayed.start(700);
    assert!(there.existing);
    let missing = |field: &str| shell.missing.iter().any(|(name, _)| name == field);
    assert!(missing("time"), "a rundown has no time of creation");
    assert!(missing("image"), "no image of it was told");
    assert_eq!(there.name.as_ref().unwrap().shown(), "shell.exe");

    let (event, start) = replayed.start(800);
    assert!(!start.existing && !start.kernel_process);
    assert_eq!(start.parent_process_id, Some(700));
    assert_eq!(start.parent_process_key, Some(shell.process_key));
    assert_eq!(start.creator_process_id, Some(700));
    assert_eq!(start.creator_thread_id, Some(9));
    assert_eq!(start.session_id, Some(1));
    let program = &start.program;
    let path = r"\Device\HarddiskVolume3\x\a.exe";
    assert_eq!(program.image.as_ref().unwrap().shown(), path);
    assert_eq!(program.command_line.as_ref().unwrap().shown(), "a.exe  b ");
    let user = UserId::Sid("S-1-5-21-1-2-3-1001".into());
    assert_eq!(program.user_id, Some(user));
    assert!(event.truncated.is_empty());

    let (exit_event, exit) = replayed.exits()[0];
    assert_eq!(exit_event.process_key, event.process_key);
    assert_eq!(exit.exit_code, Some(0xc000_0005));
    assert_eq!(exit.run_time_ns, Some(400));
    assert_eq!(exit.image.as_ref().unwrap().shown(), path);
    let (_, load) = replayed.loads()[0];
    assert_eq!((load.image_base, load.image_size), (0x40_0000, 0x8000));
    assert_eq!(load.signature_level.as_deref(), Some("windows"));
    assert_eq!(load.signature_type.as_deref(), Some("embedded"));
    assert!(!load.existing && !load.kernel_image);
    assert_eq!(replayed.count("image_unload"), 1);
    assert_eq!(replayed.count("sensor_start"), 1);
    assert_eq!(replayed.count("sensor_stop"), 1);
    assert_eq!(replayed.passed_over_count(), 0);
    let sequences = replayed.events.iter().map(|event| event.sequence);
    assert!(sequences.eq(1..=replayed.events.len() as u64));
}

/// csrss and winlogon of a shutdown named a parent whose id was another's by then: a wrong tree, and
/// elsewhere a circle.
#[test]
fn a_parent_that_comes_later_in_the_rundown_is_another_process() {
    let replayed = Replayed::of(&trace(&[
        told(THREAD_EXIT, 3, (496, 1), 0, thread(496, 77, 1)),
        told(THERE, 4, (0, 0), 1, process(516, 496, "csrss.exe", "csrss")),
        told(THERE, 4, (0, 0), 2, process(600, 516, "child.exe", "child")),
        told(
            THERE,
            4,
            (0, 0),
            3,
            process(496, 600, "svchost.exe", "svchost"),
        ),
    ]));
    assert_eq!(replayed.start(516).1.parent_process_id, Some(496));
    assert_eq!(replayed.start(516).1.parent_process_key, None);
    let key = replayed.start(516).0.process_key;
    assert_eq!(replayed.start(600).1.parent_process_key, Some(key));
    assert!(replayed.start(496).1.parent_process_key.is_some());
}

/// The kernel's key of a process is an address, and used again.
#[test]
fn two_processes_with_one_id_and_one_address_are_two() {
    let replayed = Replayed::of(&trace(&[
        told(START, 4, (4, 1), 0, process(800, 4, "a.exe", "a")),
        told(EXIT, 4, (800, 1), 10, exited(800, 4, 0, "a.exe", "a")),
        told(THREAD_EXIT, 3, (800, 1), 11, thread(800, 900, 1)),
        told(START, 4, (4, 1), 20, process(800, 4, "b.exe", "b")),
        told(EXIT, 4, (800, 1), 30, exited(800, 4, 0, "b.exe", "b")),
    ]));
    let starts = replayed.starts();
    assert_eq!(starts.len(), 2);
    assert_ne!(starts[0].0.process_key, starts[1].0.process_key);
    let exits = replayed.exits();
    assert_eq!(exits[0].0.process_key, starts[0].0.process_key);
    assert_eq!(exits[1].0.process_key, starts[1].0.process_key);
    let late = replayed
        .events
        .iter()
        .find(|event| event.body.kind().name() == Some("thread_exit"));
    assert_eq!(late.unwrap().process_key, starts[0].0.process_key);
}

#[test]
fn a_start_whose_exit_was_lost_is_another_process() {
    let replayed = Replayed::of(&trace(&[
        told(START, 4, (4, 1), 0, process(800, 4, "a.exe", "a")),
        told(START, 4, (4, 1), 20_000_000, process(800, 4, "b.exe", "b")),
        told(
            EXIT,
            4,
            (800, 1),
            30_000_000,
            exited(800, 4, 0, "b.exe", "b"),
        ),
        told(
            EXIT,
            4,
            (800, 1),
            40_000_000,
            exited(800, 4, 1, "c.exe", "c"),
        ),
    ]));
    assert_eq!(replayed.starts().len(), 2);
    let keys: Vec<_> = replayed
        .exits()
        .iter()
        .map(|(event, _)| event.process_key)
        .collect();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0], keys[1]);
}

/// The provider tells the path and the creation, and no command line; the kernel's logger the reverse.
#[test]
#[expect(clippy::too_many_lines, reason = "one trace, and what is told of it")]
fn a_start_and_an_exit_that_two_tell_are_one() {
    let created = 134_116_992_600_000_000_i64;
    let whence = |ticks| Whence {
        process_id: 700,
        thread_id: 9,
        stamp: BASE + ticks,
    };
    let start = payload()
        .u32(800)
        .u64(created.cast_unsigned())
        .u32(700)
        .u32(1)
        .u32(0)
        .wide(r"\Device\Mup\server\share\a.exe");
    let exit = payload()
        .u32(800)
        .u64(created.cast_unsigned())
        .u64(created.cast_unsigned() + 50_000)
        .u32(3)
        .u32(2)
        .u32(104)
        .u64(1)
        .u64(1)
        .u64(1)
        .u32(1)
        .u32(1)
        .u32(1)
        .u32(1)
        .u32(1)
        .narrow("a.exe");
    let of = |id, ticks, payload: &encode::Payload| {
        let stack = [0xffff_f800_21a2_d4ef, 0x7ff9_0000_0001];
        encode::provider(
            (Guid::KERNEL_PROCESS, id),
            1,
            whence(ticks),
            &stack,
            &payload.bytes,
        )
    };
    let by_logger = [
        told(START, 4, (700, 9), 1, process(800, 700, "a.exe", "a.exe b")),
        told(
            EXIT,
            4,
            (800, 1),
            50_000,
            exited(800, 700, 3, "a.exe", "a.exe b"),
        ),
    ];
    let by_provider = [of(1, 0, &start), of(2, 49_990, &exit)];
    for events in [
        [
            &by_provider[0],
            &by_logger[0],
            &by_provider[1],
            &by_logger[1],
        ],
        [
            &by_logger[0],
            &by_provider[0],
            &by_logger[1],
            &by_provider[1],
        ],
    ] {
        let replayed = Replayed::of(&trace(&events.map(Clone::clone)));
        let (event, start) = replayed.start(800);
        assert_eq!(replayed.starts().len(), 1);
        let image = start.program.image.as_ref().unwrap();
        assert_eq!(image.shown(), r"\\server\share\a.exe");
        assert_eq!(
            start.program.command_line.as_ref().unwrap().shown(),
            "a.exe b"
        );
        assert_eq!(replayed.exits().len(), 1);
        assert_eq!(replayed.exits()[0].0.process_key, event.process_key);
        assert!(replayed.says("both told"));
    }
    // Where the provider is alone it is told all the same, and says what it lacks.
    let replayed = Replayed::of(&trace(&by_provider));
    let (event, start) = replayed.start(800);
    assert_eq!(start.program.command_line, None);
    assert!(
        event
            .missing
            .iter()
            .any(|(field, _)| field == "command_line")
    );
    assert_eq!(replayed.exits()[0].1.exit_code, Some(3));
}

#[test]
fn a_command_line_as_long_as_the_kernels_cut_is_cut() {
    for (length, is_cut) in [(511, false), (512, true), (513, false), (1024, true)] {
        let command_line = "x".repeat(length);
        let replayed = Replayed::of(&trace(&[told(
            START,
            4,
            (4, 1),
            0,
            process(800, 4, "a.exe", &command_line),
        )]));
        let truncated = &replayed.start(800).0.truncated;
        assert_eq!(
            truncated.iter().any(|field| field == "command_line"),
            is_cut,
            "{length}"
        );
    }
}

#[test]
fn a_first_thread_is_its_process_and_no_remote_one() {
    let replayed = Replayed::of(&trace(&[
        told(START, 4, (700, 9), 0, process(800, 700, "a.exe", "a")),
        told(THREAD_START, 3, (700, 9), 1, thread(800, 801, 0x7ff9)),
        told(THREAD_START, 3, (800, 801), 2, thread(800, 802, 0x7ff9)),
        told(THREAD_START, 3, (666, 667), 3, thread(800, 803, 0x7ffa)),
        told(THREAD_EXIT, 3, (800, 802), 4, thread(800, 802, 0)),
        told(THREAD_EXIT, 3, (800, 801), 5, thread(800, 801, 0)),
        told(THREAD_THERE, 3, (0, 0), 6, thread(4, 5, 0)),
    ]));
    let threads = replayed.threads();
    let ids: Vec<_> = threads
        .iter()
        .map(|thread| (thread.thread_id, thread.remote))
        .collect();
    assert_eq!(ids, [(802, false), (803, true)]);
    assert_eq!(threads[1].creator_process_id, Some(666));
    assert_eq!(threads[1].creator_thread_id, Some(667));
    assert_eq!(threads[1].start_address, Some(0x7ffa));
    assert_eq!(replayed.count("thread_exit"), 1);
    assert!(replayed.says("2 starts and exits of first threads"));
    assert!(replayed.says("1 threads that ran"));
}

/// What ran all the time is known by its images only when the trace ends.
#[test]
fn what_comes_only_in_the_rundown_at_the_end_is_told_once_and_names_its_process() {
    let path = r"\Device\HarddiskVolume3\Windows\explorer.exe";
    let library = r"\Device\HarddiskVolume3\Windows\System32\shell32.dll";
    let replayed = Replayed::of(&trace(&[
        told(
            THERE,
            4,
            (0, 0),
            0,
            process(700, 4, "explorer.exe", "explorer"),
        ),
        told(
            IMAGE_THERE,
            3,
            (0, 0),
            1,
            image(700, 0x1000, 0x100, library),
        ),
        told(
            THERE_AT_END,
            4,
            (0, 0),
            2,
            process(700, 4, "Explorer.EXE", "explorer"),
        ),
        told(
            THERE_AT_END,
            4,
            (0, 0),
            3,
            process(900, 700, "late.exe", "late"),
        ),
        told(
            IMAGE_THERE_AT_END,
            3,
            (0, 0),
            4,
            image(700, 0x1000, 0x100, library),
        ),
        told(
            IMAGE_THERE_AT_END,
            3,
            (0, 0),
            5,
            image(700, 0x9000, 0x100, path),
        ),
        told(
            IMAGE_THERE_AT_END,
            3,
            (0, 0),
            6,
            image(0, 0xffff_f800_0000_0000, 1, "ntoskrnl.exe"),
        ),
    ]));
    assert_eq!(replayed.starts().len(), 2);
    let image = replayed.start(700).1.program.image.as_ref().unwrap();
    assert_eq!(image.shown(), path);
    let key = replayed.start(700).0.process_key;
    assert_eq!(replayed.start(900).1.parent_process_key, Some(key));
    let loads = replayed.loads();
    assert_eq!(loads.len(), 3);
    assert!(loads.iter().all(|(_, load)| load.existing));
    assert!(loads[2].1.kernel_image);
}

#[test]
fn the_kernels_own_processes_are_told_as_such() {
    let no_user = |process_id: u32, parent: u32, name: &str| {
        payload()
            .pointer(1)
            .u32(process_id)
            .u32(parent)
            .u32(u32::MAX)
            .u32(259)
            .pointer(1)
            .u32(0)
            .u32(0)
            .narrow(name)
            .wide("")
            .wide("")
            .wide("")
    };
    let replayed = Replayed::of(&trace(&[
        told(THERE, 4, (0, 0), 0, no_user(0, 0, "Idle")),
        told(THERE, 4, (0, 0), 1, no_user(4, 0, "System")),
        told(THERE, 4, (0, 0), 2, no_user(88, 4, "Registry")),
        told(
            THERE,
            4,
            (0, 0),
            3,
            process(348, 4, "smss.exe", r"\SystemRoot\System32\smss.exe"),
        ),
    ]));
    let kernel: Vec<_> = replayed
        .starts()
        .iter()
        .map(|(_, start)| start.kernel_process)
        .collect();
    assert_eq!(kernel, [true, true, true, false]);
    assert_eq!(
        replayed.start(0).1.parent_process_key,
        None,
        "nobody is his own parent"
    );
    assert_eq!(replayed.start(88).1.program.user_id, None);
    assert_eq!(replayed.start(88).1.session_id, None);
    assert_eq!(
        replayed.start(88).1.name.as_ref().unwrap().shown(),
        "Registry"
    );
}
