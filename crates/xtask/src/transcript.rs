//! What a run of tests printed, as far as it matters in the end: the results, and of failures what
//! they said. A step's log is long and may be cut by whoever shows it; its error is not.

use std::collections::VecDeque;

use crate::tally::Tally;

/// Lines kept of what failed tests said.
const FAILURE_LINES_MAX: usize = 120;
/// Lines kept of the end: a test that hangs or crashes says nothing else.
const LAST_LINES_MAX: usize = 12;

/// The lines of a run, read as they come.
#[derive(Default)]
pub(crate) struct Transcript {
    pub(crate) tally: Tally,
    failures: Vec<String>,
    last: VecDeque<String>,
    is_in_failures: bool,
}

impl Transcript {
    /// Takes the next line.
    pub(crate) fn add_line(&mut self, line: &str) {
        self.tally.add_line(line);
        // Test executables tell their failures between this line and their summary.
        if line == "failures:" {
            self.is_in_failures = true;
        }
        if line.starts_with("test result: ") {
            self.is_in_failures = false;
        }
        if self.is_in_failures && self.failures.len() < FAILURE_LINES_MAX {
            self.failures.push(line.to_owned());
        }
        if self.last.len() == LAST_LINES_MAX {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }

    /// What failed tests said, or else the end of the run; each line after a line break.
    pub(crate) fn excerpt(&self) -> String {
        let mut excerpt = String::new();
        let said: &mut dyn Iterator<Item = &String> = if self.failures.is_empty() {
            &mut self.last.iter()
        } else {
            &mut self.failures.iter()
        };
        for line in said.filter(|line| !line.trim().is_empty()) {
            excerpt.push_str("\n    ");
            excerpt.push_str(line);
        }
        excerpt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(lines: &str) -> Transcript {
        let mut transcript = Transcript::default();
        for line in lines.lines() {
            transcript.add_line(line);
        }
        transcript
    }

    #[test]
    fn what_a_failed_test_said_is_kept() {
        let transcript = transcript(
            "running 2 tests\ntest a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\n\
             thread 'b' panicked\n\nfailures:\n    b\n\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored\nother output",
        );
        assert_eq!(transcript.tally.failed, 1);
        let excerpt = transcript.excerpt();
        assert!(excerpt.contains("thread 'b' panicked"), "{excerpt}");
        assert!(!excerpt.contains("other output"), "{excerpt}");
    }

    #[test]
    fn a_run_that_ends_in_the_middle_shows_where() {
        let transcript = transcript("running 2 tests\ntest a ... ok\nSome(\"b\") takes longer");
        assert!(
            transcript
                .excerpt()
                .ends_with("\n    Some(\"b\") takes longer")
        );
    }

    #[test]
    fn no_more_is_kept_than_can_be_read() {
        let mut transcript = Transcript::default();
        transcript.add_line("failures:");
        for number in 0..10_000 {
            transcript.add_line(&number.to_string());
        }
        assert_eq!(transcript.excerpt().lines().count(), FAILURE_LINES_MAX + 1);
    }
}
