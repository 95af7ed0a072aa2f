//! `cargo xtask ebpf`: builds the eBPF object.

use anyhow::{Result, bail};

/// Builds the object; with `check` compares it with the committed one.
pub(crate) fn run(check: bool) -> Result<()> {
    bail!("not there yet (check: {check})")
}
