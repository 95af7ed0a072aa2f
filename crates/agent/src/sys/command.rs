//! Commands that are run in a process group of their own, so that all of it can be ended.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// Has the command run apart from this program: in a group and a working directory of its own.
pub fn apart(command: &mut Command) {
    command.process_group(0).current_dir("/");
}

/// Whether it has ended. It stays a zombie until it is waited for, so that its id is no other's.
pub fn has_ended(child: &Child) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    // A child that cannot be waited for is none any more.
    group_of(child).is_none_or(|group| waitid(Id::Pid(group), flags) != Ok(WaitStatus::StillAlive))
}

/// Kills the group of a command that was run [`apart`] and was not waited for.
pub fn kill_group(child: &mut Child) {
    if let Some(group) = group_of(child) {
        // The group may be empty by now but for the zombie.
        let _killed = killpg(group, Signal::SIGKILL);
    }
}

/// The id of the group is that of its first process.
fn group_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().map(Pid::from_raw)
}
