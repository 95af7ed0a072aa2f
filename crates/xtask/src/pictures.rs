//! `cargo xtask pictures`: the pictures of the documents, made by the program they show.
//!
//! They are looked at and committed by whoever changes what they show; no two are alike, for they are of
//! real runs. Needs root, a C compiler, `make` and Chromium.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::command::{cargo, is_there, run as run_command};
use crate::workspace;

/// Where they are.
const DIRECTORY: &str = "docs/pictures";

/// The files of the build that is shown; the last does not compile.
const FILE_COUNT: usize = 14;

/// Makes them all.
pub(crate) fn run() -> Result<()> {
    for (name, package) in [("chromium", "chromium"), ("make", "make"), ("cc", "gcc")] {
        ensure!(
            is_there(name),
            "{name} is not installed: apt-get install {package}"
        );
    }
    run_command(cargo().args(["build", "--locked", "--package", "systrail"]))?;
    let directory = workspace::target().join("pictures");
    fs::create_dir_all(&directory).context("cannot make the directory of the build")?;
    write_build(&directory)?;
    let report = directory.join("build.html");
    record(&directory, &report)?;
    let picture = workspace::root().join(DIRECTORY).join("report.png");
    take(&report, &picture)?;
    println!("{}", picture.display());
    Ok(())
}

/// A small build: some files that take their time, and one that fails.
fn write_build(directory: &Path) -> Result<()> {
    let mut rules = String::new();
    let mut objects = Vec::new();
    for number in 1..=FILE_COUNT {
        let mut code = String::new();
        for function in 0..60 * number {
            writeln!(
                code,
                "int f{function}(int x) {{ return x * {function} + {number}; }}"
            )?;
        }
        if number == FILE_COUNT {
            code.push_str("int x = ;\n");
        }
        write(&directory.join(format!("part{number}.c")), &code)?;
        let object = format!("part{number}.o");
        write!(
            rules,
            "{object}: part{number}.c\n\tcc -O2 -c part{number}.c\n"
        )?;
        objects.push(object);
    }
    let objects = objects.join(" ");
    write(
        &directory.join("Makefile"),
        &format!("all: {objects}\n{rules}clean:\n\trm -f *.o\n.PHONY: all clean\n"),
    )
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn record(directory: &Path, report: &Path) -> Result<()> {
    run_command(Command::new("make").arg("clean").current_dir(directory))?;
    let program = workspace::target().join("debug/systrail");
    // The build fails, as it is to.
    let status = Command::new(program)
        .args(["run", "--report"])
        .arg(report)
        .args(["--", "make", "-k", "-j4"])
        .current_dir(directory)
        .status()
        .context("cannot start systrail")?;
    ensure!(status.code() == Some(2), "the build ended with {status}");
    Ok(())
}

/// A picture of a page, as a browser shows it.
fn take(page: &Path, picture: &Path) -> Result<()> {
    if let Some(directory) = picture.parent() {
        fs::create_dir_all(directory).context("cannot make the directory of the pictures")?;
    }
    let mut screenshot = std::ffi::OsString::from("--screenshot=");
    screenshot.push(picture);
    run_command(
        Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
            ])
            .args(["--window-size=1200,1000", "--virtual-time-budget=4000"])
            .arg(screenshot)
            .arg(page)
            // It misses the services of a desktop.
            .stderr(Stdio::null()),
    )
}
