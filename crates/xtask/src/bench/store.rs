//! `cargo xtask bench store`: what the store costs and how fast it answers, over a made-up day.
//!
//! The bench program of the agent writes and asks; this runs it, compares with the goals and writes
//! the figures down.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::goal::{Figure, Goal, table};
use super::report::{DOCUMENT, machine, replace_section};
use crate::command::{cargo, read};
use crate::workspace;

/// Arguments of `cargo xtask bench store`.
#[derive(Args)]
pub(crate) struct Options {
    /// Events of the day
    #[arg(long, default_value_t = 20_000_000)]
    events: u64,
    /// Print the figures and leave docs/BENCHMARKS.md as it is
    #[arg(long)]
    no_document: bool,
}

/// The command, as the document's section is named.
const COMMAND: &str = "cargo xtask bench store";

/// What the bench program says.
#[derive(Deserialize, Serialize)]
struct Outcome {
    events: u64,
    memory_peak_kib: f64,
    written: Written,
    asked_ms: Asked,
}

#[derive(Deserialize, Serialize)]
struct Written {
    events_per_second: f64,
    retention_share: f64,
    bytes_per_event: f64,
    segments: u64,
    memory_peak_kib: f64,
}

#[derive(Deserialize, Serialize)]
struct Asked {
    open: f64,
    point: f64,
    window: f64,
    window_execs: f64,
    top_totals: f64,
    top_programs: f64,
    top_loads: f64,
}

/// Measures everything and writes it down.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.events > 0, "without events there are no figures");
    let directory = workspace::target().join("bench/store");
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("cannot delete {}", directory.display()))?;
    }
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let output = read(
        cargo()
            .args(["bench", "--quiet", "--locked", "--package", "systrail"])
            .args(["--bench", "store", "--"])
            .arg(options.events.to_string())
            .arg(&directory),
    );
    // Gigabytes nobody looks at again.
    fs::remove_dir_all(&directory)
        .with_context(|| format!("cannot delete {}", directory.display()))?;
    let outcome: Outcome =
        serde_json::from_str(output?.trim()).context("cannot read what the bench program says")?;
    let table = table(&figures(&outcome));
    println!("{table}");
    let path = workspace::target().join("bench/store.json");
    let text = serde_json::to_string_pretty(&outcome).context("cannot write the figures")?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    if options.no_document {
        return Ok(());
    }
    let section = format!(
        "Command: `{COMMAND} --events {}`. Machine: {}. Segments: {}.\n\n{table}\n",
        outcome.events,
        machine()?,
        outcome.written.segments,
    );
    replace_section(DOCUMENT, COMMAND, &section)
}

fn figures(outcome: &Outcome) -> Vec<Figure> {
    let written = &outcome.written;
    let memory = |kib: f64| kib / 1024.0;
    let mut figures = vec![
        Figure {
            name: "written, a second of the writing thread's processor time",
            unit: "events",
            value: written.events_per_second,
            goal: Some(Goal::AtLeast(250_000.0)),
        },
        Figure {
            name: "retention thread's time beside it",
            unit: "%",
            value: written.retention_share * 100.0,
            goal: None,
        },
        Figure {
            name: "size, indexes included",
            unit: "bytes/event",
            value: written.bytes_per_event,
            goal: Some(Goal::AtMost(70.0)),
        },
        Figure {
            name: "peak memory, writing",
            unit: "MiB",
            value: memory(written.memory_peak_kib),
            goal: Some(Goal::AtMost(128.0)),
        },
        Figure {
            name: "peak memory, asking too",
            unit: "MiB",
            value: memory(outcome.memory_peak_kib),
            goal: None,
        },
    ];
    figures.extend(questions(&outcome.asked_ms));
    figures
}

fn questions(asked: &Asked) -> Vec<Figure> {
    let questions = [
        ("opening all segments", asked.open, None),
        ("one process by id and time", asked.point, Some(50.0)),
        ("ten minutes: events by kind", asked.window, Some(200.0)),
        (
            "ten minutes: every exec, whole",
            asked.window_execs,
            Some(200.0),
        ),
        (
            "top images, from `image_totals`",
            asked.top_totals,
            Some(10_000.0),
        ),
        (
            "top programs, `processes` grouped",
            asked.top_programs,
            Some(10_000.0),
        ),
        (
            "top images, `images` grouped",
            asked.top_loads,
            Some(10_000.0),
        ),
    ];
    let figure = |(name, value, most): (_, _, Option<f64>)| Figure {
        name,
        unit: "ms",
        value,
        goal: most.map(Goal::AtMost),
    };
    questions.into_iter().map(figure).collect()
}
