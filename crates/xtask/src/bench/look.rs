//! `cargo xtask bench look`: how long a person waits for what he looks at, and what that takes of memory.
//!
//! Two trails are made up, of a build and of many long command lines; the report is that of a real run. Needs
//! Chromium. Times are by the clock, the shortest of three: they are of a quiet machine or of none.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use super::goal::{Figure, Goal, table};
use super::report::{DOCUMENT, machine, replace_section};
use crate::command::{cargo, is_there, run as run_command};
use crate::workspace;

/// Arguments of `cargo xtask bench look`.
#[derive(Args)]
pub(crate) struct Options {
    /// Print the figures and leave docs/BENCHMARKS.md as it is
    #[arg(long)]
    no_document: bool,
}

/// The command, as the document's section is named.
const COMMAND: &str = "cargo xtask bench look";

/// Compilers of the build, each of seven events: 250,000 with those of what started them.
const COMPILER_COUNT: u32 = 35_714;

/// Processes of the trail with long command lines, and how long those are.
const LONG_COUNT: u32 = 137_000;
const LONG_SIZE: usize = 3_000;

/// Programs of the run that is reported.
const RUN_COUNT: u32 = 35_000;

/// What started all of a trail.
const ROOT_KEY: &str = "b000000000000001";

/// How long anything here may take.
const TIME_MAX: Duration = Duration::from_mins(5);

/// Measures everything and writes it down.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        is_there("chromium"),
        "chromium is not installed: apt-get install chromium"
    );
    run_command(cargo().args(["build", "--release", "--locked", "--package", "systrail"]))?;
    let directory = workspace::target().join("bench/look");
    if directory.exists() {
        fs::remove_dir_all(&directory).context("cannot remove the files of the last time")?;
    }
    fs::create_dir_all(&directory).context("cannot make a directory for the trails")?;
    let build = store(&directory, "build", write_build)?;
    let mut figures = of_build(&build)?;
    let long = store(&directory, "long", write_long)?;
    figures.extend(of_long(&long)?);
    figures.extend(of_report(&directory)?);
    // A gigabyte nobody looks at again.
    fs::remove_dir_all(&directory).context("cannot remove the trails")?;
    let table = table(&figures);
    println!("{table}");
    if options.no_document {
        return Ok(());
    }
    let section = format!(
        "Command: `{COMMAND}`. Machine: {}.\n\n{table}\n",
        machine()?
    );
    replace_section(DOCUMENT, COMMAND, &section)
}

fn systrail() -> Command {
    Command::new(workspace::target().join("release/systrail"))
}

/// A store of a log that `write_fn` writes.
fn store(
    directory: &Path,
    name: &str,
    write_fn: fn(&mut dyn std::io::Write) -> Result<()>,
) -> Result<PathBuf> {
    let (log, store) = (
        directory.join(format!("{name}.jsonl")),
        directory.join(name),
    );
    let mut out = BufWriter::new(File::create(&log).context("cannot make a log")?);
    write_fn(&mut out)?;
    out.flush().context("cannot write a log")?;
    drop(out);
    let mut replay = systrail();
    replay.arg("replay").arg(&log).arg("--store").arg(&store);
    run_command(replay.stderr(Stdio::null()))?;
    fs::remove_file(&log).context("cannot remove a log")?;
    Ok(store)
}

/// Lines of a log, each a microsecond after the one before it.
struct Lines<'o> {
    out: &'o mut dyn std::io::Write,
    count: u64,
}

impl Lines<'_> {
    fn add(&mut self, kind: &str, process: u32, rest: &str) -> Result<()> {
        self.count += 1;
        let (seconds, micros) = (self.count / 1_000_000, self.count % 1_000_000);
        writeln!(
            self.out,
            "{{\"sequence\":{},\"time\":\"2026-11-27T02:00:{seconds:02}.{micros:06}000Z\",\
             \"kind\":\"{kind}\",\"host\":\"atlas\",\"process_id\":{process},\
             \"process_key\":\"b{process:015x}\",{rest}}}",
            self.count
        )
        .context("cannot write a log")
    }

    fn start(&mut self, process: u32, command: &str) -> Result<()> {
        let rest = format!(
            "\"parent_process_id\":1,\"parent_process_key\":\"{ROOT_KEY}\",\"image\":\"/usr/bin/make\",\
             \"command_line\":\"{command}\",\"user\":\"ada\",\"user_id\":7,\"existing\":false"
        );
        self.add("process_start", process, &rest)
    }
}

