//! `cargo xtask dist`: what is released. For Linux a tarball and packages, for Windows a zip, each with what
//! it is made of (`CycloneDX`) and the licences of all that is linked in; and the checksums of all.
//!
//! The same tree gives the same bytes: nothing of the machine or the hour gets in, unless it is
//! signed.

mod archive;
mod bill;
mod packages;
mod program;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

use crate::command::{cargo, program as start, read, run as run_command};
use crate::sign::{self, Key};
use crate::{image, inf, places, workspace};
use bill::Bill;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Arguments of `cargo xtask dist`.
#[derive(Args)]
pub(crate) struct Options {
    /// Only for this system
    #[arg(long)]
    only: Option<System>,
    /// An agent for Windows that was built elsewhere, with Visual Studio's linker say
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Sign what goes to Windows, as `cargo xtask sign` does
    #[arg(long)]
    sign: bool,
    #[command(flatten)]
    key: sign::KeyOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum System {
    Linux,
    Windows,
}

/// What goes into an archive: the file, and its name there.
type Contents = Vec<(PathBuf, &'static str)>;

/// Files of the repository that every archive has, at the same place: all that these documents lead to
/// is among them.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "docs/BENCHMARKS.md",
    "docs/CONFIGURATION.md",
    "docs/DETECT.md",
    "docs/DRIVER.md",
    "docs/EVENTS.md",
    "docs/EXPORT.md",
    "docs/FLEET.md",
    "docs/LINUX.md",
    "docs/QUERY.md",
    "docs/STORE.md",
    "docs/STYLE.md",
    "docs/SYSMON.md",
    "docs/TESTING.md",
    "docs/TOP.md",
    "docs/TOUR.md",
    "docs/TRACES.md",
    "docs/TUNING.md",
    "docs/WEB.md",
    "docs/WINDOWS.md",
    "docs/WIRE.md",
    "docs/bench/peers-cost.svg",
    "docs/bench/peers-latency.svg",
    "docs/bench/peers-slow-down.svg",
    "docs/pictures/report.png",
    "docs/pictures/top.png",
    "docs/pictures/web.png",
    "packaging/clickhouse/single-node.sql",
    "packaging/duckdb/systrail.sql",
    "packaging/lnav/systrail.json",
    "packaging/sigma/systrail.yml",
    "packaging/sigma/systrail-ecs.yml",
];

/// Builds, checks and packs.
pub(crate) fn run(options: &Options) -> Result<()> {
    let out = workspace::target().join("dist");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("emptying {}", out.display()))?;
    }
    fs::create_dir_all(&out)?;
    let is_wanted = |system| options.only.is_none_or(|only| only == system);
    let mut files = Vec::new();
    if is_wanted(System::Linux) {
        files.extend(linux(&out)?);
    }
    if is_wanted(System::Windows) {
        let key = options.sign.then(|| Key::new(&options.key)).transpose()?;
        files.extend(windows(&out, options.agent.as_deref(), key.as_ref())?);
    }
    archive::checksums(&out, &files)?;
    for file in &files {
        println!("{}", out.join(file).display());
    }
    Ok(())
}

fn linux(out: &Path) -> Result<Vec<String>> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let mut contents = documents();
    let program = agent(TARGET, &[])?;
    let name = format!("systrail-{VERSION}-x86_64-linux");
    let bill = bill(out, &name, TARGET, &["systrail"], &mut contents)?;
    let mut files = linux_packages(out, &program, contents.clone())?;
    contents.push((program, "systrail"));
    contents.push((
        workspace::root().join("crates/agent/assets/systrail.service"),
        "systrail.service",
    ));
    let staged = archive::stage(out, &name, &contents)?;
    files.extend([archive::tarball(out, &staged)?, bill]);
    Ok(files)
}

/// The packages; what the program says of itself is asked of it.
fn linux_packages(out: &Path, program: &Path, documents: Contents) -> Result<Vec<String>> {
    let said = workspace::target().join("release-said");
    let (manual, completions) = (said.join("manual"), said.join("completions"));
    if said.exists() {
        fs::remove_dir_all(&said)?;
    }
    fs::create_dir_all(&manual)?;
    fs::create_dir_all(&completions)?;
    run_command(start(program).args(["man", "--all"]).arg(&manual))?;
    for shell in ["bash", "fish", "zsh"] {
        let script = read(start(program).args(["completions", shell]))?;
        fs::write(completions.join(shell), script)?;
    }
    let parts = packages::Parts {
        program: program.to_owned(),
        manual,
        completions,
        documents,
        version: VERSION.to_owned(),
        time: archive::commit_seconds()?.to_string(),
    };
    packages::write(out, &parts)
}

