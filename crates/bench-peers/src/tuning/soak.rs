//! Recording for a long time at a steady rate: memory must stay flat, the time an event takes must
//! not grow, and in the end the account must balance.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use xtask::bench::sample::Sample;

use super::super::load::{Amount, Load};
use super::super::outcome::float;
use super::super::session::Session;
use super::Bench;
use crate::interrupt;

/// Threads a second: each is a start and an exit.
const THREADS: u32 = 1000;

/// A row of figures is taken this often.
const STEP: Duration = Duration::from_secs(10);

/// The figures of each step.
#[derive(Default, Serialize)]
pub(super) struct Soak {
    memory_mib: Vec<f64>,
    us_per_event: Vec<f64>,
    delivered: u64,
    lost: u64,
    bytes: u64,
}

/// Records for that long.
pub(super) fn run(bench: &Bench, time: Duration) -> Result<Soak> {
    let seconds = u32::try_from(STEP.as_secs())?;
    let amount = Amount {
        seconds,
        ..bench.amount
    };
    let load = Load::Storm(THREADS);
    let events = float(u64::from(2 * THREADS * seconds));
    let mut soak = Soak::default();
    let session = Session::start(bench.peer, &bench.site, None, false, "")?;
    let begin = Instant::now();
    while begin.elapsed() < time {
        interrupt::check()?;
        let before = session.taken()?;
        load.run(amount, &bench.site, &bench.load_group)?;
        let taken = session.taken()?.time.since(before.time);
        soak.memory_mib.push(float(session.memory_kib()?) / 1024.0);
        soak.us_per_event
            .push(float(taken.total_ns()) / 1000.0 / events);
        println!(
            "[{:>5} s] {:.1} MiB, {:.2} us/event",
            begin.elapsed().as_secs(),
            soak.memory_mib.last().copied().unwrap_or_default(),
            soak.us_per_event.last().copied().unwrap_or_default()
        );
    }
    session.rest()?;
    let written = session.stop()?;
    soak.delivered = written.account.values().sum();
    soak.lost = written.lost.context("systrail wrote no account")?;
    soak.bytes = written.bytes;
    ensure!(soak.delivered > 0, "systrail delivered nothing");
    Ok(soak)
}

impl Soak {
    /// The first quarter beside the last: what grows shows there.
    pub(super) fn markdown(&self) -> String {
        let quarter = (self.memory_mib.len() / 4).max(1);
        let median =
            |values: &[f64]| -> f64 { values.iter().copied().collect::<Sample>().median() };
        let row = |name: &str, values: &[f64]| {
            let first = values.get(..quarter).map_or(f64::NAN, median);
            let last_begin = values.len().saturating_sub(quarter);
            let last = values.get(last_begin..).map_or(f64::NAN, median);
            format!(
                "| {name} | {first:.2} | {last:.2} | {:.3} |\n",
                last / first
            )
        };
        let minutes =
            float(u64::try_from(self.memory_mib.len()).unwrap_or(0)) * STEP.as_secs_f64() / 60.0;
        format!(
            "### Soak: {minutes:.1} min at {} events/s\n\n\
             | figure | first quarter | last quarter | ratio |\n|---|--:|--:|--:|\n{}{}\n\
             Delivered: {}, lost: {}.\n",
            2 * THREADS,
            row("memory, MiB", &self.memory_mib),
            row("agent's time, us/event", &self.us_per_event),
            self.delivered,
            self.lost
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_shows_as_a_ratio_above_one() {
        let soak = Soak {
            memory_mib: vec![50.0, 50.0, 50.0, 50.0, 75.0, 75.0, 75.0, 75.0],
            us_per_event: vec![0.5; 8],
            delivered: 10,
            ..Soak::default()
        };
        let text = soak.markdown();
        assert!(text.contains("| memory, MiB | 50.00 | 75.00 | 1.500 |"));
        assert!(text.contains("| agent's time, us/event | 0.50 | 0.50 | 1.000 |"));
    }
}
