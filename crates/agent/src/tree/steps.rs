//! The programs that a process ran one after the other: what an exec replaced says where the last one came
//! from, as of a dropper that became what it dropped.

use super::Process;
use crate::shown::base_name;
use crate::trail::{Program, Text};

/// Programs that are kept of a process; of more, those that came first. Each is a path of 4 KiB at most.
const KEPT_COUNT_MAX: usize = 16;

/// Programs that are named before the last one.
const SHOWN_COUNT_MAX: usize = 3;

impl Process {
    /// It ran `next` now, in the place of what it was told to run before, if that was by an exec as well: what a
    /// fork has from its parent is no step of its own.
    pub(super) fn replace_program(&mut self, next: Program) {
        if self.exec_count > 0 {
            let before = std::mem::take(&mut self.program.image);
            self.add_earlier(before);
        }
        self.exec_count = self.exec_count.saturating_add(1);
        self.set_program(next);
    }

    /// It runs `program`, of which it has all the texts.
    pub(super) fn set_program(&mut self, program: Program) {
        self.program = program;
        self.spooled = None;
    }

    /// It ran that before.
    pub(super) fn add_earlier(&mut self, image: Option<Text>) {
        if self.earlier_images.len() < KEPT_COUNT_MAX {
            let unknown = || Text::from("?");
            self.earlier_images.push(image.unwrap_or_else(unknown));
        }
    }

    /// Bytes of its texts.
    pub(super) fn size(&self) -> usize {
        let earlier = self.earlier_images.iter().map(Text::size);
        earlier.fold(self.program.size(), usize::saturating_add)
    }

    /// The programs before the one it ran last: `env -> nice -> `, and how many more there were; empty of one
    /// that replaced its program once, as every command of a shell does, or never.
    pub fn steps(&self) -> String {
        let named = self.earlier_images.iter().take(SHOWN_COUNT_MAX);
        let mut steps = String::new();
        for image in named {
            steps.push_str(base_name(image.shown()));
            steps.push_str(" -> ");
        }
        let earlier_count = self.exec_count.saturating_sub(1);
        let shown_count = self.earlier_images.len().min(SHOWN_COUNT_MAX);
        let more = earlier_count.saturating_sub(shown_count as u64);
        if more > 0 {
            steps.extend(["(", &more.to_string(), " more) -> "]);
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(image: Option<&str>) -> Program {
        Program {
            image: image.map(Text::from),
            ..Program::default()
        }
    }

    #[test]
    fn what_a_process_ran_before_stands_before_it() {
        // As a fork has it from its parent.
        let mut process = Process {
            program: program(Some("/usr/bin/bash")),
            ..Process::default()
        };
        process.replace_program(program(Some("/tmp/updater")));
        assert_eq!(process.steps(), "");
        process.replace_program(program(None));
        assert_eq!(process.steps(), "updater -> ");
        process.replace_program(program(Some("/memfd:x")));
        assert_eq!(process.steps(), "updater -> ? -> ");
        for _ in 0..100 {
            process.replace_program(program(Some("/usr/bin/env")));
        }
        assert_eq!(process.steps(), "updater -> ? -> memfd:x -> (99 more) -> ");
        assert_eq!(process.earlier_images.len(), KEPT_COUNT_MAX);
    }

    /// Execs of a segment that is gone are counted and not known.
    #[test]
    fn steps_that_are_not_known_are_counted() {
        let process = Process {
            exec_count: 3,
            ..Process::default()
        };
        assert_eq!(process.steps(), "(2 more) -> ");
    }
}
