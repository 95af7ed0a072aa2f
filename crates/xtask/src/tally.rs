//! How many tests ran, and how they ended.

use anyhow::{Result, bail};

/// What the tests of one step came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that held.
    pub(crate) passed: u64,
    /// Tests that did not.
    pub(crate) failed: u64,
    /// Tests that were there and did not run.
    pub(crate) skipped: u64,
}

impl Tally {
    /// Adds the summary of one test executable, if `line` is one.
    pub(crate) fn add_line(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else {
            return;
        };
        let count_before = |word: &str| -> u64 {
            counts
                .split([';', '.'])
                .filter_map(|part| part.trim().strip_suffix(word))
                .find_map(|count| count.trim().parse().ok())
                .unwrap_or(0)
        };
        self.passed += count_before("passed");
        self.failed += count_before("failed");
        self.skipped += count_before("ignored");
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }

    /// Fails unless every test there was has run and held.
    pub(crate) fn complete(self) -> Result<Self> {
        match self {
            Self { passed: 0, .. } => bail!("no test ran"),
            Self {
                failed: 0,
                skipped: 0,
                ..
            } => Ok(self),
            Self {
                failed, skipped, ..
            } => bail!("{failed} tests failed, {skipped} were skipped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_summary_of_a_test_executable() {
        let mut tally = Tally::default();
        tally.add_line(
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; \
             finished in 0.01s",
        );
        tally.add_line("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured");
        tally.add_line("running 3 tests");
        assert_eq!(
            tally,
            Tally {
                passed: 13,
                failed: 2,
                skipped: 3
            }
        );
    }

    #[test]
    fn a_skipped_test_is_not_a_success() {
        let tally = Tally {
            passed: 5,
            failed: 0,
            skipped: 1,
        };
        assert!(tally.complete().is_err());
        assert!(Tally::default().complete().is_err());
        assert!(
            Tally {
                passed: 5,
                ..Tally::default()
            }
            .complete()
            .is_ok()
        );
    }
}
