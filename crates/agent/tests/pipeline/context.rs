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

/// What an exec says of directory, terminal and environment, where the sensor tells this of them.
#[cfg(target_os = "linux")]
fn surrounded(time: u64, process_id: u32, context: process::Context<'static>) -> Step {
    let (users, setting) = (process::Users::default(), process::Setting::default());
    Step {
        extension: Extension::Context(users, setting, context),
        ..exec(time, process_id, b"sh\0bin\0", b"sh\0")
    }
}

#[cfg(target_os = "linux")]
fn setting(event: &Event) -> (Option<&str>, Option<&str>, Option<&str>) {
    let setting = match &event.body {
        Body::ProcessStart(start) => &start.setting,
        Body::ProcessExec(exec) => &exec.setting,
        body => panic!("{body:?}"),
    };
    (
        setting.working_directory.as_ref().map(Text::shown),
        setting.working_directory_scope.as_deref(),
        setting.terminal.as_deref(),
    )
}

#[cfg(target_os = "linux")]
fn environment(event: &Event) -> Vec<&str> {
    let program = event.body.program().unwrap();
    let variables = program.environment.iter().flat_map(|all| all.iter());
    variables.map(Text::shown).collect()
}

/// Seven events, by how much a sensor could tell of what surrounds a process.
#[cfg(target_os = "linux")]
fn surroundings() -> Vec<Event> {
    let leaf_first = Flags::LEAF_FIRST;
    let context = process::Context {
        flags: leaf_first,
        terminal: event::Place::device_of(136, 300),
        directory: b"ada\0home\0",
        environment: b"SECRET=1\0LD_AUDIT=x\0LD_AUDITED=2\0",
    };
    let deleted = process::Context {
        flags: leaf_first.with(Flags::IMAGE_DELETED),
        // No device has this number.
        terminal: event::Place::device_of(0xfff, 0xf_ffff),
        environment: b"",
        ..context
    };
    let elsewhere = process::Context {
        flags: leaf_first
            .with(Flags::PLACED)
            .with(Flags::COMMAND_LINE_TRUNCATED),
        terminal: 0,
        // The root of a mount that is attached nowhere.
        directory: b"\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        environment: b"LD_AUDIT=cut",
    };
    let cut = process::Context {
        flags: leaf_first.with(Flags::IMAGE_TRUNCATED),
        ..context
    };
    let script = vec![
        fork(TICK, 1, 10),
        surrounded(2 * TICK, 10, context),
        fork(3 * TICK, 10, 11),
        surrounded(4 * TICK, 10, deleted),
        surrounded(5 * TICK, 10, elsewhere),
        surrounded(6 * TICK, 10, cut),
        surrounded(7 * TICK, 10, process::Context::of_terminal(0)),
        exec(8 * TICK, 10, b"sh\0bin\0", b"sh\0"),
    ];
    let settings = super::Settings {
        environment: systrail::environment::Names::new(&["LD_AUDIT"]),
        ..super::settings()
    };
    let (mut events, _account) = super::record_with(settings, vec![script]);
    events.drain(2..9).collect()
}

#[cfg(target_os = "linux")]
fn reasons<'e>(events: &'e [Event], field: &str) -> Vec<Option<&'e str>> {
    let reasons = events.iter().map(|event| reason(event, field));
    reasons.collect()
}

#[cfg(target_os = "linux")]
fn is_cut(event: &Event, field: &str) -> bool {
    event.truncated.iter().any(|name| name == field)
}

#[cfg(target_os = "linux")]
#[test]
fn directory_and_terminal_are_told_or_missing_with_the_reason() {
    let events = surroundings();
    let told: Vec<_> = events.iter().map(setting).collect();
    let (home, none) = (Some("/home/ada"), (None, None, None));
    assert_eq!(told[0], (home, None, Some("pts/300")));
    assert_eq!(told[1], none);
    assert_eq!(told[2], (home, Some("none"), None));
    assert_eq!(told[3], (Some("."), Some("detached"), None));
    assert_eq!(told[4], (Some("home/ada"), None, Some("pts/300")));
    assert!(is_cut(&events[4], "working_directory"));
    assert_eq!((told[5], told[6]), (none, none));
    let (none, unavailable) = (None, Some("unavailable"));
    assert_eq!(
        reasons(&events, "working_directory"),
        [
            none,
            unavailable,
            none,
            none,
            none,
            Some("gone"),
            unavailable
        ]
    );
    let unknown = Some("unknown");
    assert_eq!(
        reasons(&events, "terminal"),
        [none, unavailable, unknown, none, none, none, unavailable]
    );
}

#[cfg(target_os = "linux")]
#[test]
fn the_environment_has_what_is_asked_for_and_a_fork_has_its_creators() {
    let events = surroundings();
    let variables: Vec<_> = events.iter().map(environment).collect();
    let audit = ["LD_AUDIT=x"].as_slice();
    assert_eq!(variables[..3], [audit, audit, &[]]);
    assert_eq!(variables[3..], [&["LD_AUDIT=cut"][..], audit, &[], &[]]);
    let cut: Vec<_> = events
        .iter()
        .map(|event| is_cut(event, "environment"))
        .collect();
    assert_eq!(cut, [false, false, false, true, false, false, false]);
    let (none, unavailable) = (None, Some("unavailable"));
    assert_eq!(
        reasons(&events, "environment"),
        [none, none, none, none, none, Some("gone"), unavailable]
    );
}
