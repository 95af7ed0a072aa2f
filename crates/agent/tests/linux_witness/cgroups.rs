//! Control groups made by hand, and what is told of those who run in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lives::Lives;
use crate::recorder::{Plan, Recorder};
use crate::witness::{Machine, directory, own_process_id, say, tiny_program};
use crate::workload::{Facts, tell};

/// What Docker might call a container.
const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A control group that is there until this is dropped.
struct Group {
    slice: PathBuf,
    scope: PathBuf,
}

impl Group {
    /// `None` where the unified hierarchy is not mounted.
    fn make() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        let mount = mount.split(' ').nth(4).unwrap();
        let slice = Path::new(mount).join(format!("systrail{}.slice", own_process_id()));
        let scope = slice.join(format!("docker-{CONTAINER}.scope"));
        fs::create_dir_all(&scope).unwrap();
        Some(Self { slice, scope })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let removed = fs::remove_dir(&self.scope).and_then(|()| fs::remove_dir(&self.slice));
        if let Err(error) = removed {
            say(&format!("{} stays: {error}", self.slice.display()));
        }
    }
}

#[test]
fn a_process_is_told_in_its_control_group_with_container_and_unit() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let Some(group) = Group::make() else {
        say("the unified hierarchy of control groups is not mounted here");
        return;
    };
    let directory = directory();
    let program = tiny_program(directory.path());
    let recorder = Recorder::start(directory.path(), Plan::default());
    let facts = Facts::of("cgroups", &[&group.scope, &program]);
    let recording = recorder.stop();

    let lives = Lives::of(&recording);
    let role = lives.one(own_process_id(), facts.process_id);
    let own = group_of("self");
    assert_eq!(role.start.cgroup.as_deref(), Some(&*own));
    let exec = role.exec();
    assert_eq!(exec.cgroup.as_deref(), Some(&*own));
    assert_eq!(exec.container_id, None);
    let child = lives.one(facts.process_id, facts.numbers("child")[0]);
    let told = facts.all("group").pop().unwrap().join(" ");
    assert!(told.ends_with(&format!("docker-{CONTAINER}.scope")));
    for row in [child.start, child.exec()] {
        assert_eq!(row.cgroup.as_deref(), Some(&*told));
        assert_eq!(row.container_id.as_deref(), Some(CONTAINER));
        let unit = format!("docker-{CONTAINER}.scope");
        assert_eq!(row.systemd_unit.as_deref(), Some(&*unit));
    }
}

/// The group of a process in the unified hierarchy, as `/proc` has it.
fn group_of(process: &str) -> String {
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"));
    group.unwrap().to_owned()
}

/// Role: goes into a control group and starts a program there.
pub(crate) fn start_in(group: &Path, program: &Path) {
    fs::write(group.join("cgroup.procs"), "0").unwrap();
    tell(&format!("group {}", group_of("self")));
    let mut child = Command::new(program).spawn().unwrap();
    tell(&format!("child {}", child.id()));
    child.wait().unwrap();
}
