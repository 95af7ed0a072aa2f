//! `cargo xtask bench`: what recording costs. Figures go to the terminal, to `target/bench` as JSON
//! and into docs/BENCHMARKS.md, with the machine they were taken on.

mod goal;
pub(crate) mod instructions;
mod look;
mod overhead;
mod peers;
mod recorder;
pub mod report;
pub mod sample;
mod store;

use anyhow::Result;
use clap::Subcommand;

pub use self::recorder::executable;

/// The benches.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// What recording costs the programs recorded, and what the agent takes for itself
    Overhead(overhead::Options),
    /// Instructions of the Windows driver's paths an event
    Driver(instructions::Options),
    /// Instructions of the agent's paths an event
    Agent(instructions::Options),
    /// Instructions of the eBPF programs
    Ebpf(instructions::Options),
    /// `systrail` beside auditd, bpftrace, execsnoop, forkstat, perf and sysdig
    #[command(disable_help_flag = true)]
    Peers(peers::Options),
    /// What the settings change: rings, flush interval, events, rules; rates, processes, a soak
    #[command(disable_help_flag = true)]
    Tuning(peers::Options),
    /// How fast the store takes events, how large it is, how fast it answers
    Store(store::Options),
    /// How long a person waits for what he looks at: top, web, tree, a report
    Look(look::Options),
}

/// Runs one.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Overhead(options) => overhead::run(options),
        Bench::Driver(options) => instructions::run_driver(options),
        Bench::Agent(options) => instructions::run_agent(options),
        Bench::Ebpf(options) => instructions::run_ebpf(options),
        Bench::Peers(options) => peers::run("peers", options),
        Bench::Tuning(options) => peers::run("tuning", options),
        Bench::Store(options) => store::run(options),
        Bench::Look(options) => look::run(options),
    }
}
