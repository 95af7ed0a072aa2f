//! `cargo xtask vm`: the integration tests on stock Debian kernels, booted under qemu.
//!
//! The machine is a kernel from Debian's archive, never installed, and an initramfs made here: no
//! modules, no disk, no network. It runs the very test executables that `cargo test` runs on the
//! host, at the same paths, prints to its serial port and restarts, which ends qemu. Emulation and
//! not KVM, so that it works inside containers and other virtual machines.

mod archive;
mod executables;
mod initramfs;
mod kernel;
mod machine;

use std::path::Path;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::command::is_there;
use crate::tally::Tally;
use executables::Executables;
use kernel::Kernel;
use machine::Selected;

/// Arguments of `cargo xtask vm`.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these kernels; all that are known otherwise
    #[arg(long = "kernel", value_name = "SERIES", value_parser = kernel::series)]
    kernels: Vec<&'static kernel::Series>,
    /// Which integration tests of the agent to run (a glob); those of each kernel otherwise
    #[arg(long, value_name = "NAME")]
    test: Option<String>,
    /// Only the tests whose names contain this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// How long one machine may take
    #[arg(long, value_name = "SECONDS", default_value_t = TIME_MAX_S)]
    timeout: u64,
}

/// How long one machine may take by default; emulated, a test is about ten times slower.
const TIME_MAX_S: u64 = 3600;

impl Default for Options {
    fn default() -> Self {
        Self {
            kernels: Vec::new(),
            test: None,
            filter: None,
            timeout: TIME_MAX_S,
        }
    }
}

/// Boots all kernels at once: an emulated machine keeps one processor busy, whatever it has of its
/// own. A kernel that fails does not stop the others.
pub(crate) fn run(options: &Options) -> Result<Tally> {
    for program in ["qemu-system-x86_64", "busybox", "strip", "dpkg-deb"] {
        ensure!(
            is_there(program),
            "{program} is not installed; run `cargo xtask setup`"
        );
    }
    let kernels = if options.kernels.is_empty() {
        kernel::SERIES.iter().collect()
    } else {
        options.kernels.clone()
    };
    let executables = Executables::build(options.test.as_deref().unwrap_or("linux_*"))?;
    let archive = initramfs::of(&executables, options.filter.as_deref())?;
    let initramfs = machine::write_initramfs(&archive)?;
    let kernels = kernels
        .into_iter()
        .map(Kernel::fetch)
        .collect::<Result<Vec<_>>>()?;
    let results: Vec<Result<Tally>> = thread::scope(|scope| {
        let machines: Vec<_> = kernels
            .iter()
            .map(|kernel| scope.spawn(|| boot(kernel, &initramfs, &executables, options)))
            .collect();
        let ended = machines.into_iter().map(ScopedJoinHandle::join);
        ended
            .map(|result| result.unwrap_or_else(|_panic| bail!("the thread panicked")))
            .collect()
    });
    summarize(&kernels, results)
}

fn summarize(kernels: &[Kernel], results: Vec<Result<Tally>>) -> Result<Tally> {
    let mut total = Tally::default();
    let mut failed = Vec::new();
    for (kernel, result) in kernels.iter().zip(results) {
        match result {
            Ok(tally) => {
                let name = kernel.series.name;
                println!("kernel {name}: {} tests passed", tally.passed);
                total.passed += tally.passed;
            }
            Err(error) => failed.push(format!("kernel {}: {error:#}", kernel.series.name)),
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(total)
}

fn boot(
    kernel: &Kernel,
    initramfs: &Path,
    executables: &Executables,
    options: &Options,
) -> Result<Tally> {
    // Who asks for a test gets it on every kernel.
    let is_asked = options.test.is_some();
    let is_for_it = |name: &&str| {
        is_asked || kernel.series.tests.is_empty() || kernel.series.tests.contains(name)
    };
    let tests = executables.tests.iter().map(|test| test.name.as_str());
    let selected = Selected {
        tests: tests.filter(is_for_it).collect(),
        filters: if is_asked { &[] } else { kernel.series.filters },
    };
    let time_max = Duration::from_secs(options.timeout);
    let report = machine::run(kernel, initramfs, &selected, time_max)?;
    for name in selected.tests {
        let end = match report.status(name) {
            Some(0) => continue,
            Some(status) => format!("ended with status {status}"),
            None => String::from("did not end in the machine"),
        };
        bail!("{name} {end}{}", report.transcript.excerpt());
    }
    report.transcript.tally.complete()
}
