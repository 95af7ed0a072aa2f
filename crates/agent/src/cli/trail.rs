//! Where `tree`, `show` and `export` read the trail from: a log, the store, or the machine as it is
//! now; and which time of it.

use std::path::PathBuf;

use agent::moment;
use agent::trail::Time;
use clap::Args;

use super::Failure;

/// Where the trail is, and which time of it is wanted.
#[derive(Debug, Args)]
pub(super) struct TrailArguments {
    /// Read this log instead of the store, plain or compressed; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    pub(super) log: Option<PathBuf>,
    /// Read the store in this directory
    #[arg(long, value_name = "DIR")]
    pub(super) store: Option<PathBuf>,
    /// From this time on: 10m (that long ago), 02:00, 2026-11-22T02:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) since: Option<Time>,
    /// Up to this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) until: Option<Time>,
    /// From the beginning of the newest recording on
    #[arg(long, conflicts_with_all = ["since", "log"])]
    pub(super) last_run: bool,
}

/// A point in time, as an argument.
pub(super) fn time(text: &str) -> Result<Time, String> {
    moment::parse(text, moment::now()).map_err(|error| error.to_string())
}

impl TrailArguments {
    /// Whether an argument asks for a trail, and not for the machine as it is now.
    pub(super) const fn asks_for_trail(&self) -> bool {
        self.log.is_some()
            || self.store.is_some()
            || self.since.is_some()
            || self.until.is_some()
            || self.last_run
    }

    /// Fails where the end is before the beginning.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match (self.since, self.until) {
            (Some(since), Some(until)) if until <= since => {
                let error = anyhow::anyhow!("--until is not after --since");
                Err(Failure::usage(error))
            }
            _ => Ok(()),
        }
    }
}
