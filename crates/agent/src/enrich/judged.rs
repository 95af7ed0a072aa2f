//! What the rules say of programs, and say again when they are others.

use super::Enricher;
use super::program::Program;
use crate::rules::{Rules, Verdict};

/// What they say of a process that runs this; nobody knows what one runs whose exec was lost.
pub(super) fn verdict(rules: &Rules, of_unknown: Verdict, program: &Program) -> Verdict {
    if program.is_lost() {
        of_unknown
    } else {
        rules.judge(Some(program.runs()))
    }
}

impl Enricher {
    /// Goes by other rules from now on, also of what runs already.
    pub fn replace_rules(&mut self, rules: Rules) {
        self.of_unknown = rules.judge(None);
        let of_unknown = self.of_unknown;
        self.processes
            .judge(|program| verdict(&rules, of_unknown, program));
        self.rules = rules;
    }
}
