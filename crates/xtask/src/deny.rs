//! `cargo xtask deny`: what others wrote and we build, held against deny.toml by cargo-deny: licences,
//! sources, duplicate versions.
//!
//! It needs no network beyond what a build needs, and says the same of the same tree every day.
//! Advisories are left out for that: their database is fetched, and changes by the day.

use anyhow::{Result, ensure};

use crate::command::{cargo, run as run_command};

/// Fails where there is no cargo-deny, too: a check that did not run has found nothing out.
pub(crate) fn run() -> Result<()> {
    let version = cargo().args(["deny", "--version"]).output();
    ensure!(
        version.is_ok_and(|output| output.status.success()),
        "there is no cargo-deny; `cargo xtask setup` or `cargo install cargo-deny --locked` \
         installs it"
    );
    // What is not downloaded yet has no manifest to read; a build would fetch it as well.
    run_command(cargo().args(["fetch", "--locked"]))?;
    // A warning is an entry of deny.toml that nothing needs any more.
    run_command(
        cargo()
            .args([
                "deny",
                "--offline",
                "--locked",
                "check",
                "--deny",
                "warnings",
            ])
            .args(["bans", "licenses", "sources"]),
    )
}
