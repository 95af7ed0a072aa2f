//! `cargo xtask wine`: the driver as it ships, on Wine: real services, requests and processes, in a
//! prefix that is made for this run. `docs/TESTING.md` says what this proves and what it cannot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::command::{cargo, program, run as run_command, run_tests};
use crate::sign::{self, Key, KeyOptions};
use crate::tally::Tally;
use crate::{dist, image, workspace};

/// The target of what runs in Wine's processes.
const TARGET: &str = "x86_64-pc-windows-gnu";

/// Where Debian's wine64 puts its programs.
const WINE: &str = "/usr/lib/wine/wine64";
const WINE_SERVER: &str = "/usr/lib/wine/wineserver64";

/// Seconds that making the prefix may take, and the tests.
const PREFIX_SECONDS_MAX: u32 = 120;
const TEST_SECONDS_MAX: u32 = 420;

/// Seconds that the agent's own tests may take.
const LIBRARY_SECONDS_MAX: u32 = 360;

/// Arguments of `cargo xtask wine`.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Only the tests whose names contain this
    filter: Option<String>,
    /// The unpacked package whose agent and driver are tested; built here when not given
    #[arg(long, value_name = "DIR")]
    package: Option<PathBuf>,
}

/// What is tested.
struct Shipped {
    agent: PathBuf,
    driver: PathBuf,
}

/// Builds everything, makes a prefix and runs the tests in it.
pub(crate) fn run(options: &Options) -> Result<Tally> {
    ensure!(
        Path::new(WINE).exists(),
        "there is no {WINE}; `cargo xtask setup` installs it"
    );
    let shipped = match &options.package {
        Some(package) => Shipped::of(package),
        None => Shipped::build()?,
    };
    dist::check_program(&shipped.agent)?;
    let library = build("bcryptprimitives", &["-nostdlib", "-Wl,--entry=DllMain"])?;
    let test_kernel = build(
        "systrail-test-kernel",
        &["-Wl,--entry=DriverEntry", "-Wl,--subsystem,native"],
    )?;
    let faulty = build(
        "faulty-driver",
        &[
            "-nostdlib",
            "-Wl,--entry=DriverEntry",
            "-Wl,--subsystem,native",
        ],
    )?;
    let runner = build("systrail-runner", &[])?;
    let prefix = Prefix::make()?;
    prefix.put(&library, "windows/system32/bcryptprimitives.dll")?;
    prefix.put(&shipped.driver, "systrail/systrail.sys")?;
    prefix.put(&test_kernel, "systrail/testkernel.sys")?;
    prefix.put(&faulty, "systrail/faulty/systrail.sys")?;
    prefix.put(&runner, "systrail/runner.exe")?;
    prefix.put(&shipped.agent, "systrail/systrail.exe")?;
    let mut command = prefix.wine(TEST_SECONDS_MAX);
    command
        .args([r"C:\systrail\runner.exe", "test"])
        .args(&options.filter);
    let outcome = run_tests(&mut command);
    prefix.tell_fault();
    let tally = outcome
        .and_then(Tally::complete)
        .with_context(|| format!("log and witness are in {}", prefix.path.display()))?;
    if options.filter.is_some() || options.package.is_some() {
        return Ok(tally);
    }
    Ok(tally.plus(test_library(&prefix)?))
}

/// Runs the agent's own tests as Windows builds them: what its fence asks of the system, and what
/// the rest does there.
fn test_library(prefix: &Prefix) -> Result<Tally> {
    let runner = format!("timeout --kill-after=10 {LIBRARY_SECONDS_MAX} {WINE}");
    let mut command = cargo();
    prefix
        .environment(&mut command)
        .args(["test", "--locked", "--package", "systrail", "--lib"])
        .args(["--target", TARGET])
        .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", runner)
        // They are packed, and no program in the prefix unpacks them. Here they are read as well.
        .env_remove("SYSTRAIL_SAMPLES")
        .env_remove("RUSTFLAGS");
    run_tests(&mut command).and_then(Tally::complete)
}

