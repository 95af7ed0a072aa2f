//! `cargo xtask ci`: everything that must hold before a change is merged, in the order that finds
//! the usual mistakes first. A step that fails does not stop the others, so one run tells all.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::bench::instructions;
use crate::tally::Tally;
use crate::{
    deny, ebpf, fuzz, grow, image, layout, lint, loom, miri, outside, sign, test, tidy, tsan, vm,
    wine,
};

/// Arguments of `cargo xtask ci`.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these steps
    #[arg(value_parser = step_name)]
    steps: Vec<String>,
    /// How long each fuzz target runs
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    fuzz_seconds: u32,
}

/// One thing that is checked. A step without tests of its own counts as one test.
struct Step {
    name: &'static str,
    run_fn: fn(&Options) -> Result<Option<Tally>>,
}

/// The steps in their order.
const STEPS: &[Step] = &[
    Step {
        name: "format",
        run_fn: |_| lint::format().map(|()| None),
    },
    Step {
        name: "tidy",
        run_fn: |_| rules().map(|()| None),
    },
    Step {
        name: "clippy",
        run_fn: |_| lint::clippy().map(|()| None),
    },
    Step {
        name: "doc",
        run_fn: |_| lint::documentation().map(|()| None),
    },
    Step {
        name: "ebpf",
        run_fn: |_| ebpf::run(true).map(|()| None),
    },
    Step {
        name: "driver",
        run_fn: |_| driver().map(|()| None),
    },
    Step {
        name: "test",
        run_fn: |_| tests().map(Some),
    },
    Step {
        name: "grow",
        run_fn: |_| grow::run().map(Some),
    },
    Step {
        name: "vm",
        run_fn: |_| vm::run(&vm::Options::default()).map(Some),
    },
    Step {
        name: "wine",
        run_fn: |_| wine::run(&wine::Options::default()).map(Some),
    },
    Step {
        name: "loom",
        run_fn: |_| loom::run().map(Some),
    },
    Step {
        name: "tsan",
        run_fn: |_| tsan::run().map(Some),
    },
    Step {
        name: "miri",
        run_fn: |_| miri::run(&miri::Options::default()).map(Some),
    },
    Step {
        name: "budget",
        run_fn: |_| instructions::check().map(|()| None),
    },
    Step {
        name: "fuzz",
        run_fn: |options| fuzz::run(&fuzz::Options::all(options.fuzz_seconds)).map(|()| None),
    },
];

/// The rules for what we wrote, then those for what others did.
fn rules() -> Result<()> {
    tidy::run()?;
    deny::run()
}

/// The tests, then a program of somebody else's.
fn tests() -> Result<Tally> {
    let tally = test::run_workspace(&test::Options::complete())?;
    outside::run()?;
    Ok(tally)
}

/// The driver's declarations, then its image, and that it can be signed.
fn driver() -> Result<()> {
    layout::run()?;
    let driver = image::run()?;
    sign::run(&sign::Options::of(&driver.image))
}

/// What a step came to.
struct Outcome {
    name: &'static str,
    result: Result<Option<Tally>>,
    seconds: f64,
}

/// Runs the steps and fails when one of them did.
pub(crate) fn run(options: &Options) -> Result<()> {
    let outcomes: Vec<Outcome> = STEPS
        .iter()
        .filter(|step| options.steps.is_empty() || options.steps.iter().any(|it| it == step.name))
        .map(|step| step.perform(options))
        .collect();
    print!("{}", summary(&outcomes));
    let failed = outcomes
        .iter()
        .filter(|outcome| outcome.result.is_err())
        .count();
    ensure!(!outcomes.is_empty(), "no step ran");
    if failed > 0 {
        bail!("{failed} of {} steps failed", outcomes.len());
    }
    Ok(())
}

impl Step {
    fn perform(&self, options: &Options) -> Outcome {
        println!("==> {}", self.name);
        let begin = Instant::now();
        let result = (self.run_fn)(options);
        if let Err(error) = &result {
            println!("==> {}: {error:#}", self.name);
        }
        Outcome {
            name: self.name,
            result,
            seconds: begin.elapsed().as_secs_f64(),
        }
    }
}

/// The table at the end. Its last line counts steps without tests of their own as one test each.
fn summary(outcomes: &[Outcome]) -> String {
    let mut lines = vec![
        String::new(),
        String::from("step      result   tests   seconds"),
    ];
    let mut total = Tally::default();
    for outcome in outcomes {
        let (result, tests) = match &outcome.result {
            Ok(None) => ("ok", String::from("-")),
            Ok(Some(tally)) => ("ok", tally.passed.to_string()),
            Err(_) => ("FAILED", String::from("-")),
        };
        match &outcome.result {
            Ok(tally) => total.passed += tally.map_or(1, |tally| tally.passed),
            Err(_) => total.failed += 1,
        }
        lines.push(format!(
            "{:<9} {result:<8} {tests:>5} {:>9.1}",
            outcome.name, outcome.seconds
        ));
    }
    for outcome in outcomes {
        if let Err(error) = &outcome.result {
            lines.push(format!("{}: {error:#}", outcome.name));
        }
    }
    lines.push(format!(
        "{} passed, {} failed\n",
        total.passed, total.failed
    ));
    lines.join("\n")
}

fn step_name(name: &str) -> Result<String, String> {
    let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
    if names.contains(&name) {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "there is no such step; steps are {}",
            names.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &'static str, result: Result<Option<Tally>>) -> Outcome {
        Outcome {
            name,
            result,
            seconds: 1.25,
        }
    }

    #[test]
    fn the_last_line_counts_tests_and_failed_steps() {
        let tally = Tally {
            passed: 40,
            ..Tally::default()
        };
        let text = summary(&[
            outcome("format", Ok(None)),
            outcome("test", Ok(Some(tally))),
            outcome("vm", Err(anyhow::anyhow!("no kernel"))),
        ]);
        assert_eq!(text.lines().last(), Some("41 passed, 1 failed"));
        assert!(text.contains("vm: no kernel"));
    }

    #[test]
    fn a_step_that_does_not_exist_is_refused() {
        assert!(step_name("tidy").is_ok());
        assert!(step_name("tidyy").is_err());
    }
}
