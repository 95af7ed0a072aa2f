//! Whose events are kept when a recording is of one process and of what it starts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use event::ProcessKey;

use crate::enrich::Enriched;
use crate::trail::{Body, ProcessStart};

/// A process that is started while a recording goes on: it is chosen when its id is known. Clones are of
/// one choice.
#[derive(Clone, Debug, Default)]
pub struct Started(Arc<AtomicU32>);

impl Started {
    /// Chooses the process with this id.
    pub fn choose(&self, process_id: u32) {
        self.0.store(process_id, Ordering::Release);
    }

    /// Its id; `None` while none is chosen. No process has the id 0 that ever starts another.
    fn id(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Acquire)).filter(|id| *id != 0)
    }
}

/// The process that a scope is of.
#[derive(Debug)]
enum Root {
    /// One that starts after the recording began.
    New(Started),
    /// One that was there when it began.
    Existing(u32),
}

/// A process and everything below it, as it is told event by event.
///
/// A child belongs to it when its parent does, or who made the call that created it: a process can
/// give its children to its own parent, and does not leave the scope that way. What is below a process
/// whose start was lost is not known to be.
#[derive(Debug)]
pub struct Scope {
    root: Root,
    /// Whether the events of the root itself are kept.
    with_root: bool,
    root_key: Option<ProcessKey>,
    /// Those that have not ended, by id: never more than the system has processes.
    members: HashMap<u32, ProcessKey>,
}

impl Scope {
    /// A process that is to be started, and what is below it.
    pub fn of_new(chosen: Started) -> Self {
        Self::of(Root::New(chosen))
    }

    /// The process that has this id now, and what is below it.
    pub fn of_running(process_id: u32) -> Self {
        Self::of(Root::Existing(process_id))
    }

    fn of(root: Root) -> Self {
        Self {
            root,
            with_root: true,
            root_key: None,
            members: HashMap::new(),
        }
    }

    /// What is below the root, without itself.
    #[must_use]
    pub fn without_root(mut self) -> Self {
        self.with_root = false;
        self
    }

    /// Whether an event is in the scope. Asked of every event, in order.
    pub(super) fn covers(&mut self, event: &Enriched) -> bool {
        let (id, key) = (event.process_id, event.process_key);
        if let Body::ProcessStart(start) = &event.body {
            let is_root = self.is_root(id, start);
            if is_root {
                self.root_key = Some(key);
            }
            if is_root || self.is_below(start) {
                self.members.insert(id, key);
            }
        }
        let is_member = self.members.get(&id) == Some(&key);
        if is_member && matches!(event.body, Body::ProcessExit(_)) {
            self.members.remove(&id);
        }
        is_member && (self.with_root || self.root_key != Some(key))
    }

    /// Whether this is the start of the root, which there is one of: its id may be used again.
    fn is_root(&self, id: u32, start: &ProcessStart) -> bool {
        let (root, is_existing) = match &self.root {
            Root::New(chosen) => (chosen.id(), false),
            Root::Existing(id) => (Some(*id), true),
        };
        self.root_key.is_none() && root == Some(id) && start.existing == is_existing
    }

    fn is_below(&self, start: &ProcessStart) -> bool {
        let parent = start.parent_process_id.zip(start.parent_process_key);
        let by_parent = parent.is_some_and(|(id, key)| self.members.get(&id) == Some(&key));
        let creator = start.creator_process_id;
        by_parent || creator.is_some_and(|id| self.members.contains_key(&id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::ProcessExit;

    fn event(process_id: u32, key: u64, body: Body) -> Enriched {
        Enriched {
            process_id,
            process_key: ProcessKey(key),
            time: 0,
            body,
            kept_by: None,
            file: None,
            truncated: Vec::new(),
            missing: Vec::new(),
            kept: true,
        }
    }

    fn started(id: u32, key: u64, parent: (u32, u64), creator: u32) -> Enriched {
        let start = ProcessStart {
            parent_process_id: Some(parent.0),
            parent_process_key: Some(ProcessKey(parent.1)),
            creator_process_id: Some(creator),
            ..ProcessStart::default()
        };
        event(id, key, Body::ProcessStart(Box::new(start)))
    }

    fn existing(id: u32, key: u64, parent: (u32, u64)) -> Enriched {
        let mut event = started(id, key, parent, parent.0);
        if let Body::ProcessStart(start) = &mut event.body {
            start.existing = true;
        }
        event
    }

    fn ended(id: u32, key: u64) -> Enriched {
        event(id, key, Body::ProcessExit(ProcessExit::default()))
    }

    #[test]
    fn is_the_root_and_all_below_it_until_each_has_ended() {
        let root = Started::default();
        let mut scope = Scope::of_new(root.clone());
        assert!(!scope.covers(&started(5, 50, (1, 10), 1)), "none is chosen");
        root.choose(7);
        assert!(
            !scope.covers(&existing(7, 69, (1, 10))),
            "it had the id before"
        );
        assert!(scope.covers(&started(7, 70, (1, 10), 1)));
        assert!(scope.covers(&started(8, 80, (7, 70), 7)));
        assert!(scope.covers(&started(9, 90, (8, 80), 8)));
        assert!(!scope.covers(&started(6, 60, (5, 50), 5)));
        assert!(!scope.covers(&ended(8, 81)), "another that has the id");
        assert!(scope.covers(&ended(8, 80)));
        assert!(
            !scope.covers(&started(8, 82, (1, 10), 1)),
            "the id is used again"
        );
        assert!(scope.covers(&ended(9, 90)), "an orphan stays");
        assert!(scope.covers(&ended(7, 70)));
        assert!(
            !scope.covers(&started(7, 71, (1, 10), 1)),
            "so is the root's"
        );
        assert!(scope.members.is_empty());
    }

    /// `clone(CLONE_PARENT)` makes a sibling.
    #[test]
    fn who_gives_a_child_to_its_own_parent_does_not_leave_it() {
        let root = Started::default();
        root.choose(7);
        let mut scope = Scope::of_new(root);
        assert!(scope.covers(&started(7, 70, (1, 10), 1)));
        assert!(scope.covers(&started(8, 80, (1, 10), 7)));
        assert!(scope.covers(&started(9, 90, (8, 80), 8)));
    }

    #[test]
    fn a_root_that_was_there_has_its_children_of_the_snapshot() {
        let mut scope = Scope::of_running(7).without_root();
        assert!(!scope.covers(&existing(1, 10, (0, 0))));
        assert!(!scope.covers(&existing(7, 70, (1, 10))), "not itself");
        assert!(scope.covers(&existing(8, 80, (7, 70))));
        assert!(scope.covers(&started(9, 90, (7, 70), 7)));
        assert!(!scope.covers(&ended(7, 70)));
        assert!(scope.covers(&ended(9, 90)));
    }
}
