//! `cargo xtask test`: the tests of the workspace. None may be skipped.

use anyhow::Result;
use clap::Args;

use crate::command::{cargo, run_tests};
use crate::tally::Tally;
use crate::{loom, miri, tsan};

/// Arguments of `cargo xtask test`.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Only the tests whose names contain this
    filter: Option<String>,
    /// A test that cannot run here (it needs root) fails; loom, `ThreadSanitizer` and Miri as well
    #[arg(long)]
    complete: bool,
}

impl Options {
    /// Every test, and none skipped.
    pub(crate) fn complete() -> Self {
        Self {
            complete: true,
            ..Self::default()
        }
    }
}

/// Runs them and, where everything is asked for, those that need a build of their own.
pub(crate) fn run(options: &Options) -> Result<()> {
    run_workspace(options)?;
    if options.complete && options.filter.is_none() {
        loom::run()?;
        tsan::run()?;
        miri::run(&miri::Options::default())?;
    }
    Ok(())
}

/// Runs those of the workspace, all of them even when one executable fails.
pub(crate) fn run_workspace(options: &Options) -> Result<Tally> {
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--locked", "--no-fail-fast"])
        .args(&options.filter);
    if options.complete {
        command.env("CI", "true");
    }
    run_tests(&mut command)?.complete()
}
