//! `systrail replay`: a recorded log through the pipeline again, without a sensor.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent::config::{Config, OnLoss};
use agent::pipeline::{self, Status};
use agent::replay::{self, Error};
use agent::sink::Sink;
use agent::sink::stream::Stream;
use agent::sys::wake::Waker;
use agent::trail::Event;
use clap::Args;

use super::console::say;
use super::options::{self, exit_of};
use super::{Exit, Failure, record, report, stop};

/// Reads a log of JSON Lines and prints its events for a person, or writes them to another log. A
/// line that is no event is reported with its number, counted and passed over.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  systrail replay trail.jsonl                        print it
  systrail replay trail.jsonl --log clean.jsonl      copy every line that is an event
  zcat old.jsonl.gz | systrail replay - --on-loss fail")]
pub(super) struct Arguments {
    /// The log; - is standard input
    file: PathBuf,
    /// Write JSON Lines to this file instead of printing; - is standard output
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Write the account to this file as JSON when done
    #[arg(long, value_name = "FILE", value_parser = options::summary_file)]
    summary: Option<PathBuf>,
    /// Whether lost events and lines that are no event make the exit code 3
    #[arg(long, value_name = "POLICY", value_parser = ["log", "fail"], default_value = "log")]
    on_loss: String,
}

/// The most invalid lines that are told one by one.
const TOLD_MAX: u64 = 10;

/// Does `systrail replay`.
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    let waker = Waker::new()?;
    let _signals = stop::on_signals(&waker)?;
    let mut valid = Valid {
        events: replay::open(&arguments.file)?,
        invalid_count: 0,
        broke_off: None,
    };
    let sinks = vec![open_sink(arguments, &waker)?];
    let status = Arc::new(Status::default());
    let account = pipeline::replay(&mut valid, sinks, &status, &waker)?;
    report::print(&account);
    if let Some(path) = &arguments.summary {
        report::write_summary(path, &account)?;
    }
    if let Some(error) = valid.broke_off {
        return Err(error.into());
    }
    let on_loss = match arguments.on_loss.as_str() {
        "fail" => OnLoss::Fail,
        _ => OnLoss::Log,
    };
    if valid.invalid_count > 0 {
        let count = valid.invalid_count;
        say!("passed over {count} lines that are no events");
        if on_loss == OnLoss::Fail {
            return Ok(Exit::Lost);
        }
    }
    Ok(exit_of(&account, on_loss))
}

/// The events of a log; what is none is told, and counted.
struct Valid<I> {
    events: I,
    invalid_count: u64,
    /// Why reading ended early.
    broke_off: Option<Error>,
}

impl<I: Iterator<Item = Result<Event, Error>>> Iterator for Valid<I> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            match self.events.next()? {
                Ok(event) => return Some(event),
                Err(error @ Error::Line { .. }) => {
                    self.invalid_count += 1;
                    if self.invalid_count <= TOLD_MAX {
                        say!("{error}");
                    }
                }
                Err(error) => {
                    self.broke_off = Some(error);
                    return None;
                }
            }
        }
    }
}

fn open_sink(arguments: &Arguments, waker: &Waker) -> Result<Box<dyn Sink>, Failure> {
    Ok(match &arguments.log {
        None => Box::new(record::open_terminal(waker)?),
        Some(path) if path == Path::new("-") => {
            let ended = waker.clone();
            Box::new(Stream::stdout()?.when_ended(move || ended.wake()))
        }
        Some(path) if is_same_file(path, &arguments.file) => {
            let error = anyhow::anyhow!("a log cannot be replayed into itself; name another file");
            return Err(Failure::usage(error));
        }
        Some(path) => Box::new(record::open_log(path.clone(), &Config::default())?),
    })
}

fn is_same_file(left: &Path, right: &Path) -> bool {
    matches!((left.canonicalize(), right.canonicalize()), (Ok(left), Ok(right)) if left == right)
}
