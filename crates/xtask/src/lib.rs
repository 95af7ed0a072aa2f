//! All automation of the repository: `cargo xtask TASK`. Each task is one file; what the continuous
//! integration runs is what runs at home.
//!
//! It is a library so that a crate beside it measures with what the benches here share.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task talks to the person who started it"
)]

pub mod bench;
mod ci;
pub mod command;
mod deny;
mod dist;
mod ebpf;
mod fuzz;
mod grow;
mod image;
mod inf;
mod layout;
mod lint;
mod loom;
mod miri;
mod outside;
mod pictures;
mod places;
mod setup;
mod sign;
mod tally;
mod test;
mod tidy;
mod transcript;
mod tsan;
mod vm;
mod wine;
pub mod workload;
pub mod workspace;

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
    /// What others wrote and we build: licences, sources, duplicate versions (cargo-deny)
    Deny,
    /// All tests of the workspace; as root also those against the running kernel
    Test(test::Options),
    /// A program of somebody else's that reads a log with `systrail-trail` alone
    Outside,
    /// The pictures of the documents; needs root, make, gcc and Chromium
    Pictures,
    /// Add a field and a kind in a copy, and find them wherever fields and kinds are
    Grow,
    /// Every interleaving of the ring buffer's small cases
    Loom,
    /// The many-threaded tests under `ThreadSanitizer` (nightly)
    Tsan,
    /// The wire format, the ring buffer and the driver under Miri (nightly)
    Miri(miri::Options),
    /// Build the eBPF object
    Ebpf {
        /// Build it and compare it with the committed one, which stays as it is
        #[arg(long)]
        check: bool,
    },
    /// Build `systrail.sys` twice, compare the two and check the image
    Driver,
    /// Compare the driver's structures, constants and functions with mingw-w64's DDK headers
    Layout,
    /// What is released: tarball, zip, bills of materials and checksums
    Dist(dist::Options),
    /// Sign `systrail.sys` and `systrail.exe` and verify the signatures
    Sign(sign::Options),
    /// Boot stock Debian kernels under qemu and run the integration tests there
    Vm(vm::Options),
    /// The driver as it ships, on Wine, with real services, requests and processes
    Wine(wine::Options),
    /// Run every fuzz target for a while (nightly)
    Fuzz(fuzz::Options),
    /// Measure
    #[command(subcommand)]
    Bench(bench::Bench),
    /// The programs the benches measure
    #[command(subcommand, hide = true)]
    Workload(workload::Workload),
}

/// Runs the task the command line asks for.
pub fn main() -> ExitCode {
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
        Task::Deny => deny::run(),
        Task::Test(options) => test::run(&options),
        Task::Outside => outside::run(),
        Task::Pictures => pictures::run(),
        Task::Grow => grow::run().map(|_tally| ()),
        Task::Loom => loom::run().map(|_tally| ()),
        Task::Tsan => tsan::run().map(|_tally| ()),
        Task::Miri(options) => miri::run(&options).map(|_tally| ()),
        Task::Ebpf { check } => ebpf::run(check),
        Task::Driver => image::run().map(|_driver| ()),
        Task::Layout => layout::run(),
        Task::Dist(options) => dist::run(&options),
        Task::Sign(options) => sign::run(&options),
        Task::Vm(options) => vm::run(&options).map(|_tally| ()),
        Task::Wine(options) => wine::run(&options).map(|_tally| ()),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Bench(bench) => bench::run(&bench),
        Task::Workload(workload) => workload::run(&workload),
    }
}
