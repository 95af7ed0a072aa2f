//! `cargo xtask bench overhead`: what recording costs.
//!
//! Slow-down is measured in turns: the workload without the agent, then with it, then without, and
//! so on. A figure is the time with the agent over the mean of the times right before and right
//! after, so that a machine that grows slower or faster cancels out. Nothing is dropped; the spread
//! is shown.

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::recorder::{Output, Recorder};
use super::report::{Figure, Report};
use super::sample::Sample;
use crate::command::{cargo, program, read, run as run_command};

/// Arguments of `cargo xtask bench overhead`.
#[derive(Args)]
pub(crate) struct Options {
    /// Recorded runs whose slow-down is taken; the other figures are taken a quarter as often
    #[arg(long, default_value_t = 24)]
    runs: u32,
    /// Print the figures and leave docs/BENCHMARKS.md as it is
    #[arg(long)]
    no_document: bool,
}

/// The workloads whose slow-down is measured, how often they do what they do, what is recorded, and the
/// most they may become slower, in percent.
const WORKLOADS: &[Load] = &[
    Load {
        name: "fork + exec + wait",
        workload: "fork",
        count: 2000,
        output: Output::Log,
        limit_percent: 3.0,
    },
    Load {
        name: "fork + exec + wait, no image loads",
        workload: "fork",
        count: 2000,
        output: Output::LogWithoutImages,
        limit_percent: 3.0,
    },
    Load {
        name: "posix_spawn + wait",
        workload: "spawn",
        count: 2000,
        output: Output::Log,
        limit_percent: 3.0,
    },
    Load {
        name: "posix_spawn + wait, no image loads",
        workload: "spawn",
        count: 2000,
        output: Output::LogWithoutImages,
        limit_percent: 3.0,
    },
    Load {
        name: "thread create + join",
        workload: "threads",
        count: 60_000,
        output: Output::Log,
        limit_percent: 10.0,
    },
];

struct Load {
    name: &'static str,
    workload: &'static str,
    count: u32,
    output: Output,
    limit_percent: f64,
}

/// A storm of 30,000 events a second: each thread is a start and an exit.
const STORM_THREADS_PER_SECOND: u32 = 15_000;
const STORM_SECONDS: u32 = 10;

/// Processes for the agent's time an event: a start, an exec, an exit and some image loads each.
const PROCESSES: u32 = 4000;

/// How long the idle agent is watched, after it has come to rest.
const IDLE: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_secs(2);

/// What the agent may take: microseconds an event with and without the log, MiB, percent of a core.
const LOG_US_MAX: f64 = 3.0;
const NO_LOG_US_MAX: f64 = 1.5;
const MEMORY_MIB_MAX: f64 = 64.0;
const IDLE_PERCENT_MAX: f64 = 0.1;

/// Measures everything and writes it down.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.runs > 0, "without runs there are no figures");
    run_command(cargo().args(["build", "--release", "--locked", "--package", "systrail"]))?;
    let mut report = Report::new("cargo xtask bench overhead")?;
    for load in WORKLOADS {
        slow_down(load, options.runs, &mut report)?;
    }
    let runs = options.runs.div_ceil(4);
    for (output, limit) in [(Output::Log, LOG_US_MAX), (Output::Nothing, NO_LOG_US_MAX)] {
        storms(output, limit, runs, &mut report)?;
        processes(output, limit, runs, &mut report)?;
    }
    idle(&mut report)?;
    print!("{}", report.table());
    report.save()?;
    if !options.no_document {
        report.document()?;
    }
    Ok(())
}

/// How much slower a workload is while it is recorded into a log file.
fn slow_down(load: &Load, runs: u32, report: &mut Report) -> Result<()> {
    println!("{}: {runs} runs of {}", load.name, load.count);
    let time = || workload(&[load.workload, &load.count.to_string()]);
    let mut sample = Sample::default();
    let mut before = time()?;
    for _ in 0..runs {
        let agent = Recorder::start(load.output)?;
        let recorded = time()?;
        report.account(&agent.stop()?);
        let after = time()?;
        sample.add((recorded / f64::midpoint(before, after) - 1.0) * 100.0);
        before = after;
    }
    report.add(Figure {
        name: format!("slow-down: {}", load.name),
        unit: "%",
        sample,
        limit: load.limit_percent,
    });
    Ok(())
}

