//! Who made a process and whose child it is, in every way Linux has to make one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;

use nix::sched::CloneFlags;
use nix::sys::wait::waitpid;
use nix::unistd::{Uid, execve, getpid, getppid, getsid, gettid, setsid, setuid};

use crate::execs::c_string;
use crate::lives::{Life, Lives};
use crate::raw::{clone_child, clone_sharing_memory, fork_child};
use crate::recorder::{Plan, Recorder};
use crate::witness::{Stage, own_process_id, wait_until};
use crate::workload::{Facts, own_path, tell};

/// The user `nobody`.
const NOBODY: u32 = 65_534;

/// What a child or its creator told about it.
struct Child<'a> {
    name: &'a str,
    process_id: i32,
    parent: i32,
    creator: i32,
    creator_thread: i32,
}

impl<'a> Child<'a> {
    fn all(facts: &'a Facts) -> Vec<Self> {
        let child = |fact: &'a [String]| {
            let number = |index: usize| fact[index].parse().unwrap();
            Self {
                name: &fact[0],
                process_id: number(1),
                parent: number(2),
                creator: number(3),
                creator_thread: number(4),
            }
        };
        facts.all("child").into_iter().map(child).collect()
    }
}

#[test]
fn parent_and_creator_are_right_however_a_process_is_made() {
    let Some(stage) = Stage::set() else {
        return;
    };
    let recorder = Recorder::start(stage.path(), Plan::default());
    let facts = Facts::of("parents", &[&stage.program]);
    let recording = recorder.stop();

    let lives = Lives::of(&recording);
    let role = lives.one(own_process_id(), facts.process_id);
    let children = Child::all(&facts);
    assert_eq!(children.len(), 12);
    for child in &children {
        let start = lives.one(child.creator, child.process_id).start;
        let name = child.name;
        assert_eq!(start.parent_process_id, Some(child.parent), "{name}");
        assert_eq!(
            start.creator_thread_id,
            Some(child.creator_thread),
            "{name}"
        );
        let parent = lives.with_key(start.parent_process_key.unwrap());
        let parent = parent.unwrap_or_else(|| panic!("{name}: unknown parent of {start:?}"));
        assert_eq!(parent.start.process_id, child.parent, "{name}");
        assert_eq!(start.image.as_deref(), own_path().to_str(), "{name}");
        assert_eq!(start.arguments, role.exec().arguments, "{name}");
        assert_eq!(start.parent_user.as_deref(), Some("root"), "{name}");
        if child.name == "sibling" {
            continue;
        }
        // All run what the role runs, and so do their parents.
        assert_eq!(start.parent_image.as_deref(), own_path().to_str(), "{name}");
        assert_eq!(
            start.parent_command_line,
            role.exec().command_line,
            "{name}"
        );
        assert_eq!(start.user_id, Some(0), "{name}");
        assert_eq!(start.user.as_deref(), Some("root"), "{name}");
    }
    assert_eq!(role.start.parent_process_id, Some(own_process_id()));
    let own = own_command_line();
    for row in [role.start, role.exec()] {
        assert_eq!(row.parent_image.as_deref(), own_path().to_str());
        assert_eq!(row.parent_command_line.as_ref(), Some(&own));
        assert_eq!(row.parent_user.as_deref(), Some("root"));
    }
    assert_users_are_right(&lives, &facts);
    assert_sessions_are_right(&lives, &facts);
}

/// The arguments of this process as `/proc` has them.
fn own_command_line() -> String {
    let arguments = fs::read_to_string("/proc/self/cmdline").unwrap();
    arguments.trim_end_matches('\0').replace('\0', " ")
}

/// The user of an exec is the effective one: whom the process became, or who owns a program that
/// sets it.
fn assert_users_are_right(lives: &Lives<'_>, facts: &Facts) {
    for (name, user_id, user) in [("nobody", NOBODY, "nobody"), ("set_user_id", 0, "root")] {
        let exec = life(lives, facts, name).exec();
        assert_eq!(exec.user_id, Some(user_id), "{name}");
        assert_eq!(exec.user.as_deref(), Some(user), "{name}");
    }
}

/// A session is told as it was when the process was made.
fn assert_sessions_are_right(lives: &Lives<'_>, facts: &Facts) {
    let own_session = getsid(None).unwrap().as_raw();
    assert_eq!(
        life(lives, facts, "fork").start.session_id,
        Some(own_session)
    );
    let new = facts.numbers("session")[0];
    let inner = life(lives, facts, "in_new_session");
    assert_eq!(inner.start.session_id, Some(new));
}

fn life<'a, 'b>(lives: &'b Lives<'a>, facts: &Facts, name: &str) -> &'b Life<'a> {
    let children = Child::all(facts);
    let child = children.iter().find(|child| child.name == name).unwrap();
    lives.one(child.creator, child.process_id)
}

