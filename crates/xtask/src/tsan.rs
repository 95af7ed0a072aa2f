//! `cargo xtask tsan`: the many-threaded tests of the ring buffer and the driver under
//! `ThreadSanitizer`, which sees races between accesses that no synchronisation orders.

use anyhow::Result;

use crate::command::{cargo_nightly, run_tests};
use crate::tally::Tally;

/// The sanitizer's own library exists for this target.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The stress tests: package, test executable, and which of its tests.
const TESTS: [(&str, &str, &str); 2] = [
    ("ring-buffer", "stress", ""),
    ("driver", "on_ntemu", "stress::"),
];

/// Runs them.
pub(crate) fn run() -> Result<Tally> {
    let mut total = Tally::default();
    for (package, test, filter) in TESTS {
        let tally = run_tests(
            cargo_nightly()
                .args(["test", "--package", package, "--test", test, "--locked"])
                // The standard library synchronises too, so it must be watched as well.
                .args(["-Zbuild-std", "--target", TARGET, filter])
                .env("RUSTFLAGS", "-Zsanitizer=thread --cfg thread_sanitizer")
                // Tests unwind; with a profile that aborts, cargo builds the library in both ways and
                // rustc finds two of it.
                .env("CARGO_PROFILE_DEV_PANIC", "unwind"),
        )?
        .complete()?;
        total = total.plus(tally);
    }
    Ok(total)
}
