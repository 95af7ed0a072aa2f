//! What an event says beyond its record: the parent, the process's own program, what it used.

use event::{Flags, Header, image, thread};
use systrail::trail::{Body, Event, Text};

use super::{TICK, exec, exit, fork, record, step};

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