fn write_build(out: &mut dyn std::io::Write) -> Result<()> {
    let mut lines = Lines { out, count: 0 };
    lines.start(1, "make -j2")?;
    for process in 2..2 + COMPILER_COUNT {
        lines.start(process, "make -j2")?;
        for library in ["bin/cc1", "lib/ld.so", "lib/libc.so.6", "lib/libz.so.1"] {
            let rest = format!(
                "\"image\":\"/usr/{library}\",\"image_base\":\"0x7f0000000000\",\"image_size\":4096,\
                 \"kernel_image\":false,\"existing\":false"
            );
            lines.add("image_load", process, &rest)?;
        }
        let rest = format!(
            "\"image\":\"/usr/bin/cc1\",\"command_line\":\"cc1 -O2 part{process}.c\",\"user\":\"ada\",\"user_id\":7"
        );
        lines.add("process_exec", process, &rest)?;
        let failed = u32::from(process.is_multiple_of(97));
        let rest = format!("\"exit_code\":{failed},\"core_dumped\":false");
        lines.add("process_exit", process, &rest)?;
    }
    Ok(())
}

fn write_long(out: &mut dyn std::io::Write) -> Result<()> {
    let mut lines = Lines { out, count: 0 };
    lines.start(1, "init")?;
    let mut command = String::new();
    for process in 2..2 + LONG_COUNT {
        command.clear();
        while command.len() < LONG_SIZE {
            write!(command, "--of={process:x} ").context("no text")?;
        }
        lines.start(process, &command)?;
    }
    Ok(())
}

fn of_build(store: &Path) -> Result<Vec<Figure>> {
    let below = format!("SELECT count(*) FROM descendants('{ROOT_KEY}')");
    let below = best(|| {
        asked(
            systrail()
                .arg("query")
                .arg(&below)
                .arg("--store")
                .arg(store),
        )
    })?;
    let top = best(|| top_shows(store))?;
    let web = best(|| web_shows(store))?;
    Ok(vec![
        seconds("`descendants` of a build of 35,714 processes", below.0, 1.0),
        seconds("`top`: 250,000 events on the screen", top.0, 1.0),
        seconds(
            "`web`: 250,000 events in Chromium, its own start aside",
            web.0,
            1.0,
        ),
        memory("`web`: peak memory", web.1, 256.0),
    ])
}

fn of_long(store: &Path) -> Result<Vec<Figure>> {
    let tree = best(|| asked(systrail().args(["tree", "--store"]).arg(store)))?;
    let one = best(|| asked(systrail().args(["tree", "77", "--store"]).arg(store)))?;
    Ok(vec![
        seconds(
            "`tree`: 137,000 processes, command lines of 3 kB",
            tree.0,
            5.0,
        ),
        memory("`tree`: peak memory", tree.1, 256.0),
        seconds("`tree` of one of them", one.0, 5.0),
    ])
}

