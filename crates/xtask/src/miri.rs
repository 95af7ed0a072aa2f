//! `cargo xtask miri`: the wire format, the ring buffer and the driver on `ntemu` under Miri, which
//! sees reads out of bounds, uses after free, broken aliasing and races that happen to do no harm
//! on this machine.

use std::thread::{self, ScopedJoinHandle};

use anyhow::{Result, anyhow};
use clap::Args;

use crate::command::{cargo_nightly, run_tests};
use crate::tally::Tally;

/// Arguments of `cargo xtask miri`.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// All of every test, the driver's loop over every failing call included: ten minutes
    #[arg(long)]
    full: bool,
}

/// What runs at the same time; the driver takes as long as the rest together.
const GROUPS: [&[&str]; 2] = [&["driver"], &["event", "ring-buffer"]];

/// Runs them, with few cases of property tests, because Miri is a hundred times slower.
pub(crate) fn run(options: &Options) -> Result<Tally> {
    thread::scope(|scope| {
        let [first, second] =
            GROUPS.map(|packages| scope.spawn(move || run_packages(packages, options)));
        Ok(join(first)?.plus(join(second)?))
    })
}

fn run_packages(packages: &[&str], options: &Options) -> Result<Tally> {
    let mut command = cargo_nightly();
    command
        .args(["miri", "test", "--locked", "--no-fail-fast"])
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .env("MIRIFLAGS", "-Zmiri-disable-isolation")
        .env("PROPTEST_CASES", "8");
    if options.full {
        command.env("RUSTFLAGS", "--cfg miri_full");
    }
    run_tests(&mut command)?.complete()
}

fn join(thread: ScopedJoinHandle<'_, Result<Tally>>) -> Result<Tally> {
    thread
        .join()
        .map_err(|_panic| anyhow!("a thread of this task panicked"))?
}
