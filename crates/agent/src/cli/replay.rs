//! `systrail replay`: a recorded log through the pipeline again, without a sensor.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use systrail::config::{self, Config, OnLoss};
use systrail::pipeline::{self, Status};
use systrail::replay::pace::Pace;
use systrail::sink::Sink;
use systrail::sink::log_file::Others;
use systrail::sink::store::Store;
use systrail::sink::stream::Stream;
use systrail::sys::wake::Waker;

use super::log::Log;
use super::options::{self, exit_of};
use super::passed_over::Strict;
use super::watch::Watcher;
use super::{Exit, Failure, console, record, report, stop};

/// Reads a log of JSON Lines, a Windows event log (.evtx) or a trace of Windows (.etl), and prints its
/// events for a person, or writes them to another log. A line or record that is no event is reported
/// with its number, counted and
/// passed over; events of kinds that only a newer version knows are counted apart.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  systrail replay trail.jsonl                        print it
  systrail replay trail.jsonl --log clean.jsonl      copy every line that is an event
  systrail replay old.jsonl.gz --on-loss fail        gzip and zstd are told by their content
  systrail replay trail.jsonl --store trail.store    so that query, tree and show can ask it
  systrail replay Security.evtx                      a Windows event log: Sysmon's, 4688, 4689
  systrail replay logs/ --store case.store           all event logs in a folder, merged by time
  systrail replay boot.etl --store boot.store        a trace of Windows, on any system
  systrail replay trail.jsonl --pace                 as slowly as it happened")]
pub(super) struct Arguments {
    /// The log, or a folder of Windows event logs; - is standard input
    file: PathBuf,
    /// Write JSON Lines to this file instead of printing; - is standard output
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Write the events to the store in this directory, where nothing is deleted for its age
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Keep the pace of the recording instead of full speed
    #[arg(long)]
    pace: bool,
    /// Write the account to this file as JSON when done
    #[arg(long, value_name = "FILE", value_parser = options::summary_file)]
    summary: Option<PathBuf>,
    /// Whether lost events and lines that are no event make the exit code 3
    #[arg(long, value_name = "POLICY", value_parser = ["log", "fail"], default_value = "log")]
    on_loss: String,
    #[command(flatten)]
    strict: Strict,
}

impl Arguments {
    /// Whether nothing is written to a terminal but messages.
    fn writes_no_terminal(&self) -> bool {
        let is_printed = match &self.log {
            Some(path) => path == Path::new("-"),
            None => self.store.is_none(),
        };
        !is_printed || !io::stdout().is_terminal()
    }
}

/// Does `systrail replay`.
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    console::wait_for_nobody();
    options::keep_from_summary(&arguments.file, arguments.summary.as_deref())?;
    if let Some(log) = &arguments.log {
        options::keep_from_summary(log, arguments.summary.as_deref())?;
    }
    if let Some(path) = &arguments.summary {
        report::check_summary(path)?;
    }
    let waker = Waker::new()?;
    let signals = stop::on_signals(&waker)?;
    // A line of progress would be drawn over by events on the same terminal.
    let shows_progress = arguments.writes_no_terminal();
    let mut log = Log::open(&arguments.file, shows_progress)?;
    let sinks = open_sinks(arguments, &waker)?;
    let status = Arc::new(Status::default());
    let pace = arguments.pace.then(Pace::default);
    let account = pipeline::replay(&mut log, sinks, &status, &waker, pace)?;
    report::print(&account);
    if let Some(path) = &arguments.summary {
        report::write_summary(path, &account)?;
    }
    arguments.strict.exit(log.end()?)?;
    let invalid_count = log.invalid_count;
    let on_loss = match arguments.on_loss.as_str() {
        "fail" => OnLoss::Fail,
        _ => OnLoss::Log,
    };
    if invalid_count > 0 && on_loss == OnLoss::Fail {
        return Ok(Exit::Lost);
    }
    Ok(signals.exit_of(exit_of(&account, on_loss)))
}

fn open_sinks(arguments: &Arguments, waker: &Waker) -> Result<Vec<Box<dyn Sink>>, Failure> {
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    match &arguments.log {
        None if arguments.store.is_some() => {}
        None => sinks.push(Watcher::of_every_event().open(waker)?),
        Some(path) if path == Path::new("-") => {
            let ended = waker.clone();
            sinks.push(Box::new(Stream::stdout()?.when_ended(move || ended.wake())));
        }
        Some(path) if options::is_same_file(path, &arguments.file) => {
            let error = anyhow::anyhow!("a log cannot be replayed into itself; name another file");
            return Err(Failure::usage(error));
        }
        Some(path) => sinks.push(Box::new(record::open_log(
            path.clone(),
            &Config::default(),
            Others::Refused,
        )?)),
    }
    if let Some(directory) = &arguments.store {
        sinks.push(Box::new(open_store(directory)?));
    }
    Ok(sinks)
}

/// The store as `run` writes it, but without retention: what is replayed is old, and wanted.
fn open_store(directory: &Path) -> Result<Store, Failure> {
    let mut config = Config::default();
    config.store.keep_age = config::LOG_AGE.most;
    config.store.keep_size = u64::MAX;
    record::open_store(directory.to_path_buf(), &config, None)
}
