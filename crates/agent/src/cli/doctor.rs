//! `systrail doctor`: the examination, for a person or a script.

use agent::config::{self, Config};
use agent::doctor::{Report, State, TierReport, examine};
use clap::Args;

use super::console::say;
use super::{Exit, Failure, console, options};

/// Tries every way to record on this machine, without recording, and says what is in the way and
/// the one thing to do about it. The exit code is 4 when nothing can record.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo systrail doctor                          what root gets here
  systrail doctor --format json | jq .source    which sensor `run` takes")]
pub(super) struct Arguments {
    /// How to print it
    #[arg(long, value_name = "FORMAT", value_parser = ["table", "json"], default_value = "table")]
    format: String,
}

/// Does `systrail doctor`.
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    let config = options::load(None).unwrap_or_else(|Failure { error, .. }| {
        say!("{error}; looked at as without it");
        Config::default()
    });
    let report = examine(&config, &config::data_directory())?;
    let text = if arguments.format == "json" {
        format!("{}\n", serde_json::to_string_pretty(&report)?)
    } else {
        table(&report)
    };
    console::result(&text)?;
    Ok(if report.source.is_some() {
        Exit::Done
    } else {
        Exit::NoSensor
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
    let name = tier.name;
    let mut lines = Vec::new();
    if tier.runs {
        let images = tier
            .images
            .map(|images| format!(", image loads from {images}"))
            .unwrap_or_default();
        lines.push(format!("ok {name} runs here{images}"));
    } else {
        let cause = tier.cause.as_deref().unwrap_or("unknown");
        lines.push(format!("!! {name} does not run here: {cause}"));
        if let Some(cure) = &tier.cure {
            lines.push(format!("     {cure}"));
        }
    }
    lines.extend(tier.lacks.iter().map(|lack| format!("     without {lack}")));
    lines
}
