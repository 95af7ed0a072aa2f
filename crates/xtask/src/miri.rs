//! `cargo xtask miri`: the tests of the wire format under Miri, which sees reads out of bounds and
//! overflows that happen to do no harm on this machine.

use anyhow::Result;

use crate::command::{Tally, cargo_nightly, run_tests};

/// Runs them; property tests with few cases, because Miri is a hundred times slower.
pub(crate) fn run() -> Result<Tally> {
    run_tests(
        cargo_nightly()
            .args(["miri", "test", "--package", "event", "--locked"])
            .env("MIRIFLAGS", "-Zmiri-disable-isolation")
            .env("PROPTEST_CASES", "8"),
    )?
    .complete()
}
