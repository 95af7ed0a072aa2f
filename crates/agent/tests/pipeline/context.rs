//! What an event says beyond its record: the parent, the process's own program, what it used.

use event::{Extension, Flags, Header, Kind, image, process, thread};
use systrail::trail::{Body, Event, Text, Usage};

use super::{Step, TICK, exec, exit, fork, lost, record, step};

/// The program of the parent, as a start or an exec tells it.
fn parent(event: &Event) -> (Option<&str>, Option<&str>, Option<&str>) {
    let parent = match &event.body {
        Body::ProcessStart(start) => &start.parent,
        Body::ProcessExec(exec) => &exec.parent,
        body => panic!("{body:?}"),
    };
    (
        parent.parent_image.as_ref().map(Text::shown),
        parent.parent_command_line.as_ref().map(Text::shown),
        parent.parent_user.as_deref(),
    )
}

fn reason<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    let found = event.missing.iter().find(|(field, _)| field == name);
    found.map(|(_, reason)| reason.as_ref())
}

const PARENT: [&str; 3] = ["parent_image", "parent_command_line", "parent_user"];

#[test]
fn a_start_and_an_exec_tell_what_the_parent_runs_then() {
    let script = vec![
        fork(TICK, 1, 10),
        exec(2 * TICK, 10, b"sh\0bin\0", b"sh\0-c\0x\0"),
        fork(3 * TICK, 10, 20),
        exec(4 * TICK, 10, b"zsh\0bin\0", b"zsh\0"),
        exec(5 * TICK, 20, b"ls\0bin\0", b"ls\0"),
        exit(6 * TICK, 10, 0),
        exec(7 * TICK, 20, b"cat\0bin\0", b"cat\0"),
    ];
    let (events, _account) = record(vec![script]);
    let root = Some("root");
    assert_eq!(parent(&events[3]), (Some("/bin/sh"), Some("sh -c x"), root));
    assert_eq!(parent(&events[5]), (Some("/bin/zsh"), Some("zsh"), root));
    // Whose child it is now nobody told.
    assert_eq!(parent(&events[7]), (None, None, None));
    for field in PARENT {
        assert_eq!(reason(&events[5], field), None);
        assert_eq!(reason(&events[7], field), Some("gone"));
    }
}

#[test]
fn a_parent_that_nobody_can_tell_of_is_missing_with_the_reason() {
    let mut origin = fork(3 * TICK, 1, 11);
    origin.header.flags = Flags::ORIGIN_UNAVAILABLE;
    let mut kernels = fork(4 * TICK, 2, 12);
    kernels.header.flags = Flags::EXISTING.with(Flags::KERNEL_PROCESS);
    let script = vec![
        // No process has this id.
        fork(2 * TICK, 4_194_304, 10),
        origin,
        kernels,
        fork(5 * TICK, 12, 13),
        fork(6 * TICK, 0, 14),
    ];
    let (events, _account) = record(vec![script]);
    for (index, expected) in [
        (1, "lost"),
        (2, "unavailable"),
        (4, "kernel_thread"),
        (5, "kernel_thread"),
    ] {
        assert_eq!(reason(&events[index], PARENT[0]), Some(expected), "{index}");
        assert_eq!(reason(&events[index], PARENT[1]), Some(expected), "{index}");
        assert_eq!(parent(&events[index]).0, None);
    }
}

// The snapshot tells of processes by their ids, and a parent may have the greater one.
#[cfg(target_os = "linux")]
#[test]
fn a_parent_that_is_told_of_only_later_is_asked_of_the_system() {
    let own_id = std::process::id();
    let ticks = systrail::sys::processes::start_tick(own_id).unwrap();
    let mut child = fork(systrail::sys::clock::now().0, own_id, 4_194_303);
    child.header.flags = Flags::EXISTING;
    if let event::Event::ProcessStart(start) = &mut child.event {
        start.parent_start_time = ticks * TICK;
    }
    let (events, _account) = record(vec![vec![child]]);
    let path = std::env::current_exe().unwrap();
    assert_eq!(parent(&events[1]).0, path.to_str());
    assert!(parent(&events[1]).1.is_some());
    assert_eq!(parent(&events[1]).2, Some("root").filter(|_| is_root()));
}

#[cfg(target_os = "linux")]
fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Any user's process with 32 KiB of arguments and a thousand children filled the log with them.
#[test]
fn a_long_command_line_of_a_parent_is_cut() {
    static LINE: &[u8] = &[b'a'; 4_096];
    let script = vec![
        fork(TICK, 1, 10),
        exec(2 * TICK, 10, b"sh\0bin\0", LINE),
        fork(3 * TICK, 10, 20),
    ];
    let (events, _account) = record(vec![script]);
    let line = parent(&events[3]).1.unwrap();
    assert_eq!(line.len(), 1_024);
    assert!(events[3].truncated.contains(&PARENT[1].into()));
    assert!(!events[3].truncated.contains(&"command_line".into()));
}

