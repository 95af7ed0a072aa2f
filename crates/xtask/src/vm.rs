//! `cargo xtask vm`: the integration tests on stock Debian kernels, booted under qemu.
//!
//! The machine is a kernel from Debian's archive, never installed, and an initramfs made here: no
//! modules, no disk, no network. It runs the very test executables that `cargo test` runs on the
//! host, at the same paths, prints to its serial port and restarts, which ends qemu. Emulation and
//! not KVM, so that it works inside containers and other virtual machines.

mod architecture;
mod archive;
mod executables;
mod foreign;
mod initramfs;
mod kernel;
mod machine;
mod systemd;

use std::path::PathBuf;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::command::is_there;
use crate::tally::Tally;
use architecture::Architecture;
use executables::Executables;
use kernel::{First, Kernel};
use machine::Selected;

/// Arguments of `cargo xtask vm`.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these kernels; all but the one for ARM otherwise
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
    let all: Vec<&'static kernel::Series> = if options.kernels.is_empty() {
        let usual = kernel::SERIES.iter().filter(|series| !series.is_extra);
        usual.collect()
    } else {
        options.kernels.clone()
    };
    // Where tests are asked for, machines that have their own are none to ask.
    let is_asked = options.test.is_some() || options.filter.is_some();
    let all = all
        .into_iter()
        .filter(|series| !is_asked || series.first == First::Tests)
        .collect::<Vec<_>>();
    let mut systems = Vec::new();
    for architecture in architecture::ALL {
        let is_its = |series: &&&kernel::Series| series.architecture == architecture;
        let of_it: Vec<_> = all.iter().filter(is_its).copied().collect();
        if !of_it.is_empty() {
            systems.push(System::build(architecture, &of_it, options)?);
        }
    }
    let machines: Vec<(&System, &Kernel)> = systems
        .iter()
        .flat_map(|system| system.kernels.iter().map(move |kernel| (system, kernel)))
        .collect();
    let results: Vec<Result<Tally>> = thread::scope(|scope| {
        let running: Vec<_> = machines
            .iter()
            .map(|(system, kernel)| scope.spawn(|| system.boot(kernel, options)))
            .collect();
        let ended = running.into_iter().map(ScopedJoinHandle::join);
        ended
            .map(|result| result.unwrap_or_else(|_panic| bail!("the thread panicked")))
            .collect()
    });
    summarize(machines.iter().map(|(_, kernel)| *kernel), results)
}

/// What the machines of one architecture share.
struct System {
    executables: Executables,
    /// What machines boot whose first process runs the tests.
    tests: Option<PathBuf>,
    /// And those with a service manager.
    systemd: Option<PathBuf>,
    kernels: Vec<Kernel>,
}

impl System {
    fn build(
        architecture: &Architecture,
        kernels: &[&'static kernel::Series],
        options: &Options,
    ) -> Result<Self> {
        let emulator = architecture.emulator;
        for program in [emulator, "busybox", architecture.strip, "dpkg-deb"] {
            ensure!(
                is_there(program),
                "{program} is not installed; run `cargo xtask setup`"
            );
        }
        let tests = options.test.as_deref().unwrap_or(architecture.tests);
        let executables = Executables::build(architecture, tests)?;
        let has = |first| kernels.iter().any(|series| series.first == first);
        let filter = options.filter.as_deref();
        let tests = has(First::Tests)
            .then(|| initramfs::of(architecture, &executables, filter))
            .map(|archive| machine::write_initramfs(&archive?, architecture.name));
        let systemd = has(First::Systemd)
            .then(|| systemd::archive(&executables))
            .map(|archive| machine::write_initramfs(&archive?, systemd::TEST));
        let (tests, systemd) = (tests.transpose()?, systemd.transpose()?);
        let kernels = kernels.iter().copied().map(Kernel::fetch);
        Ok(Self {
            executables,
            tests,
            systemd,
            kernels: kernels.collect::<Result<_>>()?,
        })
    }

    fn boot(&self, kernel: &Kernel, options: &Options) -> Result<Tally> {
        // Who asks for a test gets it on every kernel.
        let is_asked = options.test.is_some();
        let is_for_it = |name: &&str| {
            is_asked || kernel.series.tests.is_empty() || kernel.series.tests.contains(name)
        };
        let tests = self.executables.tests.iter().map(|test| test.name.as_str());
        let (initramfs, tests) = match kernel.series.first {
            First::Tests => (&self.tests, tests.filter(is_for_it).collect()),
            First::Systemd => (&self.systemd, vec![systemd::TEST]),
        };
        let initramfs = initramfs
            .as_ref()
            .context("the machine has no file system")?;
        let selected = Selected {
            tests,
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
}

fn summarize<'k>(
    kernels: impl Iterator<Item = &'k Kernel>,
    results: Vec<Result<Tally>>,
) -> Result<Tally> {
    let mut total = Tally::default();
    let mut failed = Vec::new();
    for (kernel, result) in kernels.zip(results) {
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
