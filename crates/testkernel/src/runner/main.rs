//! The runner: on Wine, it installs the test kernel and the driver, starts programs and watches
//! them, and holds the tests. `cargo xtask wine` starts it.
//!
//! `systrail-runner test [FILTER]` runs the tests; `systrail-runner play PART` is one of the
//! programs that are watched.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test runner talks to the person who started it"
)]

mod agent;
mod agent_tests;
mod driver_tests;
mod fact;
mod kernel;
mod launch_tests;
mod part;
mod place_tests;
mod read_tests;
mod reader;
mod start_tests;
mod sys;
mod witness;

use kernel::Kernel;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Instant;
use testkernel::summary::Summary;

/// What a test came to.
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A test: its name is the promise.
struct Test {
    name: &'static str,
    run_fn: fn(&Kernel) -> Outcome,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((word, rest)) if word == "play" => part::play(rest),
        Some((word, rest)) if word == "test" => test_in_console(rest),
        Some((word, rest)) if word == "inner" => test(rest.first().map_or("", String::as_str)),
        _ => Err(io::Error::other("say test [FILTER] or play PART")),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("systrail-runner: {error}");
        ExitCode::FAILURE
    })
}

/// Runs the tests in another of this program that has a console, as the agents it starts then have.
fn test_in_console(arguments: &[String]) -> io::Result<ExitCode> {
    let line = format!("{} inner {}", own_path()?, arguments.join(" "));
    let code = sys::console::run(&line)?;
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Runs the tests whose names contain `filter`, one after the other.
fn test(filter: &str) -> io::Result<ExitCode> {
    let kernel = Kernel::start()?;
    let mut summary = Summary::default();
    let tests = [
        driver_tests::TESTS,
        read_tests::TESTS,
        start_tests::TESTS,
        agent_tests::TESTS,
        launch_tests::TESTS,
        place_tests::TESTS,
    ];
    for test in tests.into_iter().flatten() {
        if !test.name.contains(filter) {
            continue;
        }
        let begin = Instant::now();
        let outcome = test.run(&kernel);
        let seconds = begin.elapsed().as_secs_f64();
        summary.count(outcome.is_ok());
        match outcome {
            Ok(()) => println!("test {} ... ok ({seconds:.1} s)", test.name),
            Err(error) => println!("test {} ... FAILED ({seconds:.1} s)\n  {error}", test.name),
        }
        io::stdout().flush()?;
    }
    println!("{summary}");
    Ok(if summary.failed == 0 && summary.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Test {
    /// Runs it; what the driver breached meanwhile is a failure as well.
    fn run(&self, kernel: &Kernel) -> Outcome {
        kernel.reset()?;
        let outcome = (self.run_fn)(kernel);
        let breaches = kernel.report()?.breaches;
        outcome?;
        if breaches.is_empty() {
            Ok(())
        } else {
            Err(format!("the kernel's contract: {}", breaches.join("; ")).into())
        }
    }
}

/// The path of this program.
fn own_path() -> io::Result<String> {
    let path = std::env::current_exe()?;
    Ok(path.display().to_string())
}

/// An error unless it holds.
fn ensure(holds: bool, text: impl Into<String>) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(text.into().into())
    }
}
