//! The directory, the terminal and the variables of programs, against what `/proc` says of them.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::unistd::setsid;

use crate::execs::{exec_of, last_exec, record, run};
use crate::lives::Lives;
use crate::raw;
use crate::recorder::{Kind, Plan, Recorder, Row, log_path};
use crate::witness::{Machine, directory, own_process_id, tiny_program};
use crate::workload::{Role, command, tell};

/// What a value has at most, as promised.
const VALUE_SIZE_MAX: usize = 4096;

/// What no row may have a trace of.
const SECRET: &str = "8f2c61d07b";

/// What a process that waits shows of itself.
struct Shown {
    process_id: i32,
    directory: PathBuf,
    variables: Vec<String>,
    terminal: Option<String>,
}

impl Shown {
    /// By `/proc`: its variables of those names, and the device of its terminal.
    fn of(role: &Role, names: &[&str]) -> Self {
        let process_id = role.process_id();
        let read = |name: &str| fs::read(format!("/proc/{process_id}/{name}")).unwrap();
        let variables = String::from_utf8(read("environ")).unwrap();
        let is_asked = |variable: &&str| {
            let name = variable.split_once('=').map(|(name, _)| name);
            name.is_some_and(|name| names.contains(&name))
        };
        Self {
            process_id,
            directory: fs::read_link(format!("/proc/{process_id}/cwd")).unwrap(),
            variables: variables
                .split('\0')
                .filter(is_asked)
                .map(str::to_owned)
                .collect(),
            terminal: terminal_of(&process_id.to_string()),
        }
    }

    /// Fails unless the row says the same.
    fn assert_told_in(&self, row: &Row) {
        assert_eq!(row.working_directory.as_deref(), self.directory.to_str());
        assert_eq!(row.working_directory_scope, None);
        assert_eq!(row.terminal, self.terminal);
        assert_eq!(row.environment.as_deref(), Some(&*self.variables));
        for field in ["working_directory", "terminal", "environment"] {
            assert!(!row.missing.contains_key(field), "{row:?}");
            assert!(!row.truncated.iter().any(|cut| cut == field), "{row:?}");
        }
    }
}

/// A role that waits on a terminal of its own, and what that is called.
fn on_terminal(directory: &Path) -> (Role, String) {
    let mut command = command("take_terminal", &[]);
    command.current_dir(directory).env("SECRET", SECRET);
    command
        .env("LD_LIBRARY_PATH", "/nowhere:")
        .env("LD_AUDIT", "");
    let mut role = Role::start_by(command);
    let terminal = role.fact();
    assert_eq!(role.fact(), "ready");
    (role, terminal)
}

const NAMES: [&str; 3] = ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT"];

#[test]
fn a_program_is_told_with_its_directory_its_terminal_and_its_variables() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let scratch = directory();
    let inside = fs::canonicalize(scratch.path()).unwrap();
    let here = inside.join("caf\u{e9} (deleted)");
    fs::create_dir(&here).unwrap();
    // One that was there before, and one that comes.
    let (before, terminal_before) = on_terminal(&here);
    let shown_before = Shown::of(&before, &NAMES);
    let recorder = Recorder::start(&inside, Plan::default());
    let (role, terminal) = on_terminal(&here);
    let shown = Shown::of(&role, &NAMES);
    before.end();
    role.end();
    let recording = recorder.stop();

    let lives = Lives::of(&recording);
    let role = lives.one(own_process_id(), shown.process_id);
    let exec = last_exec(role);
    shown.assert_told_in(exec);
    assert_eq!(exec.terminal.as_deref(), Some(&*terminal));
    let is_before = |row: &&Row| row.existing && row.process_id == shown_before.process_id;
    let existing = recording.rows.iter().find(is_before).unwrap();
    shown_before.assert_told_in(existing);
    assert_eq!(existing.terminal.as_deref(), Some(&*terminal_before));
    // A fork has what its creator was given, and a terminal that the kernel tells; where it works
    // nobody asks.
    let own = lives.one(own_process_id(), shown.process_id).start;
    assert_eq!(own.terminal, terminal_of("self"));
    let reason = own.missing.get("working_directory");
    assert_eq!(reason.map(String::as_str), Some("unavailable"));
    assert_eq!(own.working_directory, None);
    let child = recording.rows.iter().find(|row| {
        row.creator_process_id == Some(shown.process_id) && row.process_id != shown.process_id
    });
    let child = child.unwrap();
    assert_eq!(child.terminal.as_deref(), Some(&*terminal));
    assert_eq!(child.environment, exec.environment);
    assert_no_secret(&inside);
}