#[test]
fn threads_and_images_tell_the_program_of_their_process() {
    let start_of = |time, process_id, creator_process_id| {
        let header = Header {
            time,
            process_id,
            thread_id: 11,
            ..Header::default()
        };
        let start = thread::Start {
            creator_process_id,
            ..thread::Start::default()
        };
        step(header, event::Event::ThreadStart(start))
    };
    let load = |time, process_id| {
        let header = Header {
            time,
            process_id,
            ..Header::default()
        };
        step(header, event::Event::ImageLoad(image::Load::default()))
    };
    let script = vec![
        fork(TICK, 1, 10),
        exec(2 * TICK, 10, b"sh\0bin\0", b"sh\0"),
        start_of(3 * TICK, 10, 10),
        load(4 * TICK, 10),
        fork(5 * TICK, 1, 20),
        exec(6 * TICK, 20, b"gdb\0bin\0", b"gdb\0-p\x0010\0"),
        start_of(7 * TICK, 10, 20),
        // No process has this id.
        load(8 * TICK, 4_194_304),
    ];
    let (events, _account) = record(vec![script]);
    let Body::ThreadStart(own) = &events[3].body else {
        panic!("{:?}", events[3])
    };
    assert_eq!(own.process_image, Some("/bin/sh".into()));
    assert_eq!(own.details, None);
    let Body::ImageLoad(load) = &events[4].body else {
        panic!("{:?}", events[4])
    };
    assert_eq!(load.process_image, Some("/bin/sh".into()));
    let Body::ThreadStart(remote) = &events[7].body else {
        panic!("{:?}", events[7])
    };
    assert_eq!(remote.process_image, Some("/bin/sh".into()));
    let details = remote.details.as_ref().unwrap();
    assert_eq!(details.creator_image, Some("/bin/gdb".into()));
    assert_eq!(details.creator_command_line, Some("gdb -p 10".into()));
    assert_eq!(reason(&events[8], "process_image"), Some("lost"));
}

// The images of a program that was executed were told to be loaded into the one before it.
#[test]
fn an_image_that_is_loaded_by_an_exec_is_the_new_programs() {
    let load = |time, path: &'static [u8], flags: Flags| {
        let header = Header {
            time,
            process_id: 10,
            flags: flags.with(Flags::LEAF_FIRST),
            ..Header::default()
        };
        let load = image::Load {
            image: path,
            ..image::Load::default()
        };
        step(header, event::Event::ImageLoad(load))
    };
    let script = |is_lost: bool| {
        let mut script = vec![
            fork(TICK, 1, 10),
            exec(2 * TICK, 10, b"sh\0bin\0", b"sh\0"),
            load(4 * TICK, b"ls\0bin\0", Flags::EXECUTING),
            load(5 * TICK, b"ld.so\0lib\0", Flags::EXECUTING),
            exec(6 * TICK, 10, b"ls\0bin\0", b"ls\0"),
            load(7 * TICK, b"libc.so\0lib\0", Flags::NONE),
            load(8 * TICK, b"cat\0bin\0", Flags::EXECUTING),
        ];
        if is_lost {
            script.insert(2, lost(3 * TICK, Kind::IMAGE_LOAD, 1));
        }
        script
    };
    let told = |is_lost| {
        let (events, _account) = record(vec![script(is_lost)]);
        let told: Vec<Option<String>> = events
            .iter()
            .filter_map(|event| match &event.body {
                Body::ImageLoad(load) => Some(load.process_image.as_ref()),
                _ => None,
            })
            .map(|image| image.map(|image| image.shown().to_owned()))
            .collect();
        told
    };
    let names = |names: [Option<&str>; 4]| names.map(|name| name.map(str::to_owned));
    let (ls, cat) = (Some("/bin/ls"), Some("/bin/cat"));
    assert_eq!(told(false), names([ls, ls, ls, cat]));
    assert_eq!(told(true), names([None, None, ls, cat]));
}

#[test]
fn an_exit_tells_what_the_process_used_where_the_sensor_does() {
    let usage = process::Usage {
        user_time: 3_000_000,
        system_time: 1_000_000,
        run_time: 8_000_000,
        peak_memory: 4_096,
        read_bytes: 0,
        written_bytes: 512,
    };
    let session = process::Session { session_id: 1 };
    let script = vec![
        fork(TICK, 1, 10),
        fork(TICK, 1, 11),
        Step {
            extension: Extension::Ending(session, usage),
            ..exit(2 * TICK, 10, 0)
        },
        Step {
            extension: Extension::Session(session),
            ..exit(2 * TICK, 11, 0)
        },
    ];
    let (events, _account) = record(vec![script]);
    let usage = |event: &Event| match &event.body {
        Body::ProcessExit(exit) => exit.usage,
        body => panic!("{body:?}"),
    };
    let told = usage(&events[3]);
    assert_eq!(
        (told.user_time_ns, told.system_time_ns),
        (Some(6_000_000), Some(2_000_000))
    );
    assert_eq!((told.peak_memory, told.read_bytes), (Some(4_096), Some(0)));
    assert_eq!(told.written_bytes, Some(512));
    assert_eq!(reason(&events[3], "user_time_ns"), None);
    assert_eq!(usage(&events[4]), Usage::default());
    let expected = (!cfg!(windows)).then_some("unavailable");
    for field in [
        "user_time_ns",
        "system_time_ns",
        "peak_memory",
        "read_bytes",
        "written_bytes",
    ] {
        assert_eq!(reason(&events[4], field), expected);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_control_group_that_cannot_be_found_is_missing_with_the_reason() {
    let users = process::Users::default();
    let of_group = |step: Step, cgroup_id| Step {
        extension: Extension::Origin(users, process::Setting { cgroup_id }),
        ..step
    };
    let script = vec![
        fork(TICK, 1, 10),
        // No file has this inode.
        of_group(fork(2 * TICK, 1, 11), u64::MAX),
        of_group(exec(3 * TICK, 11, b"sh\0", b"sh\0"), u64::MAX),
        of_group(fork(4 * TICK, 1, 12), 0),
    ];
    let (events, _account) = record(vec![script]);
    let reasons: Vec<_> = events[1..5]
        .iter()
        .map(|event| reason(event, "cgroup"))
        .collect();
    let (unavailable, gone) = (Some("unavailable"), Some("gone"));
    assert_eq!(reasons, [unavailable, gone, gone, unavailable]);
}
