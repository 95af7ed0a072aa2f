//! Which events a person wants to see, judged by the process they are of: its user, what it runs, how it
//! ended.

use crate::rules::{Kinds, PatternSet};
use crate::shown::base_name;
use crate::trail::{Body, Event, ProcessExit, Program};

/// What is wanted; everything that is not told.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Events of these kinds; all without.
    pub kinds: Option<Kinds>,
    /// Of processes of the user of this name, or this id.
    pub user: Option<String>,
    /// Of processes whose program's path, or the last part of it, matches.
    pub image: Option<PatternSet>,
    /// Of processes whose command line matches.
    pub command_line: Option<PatternSet>,
    /// Kept by an include rule whose name matches, or matches of a detection rule whose title or id does.
    pub rule: Option<PatternSet>,
    /// Ends that were no success alone.
    pub failed: bool,
    /// What was there before the recording as well.
    pub existing: bool,
}

impl Wanted {
    /// Whether an event is, as far as its kind goes.
    pub(super) fn has_kind(&self, event: &Event) -> bool {
        self.kinds
            .is_none_or(|kinds| kinds.contains(event.body.kind()))
    }

    /// Whether an event is, as far as the rule goes that kept or found it.
    pub(super) fn has_rule(&self, event: &Event) -> bool {
        let Some(wanted) = &self.rule else {
            return true;
        };
        let kept_by = event.kept_by.as_ref();
        let mut names = [kept_by.and_then(|rule| rule.rule_name.as_deref()), None];
        if let Body::Detection(found) = &event.body {
            names = [Some(&*found.rule_title), found.rule_id.as_deref()];
        }
        let mut names = names.into_iter().flatten();
        names.any(|name| wanted.matches(name.as_bytes()))
    }

    /// Whether what a process runs is; of one that nobody knows anything of it is not known.
    pub(super) fn has_program(&self, program: Option<&Program>) -> bool {
        let is_asked = self.user.is_some() || self.image.is_some() || self.command_line.is_some();
        match program {
            None => !is_asked,
            Some(program) => {
                let user = self.user.as_ref();
                user.is_none_or(|user| program.is_of_user(user))
                    && self.has_image(program)
                    && self.has_command_line(program)
            }
        }
    }

    fn has_image(&self, program: &Program) -> bool {
        let Some(wanted) = &self.image else {
            return true;
        };
        program.image.as_ref().is_some_and(|image| {
            let name = base_name(image.shown());
            wanted.matches(image.as_bytes()) || wanted.matches(name.as_bytes())
        })
    }

    fn has_command_line(&self, program: &Program) -> bool {
        let Some(wanted) = &self.command_line else {
            return true;
        };
        let command_line = program.command_line.as_ref();
        command_line.is_some_and(|text| wanted.matches(text.as_bytes()))
    }

    /// Whether an end is.
    pub(super) fn has_end(&self, exit: &ProcessExit) -> bool {
        !self.failed || has_failed(exit)
    }
}

/// Whether a process ended otherwise than well.
pub(super) fn has_failed(exit: &ProcessExit) -> bool {
    exit.signal.is_some() || exit.exit_code.is_some_and(|code| code != 0)
}
