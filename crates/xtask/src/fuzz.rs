//! `cargo xtask fuzz`: every target of `fuzz/` for a while. A crash leaves its input in
//! `fuzz/artifacts` and fails the task.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Error, Result, anyhow, ensure};
use clap::Args;

use crate::command::{cargo_nightly, run as run_command};
use crate::workspace;

/// Arguments of `cargo xtask fuzz`.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these targets
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) seconds: u32,
}

impl Options {
    /// Every target for that long.
    pub(crate) fn all(seconds: u32) -> Self {
        Self {
            targets: Vec::new(),
            seconds,
        }
    }
}

/// The largest memory a target may use, in MiB; a claim in hostile bytes must not become a large
/// allocation.
const MEMORY_MAX_MIB: u32 = 512;

/// The longest one input may take, in seconds.
const INPUT_TIME_MAX: u32 = 10;

/// How many run at once: each is one thread.
const RUN_COUNT: usize = 2;

/// Builds them, then runs them, some at once.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut targets = options.targets.clone();
    if targets.is_empty() {
        targets = all_targets()?;
        run_command(&mut cargo_fuzz("build"))?;
    }
    for some in targets.chunks(RUN_COUNT) {
        thread::scope(|scope| {
            let runs: Vec<_> = some
                .iter()
                .map(|target| (target, scope.spawn(|| run_target(target, options.seconds))))
                .collect();
            for (target, run) in runs {
                let result = run.join().map_err(|_panic| anyhow!("it was not run"));
                result
                    .flatten()
                    .with_context(|| format!("fuzz target {target}"))?;
            }
            Ok::<(), Error>(())
        })?;
    }
    Ok(())
}

fn run_target(target: &str, seconds: u32) -> Result<()> {
    run_command(
        cargo_fuzz("run")
            // Freed memory waits there to be caught in use, and counts against the limit.
            .env("ASAN_OPTIONS", "quarantine_size_mb=64")
            .args([target, "--"])
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-rss_limit_mb={MEMORY_MAX_MIB}"))
            .arg(format!("-timeout={INPUT_TIME_MAX}"))
            // Only what was found and how much was tried; otherwise each new input is a line.
            .args(["-verbosity=0", "-print_final_stats=1"]),
    )
}

/// A command of cargo-fuzz.
fn cargo_fuzz(name: &str) -> Command {
    let mut command = cargo_nightly();
    command
        // Cargo's own target directory would be shared with builds without sanitizers.
        .env_remove("CARGO_TARGET_DIR")
        // One unit, cargo-fuzz's default, keeps all processors but one waiting for the agent.
        .args(["fuzz", name, "--codegen-units=16"]);
    command
}

/// The targets, by the names of their files.
fn all_targets() -> Result<Vec<String>> {
    let directory = workspace::root().join("fuzz/fuzz_targets");
    let entries =
        fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut targets = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            targets.extend(path.file_stem().and_then(name));
        }
    }
    targets.sort();
    ensure!(!targets.is_empty(), "there is no fuzz target");
    Ok(targets)
}

fn name(stem: &std::ffi::OsStr) -> Option<String> {
    Path::new(stem).to_str().map(str::to_owned)
}
