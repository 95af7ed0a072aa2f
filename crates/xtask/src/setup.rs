//! `cargo xtask setup`: makes a bare Debian 12 able to run every other task. What is there already
//! stays as it is, so a second run does nothing.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::command::{cargo, program, read, run as run_command};
use crate::workspace;

/// Debian's packages, each with who needs it.
const PACKAGES: &[(&str, &str)] = &[
    ("gcc", "linking, and the runtime of the fuzz targets"),
    ("g++", "the runtime of the fuzz targets"),
    ("libc6-dev", "linking"),
    ("binutils", "stripping what goes into a virtual machine"),
    ("git", "listing the tree"),
    (
        "rustc-web",
        "the eBPF object: a compiler with its library's source",
    ),
    ("cargo-web", "the eBPF object"),
    ("libstd-rust-web-dev-bpf", "the eBPF object"),
    ("llvm-22-dev", "building bpf-linker"),
    ("libpolly-22-dev", "building bpf-linker"),
    ("libzstd-dev", "building bpf-linker"),
    ("zlib1g-dev", "building bpf-linker"),
    (
        "gcc-mingw-w64-x86-64",
        "the driver's headers and resources, programs for Windows",
    ),
    ("osslsigncode", "signing for Windows"),
    ("openssl", "the throw-away certificate of a signing test"),
    ("zip", "the archive for Windows"),
    ("dpkg", "the package for Debian"),
    ("rpm", "the package for Fedora"),
    ("strace", "the witness of integration tests"),
    (
        "python3-evtx",
        "counting the events of real Windows logs, where there are any",
    ),
    ("xz-utils", "unpacking those that are packed"),
    ("python3-venv", "packages of Python that Debian has not"),
    ("qemu-system-x86", "booting other kernels"),
    ("qemu-system-arm", "booting a kernel for ARM"),
    ("gcc-aarch64-linux-gnu", "the agent for ARM"),
    ("libc6-dev-arm64-cross", "the agent for ARM"),
    ("busybox-static", "the first process of those kernels"),
    ("systemd", "the first process of one of them"),
    ("valgrind", "counting instructions"),
    ("wine64", "running the driver and the agent"),
];

/// What is compiled for other systems, with the pinned compiler.
const TARGETS: &[&str] = &[
    "aarch64-unknown-linux-gnu",
    "x86_64-pc-windows-gnu",
    crate::image::TARGET,
];

/// Pinned, because the committed eBPF object is compared byte for byte with what it links.
const BPF_LINKER: &str = "0.13.0";

/// The tools that only start others or read manifests: what builds and starts fuzz targets, and what
/// holds dependencies against deny.toml. Not optimised: this way they build in half the time.
const CARGO_TOOLS: &[(&str, &str)] = &[("cargo-fuzz", "0.13.2"), ("cargo-deny", "0.20.2")];

/// What tests ask that is somebody else's and that Debian has not: packages of Python, in a directory of their
/// own below the target directory.
const PYTHON_PACKAGES: &[(&str, &str)] = &[("duckdb", "2.0.1")];

/// What `cargo xtask bench peers` compares with and works on. Nothing else needs it.
const BENCH_PACKAGES: &[(&str, &str)] = &[
    ("auditd", "a recorder to compare with"),
    ("bpftrace", "a recorder to compare with"),
    ("bpfcc-tools", "a recorder to compare with"),
    ("libbpf-tools", "a recorder to compare with"),
    ("forkstat", "a recorder to compare with"),
    ("linux-perf", "a recorder to compare with"),
    ("sysdig", "a recorder to compare with"),
    ("make", "a workload"),
    ("strace", "what happens in a workload"),
];

/// Arguments of `cargo xtask setup`.
#[derive(Args)]
pub(crate) struct Options {
    /// Only what `bench peers` needs: auditd, bpftrace, execsnoop, forkstat, perf, sysdig
    #[arg(long)]
    bench: bool,
}

/// Installs what is missing.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        fs::metadata("/proc/self")?.uid() == 0,
        "setup installs packages and needs root; start it with sudo"
    );
    ensure!(
        Path::new("/etc/debian_version").exists(),
        "setup knows Debian 12 only; crates/xtask/src/setup.rs lists what other systems need"
    );
    if options.bench {
        return packages(BENCH_PACKAGES);
    }
    packages(PACKAGES)?;
    toolchains()?;
    cargo_tools()?;
    python_packages()
}

