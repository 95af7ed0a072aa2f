//! `cargo xtask loom`: the small cases of the ring buffer in every interleaving of their threads and
//! with every value a load may see.

use anyhow::Result;

use crate::command::{cargo, run_tests};
use crate::tally::Tally;

/// Runs them, optimised: loom plays each case many thousand times.
pub(crate) fn run() -> Result<Tally> {
    run_tests(
        cargo()
            .args(["test", "--package", "ring-buffer", "--test", "loom"])
            .args(["--release", "--locked"])
            .env("RUSTFLAGS", "--cfg loom"),
    )?
    .complete()
}
