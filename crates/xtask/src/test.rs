//! `cargo xtask test`: the tests of the workspace. None may be skipped.

use anyhow::Result;
use clap::Args;

use crate::command::{Tally, cargo, run_tests};

/// Arguments of `cargo xtask test`.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Only the tests whose names contain this
    filter: Option<String>,
}

/// Runs them, all of them even when one executable fails.
pub(crate) fn run(options: &Options) -> Result<Tally> {
    let tally = run_tests(
        cargo()
            .args(["test", "--workspace", "--locked", "--no-fail-fast"])
            .args(&options.filter),
    )?;
    tally.complete()
}
