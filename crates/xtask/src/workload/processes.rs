//! Loops of fork, exec and wait. As a build does, a loop keeps a few processes under way, so that
//! all processors have work and the rate is not bounded by one of them.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// Processes under way at a time.
const UNDER_WAY_MAX: usize = 4;

/// Batches of a hundredth of a second: fine enough to be steady, and few wake-ups for the pacing.
const BATCHES_PER_SECOND: u32 = 100;

/// Starts them at that rate, and returns how long it was not waiting for the next batch.
pub(super) fn at_rate(program: &Path, rate: u32, seconds: u32) -> Result<Duration> {
    let starter = Starter::new(program)?;
    let begin = Instant::now();
    let mut busy = Duration::ZERO;
    let mut count_so_far = 0;
    for batch in 1..=seconds * BATCHES_PER_SECOND {
        let due = begin + Duration::from_secs(1) * (batch - 1) / BATCHES_PER_SECOND;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let batch_begin = Instant::now();
        // Rates that no batch divides are right in the end as well.
        let target = u64::from(rate) * u64::from(batch) / u64::from(BATCHES_PER_SECOND);
        let count = u32::try_from(target).context("too many processes")? - count_so_far;
        starter.run(count)?;
        count_so_far += count;
        busy += batch_begin.elapsed();
    }
    Ok(busy)
}

/// Starts them as fast as it goes.
pub(super) fn flat_out(program: &Path, count: u32) -> Result<()> {
    Starter::new(program)?.run(count)
}

/// Starts processes at once that start the program so often, one after the other.
pub(super) fn tree(program: &Path, branches: u32, leaves: u32) -> Result<()> {
    let this = env::current_exe().context("cannot find this program")?;
    let leaves = leaves.to_string();
    let branches: Vec<Child> = (0..branches)
        .map(|_| {
            let mut command = quiet(&this);
            command.args(["workload", "flat-out", &leaves]).arg(program);
            command.spawn().context("cannot start a branch")
        })
        .collect::<Result<_>>()?;
    branches.into_iter().try_for_each(finish)
}

struct Starter<'a> {
    program: &'a Path,
    group: u32,
}

impl<'a> Starter<'a> {
    fn new(program: &'a Path) -> Result<Self> {
        // Where a group is asked for, the standard library forks, because posix_spawn cannot set
        // one. It is the group we have, so no privilege is needed, and no `unsafe` to fork.
        let group = fs::metadata("/proc/self")?.gid();
        Ok(Self { program, group })
    }

    /// Returns when the last of them has ended.
    fn run(&self, count: u32) -> Result<()> {
        let mut under_way = std::collections::VecDeque::with_capacity(UNDER_WAY_MAX);
        for _ in 0..count {
            if under_way.len() == UNDER_WAY_MAX {
                under_way.pop_front().map_or(Ok(()), finish)?;
            }
            let mut command = quiet(self.program);
            command.gid(self.group);
            under_way.push_back(command.spawn().context("cannot start the program")?);
        }
        under_way.into_iter().try_for_each(finish)
    }
}

/// A program with no environment that says nothing.
pub(super) fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn finish(mut child: Child) -> Result<()> {
    let status = child.wait().context("cannot wait for a program")?;
    ensure!(status.success(), "a program ended with {status}");
    Ok(())
}
