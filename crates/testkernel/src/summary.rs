//! What the tests come to, told as Rust's own test harness tells it, so that the same eyes and
//! programs can read it.

use std::fmt;

/// How many tests held and how many did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Tests that held.
    pub passed: u64,
    /// Tests that did not.
    pub failed: u64,
}

impl Summary {
    /// Counts a test.
    pub fn count(&mut self, has_passed: bool) {
        if has_passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed } = self;
        let verdict = if *failed == 0 { "ok" } else { "FAILED" };
        write!(
            formatter,
            "test result: {verdict}. {passed} passed; {failed} failed; 0 ignored"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn one_failure_is_a_failure() {
        let mut summary = Summary::default();
        summary.count(true);
        assert_eq!(
            summary.to_string(),
            "test result: ok. 1 passed; 0 failed; 0 ignored"
        );
        summary.count(false);
        assert_eq!(
            summary.to_string(),
            "test result: FAILED. 1 passed; 1 failed; 0 ignored"
        );
    }
}
