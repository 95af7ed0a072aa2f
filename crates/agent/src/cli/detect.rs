//! `systrail detect`: Sigma rules on what was recorded, and which of them can fire.

#[cfg(feature = "detect")]
mod check;
#[cfg(feature = "detect")]
mod hunt;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use systrail::config::Detect;
use systrail::detect::Level;
#[cfg(feature = "detect")]
use systrail::detect::{Detector, FolderError, Reloading, RuleSet, Watched};
use systrail::pipeline::Stage;

#[cfg(feature = "detect")]
use super::console::say;
use super::options::named;
use super::trail::TrailArguments;
use super::{Exit, Failure};

/// Tries Sigma rules on the events of the store, or of a log, and prints what matches: the time, how bad
/// it is, the rule and its author, and the process. Rules are tried on process creations of Linux, and on
/// process creations and terminations, image loads, remote threads and drivers of Windows; those of other
/// log sources are left out and counted.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  systrail detect --rules sigma/rules                      the whole store
  systrail detect --rules sigma/rules --since 1d           what was found since yesterday
  systrail detect --rules rule.yml --log trail.jsonl.gz    a rule of your own on a log
  systrail detect --rules sigma/rules --log Sysmon.evtx --format jsonl > found.jsonl
  systrail detect check sigma/rules                        which rules can fire here
The recorder tries them as it goes with `[detect] rules = \"/etc/systrail/rules\"` in its configuration.")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    hunt: HuntArguments,
}

/// What to do instead.
#[derive(Debug, Subcommand)]
enum Command {
    /// Say which rules can fire here, which cannot and for want of what, and which were refused
    #[command(after_help = "\
Examples:
  systrail detect check sigma/rules
  systrail detect check sigma/rules --format json | jq '.refused[].reason'")]
    Check(CheckArguments),
}

/// What is tried on what.
#[derive(Debug, Args)]
struct HuntArguments {
    /// The directory of rules, or one file; that of the configuration when not given
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
    /// Try rules of this level and worse
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    level: Option<Level>,
    #[command(flatten)]
    trail: TrailArguments,
    /// How to print them
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    #[arg(value_parser = ["table", "json", "jsonl", "csv"])]
    format: String,
    /// Print straight to the terminal
    #[arg(long)]
    no_pager: bool,
}

/// What is checked.
#[derive(Debug, Args)]
struct CheckArguments {
    /// The directory of rules, or one file
    #[arg(value_name = "DIR")]
    rules: PathBuf,
    /// Look at rules of this level and worse alone
    #[arg(long, value_name = "LEVEL", value_parser = level, default_value = "informational")]
    level: Level,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

fn level(text: &str) -> Result<Level, String> {
    named(text, &Level::NAMES).ok_or_else(|| {
        let names = Level::NAMES.map(|(name, _)| name);
        format!("it must be one of {}", names.join(", "))
    })
}

/// Does `systrail detect`.
#[cfg(feature = "detect")]
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.command {
        Some(Command::Check(arguments)) => check::main(arguments),
        None => hunt::main(&arguments.hunt),
    }
}

/// What tries rules on what is recorded, and how many they are.
pub(super) type Staged = (Box<dyn Stage>, usize);

/// The rules of the configuration, to be tried on what is recorded; what was refused is said.
#[cfg(feature = "detect")]
pub(super) fn stage(settings: &Detect) -> Result<Staged, Failure> {
    let watched = Watched::new(&settings.rules, settings.level);
    let rule_set = watched.load().map_err(Failure::usage)?;
    hunt::tell(&settings.rules, &rule_set);
    let rule_count = rule_set.rule_count();
    let detector = Detector::new(rule_set, settings.budget);
    let path = settings.rules.clone();
    let told_fn = Box::new(move |loaded: Result<&RuleSet, &FolderError>| match loaded {
        Ok(rule_set) => hunt::tell(&path, rule_set),
        Err(error) => say!("{error}; the rules stay as they were"),
    });
    let reloading = Reloading::new(detector, watched, told_fn).map_err(Failure::from)?;
    Ok((Box::new(reloading), rule_count))
}

/// Says how to get a program that has it.
#[cfg(not(feature = "detect"))]
fn not_built_in() -> Failure {
    Failure::not_built_in("detections", "detect")
}

/// Says that there is no such thing here.
#[cfg(not(feature = "detect"))]
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    let (_command, _hunt) = (&arguments.command, &arguments.hunt);
    Err(not_built_in())
}

/// Says that there is no such thing here.
#[cfg(not(feature = "detect"))]
pub(super) fn stage(_settings: &Detect) -> Result<Staged, Failure> {
    Err(not_built_in())
}
