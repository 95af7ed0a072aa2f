//! `cargo xtask bench driver`, `agent` and `ebpf`: how many instructions an event takes on
//! the paths that every event takes.
//!
//! Instructions and not time, because a busy machine does not change them: what is counted here
//! holds in the gate. Each case runs under callgrind, which counts inside one routine only.

mod agent;
mod budget;
mod callgrind;
mod driver;
mod ebpf;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Deserialize;

use crate::bench::report::{DOCUMENT, machine, replace_section};
use crate::command::{cargo, read};

pub(super) use agent::run as run_agent;
pub(super) use driver::run as run_driver;
pub(super) use ebpf::run as run_ebpf;

/// The bench program of a package.
const BENCH: &str = "instructions";

/// Arguments of each task.
#[derive(Args)]
pub(crate) struct Options {
    /// Fail when a path takes more than its budget, and leave the documents as they are
    #[arg(long, conflicts_with = "accept")]
    check: bool,
    /// Make what is counted the budget
    #[arg(long)]
    accept: bool,
}

/// All three tasks with `--check`.
pub(crate) fn check() -> Result<()> {
    let options = Options {
        check: true,
        accept: false,
    };
    run_ebpf(&options)?;
    run_driver(&options)?;
    run_agent(&options)
}

/// A path that events take.
struct Case {
    /// In the budget and in the tables.
    name: &'static str,
    /// What the bench program is told to play.
    play: &'static str,
    /// The routine inside which instructions count; callgrind's pattern.
    routine: &'static str,
    /// The most it should take, by the project's goals.
    goal: Option<u64>,
}

/// What a case came to.
struct Figure {
    case: &'static Case,
    /// Instructions an event.
    instructions: u64,
    /// Calls of functions that are not ours, an event.
    calls: f64,
}

/// The cases of one program.
struct Subject {
    /// Its part of the budget.
    name: &'static str,
    package: &'static str,
    cases: &'static [Case],
    /// What the cases are compared with. Nobody pays for these, so they have no budget.
    baselines: &'static [Case],
    /// Whether a function's instructions are somebody else's.
    is_foreign_fn: fn(&str) -> bool,
}

impl Subject {
    /// Counts every case, then compares or writes as the options say.
    fn run(&self, options: &Options, document_fn: fn(&[Figure]) -> String) -> Result<()> {
        let program = build(self.package)?;
        let mut figures = self.count(&program, self.cases)?;
        let counted = figures
            .iter()
            .map(|figure| (figure.case.name, figure.instructions));
        judge(self.name, counted, options)?;
        if options.check {
            return Ok(());
        }
        figures.extend(self.count(&program, self.baselines)?);
        write_down(self.name, &document_fn(&figures))
    }

    fn count(&self, program: &Path, cases: &'static [Case]) -> Result<Vec<Figure>> {
        let count_case_fn = |case: &'static Case| {
            let counted = callgrind::count(program, case.play, case.routine, self.is_foreign_fn)
                .with_context(|| format!("case {}", case.name))?;
            let figure = Figure {
                case,
                instructions: counted.instructions,
                calls: counted.calls,
            };
            println!("  {}", figure.line());
            Ok(figure)
        };
        cases.iter().map(count_case_fn).collect()
    }
}

impl Figure {
    fn line(&self) -> String {
        let goal = self
            .case
            .goal
            .map_or_else(String::new, |goal| format!(" (goal {goal})"));
        format!(
            "{}: {} instructions an event{goal}",
            self.case.name, self.instructions
        )
    }
}

/// Compares what was counted with a part of the budget, or makes it the budget, as the options say.
fn judge<'a>(
    part: &str,
    counted: impl Iterator<Item = (&'a str, u64)>,
    options: &Options,
) -> Result<()> {
    let budget = budget::Budget::read()?;
    if options.check {
        budget.check(part, counted)
    } else if options.accept {
        budget.accept(part, counted)
    } else {
        Ok(())
    }
}

/// Puts a table into the document, with the command and the machine.
fn write_down(part: &str, table: &str) -> Result<()> {
    let command = format!("cargo xtask bench {part}");
    let section = format!("Command: `{command}`. Machine: {}.\n\n{table}", machine()?);
    replace_section(DOCUMENT, &command, &section)
}

/// What cargo says of each thing it built, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// The bench program as released. Cargo says where it is, because its file name has a hash in it.
fn build(package: &str) -> Result<PathBuf> {
    let messages = read(
        cargo()
            .args(["build", "--release", "--locked", "--package", package])
            .args(["--bench", BENCH, "--message-format", "json"]),
    )?;
    // Lines of other shapes are about other things.
    let program = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.target.name == BENCH)
        .find_map(|message| message.executable)
        .with_context(|| format!("cargo built no bench of {package}"))?;
    ensure!(program.is_file(), "{} is not there", program.display());
    Ok(program)
}
