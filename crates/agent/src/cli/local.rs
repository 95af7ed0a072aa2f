//! `--local`: the time of the place, for people.

use clap::Args;

/// Whether times are local.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Local {
    /// Show local time, and mean it in --since and its like, instead of UTC
    #[arg(long)]
    pub(super) local: bool,
}
