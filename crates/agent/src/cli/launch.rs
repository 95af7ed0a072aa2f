//! The launch routine of this system: the sensors load what they need themselves, and take it with
//! them when they go.

use std::path::{Path, PathBuf};

use clap::Args;
use systrail::config::Config;

use super::Failure;

/// Flags of `run` that only some systems have; none here.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct LaunchArguments {}

/// What was done to the machine for a recording.
#[derive(Debug)]
pub(super) struct Launched;

/// Nothing is to be done.
#[expect(
    clippy::unnecessary_wraps,
    reason = "its twin for another system can fail"
)]
pub(super) const fn begin(
    _config: &Config,
    _arguments: LaunchArguments,
) -> Result<Launched, Failure> {
    Ok(Launched)
}

/// Where the system's configuration is read: `/etc` is root's.
#[expect(
    clippy::unnecessary_wraps,
    reason = "its twin for another system can fail"
)]
pub(super) fn configuration_at(path: &Path) -> Result<PathBuf, Failure> {
    Ok(path.to_owned())
}

/// Where a sink keeps data is made by the sink, for its user alone.
#[expect(
    clippy::unnecessary_wraps,
    reason = "its twin for another system can fail"
)]
pub(super) const fn prepare_data(_path: &Path) -> Result<(), Failure> {
    Ok(())
}

impl Launched {
    /// There is nothing to undo.
    pub(super) const fn end(self) {
        let Self = self;
    }
}