fn windows(out: &Path, built: Option<&Path>, key: Option<&Key>) -> Result<Vec<String>> {
    const TARGET: &str = "x86_64-pc-windows-gnu";
    let agent = match built {
        Some(file) => file.to_owned(),
        // The linker of MinGW writes the hour into an image, unless it is told not to.
        None => agent(TARGET, &["-Clink-arg=-Wl,--no-insert-timestamp"])?,
    };
    check_program(&agent)?;
    let driver = image::run()?;
    let description = workspace::root().join("packaging/windows/systrail.inf");
    let faults = inf::check(&fs::read_to_string(&description)?, VERSION);
    ensure!(faults.is_empty(), "systrail.inf: {}", faults.join("; "));
    let (agent, image) = (signed(key, &agent)?, signed(key, &driver.image)?);
    let mut contents = documents();
    contents.extend([
        (agent, "systrail.exe"),
        (image, "systrail.sys"),
        (driver.symbols, "systrail.pdb"),
        (description, "systrail.inf"),
    ]);
    if let Some(key) = key {
        contents.push((key.certificate.clone(), "signed-with.pem"));
    }
    let name = format!("systrail-{VERSION}-x86_64-windows");
    let bill = bill(out, &name, TARGET, &["systrail", "driver"], &mut contents)?;
    let staged = archive::stage(out, &name, &contents)?;
    Ok(vec![archive::zip(out, &staged)?, bill])
}

fn documents() -> Contents {
    DOCUMENTS
        .iter()
        .map(|path| (workspace::root().join(path), *path))
        .collect()
}

/// Writes what the packages are made of beside the archive and, with all licences, into it.
fn bill(
    out: &Path,
    name: &str,
    target: &str,
    packages: &[&str],
    contents: &mut Contents,
) -> Result<String> {
    let bill = Bill::read(target, packages)?;
    let licences = workspace::target().join(format!("{name}.licences.txt"));
    fs::write(&licences, bill.licences()?)?;
    let file = format!("{name}.cdx.json");
    fs::write(out.join(&file), bill.cyclone_dx()?)?;
    contents.push((licences, "THIRD-PARTY-LICENCES.txt"));
    contents.push((out.join(&file), "systrail.cdx.json"));
    Ok(file)
}

fn signed(key: Option<&Key>, file: &Path) -> Result<PathBuf> {
    key.map_or_else(|| Ok(file.to_owned()), |key| sign::signed(key, file))
}

/// Builds the agent, without a path of this machine in it.
fn agent(target: &str, flags: &[&str]) -> Result<PathBuf> {
    let mut rustflags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let mut cflags = Vec::new();
    for (from, to) in places::renamed()? {
        let from = from.display();
        rustflags.push(format!("--remap-path-prefix={from}={to}"));
        cflags.push(format!("-ffile-prefix-map={from}={to}"));
    }
    let directory = workspace::target().join("release-build");
    run_command(
        cargo()
            .args(["build", "--release", "--locked", "--package", "systrail"])
            .args(["--bin", "systrail", "--target", target, "--target-dir"])
            .arg(&directory)
            .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
            .env_remove("RUSTFLAGS")
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags.join("\x1f"))
            .env("CFLAGS", cflags.join(" ")),
    )?;
    let release = directory.join(target).join("release");
    let agent = ["systrail", "systrail.exe"]
        .map(|name| release.join(name))
        .into_iter()
        .find(|path| path.exists())
        .with_context(|| format!("there is no systrail in {}", release.display()))?;
    places::ensure_unnamed(&agent)?;
    Ok(agent)
}

/// Fails unless the program runs on a Windows on which nothing else was installed.
pub(crate) fn check_program(agent: &Path) -> Result<()> {
    let bytes = fs::read(agent).with_context(|| format!("reading {}", agent.display()))?;
    let faults = program::check(&bytes)?;
    ensure!(
        faults.is_empty(),
        "{}: {}",
        agent.display(),
        faults.join("; ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_document_of_an_archive_leads_out_of_it() {
        let is_page = |path: &&&str| Path::new(path).extension().is_some_and(|it| it == "md");
        for document in DOCUMENTS.iter().filter(is_page) {
            let text = fs::read_to_string(workspace::root().join(document)).unwrap();
            let directory = Path::new(document).parent().unwrap();
            for link in text.split("](").skip(1) {
                let link = link.split([')', '#']).next().unwrap();
                if !link.is_empty() && !link.contains(':') {
                    let target = directory.join(link);
                    let is_there = DOCUMENTS.iter().any(|path| Path::new(path) == target);
                    assert!(is_there, "{document}: {link}");
                }
            }
        }
    }
}
