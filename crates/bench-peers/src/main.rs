//! `systrail` beside other recorders, and under other settings: `cargo xtask bench peers` and
//! `cargo xtask bench tuning` start this.
//!
//! It is a crate of its own because it draws and knows other people's programs, which no other task
//! should have to compile. What it measures with, it has from `xtask`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench talks to the person who started it"
)]

mod audit;
mod catalogue;
mod cgroup;
mod disturbance;
mod family;
mod interrupt;
mod latency;
mod load;
mod outcome;
mod peers;
mod plot;
mod programs;
mod seen;
mod session;
mod site;
mod table;
mod tracefs;
mod tuning;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::workload::{self, Workload};

/// `systrail` beside other recorders, and under other settings.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// `systrail` beside auditd, bpftrace, execsnoop, forkstat, perf and sysdig
    Peers(peers::Options),
    /// What the settings change: rings, flush interval, events, rules; rates, processes, a soak
    Tuning(tuning::Options),
    /// The programs the benches measure
    #[command(subcommand, hide = true)]
    Workload(Workload),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().bench {
        Bench::Peers(options) => peers::run(&options),
        Bench::Tuning(options) => tuning::run(&options),
        Bench::Workload(workload) => workload::run(&workload),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}
