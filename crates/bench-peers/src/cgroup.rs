//! A control group for a recorder and one for a workload: the kernel then accounts the processor
//! time of both to the microsecond, children that have ended included.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use xtask::command::program;

/// How long processes may take to go after they were killed.
const EMPTY_MAX: Duration = Duration::from_secs(5);

/// A group of processes. Dropping it kills what is left in it and removes it.
pub(super) struct Group {
    path: PathBuf,
    /// The directory, locked for as long as the group is in use.
    _lock: File,
}

/// Processor time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) user_ns: u64,
    pub(super) system_ns: u64,
}

impl Time {
    pub(super) const fn since(self, before: Self) -> Self {
        Self {
            user_ns: self.user_ns.saturating_sub(before.user_ns),
            system_ns: self.system_ns.saturating_sub(before.system_ns),
        }
    }

    pub(super) const fn total_ns(self) -> u64 {
        self.user_ns + self.system_ns
    }
}

impl Group {
    /// Makes an empty group. One of that name that a killed run left behind is removed first; one
    /// that another run uses is not.
    pub(super) fn new(name: &str) -> Result<Self> {
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
        let top = unified(&mounts)
            .context("there is no cgroup2 file system; mount one at /sys/fs/cgroup/unified")?;
        let path = top.join(format!("systrail-bench-{name}"));
        if path.exists() {
            lock(&path)?;
            remove(&path)?;
        }
        fs::create_dir(&path)
            .with_context(|| format!("cannot make the control group {}", path.display()))?;
        Ok(Self {
            _lock: lock(&path)?,
            path,
        })
    }

    /// A command that begins in this group: a shell moves itself and becomes the program, so that
    /// nothing the program does is outside, and the process id is the program's.
    pub(super) fn command(&self, of: &Command) -> Command {
        let mut command = program("sh");
        command
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(self.path.join("cgroup.procs"))
            .arg(of.get_program())
            .args(of.get_args());
        for (name, value) in of.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        if let Some(directory) = of.get_current_dir() {
            command.current_dir(directory);
        }
        command
    }

    /// What all processes that ever were in it have taken.
    pub(super) fn time(&self) -> Result<Time> {
        let text = self.read("cpu.stat")?;
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
                .map(|us| us * 1000)
                .with_context(|| format!("cpu.stat says no {name}"))
        };
        Ok(Time {
            user_ns: field("user_usec ")?,
            system_ns: field("system_usec ")?,
        })
    }

    /// The processes in it now.
    pub(super) fn processes(&self) -> Result<Vec<u32>> {
        let text = self.read("cgroup.procs")?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.path.join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

/// Holds a group until the file is closed, by whatever way its process ends.
fn lock(group: &Path) -> Result<File> {
    let file = File::open(group).with_context(|| format!("cannot open {}", group.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another bench is running: it holds {}", group.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", group.display()))
        }
    }
}

/// Kills what is in a group and removes it.
fn remove(group: &Path) -> Result<()> {
    let end = Instant::now() + EMPTY_MAX;
    loop {
        fs::write(group.join("cgroup.kill"), "1")
            .with_context(|| format!("cannot empty {}", group.display()))?;
        match fs::remove_dir(group) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= end => {
                bail!("cannot remove {}: {error}", group.display())
            }
            Err(_busy) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            eprintln!("bench-peers: {error:#}");
        }
    }
}

/// Where the one hierarchy of cgroup2 is mounted, which may be beside those of version 1.
fn unified(mounts: &str) -> Option<&Path> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let is_ours = after.split(' ').next() == Some("cgroup2");
        is_ours.then(|| before.split(' ').nth(4).map(Path::new))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_cgroup2_beside_version_1() {
        let mounts = "40 31 0:37 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(unified(mounts), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(unified("31 1 0:1 / / rw - ext4 /dev/vda rw\n"), None);
    }

    #[test]
    fn a_group_in_use_is_not_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let held = lock(directory.path()).unwrap();
        let error = lock(directory.path()).unwrap_err().to_string();
        assert!(error.contains("another bench is running"), "{error}");
        drop(held);
        lock(directory.path()).unwrap();
    }

    #[test]
    fn time_that_went_back_is_none() {
        let time = |user_ns, system_ns| Time { user_ns, system_ns };
        assert_eq!(time(9, 5).since(time(2, 7)), time(7, 0));
        assert_eq!(time(9, 5).total_ns(), 14);
    }
}
