//! What the rules say of programs, and say again when they are others.
//!
//! Of what ran before that, so much is judged again with each batch: thousands of processes and rules take
//! longer than the kernel's buffers last. What is asked about before its turn is judged for that event.

use std::mem;

use super::Enricher;
use super::process_cache::Process;
use super::program::Program;
use crate::rules::{Rules, Verdict};

/// Programs that are judged again with a batch.
const COUNT_MAX: usize = 512;

/// Which of what is known of the rules is of those that are in force.
#[derive(Debug)]
pub(super) struct Judging {
    /// What they say of a process that runs nobody knows what.
    pub(super) of_unknown: Verdict,
    /// How often they were replaced, which a verdict is known by.
    pub(super) number: u32,
    /// What was judged by others, and still is.
    waiting: Vec<u32>,
}

impl Judging {
    pub(super) fn by(rules: &Rules) -> Self {
        Self {
            of_unknown: rules.judge(None),
            number: 0,
            waiting: Vec::new(),
        }
    }

    /// What the rules say of a process that runs this; nobody knows what one runs whose exec was lost.
    pub(super) fn verdict(&self, rules: &Rules, program: &Program) -> Verdict {
        if program.is_lost() {
            self.of_unknown
        } else {
            rules.judge(Some(program.runs()))
        }
    }
}

impl Enricher {
    /// Goes by other rules from now on, also of what runs already, and hands back those before.
    pub fn replace_rules(&mut self, rules: Rules) -> Rules {
        self.judging = Judging {
            number: self.judging.number.wrapping_add(1),
            waiting: self.processes.ids().collect(),
            ..Judging::by(&rules)
        };
        mem::replace(&mut self.rules, rules)
    }

    /// Judges some of what waits for it. To be called with each batch.
    pub fn judge_waiting(&mut self) {
        let judging = &mut self.judging;
        if judging.waiting.is_empty() {
            return;
        }
        let from = judging.waiting.len().saturating_sub(COUNT_MAX);
        for id in judging.waiting.split_off(from) {
            if let Some(process) = self.processes.get_mut(id, 0) {
                process.verdict = judging.verdict(&self.rules, &process.program);
                process.judged = judging.number;
            }
        }
    }

    /// What the rules say of it that are in force.
    pub(super) fn verdict_of(&self, process: &Process) -> Verdict {
        if process.judged == self.judging.number {
            process.verdict
        } else {
            self.judging.verdict(&self.rules, &process.program)
        }
    }
}
