//! What a recording does otherwise from one batch to the next, without a gap.

use std::mem;
use std::sync::Arc;

use super::{Recorder, Stage};
use crate::rules::Rules;
use crate::sys::thread;
use crate::trail::{self, Body, Event, Further};

/// What takes the place of what a recording was begun with.
#[derive(Debug)]
pub struct Change {
    /// Which events are kept.
    pub rules: Rules,
    /// What looks at those that are.
    pub stage: Option<Box<dyn Stage>>,
}

/// What came of a configuration that was read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// It is in force.
    Taken,
    /// The one before still is.
    Refused,
}

impl Reload {
    /// Each by its name.
    pub const NAMES: [(&'static str, Self); 2] =
        [("taken", Self::Taken), ("refused", Self::Refused)];
}

impl Recorder {
    /// Goes by what was changed since the last batch.
    pub(super) fn take_change(&mut self) {
        let Some(Change { rules, stage }) = self.status.take_change() else {
            return;
        };
        let rules_before = self.enricher.replace_rules(rules);
        let before = self.stage.as_ref().map_or(0, |stage| stage.off_count());
        self.off_count_before = self.off_count_before.saturating_add(before);
        let stage_before = mem::replace(&mut self.stage, stage);
        // Thousands of rules take their time to go, and events wait.
        thread::drop_beside((rules_before, stage_before));
        if let Some(stage) = &mut self.stage {
            // It has not seen which system the run is of.
            let mut found = Vec::new();
            let begin = Event {
                sequence: 1,
                time: trail::Time::default(),
                origin: Arc::clone(&self.origin),
                process_id: 0,
                process_key: event::ProcessKey::default(),
                body: Body::SensorStart(Self::sensor_start(self.source)),
                kept_by: None,
                truncated: Vec::new(),
                missing: Vec::new(),
                further: Further::default(),
            };
            stage.look(&begin, &mut found);
        }
    }
}