/// The terminal of a process, by the number in its `stat` (field 7), as `ps` has it; only those that are
/// made by opening `/dev/ptmx` have a name here.
fn terminal_of(process: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let number: u32 = after_name.split(' ').nth(4).unwrap().parse().unwrap();
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
    match (major, minor) {
        (0, 0) => None,
        (136, index) => Some(format!("pts/{index}")),
        other => panic!("the terminal {other:?}"),
    }
}

fn assert_no_secret(directory: &Path) {
    let log = fs::read(log_path(directory)).unwrap();
    let log = String::from_utf8(log).unwrap();
    assert!(!log.contains(SECRET), "a variable that nobody asked for");
}

#[test]
fn variables_are_found_among_64_kib_of_others_and_cut_at_4_kib() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let long = "x".repeat(VALUE_SIZE_MAX);
    let (process_ids, recording, scratch) = record(|directory, program| {
        let run = |variables: &[(&str, &str)]| {
            let mut command = Command::new(program);
            command.env_clear();
            run(command.envs(variables.iter().copied()))
        };
        let huge = "A".repeat(64 * 1024);
        let many: Vec<String> = (0..1_900).map(|n| format!("A_VARIABLE_{n:04}")).collect();
        let many = many.iter().map(|name| (name.as_str(), "0123456789abcdef"));
        let many: Vec<_> = many
            .chain([("ZZ", SECRET), ("LD_PRELOAD", "many")])
            .collect();
        [
            run(&[
                ("HUGE", &huge),
                ("LD_PRELOAD", "behind"),
                ("LD_AUDIT_", SECRET),
            ]),
            run(&many),
            run(&[("LD_AUDIT", &long), ("LD_LIBRARY_PATHS", SECRET)]),
            run(&[
                ("LD_AUDIT", &format!("{long}{SECRET}")),
                ("LD_PRELOAD", "a=b"),
            ]),
            run(&[
                ("XLD_PRELOAD", SECRET),
                ("ld_preload", SECRET),
                ("LD_PRELOA", SECRET),
            ]),
            run(&[]),
            run_as_variable(directory, program),
        ]
    });
    let lives = Lives::of(&recording);
    let told = |index: usize| {
        let exec = exec_of(&lives, process_ids[index]);
        assert!(!exec.missing.contains_key("environment"), "{exec:?}");
        let mut variables = exec.environment.clone().unwrap_or_default();
        variables.sort();
        (variables, exec.truncated == ["environment"])
    };
    assert_eq!(told(0), (vec!["LD_PRELOAD=behind".to_owned()], false));
    assert_eq!(told(1), (vec!["LD_PRELOAD=many".to_owned()], false));
    assert_eq!(told(2), (vec![format!("LD_AUDIT={long}")], false));
    let cut = vec![format!("LD_AUDIT={long}"), "LD_PRELOAD=a=b".to_owned()];
    assert_eq!(told(3), (cut, true));
    assert_eq!(told(4), (vec![], false));
    assert_eq!(told(5), (vec![], false));
    assert_eq!(told(6), (vec![], false));
    assert_no_secret(&fs::canonicalize(scratch.path()).unwrap());
}

/// Runs a program whose path looks like a variable, and has none: the path stands behind the environment.
fn run_as_variable(directory: &Path, program: &Path) -> i32 {
    fs::create_dir(directory.join("LD_PRELOAD=x")).unwrap();
    fs::copy(program, directory.join("LD_PRELOAD=x/tiny")).unwrap();
    let mut command = Command::new("LD_PRELOAD=x/tiny");
    run(command.env_clear().current_dir(directory))
}

/// Sixteen names, of which some begin alike, find each its own; none find nothing.
#[test]
fn the_names_are_those_of_the_configuration() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let names: Vec<String> = (0..16)
        .map(|n| format!("{}_{n:X}", "LONG_COMMON_NAME".get(..1 + n % 16).unwrap()))
        .collect();
    let list = format!("names = {names:?}");
    let environment = |table: &str| {
        let scratch = directory();
        let program = tiny_program(scratch.path());
        let tables = format!("[environment]\n{table}\n");
        let plan = Plan {
            tables: &tables,
            ..Plan::default()
        };
        let recorder = Recorder::start(scratch.path(), plan);
        let mut command = Command::new(program);
        command.env_clear().env("LONG_COMMON_NAME_", SECRET);
        command.envs(names.iter().map(|name| (name, "1")));
        let process_id = run(&mut command);
        let recording = recorder.stop();
        let lives = Lives::of(&recording);
        let exec = exec_of(&lives, process_id);
        assert!(!exec.missing.contains_key("environment"), "{exec:?}");
        assert_no_secret(scratch.path());
        exec.environment.clone()
    };
    let mut told = environment(&list).unwrap();
    told.sort();
    let mut expected: Vec<String> = names.iter().map(|name| format!("{name}=1")).collect();
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!(environment("names = []"), None);
}

