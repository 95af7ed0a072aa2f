//! `cargo xtask lint`: format, clippy and documentation. Warnings are errors here and only here, so
//! a half-finished edit still builds at home.

use anyhow::Result;

use crate::command::{cargo, run as run_command};
use crate::image::TARGET as DRIVER_TARGET;

/// What the agent is built for on Windows.
const AGENT_TARGET: &str = "x86_64-pc-windows-gnu";

/// All of them, the quickest first.
pub(crate) fn run() -> Result<()> {
    format()?;
    clippy()?;
    documentation()
}

/// Every file is formatted as rustfmt would.
pub(crate) fn format() -> Result<()> {
    run_command(cargo().args(["fmt", "--all", "--check"]))
}

/// Clippy has nothing to say: tests included, the driver as its image is built, and what runs as a
/// program on Windows or Wine.
pub(crate) fn clippy() -> Result<()> {
    run_command(
        cargo()
            .args(["clippy", "--workspace", "--all-targets", "--locked"])
            .args(["--", "-D", "warnings"]),
    )?;
    run_command(
        cargo()
            .args(["clippy", "--locked", "--target", DRIVER_TARGET])
            .args(["--package", "driver", "--features", "driver/image"])
            .args(["--package", "nt", "--package", "ring-buffer"])
            .args(["--", "-D", "warnings"]),
    )?;
    run_command(
        cargo()
            .args(["clippy", "--locked", "--target", AGENT_TARGET])
            .args(["--package", "systrail", "--lib", "--bins"])
            .args(["--package", "testkernel", "--features", "testkernel/image"])
            .args(["--", "-D", "warnings"]),
    )
}

/// Every public thing is documented and every link in the documentation leads somewhere.
pub(crate) fn documentation() -> Result<()> {
    run_command(
        cargo()
            .args(["doc", "--workspace", "--no-deps", "--locked"])
            .arg("--document-private-items")
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}
