//! `cargo xtask pictures`: the pictures of the documents, made by the program they show.
//!
//! They are looked at and committed by whoever changes what they show; no two are alike, for they are of
//! real runs. Needs root, a C compiler, `make`, `tmux` and Chromium.

mod screen;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
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
    let needed = [
        ("chromium", "chromium"),
        ("make", "make"),
        ("cc", "gcc"),
        ("tmux", "tmux"),
    ];
    for (name, package) in needed {
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
    let report = report.to_str().context("the report's name is no text")?;
    take(report, (1200, 1000), &picture)?;
    println!("{}", picture.display());
    let store = night(&directory)?;
    let picture = workspace::root().join(DIRECTORY).join("top.png");
    take_of_screen(&directory, &store, &picture)?;
    println!("{}", picture.display());
    let picture = workspace::root().join(DIRECTORY).join("web.png");
    take_of_store(&store, &picture)?;
    println!("{}", picture.display());
    Ok(())
}

/// What the picture of the store is of: the night of the tour.
const NIGHT: &str = "crates/agent/tests/lookback/night.jsonl";

/// What is looked at in it: a program without a file, and what it started.
const NIGHT_CHOICE: &str = "#key=a0000000000004b4";

/// When it is looked at on a screen: a backup fails, and the program without a file still runs.
const NIGHT_TIME: &str = "2026-11-27 02:05:10.005";

/// The store of the night.
fn night(directory: &Path) -> Result<PathBuf> {
    let store = directory.join("night");
    if store.exists() {
        fs::remove_dir_all(&store).context("cannot remove the store of the last time")?;
    }
    let program = workspace::target().join("debug/systrail");
    let mut replay = Command::new(&program);
    replay.arg("replay").arg(workspace::root().join(NIGHT));
    run_command(replay.arg("--store").arg(&store).stderr(Stdio::null()))?;
    Ok(store)
}

/// A picture of `systrail top`.
fn take_of_screen(directory: &Path, store: &Path, picture: &Path) -> Result<()> {
    let program = workspace::target().join("debug/systrail");
    let command = format!(
        "{} top --store {} --at '{NIGHT_TIME}'",
        program.display(),
        store.display()
    );
    let page = directory.join("top.html");
    let below = ["Down"; 8];
    screen::write(&command, ("memfd:k", &below, "ancestors"), &page)?;
    let page = page.to_str().context("the page's name is no text")?;
    take(page, (1130, 660), picture)
}

/// A picture of the pages that `systrail web` serves.
fn take_of_store(store: &Path, picture: &Path) -> Result<()> {
    let program = workspace::target().join("debug/systrail");
    let mut web = Command::new(program);
    web.args(["web", "--listen", "127.0.0.1:0", "--store"]);
    let mut web = web
        .arg(store)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start systrail")?;
    let mut address = String::new();
    let told = web.stdout.take().context("systrail says nothing")?;
    let read = BufReader::new(told).read_line(&mut address);
    let taken = read.context("systrail says no address").and_then(|_| {
        take(
            &format!("{}{NIGHT_CHOICE}", address.trim()),
            (1200, 860),
            picture,
        )
    });
    web.kill().context("cannot end systrail")?;
    web.wait().context("systrail does not end")?;
    taken
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
fn take(page: &str, (width, height): (u32, u32), picture: &Path) -> Result<()> {
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
            .arg(format!("--window-size={width},{height}"))
            .arg("--virtual-time-budget=4000")
            .arg(screenshot)
            .arg(page)
            // It misses the services of a desktop.
            .stderr(Stdio::null()),
    )
}
