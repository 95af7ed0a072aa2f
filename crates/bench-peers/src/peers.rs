//! `cargo xtask bench peers`: `systrail` beside what else records processes on Linux, on this
//! machine, in one run, alternating.
//!
//! In each round every workload runs once without a recorder and once under each of them. A figure
//! is taken within its round, so a machine that grows slower does so for all. Who cannot run here
//! is listed with the reason.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use xtask::bench::report;
use xtask::command::{cargo, run as run_command};
use xtask::workspace;

use crate::audit::Audit;
use crate::catalogue::{PEERS, Peer};
use crate::cgroup::Group;
use crate::family::Counts;
use crate::latency::Latency;
use crate::load::{Amount, Load};
use crate::outcome::{Absent, Cell, Column, NONE, Outcome, Round, Row};
use crate::seen::Format;
use crate::session::Session;
use crate::site::Site;
use crate::tracefs::Tracefs;
use crate::{disturbance, family, interrupt, latency, plot, table};

/// Marked programs of one pass for the latency.
const MARKED: u32 = 60;

/// Arguments of `cargo xtask bench peers`.
#[derive(Args)]
pub(crate) struct Options {
    /// Runs of everything; the idle machine is watched once
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// How long a loop at a fixed rate goes on
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// How long the idle machine is watched
    #[arg(long, default_value_t = 60)]
    idle_seconds: u32,
    /// Only the recorders whose name contains one of these
    #[arg(long, value_name = "TEXT", value_delimiter = ',')]
    recorders: Vec<String>,
    /// Only these workloads: rate-400, flat-out, threads, tree, make, configure, dlopen, idle, ...
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = load_name)]
    workloads: Vec<String>,
    /// Print the comparison and leave docs as they are
    #[arg(long)]
    no_document: bool,
}

/// Compares all of them and writes it down.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "without rounds there are no figures");
    ensure!(options.seconds > 0, "a rate needs at least a second");
    interrupt::take_signals()?;
    let begin = Instant::now();
    run_command(cargo().args(["build", "--release", "--locked", "--package", "systrail"]))?;
    let bench = Bench::prepare(options)?;
    let outcome = bench.compare(options)?;
    println!("\n{}", table::markdown(&outcome));
    if let Some(note) = &outcome.disturbance {
        println!("{note}");
    }
    save(&outcome)?;
    if !options.no_document {
        document(&outcome)?;
    }
    println!("took {} min", begin.elapsed().as_secs().div_ceil(60));
    Ok(())
}

/// What all measurements share. Dropping it leaves the machine as it was found.
struct Bench {
    site: Site,
    audit: Result<Audit>,
    load_group: Group,
    _tracefs: Tracefs,
    amount: Amount,
    present: Vec<&'static Peer>,
    versions: BTreeMap<&'static str, String>,
    absent: Vec<Absent>,
}

impl Bench {
    fn prepare(options: &Options) -> Result<Self> {
        println!("building what the workloads work on");
        let seconds = options.seconds;
        let mut bench = Self {
            site: Site::build()?,
            audit: Audit::take(),
            load_group: Group::new("load")?,
            _tracefs: Tracefs::mount()?,
            amount: Amount {
                seconds,
                idle_seconds: options.idle_seconds,
                processes: 1000 * seconds,
                threads: 15_000 * seconds,
            },
            present: Vec::new(),
            versions: BTreeMap::new(),
            absent: Vec::new(),
        };
        for peer in PEERS {
            interrupt::check()?;
            let is_asked_for = options.recorders.is_empty()
                || options.recorders.iter().any(|it| peer.name.contains(it));
            let tried = if is_asked_for {
                bench.try_out(peer)
            } else {
                Err(anyhow::anyhow!("left out by --recorders"))
            };
            bench.note(peer, tried);
        }
        ensure!(!bench.present.is_empty(), "no recorder runs here");
        Ok(bench)
    }

