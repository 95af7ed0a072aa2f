//! `cargo xtask bench`: what recording costs. Figures go to the terminal, to `target/bench` as JSON
//! and into docs/BENCHMARKS.md, with the machine they were taken on.

#[path = "../../bench-peers/src/disturbance.rs"]
mod disturbance;
pub(crate) mod instructions;
#[path = "../../bench-peers/src/interrupt.rs"]
mod interrupt;
mod overhead;
#[path = "../../bench-peers/src/peers.rs"]
mod peers;
mod recorder;
mod report;
mod sample;
mod store;

use anyhow::Result;
use clap::Subcommand;

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
    Peers(peers::Options),
    /// What the settings change: rings, flush interval, events, rules; rates, processes, a soak
    Tuning(peers::tuning::Options),
    /// How fast the store takes events, how large it is, how fast it answers
    Store(store::Options),
}

/// Runs one.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Overhead(options) => overhead::run(options),
        Bench::Driver(options) => instructions::run_driver(options),
        Bench::Agent(options) => instructions::run_agent(options),
        Bench::Ebpf(options) => instructions::run_ebpf(options),
        Bench::Peers(options) => peers::run(options),
        Bench::Tuning(options) => peers::tuning::run(options),
        Bench::Store(options) => store::run(options),
    }
}
