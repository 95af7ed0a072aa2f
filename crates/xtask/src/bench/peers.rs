//! `cargo xtask bench peers` and `bench tuning`: hands the arguments on to crates/bench-peers, a
//! crate of its own so that no other task compiles what draws and knows other recorders.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use anyhow::{Error, Result};
use clap::Args;

use crate::command::cargo;

/// Arguments of that program.
#[derive(Args)]
pub(crate) struct Options {
    /// What `--help` after this lists
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    arguments: Vec<OsString>,
}

/// Becomes that program, so that Ctrl-C and an exit code mean what they mean to it.
pub(crate) fn run(bench: &str, options: &Options) -> Result<()> {
    let mut command = cargo();
    command
        .args(["run", "--release", "--locked"])
        .args(["--package", "bench-peers", "--", bench])
        .args(&options.arguments);
    // It returns only when it fails.
    Err(Error::new(command.exec()).context("cannot start cargo"))
}
