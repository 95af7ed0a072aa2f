//! The arguments of parents, which rules ask for one by one. An event tells those of its own process, and of
//! the parent no more than one text; so an export remembers what it has seen.

use std::collections::HashMap;
use std::sync::Arc;

use event::ProcessKey;
use foldhash::fast::RandomState;

use crate::trail::{Body, Event, Program, Text};

/// Processes that are remembered, and bytes of their arguments; beyond either all are forgotten.
const COUNT_MAX: usize = 65_536;
const SIZE_MAX: usize = 32 << 20;

/// What processes were started with.
#[derive(Debug, Default)]
pub(super) struct Parents {
    known: HashMap<ProcessKey, Known, RandomState>,
    size: usize,
}

#[derive(Debug, Default)]
struct Known {
    parent: Option<ProcessKey>,
    arguments: Option<Arc<[Text]>>,
    size: usize,
}

impl Parents {
    /// The arguments of the parent of the event's process, where they are known and those that the event
    /// speaks of.
    pub(super) fn arguments(&self, event: &Event) -> Option<&[Text]> {
        let (parent, told) = match &event.body {
            Body::ProcessStart(start) => (start.parent_process_key, &start.parent),
            Body::ProcessExec(exec) => {
                let own = self.known.get(&event.process_key);
                (own.and_then(|own| own.parent), &exec.parent)
            }
            _ => return None,
        };
        let arguments = self.known.get(&parent?)?.arguments.as_deref()?;
        let told = told.parent_command_line.as_ref()?;
        is_begin_of(told.shown(), arguments).then_some(arguments)
    }

    /// Remembers what an event tells.
    pub(super) fn learn(&mut self, event: &Event) {
        match &event.body {
            Body::ProcessStart(start) => {
                self.remember(event, start.parent_process_key, &start.program);
            }
            Body::ProcessExec(exec) => {
                let known = self.known.get(&event.process_key);
                let parent = known.and_then(|known| known.parent);
                self.remember(event, parent, &exec.program);
            }
            Body::ProcessExit(_) => {
                if let Some(ended) = self.known.remove(&event.process_key) {
                    self.size -= ended.size;
                }
            }
            _ => {}
        }
    }

    fn remember(&mut self, event: &Event, parent: Option<ProcessKey>, program: &Program) {
        let size = program.size();
        if self.known.len() >= COUNT_MAX || self.size + size > SIZE_MAX {
            self.known.clear();
            self.size = 0;
        }
        if size > SIZE_MAX {
            return;
        }
        let known = Known {
            parent,
            arguments: program.arguments.clone(),
            size,
        };
        let before = self.known.insert(event.process_key, known);
        self.size = self.size + size - before.map_or(0, |before| before.size);
    }
}

/// Whether a command line, which may have been cut, is these arguments with blanks between.
fn is_begin_of(line: &str, arguments: &[Text]) -> bool {
    let mut rest = line;
    for (n, argument) in arguments.iter().enumerate() {
        let shown = argument.shown();
        if n > 0 {
            match rest.strip_prefix(' ') {
                Some(after) => rest = after,
                None => return rest.is_empty(),
            }
        }
        match rest.strip_prefix(shown) {
            Some(after) => rest = after,
            None => return shown.starts_with(rest),
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_is_the_begin_of_its_arguments_and_no_other_is() {
        let arguments = ["sh", "-c", "a b"].map(Text::from);
        for line in ["sh -c a b", "sh -c a", "sh -", "sh ", "sh"] {
            assert!(is_begin_of(line, &arguments), "{line}");
        }
        for line in ["sh -c a bc", "sh -x", "bash", "sh -c a b c"] {
            assert!(!is_begin_of(line, &arguments), "{line}");
        }
    }
}