/// Builds a program of `testkernel`; one with arguments for the linker is a library without the C
/// runtime's start.
fn build(name: &str, link: &[&str]) -> Result<PathBuf> {
    let mut command = cargo();
    command
        .args(["rustc", "--locked", "--package", "testkernel", "--quiet"])
        .args(["--features", "image", "--bin", name, "--target", TARGET])
        .env_remove("RUSTFLAGS")
        .arg("--");
    if !link.is_empty() {
        command
            .args(["-Clink-arg=-shared", "-Clink-arg=-nostartfiles"])
            .args(link.iter().map(|argument| format!("-Clink-arg={argument}")));
    }
    run_command(&mut command)
        .with_context(|| format!("building {name}; `cargo xtask setup` installs what it needs"))?;
    let directory = workspace::target().join(TARGET).join("debug");
    Ok(directory.join(format!("{name}.exe")))
}

impl Shipped {
    fn of(package: &Path) -> Self {
        Self {
            agent: package.join("systrail.exe"),
            driver: package.join("systrail.sys"),
        }
    }

    /// Builds the driver as its users have it, and the agent so but for the optimiser, and signs both.
    fn build() -> Result<Self> {
        let driver = image::run()?.image;
        run_command(
            cargo()
                .args(["build", "--locked", "--package", "systrail", "--quiet"])
                .args(["--bin", "systrail", "--target", TARGET])
                .env_remove("RUSTFLAGS"),
        )?;
        let agent = workspace::target().join(TARGET).join("debug/systrail.exe");
        let key = Key::new(&KeyOptions::default())?;
        Ok(Self {
            agent: sign::signed(&key, &agent)?,
            driver: sign::signed(&key, &driver)?,
        })
    }
}

/// A prefix with its server, which ends when this is dropped.
struct Prefix {
    path: PathBuf,
}

impl Prefix {
    /// Makes the prefix anew.
    fn make() -> Result<Self> {
        let path = workspace::target().join("wine");
        let prefix = Self { path };
        // One that an interrupted run left.
        prefix.end_server();
        if prefix.path.exists() {
            fs::remove_dir_all(&prefix.path)?;
        }
        fs::create_dir_all(&prefix.path)?;
        run_command(
            prefix
                .wine(PREFIX_SECONDS_MAX)
                .args(["wineboot", "-i"])
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )
        .context("making a Wine prefix")?;
        // Wine starts its services anew for the next program, and only when these have ended.
        prefix.server(&["--wait"])?;
        Ok(prefix)
    }

    /// Wine, ended when it takes longer.
    fn wine(&self, seconds: u32) -> Command {
        let mut command = program("timeout");
        self.environment(&mut command)
            .arg("--kill-after=10")
            .arg(seconds.to_string())
            .arg(WINE);
        command
    }

    fn environment<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("WINEPREFIX", &self.path)
            .env("WINEDEBUG", "-all")
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=;winedbg.exe=d")
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
    }

    fn server(&self, arguments: &[&str]) -> Result<()> {
        run_command(
            self.environment(&mut program("timeout"))
                .args(["--kill-after=10", "30", WINE_SERVER])
                .args(arguments)
                .stderr(Stdio::null()),
        )
    }

    /// Copies a file below `C:\`.
    fn put(&self, file: &Path, place: &str) -> Result<()> {
        let target = self.path.join("drive_c").join(place);
        if let Some(directory) = target.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::copy(file, &target)
            .with_context(|| format!("copying {} to {}", file.display(), target.display()))?;
        Ok(())
    }

    /// Tells of a fault in the driver, which the test kernel wrote down.
    fn tell_fault(&self) {
        if let Ok(text) = fs::read_to_string(self.path.join("drive_c/systrail-fault.txt")) {
            println!("{}", text.trim_end());
        }
    }

    /// Ends every process of this prefix, and of no other.
    fn end_server(&self) {
        if !self.path.exists() {
            return;
        }
        // It ends with 1 where there is no server, which is as good.
        let _outcome = self.server(&["--kill", "--wait"]);
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        self.end_server();
    }
}
