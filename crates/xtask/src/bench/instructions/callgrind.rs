//! Runs a program under callgrind and reads what it counted.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::command::{program, read};
use crate::workspace;

/// What was counted, an event.
#[derive(Debug, PartialEq)]
pub(super) struct Counted {
    pub(super) instructions: u64,
    pub(super) calls: f64,
}

/// The C library picks its copying routines by the processor. Without the newest ones every machine
/// counts the same.
const TUNABLES: &str =
    "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM,-AVX_Fast_Unaligned_Load";

/// Counts the instructions inside `routine`, those of foreign functions apart, while the
/// program plays `case`. It prints how many events that was.
pub(super) fn count(
    bench: &Path,
    case: &str,
    routine: &str,
    is_foreign_fn: fn(&str) -> bool,
) -> Result<Counted> {
    ensure!(
        crate::command::is_there("valgrind"),
        "valgrind is missing; `cargo xtask setup` installs it"
    );
    let directory = workspace::target().join("bench");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let profile = directory.join(format!("callgrind.{case}"));
    let output = read(
        program("valgrind")
            .args(["--quiet", "--tool=callgrind", "--collect-atstart=no"])
            .args(["--compress-strings=no", "--compress-pos=no"])
            .arg(format!("--toggle-collect={routine}"))
            .arg(format!("--callgrind-out-file={}", profile.display()))
            .arg(bench)
            .arg(case)
            .env("GLIBC_TUNABLES", TUNABLES),
    )?;
    let events = output
        .trim()
        .parse()
        .with_context(|| format!("{case} did not print how many events it played"))?;
    let text = fs::read_to_string(&profile)
        .with_context(|| format!("cannot read {}", profile.display()))?;
    Profile::parse(&text, is_foreign_fn)?.an_event(events)
}

/// The sums of a profile.
#[derive(Debug, Default, PartialEq)]
struct Profile {
    total: u64,
    /// Of `total`, inside functions of others.
    foreign: u64,
    foreign_calls: u64,
}

impl Profile {
    /// Adds up callgrind's file: `fn=` begins a function, `cfn=` and `calls=` a call from it, whose
    /// cost, all that was called included, stands on the line after. `summary:` is the whole.
    fn parse(text: &str, is_foreign_fn: fn(&str) -> bool) -> Result<Self> {
        let mut profile = Self::default();
        let (mut function, mut callee, mut calls) = ("", "", None);
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                function = name;
            } else if let Some(name) = line.strip_prefix("cfn=") {
                callee = name;
            } else if let Some(call) = line.strip_prefix("calls=") {
                calls = Some(number(call, 0)?);
            } else if let Some(total) = line.strip_prefix("summary: ") {
                profile.total = number(total, 0)?;
            } else if let Some(count) = calls.take()
                && is_foreign_fn(callee)
                && !is_foreign_fn(function)
            {
                profile.foreign += number(line, 1)?;
                profile.foreign_calls += count;
            }
        }
        Ok(profile)
    }

    fn an_event(&self, events: u32) -> Result<Counted> {
        ensure!(events > 0, "no event was played");
        ensure!(
            self.total > self.foreign,
            "callgrind counted nothing inside the routine"
        );
        let events_wide = u64::from(events);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a few thousand calls, shown with one decimal"
        )]
        let calls = self.foreign_calls as f64 / f64::from(events);
        Ok(Counted {
            instructions: (self.total - self.foreign).div_ceil(events_wide),
            calls,
        })
    }
}

/// The number at that place of a line of numbers.
fn number(line: &str, index: usize) -> Result<u64> {
    line.split_ascii_whitespace()
        .nth(index)
        .and_then(|word| word.parse().ok())
        .with_context(|| format!("callgrind wrote {line:?} where a number was expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
summary: 1000

fl=driver.rs
fn=thread_routine
12 300
cfl=ntemu.rs
cfn=ZwClose
calls=2 40
13 500
cfl=driver.rs
cfn=record
calls=2 7
14 200
fl=ntemu.rs
fn=ZwClose
40 480
cfn=ObfDereferenceObject
calls=1 50
41 20
";

    fn is_foreign(name: &str) -> bool {
        ["ZwClose", "ObfDereferenceObject"].contains(&name)
    }

    #[test]
    fn what_others_take_is_left_out_once() {
        let profile = Profile::parse(PROFILE, is_foreign).unwrap();
        assert_eq!(
            profile,
            Profile {
                total: 1000,
                foreign: 500,
                foreign_calls: 2
            }
        );
        let counted = profile.an_event(2).unwrap();
        assert_eq!(counted.instructions, 250);
    }

    #[test]
    fn a_routine_that_never_ran_is_an_error_and_not_a_bargain() {
        let profile = Profile::parse("summary: 0\n", is_foreign).unwrap();
        assert!(profile.an_event(10).is_err());
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error() {
        let text = PROFILE.replace("13 500", "+3 *");
        assert!(Profile::parse(&text, is_foreign).is_err());
    }
}