    /// Starts it once, to know that it works before there is a table with a hole in it.
    fn try_out(&self, peer: &'static Peer) -> Result<String> {
        let version = peer.version()?;
        let audit = match (&self.audit, peer.is_audit) {
            (Err(error), true) => bail!("{error:#}"),
            (audit, _) => audit.as_ref().ok(),
        };
        Session::start(peer, &self.site, audit, false, "")?.stop()?;
        Ok(version)
    }

    fn note(&mut self, peer: &'static Peer, tried: Result<String>) {
        match tried {
            Ok(version) => {
                println!("  {}: {version}", peer.name);
                self.versions.insert(peer.name, version);
                self.present.push(peer);
            }
            Err(error) => {
                println!("  {}: cannot run here: {error:#}", peer.name);
                self.absent.push(Absent {
                    name: peer.name.to_owned(),
                    reason: format!("{error:#}"),
                });
            }
        }
    }

    fn compare(&self, options: &Options) -> Result<Outcome> {
        let loads: Vec<Load> = Load::ALL
            .into_iter()
            .filter(|load| options.workloads.is_empty() || options.workloads.contains(&load.word()))
            .collect();
        let mut outcome = self.empty_outcome(options, &loads)?;
        println!("warming up");
        for load in loads.iter().filter(|load| **load != Load::Idle) {
            load.run(self.amount, &self.site, &self.load_group)?;
        }
        let begin = Instant::now();
        for round in 1..=options.rounds {
            for (index, load) in loads.iter().enumerate() {
                // A minute of every recorder is long, and varies little.
                if *load == Load::Idle && round > 1 {
                    continue;
                }
                println!(
                    "[{:>4} s] round {round} of {}, {}",
                    begin.elapsed().as_secs(),
                    options.rounds,
                    load.name()
                );
                self.round(*load, index, usize::try_from(round)?, &mut outcome)?;
            }
            println!(
                "[{:>4} s] round {round}, latency",
                begin.elapsed().as_secs()
            );
            self.latencies(&mut outcome)?;
        }
        Ok(outcome)
    }

    fn empty_outcome(&self, options: &Options, loads: &[Load]) -> Result<Outcome> {
        let row = |name: &str, peer: Option<&Peer>| Row {
            name: name.to_owned(),
            version: self.versions.get(name).cloned().unwrap_or_default(),
            set_up: peer.map_or_else(String::new, |it| it.set_up.to_owned()),
            is_machine_wide: peer.is_some_and(|it| it.format == Format::Account),
            sees: peer.map_or_else(Vec::new, |it| it.sees.to_vec()),
            cells: BTreeMap::new(),
            latency: None,
        };
        let rows = std::iter::once(row(NONE, None))
            .chain(self.present.iter().map(|peer| row(peer.name, Some(peer))))
            .collect();
        let column = |load: &Load| -> Result<Column> {
            Ok(Column {
                name: load.name(),
                happened: load.happened(self.amount, &self.site)?,
            })
        };
        Ok(Outcome {
            command: format!(
                "cargo xtask bench peers --rounds {} --seconds {} --idle-seconds {}",
                options.rounds, options.seconds, options.idle_seconds
            ),
            machine: report::machine()?,
            disturbance: disturbance::note()?,
            rounds: options.rounds,
            columns: loads.iter().map(column).collect::<Result<_>>()?,
            rows,
            absent: self.absent.clone(),
        })
    }

    /// One workload, once without a recorder and once under each.
    fn round(&self, load: Load, column: usize, round: usize, outcome: &mut Outcome) -> Result<()> {
        let Some(column) = outcome.columns.get(column).cloned() else {
            bail!("there is no such workload");
        };
        let none = std::iter::once(None);
        let subjects = none.chain(self.present.iter().map(|peer| Some(*peer)));
        let mut turns: Vec<_> = subjects.zip(&mut outcome.rows).collect();
        // Nobody is always first, or always after the same one.
        let first = round % turns.len();
        turns.rotate_left(first);
        for (subject, row) in turns {
            interrupt::check()?;
            let round = match subject {
                None => self.alone(load),
                Some(peer) => self.under(peer, load, &column.happened),
            };
            let round = round.with_context(|| format!("{} under {}", column.name, row.name))?;
            let cell: &mut Cell = row.cells.entry(column.name.clone()).or_default();
            cell.rounds.push(round);
        }
        Ok(())
    }