/// Where a program works that no path of the host leads to is never told as one.
#[test]
fn a_directory_is_told_in_whose_tree_it_is() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let (process_ids, recording, scratch) = record(|directory, program| {
        let mounted = directory.join("mounted");
        fs::create_dir(&mounted).unwrap();
        fs::write(directory.join("target"), "").unwrap();
        let target = directory.join("target");
        let gone = directory.join("gone");
        fs::create_dir(&gone).unwrap();
        let play = |role: &str, arguments: &[&Path]| run(&mut command(role, arguments));
        [
            play("exec_in_chroot", &[directory, Path::new("/tiny")]),
            run(command("exec_in_namespace", &[program, &target]).current_dir(directory)),
            play("exec_on_detached_mount", &[program, &mounted]),
            play("exec_in_deleted", &[program, &gone]),
            run(Command::new(program).current_dir("/")),
        ]
    });
    let inside = fs::canonicalize(scratch.path()).unwrap();
    let lives = Lives::of(&recording);
    let told = |index: usize| {
        let exec = *lives
            .one(own_process_id(), process_ids[index])
            .execs
            .last()
            .unwrap();
        assert!(!exec.missing.contains_key("working_directory"), "{exec:?}");
        let directory = exec.working_directory.as_deref().unwrap();
        (
            PathBuf::from(directory),
            exec.working_directory_scope.as_deref(),
        )
    };
    assert_eq!(told(0), (inside.clone(), None));
    assert_eq!(told(1), (inside.clone(), Some("mount_namespace")));
    assert_eq!(told(2), (".".into(), Some("detached")));
    assert_eq!(told(3), (inside.join("gone"), Some("none")));
    assert_eq!(told(4), ("/".into(), None));
}

#[test]
fn a_directory_is_whole_up_to_4096_bytes() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let ((process_id, path), recording, _scratch) = record(|directory, program| {
        let name = OsStr::from_bytes(b"n\xe9".repeat(50).as_slice()).to_owned();
        let mut path = directory.to_owned();
        while path.as_os_str().len() + 1 + name.len() <= 4_095 - 2 {
            path.push(&name);
        }
        path.push("r".repeat(4_095 - 1 - path.as_os_str().len()));
        assert_eq!(path.as_os_str().len(), 4_095);
        fs::create_dir_all(&path).unwrap();
        (run(Command::new(program).current_dir(&path)), path)
    });
    let lives = Lives::of(&recording);
    let exec = exec_of(&lives, process_id);
    assert_eq!(exec.truncated, [""; 0]);
    let told = exec.working_directory_bytes().unwrap();
    assert_eq!(OsStr::from_bytes(&told), path.as_os_str());
}

/// The other sensors are told of an exec when it is over; of who was there before they ask.
#[test]
fn a_sensor_that_is_not_told_says_so() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    for source in ["perf", "connector"] {
        let scratch = directory();
        let inside = fs::canonicalize(scratch.path()).unwrap();
        let program = tiny_program(&inside);
        let (before, terminal) = on_terminal(&inside);
        let shown = Shown::of(&before, &NAMES);
        let plan = Plan {
            arguments: &["--source", source],
            ..Plan::default()
        };
        let recorder = Recorder::start(&inside, plan);
        let process_id = run(&mut Command::new(program));
        before.end();
        let recording = recorder.stop();
        let rows = recording.rows.iter();
        let of = |wanted: i32| rows.clone().filter(move |row| row.process_id == wanted);
        let existing = of(shown.process_id).find(|row| row.existing).unwrap();
        shown.assert_told_in(existing);
        assert_eq!(existing.terminal.as_deref(), Some(&*terminal));
        let exec = of(process_id).find(|row| row.kind == Kind::ProcessExec);
        let exec = exec.unwrap();
        for field in ["working_directory", "terminal", "environment"] {
            let reason = exec.missing.get(field).map(String::as_str);
            assert_eq!(reason, Some("unavailable"), "{field} by {source}");
        }
        assert_no_secret(&inside);
    }
}

/// Role: takes a terminal of its own for the controlling one, and executes the role that waits.
pub(crate) fn take_terminal() {
    setsid().unwrap();
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname_r(&master).unwrap();
    // Both stay open: whoever hangs up is the end of the terminal.
    let slave = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    fcntl(slave.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    tell(path.strip_prefix("/dev/").unwrap());
    raw::fork_child(|| 0);
    panic!("{}", command("wait", &[]).exec());
}

/// Role: executes a program in a directory that it deleted.
pub(crate) fn exec_in_deleted(program: &Path, target: &Path) {
    std::env::set_current_dir(target).unwrap();
    fs::remove_dir(target).unwrap();
    panic!("{}", Command::new(program).exec());
}