fn of_report(directory: &Path) -> Result<Vec<Figure>> {
    let report = directory.join("report.html");
    let programs = format!("i=0; while [ $i -lt {RUN_COUNT} ]; do /bin/true; i=$((i+1)); done");
    let mut run = systrail();
    run.arg("run").arg("--report").arg(&report);
    run.args(["--", "sh", "-c", &programs]);
    run_command(run.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let size = fs::metadata(&report).context("there is no report")?.len();
    let page = format!("file://{}", report.display());
    let opened = best(|| Ok((opens(&page, "data-ready")?, 0)))?;
    Ok(vec![
        Figure {
            name: "report of a real run of 35,000 programs",
            unit: "MiB",
            value: mebibytes(size),
            goal: Some(Goal::AtMost(10.0)),
        },
        seconds("the report in Chromium, its own start aside", opened.0, 3.0),
    ])
}

const fn seconds(name: &'static str, time: Duration, most: f64) -> Figure {
    Figure {
        name,
        unit: "s",
        value: time.as_secs_f64(),
        goal: Some(Goal::AtMost(most)),
    }
}

fn memory(name: &'static str, bytes: u64, most: f64) -> Figure {
    Figure {
        name,
        unit: "MiB",
        value: mebibytes(bytes),
        goal: Some(Goal::AtMost(most)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure has two digits")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The shortest of three times, and the most memory.
fn best(mut measure_fn: impl FnMut() -> Result<(Duration, u64)>) -> Result<(Duration, u64)> {
    let mut best = measure_fn()?;
    for _ in 0..2 {
        let (time, memory) = measure_fn()?;
        best = (best.0.min(time), best.1.max(memory));
    }
    Ok(best)
}

/// How long a command takes, and its peak memory.
fn asked(command: &mut Command) -> Result<(Duration, u64)> {
    let began = Instant::now();
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.context("cannot start systrail")?;
    let mut peak = 0;
    loop {
        peak = peak.max(memory_peak(&child));
        if let Some(status) = child.try_wait().context("cannot wait for systrail")? {
            ensure!(status.success(), "{command:?} ended with {status}");
            return Ok((began.elapsed(), peak));
        }
        if began.elapsed() > TIME_MAX {
            child.kill().context("cannot end systrail")?;
            bail!("{command:?} does not end");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Bytes in memory at most so far; none of one that has ended.
fn memory_peak(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// How long until `top` has drawn a process of the store on a terminal.
fn top_shows(store: &Path) -> Result<(Duration, u64)> {
    // A word of a compiler's line: between words the cursor is moved.
    const SIGN: &str = "cc1";
    let command = "stty cols 120 rows 40; \
         exec timeout --foreground \"$MOST\" \"$PROGRAM\" top --store \"$STORE\"";
    let mut script = Command::new("script");
    script.args(["--quiet", "--flush", "--command", command, "/dev/null"]);
    let began = Instant::now();
    let mut child = script
        .env("TERM", "xterm-256color")
        .env("PROGRAM", workspace::target().join("release/systrail"))
        .env("STORE", store)
        // What shows nothing more is not waited for without end.
        .env("MOST", TIME_MAX.as_secs().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("no terminal")?;
    let mut screen = child.stdout.take().context("the terminal says nothing")?;
    let mut told = Vec::new();
    let mut piece = [0; 4096];
    let shown = loop {
        let count = screen.read(&mut piece).context("no screen")?;
        told.extend(piece.iter().take(count));
        if String::from_utf8_lossy(&told).contains(SIGN) {
            break Ok(began.elapsed());
        }
        if count == 0 || began.elapsed() > TIME_MAX {
            break Err(anyhow::anyhow!("`top` shows no process"));
        }
    };
    child.kill().context("cannot end the terminal")?;
    child.wait().context("the terminal does not end")?;
    Ok((shown?, 0))
}

/// How long until Chromium has the tree of the store that `web` serves, and what that took of memory.
fn web_shows(store: &Path) -> Result<(Duration, u64)> {
    let mut web = systrail();
    web.args(["web", "--listen", "127.0.0.1:0", "--store"])
        .arg(store);
    let web = web.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut web = web.context("cannot start systrail")?;
    let mut address = String::new();
    let told = web.stdout.take().context("systrail says nothing")?;
    let read = BufReader::new(told).read_line(&mut address);
    let shown = read
        .context("systrail says no address")
        .and_then(|_| opens(address.trim(), "data-ready"));
    let peak = memory_peak(&web);
    web.kill().context("cannot end systrail")?;
    web.wait().context("systrail does not end")?;
    Ok((shown?, peak))
}

/// How much longer Chromium needs for a page until `sign` is in it than for an empty one.
fn opens(page: &str, sign: &str) -> Result<Duration> {
    let (empty, _) = document("about:blank")?;
    let (time, document) = document(page)?;
    ensure!(document.contains(sign), "the page is not ready");
    Ok(time.saturating_sub(empty))
}

/// A page as Chromium has it when all that it waits for has come, and how long that takes.
fn document(page: &str) -> Result<(Duration, String)> {
    let profile = workspace::target().join("bench/look/chromium");
    let mut chromium = Command::new("timeout");
    chromium
        .arg(TIME_MAX.as_secs().to_string())
        .args([
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
        ])
        .args(["--virtual-time-budget=1000", "--window-size=1200,800"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(page);
    let began = Instant::now();
    let output = chromium.stderr(Stdio::null()).output();
    let output = output.context("cannot start chromium")?;
    ensure!(output.status.success(), "chromium: {}", output.status);
    let time = began.elapsed();
    Ok((time, String::from_utf8_lossy(&output.stdout).into_owned()))
}
