//! `cargo xtask ebpf`: builds the committed eBPF object from `crates/ebpf`, byte for byte the same
//! on every machine.
//!
//! rustup's toolchains cannot do it: they have no library for the target, and their LLVM is not
//! the linker's. Debian's `rustc-web` has both. Nothing is installed here: what is missing is
//! named with the command that installs it.

mod functions;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::workspace;

const TARGET: &str = "bpfel-unknown-none";
/// The committed object, from the top of the repository.
const OBJECT: &str = "crates/agent/assets/systrail.bpf.o";

/// Debian's toolchain; the versions are those of its LLVM.
const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
const LIBRARY: &str = "/usr/lib/rustlib/bpfel-unknown-none/lib";
const TOOLCHAIN_CURE: &str =
    "apt-get install rustc-web cargo-web libstd-rust-web-dev-bpf llvm-22-dev libllvm22";

/// Another linker, or one on another LLVM, makes other bytes.
const LINKER: &str = "bpf-linker";
const LINKER_VERSION: &str = "bpf-linker 0.13.0";
const LINKER_CURE: &str = "LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker@0.13.0 --locked \
                           --no-default-features --features llvm-22";

/// Builds the object; with `check`, compares it with the committed one instead of replacing it.
pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    require_toolchain()?;
    let linker = require_linker()?;
    let top = workspace::root();
    let read =
        |path: &Path| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
    let built = functions::with_types(&read(&build(top, &linker)?)?)?;
    let committed = top.join(OBJECT);
    if !check {
        return std::fs::write(&committed, &built)
            .with_context(|| format!("writing {}", committed.display()));
    }
    ensure!(
        built == read(&committed)?,
        "{OBJECT} is not what its sources build: run `cargo xtask ebpf` and commit it"
    );
    Ok(())
}

fn require_toolchain() -> anyhow::Result<()> {
    for path in [RUSTC, CARGO, LIBRARY] {
        ensure!(
            Path::new(path).exists(),
            "{path} is missing: {TOOLCHAIN_CURE}"
        );
    }
    Ok(())
}

/// The linker's path: rustc must not find another by the same name.
fn require_linker() -> anyhow::Result<PathBuf> {
    let path = cargo_home()?.join("bin").join(LINKER);
    let Ok(output) = Command::new(&path).arg("--version").output() else {
        bail!("{} does not run: {LINKER_CURE}", path.display());
    };
    let version = String::from_utf8_lossy(&output.stdout);
    ensure!(
        version.trim() == LINKER_VERSION,
        "{} is {}, not {LINKER_VERSION}: {LINKER_CURE}",
        path.display(),
        version.trim()
    );
    Ok(path)
}

fn build(top: &Path, linker: &Path) -> anyhow::Result<PathBuf> {
    let target_dir = top.join("target/ebpf");
    let flags = [
        "-Cpanic=abort".to_owned(),
        "-Cdebuginfo=0".to_owned(),
        "-Cstrip=debuginfo".to_owned(),
        format!("-Clinker={}", linker.display()),
        format!("--remap-path-prefix={}=/systrail", top.display()),
        format!("--remap-path-prefix={}=/cargo", cargo_home()?.display()),
    ];
    let status = Command::new(CARGO)
        .args(["build", "--release", "--locked", "--package", "ebpf"])
        .args(["--bin", "ebpf", "--features", "image", "--target", TARGET])
        .current_dir(top)
        .env("RUSTC", RUSTC)
        // The target is unstable, and so is inline assembly for it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTUP_TOOLCHAIN")
        .status()
        .with_context(|| format!("running {CARGO}"))?;
    ensure!(status.success(), "building the eBPF object: {status}");
    Ok(target_dir.join(TARGET).join("release/ebpf"))
}

fn cargo_home() -> anyhow::Result<PathBuf> {
    match std::env::var_os("CARGO_HOME") {
        Some(home) => Ok(home.into()),
        None => std::env::home_dir()
            .map(|home| home.join(".cargo"))
            .context("there is no home directory: set CARGO_HOME"),
    }
}
