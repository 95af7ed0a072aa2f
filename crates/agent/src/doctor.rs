//! What this machine can and cannot do, and the one thing to do about it.
//!
//! The tiers are opened for real, as `run` would; everything else here explains their answers.
//! Nothing stays attached and nothing stays changed, but for what a killed agent left, which is ended.

mod data;
#[cfg_attr(windows, path = "doctor/windows/facts.rs")]
mod facts;
mod row;

use std::path::Path;

use serde::Serialize;

pub use self::row::{write_csv, write_json_lines};
use crate::config::Config;
use crate::sensor::choice::{Refusal, TIERS, Tier};
use crate::sensor::{Error, Settings};
use crate::sys::wake::Waker;

/// All there is to say about a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The tier `--source auto` takes; `None` when nothing can record.
    pub source: Option<&'static str>,
    /// The one thing to do; `None` when there is nothing.
    pub advice: Option<String>,
    /// Every way to record, the best first.
    pub tiers: Vec<TierReport>,
    /// What the machine is like.
    pub facts: Vec<Fact>,
}

/// What became of one tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TierReport {
    /// Its name.
    pub name: &'static str,
    /// Whether it runs here.
    pub runs: bool,
    /// What is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
    /// Where image loads come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<&'static str>,
    /// What it cannot give even where it runs.
    pub lacks: &'static [&'static str],
}

impl TierReport {
    /// Whether it runs, in words.
    pub fn verdict(&self) -> String {
        match (self.runs, self.images) {
            (true, Some(images)) => format!("runs here, image loads from {images}"),
            (true, None) => "runs here".to_owned(),
            (false, _) => {
                let cause = self.cause.as_deref().unwrap_or("unknown");
                format!("does not run here: {cause}")
            }
        }
    }
}

/// Whether something stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It does not.
    Good,
    /// It takes something away.
    Limits,
    /// It is as it is.
    Info,
}

/// One thing about the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What.
    pub name: &'static str,
    /// Whether it stands in the way.
    pub state: State,
    /// How it is.
    pub value: String,
}

/// Looks at this machine.
pub fn examine(config: &Config, data_directory: &Path) -> Result<Report, std::io::Error> {
    let waker = Waker::new()?;
    let settings = config.sensor_settings(&waker);
    let tiers: Vec<TierReport> = TIERS.iter().map(|tier| try_out(tier, &settings)).collect();
    let source = tiers.iter().find(|tier| tier.runs).map(|tier| tier.name);
    let mut facts = facts::gather(data_directory);
    facts.extend(data::gather(config));
    Ok(Report {
        source,
        advice: advice(&tiers).or_else(facts::advice),
        facts,
        tiers,
    })
}

/// Opens a tier as `run` would, and closes it again.
fn try_out(tier: &Tier, settings: &Settings) -> TierReport {
    let opened = (tier.open_fn)(settings).map(|sensor| {
        let has_buffer = |name: &str| {
            sensor
                .buffer_peaks()
                .iter()
                .any(|&(buffer, ..)| buffer.contains(name))
        };
        match tier.name {
            "ebpf" if has_buffer("images") => Some("perf records"),
            "ebpf" => Some("eBPF program"),
            "perf" => Some("perf records"),
            _ => None,
        }
    });
    told(tier, opened)
}

fn told(tier: &Tier, opened: Result<Option<&'static str>, Error>) -> TierReport {
    let (runs, images, refusal) = match opened {
        Ok(images) => (true, images, None),
        Err(error) => (false, None, Some(Refusal::new(tier.name, error))),
    };
    let (cause, cure) = refusal.map(|refusal| (refusal.cause, refusal.cure)).unzip();
    TierReport {
        name: tier.name,
        runs,
        cause,
        cure,
        images,
        lacks: tier.lacks,
    }
}

/// The cure of the best tier that does not run, if it is better than the one that does.
fn advice(tiers: &[TierReport]) -> Option<String> {
    let best = tiers.first()?;
    best.cure.clone()
}

#[cfg(test)]
mod tests {
    use super::{State, advice, facts, told};
    use crate::sensor::Error;
    use crate::sensor::choice::TIERS;

    #[test]
    fn the_advice_is_the_cure_of_the_best_tier() {
        let unavailable = |cure: &str| {
            Err(Error::Unavailable {
                cause: "no privilege".to_owned(),
                cure: cure.to_owned(),
            })
        };
        let [best, lesser] = [&TIERS[0], TIERS.last().unwrap()];
        let tiers = [
            told(best, unavailable("run as root")),
            told(lesser, Ok(None)),
        ];
        assert_eq!(advice(&tiers).as_deref(), Some("run as root"));
        let tiers = [
            told(best, Ok(None)),
            told(lesser, unavailable("never mind")),
        ];
        assert_eq!(advice(&tiers), None);
    }

    #[test]
    fn every_fact_has_a_value() {
        let directory = tempfile::tempdir().unwrap();
        let facts = facts::gather(directory.path());
        assert!(facts.iter().all(|fact| !fact.value.is_empty()), "{facts:?}");
        let data = facts.iter().find(|fact| fact.name == "data_directory");
        assert_eq!(data.map(|fact| fact.state), Some(State::Good));
    }
}