/// What the agent takes in a storm of threads, and the most memory it has in one.
fn storms(output: Output, limit: f64, runs: u32, report: &mut Report) -> Result<()> {
    println!("thread storm, {}: {runs} runs", output.name());
    let rate = STORM_THREADS_PER_SECOND.to_string();
    let seconds = STORM_SECONDS.to_string();
    let mut times = Sample::default();
    let mut memory = Sample::default();
    for _ in 0..runs {
        let taken = time_per_event(output, &["storm", &rate, &seconds], report)?;
        times.add(taken.us_per_event);
        memory.add(taken.peak_memory_mib);
    }
    report.add(Figure {
        name: format!("agent's time, threads, {}", output.name()),
        unit: "us/event",
        sample: times,
        limit,
    });
    report.add(Figure {
        name: format!("peak memory at 30,000 events/s, {}", output.name()),
        unit: "MiB",
        sample: memory,
        limit: MEMORY_MIB_MAX,
    });
    Ok(())
}

/// What the agent takes for processes, whose events are the long ones.
fn processes(output: Output, limit: f64, runs: u32, report: &mut Report) -> Result<()> {
    println!("processes, {}: {runs} runs", output.name());
    let count = PROCESSES.to_string();
    let mut sample = Sample::default();
    for _ in 0..runs {
        sample.add(time_per_event(output, &["fork", &count], report)?.us_per_event);
    }
    report.add(Figure {
        name: format!("agent's time, processes, {}", output.name()),
        unit: "us/event",
        sample,
        limit,
    });
    Ok(())
}

struct Taken {
    us_per_event: f64,
    peak_memory_mib: f64,
}

/// Runs a workload under the recorder and divides the agent's processor time, from the moment it
/// recorded, by the events it delivered. Its snapshot counts as events and not as time, and is a
/// few hundred among many thousands.
fn time_per_event(output: Output, load: &[&str], report: &mut Report) -> Result<Taken> {
    let recorder = Recorder::start(output)?;
    let before = recorder.cpu_ns()?;
    workload(load)?;
    // What is still in the ring takes its time as well.
    thread::sleep(REST);
    let time_ns = recorder.cpu_ns()? - before;
    let peak_kib = recorder.peak_memory_kib()?;
    let account = recorder.stop()?;
    report.account(&account);
    ensure!(account.delivered > 0, "systrail delivered nothing");
    Ok(Taken {
        us_per_event: float(time_ns) / 1000.0 / float(account.delivered),
        peak_memory_mib: float(peak_kib) / 1024.0,
    })
}

/// What the agent takes while nothing happens.
fn idle(report: &mut Report) -> Result<()> {
    println!("idle: {} s", IDLE.as_secs());
    let recorder = Recorder::start(Output::Log)?;
    thread::sleep(REST);
    let begin = Instant::now();
    let before = recorder.cpu_ns()?;
    thread::sleep(IDLE);
    let time_ns = recorder.cpu_ns()? - before;
    let percent = float(time_ns) / begin.elapsed().as_secs_f64() / 1e9 * 100.0;
    report.account(&recorder.stop()?);
    report.add(Figure {
        name: String::from("idle machine"),
        unit: "% of a core",
        sample: Sample::from_iter([percent]),
        limit: IDLE_PERCENT_MAX,
    });
    Ok(())
}

/// Runs a workload of ours in its own process and returns the nanoseconds it took.
fn workload(arguments: &[&str]) -> Result<f64> {
    let xtask = env::current_exe().context("cannot find this program")?;
    let text = read(program(xtask).arg("workload").args(arguments))?;
    text.trim().parse().context("the workload printed no time")
}

/// Counts of this size are exact enough: an `f64` holds 53 bits.
#[expect(
    clippy::cast_precision_loss,
    reason = "figures are shown with three digits"
)]
const fn float(count: u64) -> f64 {
    count as f64
}