    fn alone(&self, load: Load) -> Result<Round> {
        let run = load.run(self.amount, &self.site, &self.load_group)?;
        Ok(Round {
            elapsed_ns: run.elapsed_ns,
            busy_ns: run.busy_ns,
            load_ns: run.time.total_ns(),
            ..Round::default()
        })
    }

    fn under(&self, peer: &'static Peer, load: Load, happened: &Counts) -> Result<Round> {
        let audit = self.audit.as_ref().ok();
        let session = Session::start(peer, &self.site, audit, false, "")?;
        if load == Load::Idle {
            session.rest()?;
        }
        let before = session.taken()?;
        let run = load.run(self.amount, &self.site, &self.load_group)?;
        if load != Load::Idle {
            session.rest()?;
        }
        let after = session.taken()?;
        let peak_kib = session.peak_memory_kib()?;
        let written = session.stop()?;
        let time = after.time.since(before.time);
        let is_account = peer.format == Format::Account;
        Ok(Round {
            elapsed_ns: run.elapsed_ns,
            busy_ns: run.busy_ns,
            load_ns: run.time.total_ns(),
            user_ns: time.user_ns,
            system_ns: time.system_ns,
            kernel_thread_ns: after.kernel_thread_ns - before.kernel_thread_ns,
            peak_kib,
            bytes: written.bytes,
            events: u64::try_from(written.events.len())?,
            seen: if is_account {
                written.account
            } else {
                family::count(run.root, &written.events, happened)
            },
            is_told_apart: is_account || peer.knows_descent() || load.is_marked(),
            lost: written.lost,
        })
    }

    /// One pass for everybody who can be read along.
    fn latencies(&self, outcome: &mut Outcome) -> Result<()> {
        for peer in self.present.iter().filter(|peer| peer.is_readable) {
            interrupt::check()?;
            let pass = latency::measure(peer, &self.site, self.audit.as_ref().ok(), "", MARKED)
                .with_context(|| format!("latency of {}", peer.name))?;
            let row = outcome.rows.iter_mut().find(|row| row.name == peer.name);
            if let Some(row) = row {
                row.latency.get_or_insert_with(Latency::default).add(pass);
            }
        }
        Ok(())
    }
}

/// Writes every round as JSON into the target directory.
fn save(outcome: &Outcome) -> Result<()> {
    let path = workspace::target().join("bench/peers.json");
    let text = serde_json::to_string_pretty(outcome).context("cannot write the figures")?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("all values are in {}", path.display());
    Ok(())
}

/// Replaces our section of the document, and its pictures.
fn document(outcome: &Outcome) -> Result<()> {
    let pictures = plot::draw(outcome, &workspace::root().join("docs/bench"))?;
    let pictures: Vec<String> = pictures
        .iter()
        .map(|(name, title)| format!("![{title}](bench/{name})"))
        .collect();
    let disturbance = outcome
        .disturbance
        .as_ref()
        .map_or_else(String::new, |note| format!("{note}\n\n"));
    let section = format!(
        "Command: `{}`. Machine: {}. Rounds: {}.\n\n{disturbance}{}\n\n{}",
        outcome.command,
        outcome.machine,
        outcome.rounds,
        pictures.join("\n\n"),
        table::markdown(outcome)
    );
    report::replace_section(report::DOCUMENT, "cargo xtask bench peers", &section)
}

fn load_name(word: &str) -> Result<String, String> {
    let words: Vec<String> = Load::ALL.into_iter().map(Load::word).collect();
    if words.iter().any(|it| it == word) {
        Ok(word.to_owned())
    } else {
        Err(format!(
            "there is no such workload; there are {}",
            words.join(", ")
        ))
    }
}