/// Tells what a child must be told as, from the child or its creator.
fn tell_child(name: &str, process_id: i32, parent: i32, creator: (i32, i32)) {
    let (creator, creator_thread) = creator;
    tell(&format!(
        "child {name} {process_id} {parent} {creator} {creator_thread}"
    ));
}

fn me() -> (i32, i32) {
    (getpid().as_raw(), gettid().as_raw())
}

/// Role: makes children in every way.
pub(crate) fn make_children(program: &Path) {
    fork_and_vfork();
    fork_by_a_thread();
    make_a_sibling();
    leave_an_orphan();
    enter_a_namespace();
    begin_a_session();
    change_users(program);
}

fn fork_and_vfork() {
    let (own, _) = me();
    let child = fork_child(|| 0);
    tell_child("fork", child.as_raw(), own, me());
    waitpid(child, None).unwrap();

    let child = clone_child(CloneFlags::CLONE_VFORK, || 0);
    tell_child("vfork", child.as_raw(), own, me());
    waitpid(child, None).unwrap();

    let child = clone_sharing_memory(CloneFlags::CLONE_FILES | CloneFlags::CLONE_SIGHAND, 0);
    tell_child("shared_memory", child.as_raw(), own, me());
    waitpid(child, None).unwrap();
}

fn fork_by_a_thread() {
    let (own, _) = me();
    let thread = thread::spawn(move || {
        let child = fork_child(|| 0);
        tell_child("fork_by_thread", child.as_raw(), own, me());
        waitpid(child, None).unwrap();
    });
    thread.join().unwrap();
}

/// `CLONE_PARENT`: the child's parent is its creator's parent.
fn make_a_sibling() {
    let (own, _) = me();
    let creator = fork_child(|| {
        let sibling = clone_child(CloneFlags::CLONE_PARENT, || 0);
        tell_child("sibling", sibling.as_raw(), getppid().as_raw(), me());
        tell(&format!("sibling {sibling}"));
        0
    });
    tell_child("creator_of_sibling", creator.as_raw(), own, me());
    waitpid(creator, None).unwrap();
    // Both are this process's children; whichever is left.
    nix::sys::wait::wait().unwrap();
}

/// A child whose parent ends first: whom it goes to then does not change whose child it was.
fn leave_an_orphan() {
    let (own, _) = me();
    let parent = fork_child(|| {
        let (parent, thread) = me();
        fork_child(move || {
            tell_child("orphan", getpid().as_raw(), parent, (parent, thread));
            wait_until(|| getppid().as_raw() != parent);
            0
        });
        0
    });
    tell_child("parent_of_orphan", parent.as_raw(), own, me());
    waitpid(parent, None).unwrap();
}

/// In a new namespace a process knows itself by another id; `/proc` here has the host's.
fn enter_a_namespace() {
    let (own, _) = me();
    let creator = me();
    let child = clone_child(CloneFlags::CLONE_NEWPID, || {
        assert_eq!(getpid().as_raw(), 1);
        let host_id = fs::read_to_string("/proc/self/status").unwrap();
        let host_id = host_id.lines().find(|line| line.starts_with("NSpid:"));
        let host_id: Vec<i32> = host_id
            .unwrap()
            .split_whitespace()
            .skip(1)
            .map(|id| id.parse().unwrap())
            .collect();
        assert_eq!(host_id[1..], [1]);
        tell_child("in_namespace", host_id[0], own, creator);
        0
    });
    waitpid(child, None).unwrap();
}

fn begin_a_session() {
    let leader = fork_child(|| {
        let session = setsid().unwrap();
        tell(&format!("session {session}"));
        let inner = fork_child(|| 0);
        tell_child("in_new_session", inner.as_raw(), getpid().as_raw(), me());
        waitpid(inner, None).unwrap();
        0
    });
    waitpid(leader, None).unwrap();
}

fn change_users(program: &Path) {
    let set_user_id = program.with_file_name("set-user-id");
    fs::copy(program, &set_user_id).unwrap();
    fs::set_permissions(&set_user_id, fs::Permissions::from_mode(0o4755)).unwrap();
    for (name, program) in [("nobody", program), ("set_user_id", &set_user_id)] {
        let child = fork_child(|| {
            setuid(Uid::from_raw(NOBODY)).unwrap();
            let path = c_string(program);
            let none: [&std::ffi::CStr; 0] = [];
            let Err(error) = execve(&path, &[&path], &none);
            panic!("{error}");
        });
        tell_child(name, child.as_raw(), getpid().as_raw(), me());
        waitpid(child, None).unwrap();
    }
}
