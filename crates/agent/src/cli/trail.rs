//! Where `tree`, `show` and `export` read the trail from: a log, the store, or the machine as it is
//! now; and which time of it.

use std::path::{Path, PathBuf};

use clap::Args;
use systrail::moment;
use systrail::store::{self, Guard, Window};
use systrail::trail::Time;

use super::passed_over::Strict;
use super::{Failure, options};

/// Where the trail is, and which time of it is wanted.
#[derive(Debug, Args)]
pub(super) struct TrailArguments {
    /// Read this log or Windows trace instead of the store; a log may be compressed, or - for
    /// standard input
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    pub(super) log: Option<PathBuf>,
    /// Read the store in this directory
    #[arg(long, value_name = "DIR")]
    pub(super) store: Option<PathBuf>,
    /// From this time on: 10m (that long ago), yesterday, 02:00, 2026-11-22T02:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    pub(super) since: Option<Time>,
    /// Up to this time
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    pub(super) until: Option<Time>,
    /// From the beginning of the newest recording on
    #[arg(long, conflicts_with_all = ["since", "log"])]
    pub(super) last_run: bool,
    #[command(flatten)]
    pub(super) strict: Strict,
}

/// A point in time, as an argument.
pub(super) fn time(text: &str) -> Result<Time, String> {
    moment::parse(text, moment::now()).map_err(|error| error.to_string())
}

/// The store's directory: the one that is named, or where `run` keeps it by its configuration.
pub(super) fn store_directory(named: Option<&Path>) -> Result<PathBuf, Failure> {
    match named {
        Some(directory) => Ok(directory.to_path_buf()),
        None => Ok(options::load(None)?.store_directory()),
    }
}

/// The time that is wanted of the store.
pub(super) fn window(
    directory: &Path,
    since: Option<Time>,
    until: Option<Time>,
    last_run: bool,
    guard: &Guard,
) -> Result<Window, Failure> {
    check_order(since, until)?;
    let run = if last_run {
        store::last_run(directory, guard)?
    } else {
        None
    };
    Ok(Window {
        since: since.or(run),
        until,
    })
}

/// Fails where the end is before the beginning.
fn check_order(since: Option<Time>, until: Option<Time>) -> Result<(), Failure> {
    match (since, until) {
        (Some(since), Some(until)) if until <= since => {
            let error = anyhow::anyhow!("--until is not after --since");
            Err(Failure::usage(error))
        }
        _ => Ok(()),
    }
}

impl TrailArguments {
    /// The store that is meant, and the time of it.
    pub(super) fn store(&self, guard: &Guard) -> Result<(PathBuf, Window), Failure> {
        let directory = store_directory(self.store.as_deref())?;
        let window = window(&directory, self.since, self.until, self.last_run, guard)?;
        Ok((directory, window))
    }

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
        check_order(self.since, self.until)
    }
}