fn packages(wanted: &[(&'static str, &str)]) -> Result<()> {
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|(name, _)| !is_installed(name))
        .map(|(name, purpose)| {
            println!("package {name}: missing ({purpose})");
            *name
        })
        .collect();
    if missing.is_empty() {
        println!("packages: all {} there", wanted.len());
        return Ok(());
    }
    run_command(program("apt-get").arg("update").arg("--quiet"))?;
    run_command(
        program("apt-get")
            .args(["install", "--quiet", "--yes", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

fn is_installed(package: &str) -> bool {
    program("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Abbrev}", package])
        .output()
        .is_ok_and(|output| output.status.success() && output.stdout.starts_with(b"ii"))
}

/// Miri and the library's source for the nightly toolchain, any of which will do; and what else the
/// pinned one compiles for.
fn toolchains() -> Result<()> {
    let installed = program("rustup")
        .args(["component", "list", "--installed", "--toolchain", "nightly"])
        .output()
        .context("cannot start rustup; install it from Debian or rustup.rs")?;
    let components = String::from_utf8_lossy(&installed.stdout).into_owned();
    let is_missing = |name: &str| !components.lines().any(|line| line.starts_with(name));
    if !installed.status.success() {
        run_command(program("rustup").args([
            "toolchain",
            "install",
            "nightly",
            "--profile",
            "minimal",
        ]))?;
    }
    for component in ["miri", "rust-src"] {
        if is_missing(component) {
            run_command(program("rustup").args([
                "component",
                "add",
                "--toolchain",
                "nightly",
                component,
            ]))?;
        }
    }
    println!("nightly: miri and rust-src are there");
    let targets = read(program("rustup").args(["target", "list", "--installed"]))?;
    for target in TARGETS {
        if !targets.lines().any(|line| line == *target) {
            run_command(program("rustup").args(["target", "add", target]))?;
        }
    }
    println!("targets: {} are there", TARGETS.join(", "));
    Ok(())
}

fn cargo_tools() -> Result<()> {
    let installed = read(cargo().args(["install", "--list"]))?;
    let is_there = |name: &str, version: &str| {
        installed
            .lines()
            .any(|line| line.starts_with(&format!("{name} v{version}")))
    };
    if !is_there("bpf-linker", BPF_LINKER) {
        run_command(
            cargo()
                .args(["install", "bpf-linker", "--locked", "--version", BPF_LINKER])
                .args(["--no-default-features", "--features", "llvm-22"])
                .env("LLVM_PREFIX", "/usr/lib/llvm-22"),
        )?;
    }
    for (name, version) in CARGO_TOOLS {
        if !is_there(name, version) {
            run_command(
                cargo()
                    .args(["install", name, "--locked", "--debug"])
                    .args(["--version", version]),
            )?;
        }
    }
    if !crate::command::is_there("bpf-linker") {
        bail!("bpf-linker is installed and not found; put cargo's bin directory into PATH");
    }
    println!("bpf-linker {BPF_LINKER} is there");
    for (name, version) in CARGO_TOOLS {
        println!("{name} {version} is there");
    }
    Ok(())
}

fn python_packages() -> Result<()> {
    let directory = workspace::target().join("python");
    let python = directory.join("bin/python");
    let is_there = |name: &str, version: &str| {
        let code =
            format!("import importlib.metadata as m; assert m.version('{name}') == '{version}'");
        let answer = program(&python)
            .args(["-c", &code])
            .stderr(Stdio::null())
            .status();
        answer.is_ok_and(|status| status.success())
    };
    for (name, version) in PYTHON_PACKAGES {
        if !is_there(name, version) {
            run_command(program("python3").args(["-m", "venv"]).arg(&directory))?;
            run_command(
                program(&python)
                    .args(["-m", "pip", "install", "--quiet", "--no-deps"])
                    .arg(format!("{name}=={version}")),
            )?;
        }
        println!("{name} {version} is there");
    }
    Ok(())
}
