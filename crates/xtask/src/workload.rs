//! `xtask workload`: the programs the benches measure. Each prints how long it took, in
//! nanoseconds, so that its own start is not part of the figure.

mod processes;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Subcommand;

/// What to do, and how often.
#[derive(Subcommand)]
pub enum Workload {
    /// Start `/bin/true` and wait for it, with fork and exec
    Fork {
        /// How many times
        count: u32,
    },
    /// Start `/bin/true` and wait for it, with `posix_spawn`
    Spawn {
        /// How many times
        count: u32,
    },
    /// Create a thread and join it
    Threads {
        /// How many times
        count: u32,
    },
    /// Create threads and join them at a steady rate
    Storm {
        /// Threads a second; each gives two events
        rate: u32,
        /// For how long
        seconds: u32,
    },
    /// Fork, exec and wait at a steady rate; prints the time without the pauses
    Rate {
        /// Processes a second
        rate: u32,
        /// For how long
        seconds: u32,
        /// The program to run
        program: PathBuf,
    },
    /// Fork, exec and wait as fast as it goes
    FlatOut {
        /// How many times
        count: u32,
        /// The program to run
        program: PathBuf,
    },
    /// Processes that start processes, all at once
    Tree {
        /// How many processes start others
        branches: u32,
        /// How many each of them starts, one after the other
        leaves: u32,
        /// The program the last ones run
        program: PathBuf,
    },
}

/// Runs it and prints the nanoseconds it took.
pub fn run(workload: &Workload) -> Result<()> {
    let begin = Instant::now();
    match *workload {
        Workload::Rate {
            ref program,
            rate,
            seconds,
        } => {
            let busy = processes::at_rate(program, rate, seconds)?;
            println!("{}", busy.as_nanos());
            return Ok(());
        }
        Workload::FlatOut { ref program, count } => processes::flat_out(program, count)?,
        Workload::Tree {
            ref program,
            branches,
            leaves,
        } => processes::tree(program, branches, leaves)?,
        Workload::Fork { count } => {
            // Where a group is asked for, the standard library forks, because posix_spawn cannot
            // set one. It is the group we have, so no privilege is needed, and no `unsafe` to fork.
            let group = fs::metadata("/proc/self")?.gid();
            start_processes(count, || {
                let mut command = program();
                command.gid(group);
                command
            })?;
        }
        Workload::Spawn { count } => start_processes(count, program)?,
        Workload::Threads { count } => {
            for _ in 0..count {
                start_thread()?;
            }
        }
        Workload::Storm { rate, seconds } => storm(rate, seconds)?,
    }
    println!("{}", begin.elapsed().as_nanos());
    Ok(())
}

fn program() -> Command {
    processes::quiet(Path::new("/bin/true"))
}

fn start_processes(count: u32, command_fn: impl Fn() -> Command) -> Result<()> {
    for _ in 0..count {
        let status = command_fn().status().context("cannot start /bin/true")?;
        ensure!(status.success(), "/bin/true ended with {status}");
    }
    Ok(())
}

fn start_thread() -> Result<()> {
    let thread = thread::Builder::new()
        .spawn(|| ())
        .context("cannot start a thread")?;
    ensure!(thread.join().is_ok(), "a thread panicked");
    Ok(())
}

/// Batches of a hundredth of a second: fine enough to be steady, and few enough wake-ups that the
/// load is the threads and not the pacing.
fn storm(rate: u32, seconds: u32) -> Result<()> {
    const BATCHES_PER_SECOND: u32 = 100;
    let begin = Instant::now();
    for batch in 0..seconds * BATCHES_PER_SECOND {
        let due = begin + Duration::from_secs(1) * batch / BATCHES_PER_SECOND;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        for _ in 0..rate / BATCHES_PER_SECOND {
            start_thread()?;
        }
    }
    Ok(())
}
