//! `systrail doctor`: the examination, for a person or a script.

use std::io::{self, IsTerminal as _};

use clap::Args;
use systrail::config::{self, Config};
use systrail::doctor::{self, Report, State, TierReport, examine};
use systrail::shown;

use super::console::say;
use super::{Exit, Failure, console, options};

/// Tries every way to record on this machine, without recording, and says what is in the way and
/// the one thing to do about it. The exit code is 4 when nothing can record.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo systrail doctor                          what root gets here
  systrail doctor --format json | jq .source    which sensor `run` takes
  systrail doctor --format csv > machine.csv    name, state, value and advice, a line each")]
pub(super) struct Arguments {
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    #[arg(value_parser = ["table", "json", "jsonl", "csv"])]
    format: String,
}

/// Does `systrail doctor`.
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    let config = options::load(None).unwrap_or_else(|Failure { error, .. }| {
        say!("{error}; looked at as without it");
        Config::default()
    });
    let report = examine(&config, &config::data_directory())?;
    console::result(&text(&report, &arguments.format)?)?;
    Ok(if report.source.is_some() {
        Exit::Done
    } else {
        Exit::NoSensor
    })
}

fn text(report: &Report, format: &str) -> anyhow::Result<String> {
    let mut text = Vec::new();
    match format {
        "json" => return Ok(format!("{}\n", serde_json::to_string_pretty(report)?)),
        "jsonl" => doctor::write_json_lines(report, &mut text)?,
        "csv" => doctor::write_csv(report, &mut text)?,
        _ => return Ok(table(report)),
    }
    let text = String::from_utf8(text)?;
    Ok(if format == "csv" && io::stdout().is_terminal() {
        shown::safe(&text)
    } else {
        text
    })
}

fn table(report: &Report) -> String {
    let mut lines = vec![match report.source {
        Some(source) => format!("records with {source}"),
        None => "cannot record".to_owned(),
    }];
    if let Some(advice) = &report.advice {
        lines.push(format!("to do: {advice}"));
    }
    lines.push(String::new());
    for tier in &report.tiers {
        lines.extend(tier_lines(tier));
    }
    lines.push(String::new());
    let width = report.facts.iter().map(|fact| fact.name.len()).max();
    let width = width.unwrap_or_default();
    for fact in &report.facts {
        let mark = match fact.state {
            State::Good => "ok",
            State::Limits => "!!",
            State::Info => "",
        };
        lines.push(format!("{mark:2} {:width$}  {}", fact.name, fact.value));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn tier_lines(tier: &TierReport) -> Vec<String> {
    let mark = if tier.runs { "ok" } else { "!!" };
    let mut lines = vec![format!("{mark} {} {}", tier.name, tier.verdict())];
    lines.extend(tier.cure.iter().map(|cure| format!("     {cure}")));
    lines.extend(tier.lacks.iter().map(|lack| format!("     without {lack}")));
    lines
}
