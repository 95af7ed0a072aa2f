//! All automation of the repository: `cargo xtask TASK`. Each task is one file; what the continuous
//! integration runs is what runs at home.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task talks to the person who started it"
)]

mod bench;
mod ci;
mod command;
mod ebpf;
mod fuzz;
mod image;
mod lint;
mod miri;
mod setup;
mod test;
mod tidy;
mod vm;
mod workload;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// All automation of the SysTrail repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the other tasks need on a bare Debian 12 (needs root)
    Setup(setup::Options),
    /// Everything the continuous integration checks, in its order, with a summary
    Ci(ci::Options),
    /// Format, clippy and documentation, warnings being errors
    Lint,
    /// The rules that no compiler checks: dependency table, unsafe list, sizes, documents
    Tidy,
    /// All tests of the workspace; as root also those against the running kernel
    Test(test::Options),
    /// The wire format's tests under Miri (nightly)
    Miri,
    /// Build the eBPF object
    Ebpf {
        /// Build it and compare it with the committed one, which stays as it is
        #[arg(long)]
        check: bool,
    },
    /// Build `systrail.sys` twice, compare the two and check the image
    Driver,
    /// Boot stock Debian kernels under qemu and run the integration tests there
    Vm(vm::Options),
    /// Run every fuzz target for a while (nightly)
    Fuzz(fuzz::Options),
    /// Measure
    #[command(subcommand)]
    Bench(bench::Bench),
    /// The programs the benches measure
    #[command(subcommand, hide = true)]
    Workload(workload::Workload),
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup(options) => setup::run(&options),
        Task::Ci(options) => ci::run(&options),
        Task::Lint => lint::run(),
        Task::Tidy => tidy::run(),
        Task::Test(options) => test::run(&options).map(|_tally| ()),
        Task::Miri => miri::run().map(|_tally| ()),
        Task::Ebpf { check } => ebpf::run(check),
        Task::Driver => image::run(),
        Task::Vm(options) => vm::run(&options).map(|_tally| ()),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Bench(bench) => bench::run(&bench),
        Task::Workload(workload) => workload::run(&workload),
    }
}
