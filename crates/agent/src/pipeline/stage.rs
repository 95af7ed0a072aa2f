//! What looks at events on their way from enrichment to the sinks, and may find something.

use std::fmt;

use crate::trail::{Detection, Event};

/// Looks at every event that is kept, before it goes to the sinks.
pub trait Stage: fmt::Debug + Send {
    /// Called before each batch: the moment to change how it looks.
    fn refresh(&mut self);

    /// Appends what is found in `event`; that follows it in the trail.
    fn look(&mut self, event: &Event, found: &mut Vec<Detection>);

    /// How many of its rules it has switched off since the begin.
    fn off_count(&self) -> u64;
}

#[cfg(feature = "detect")]
impl Stage for crate::detect::Reloading {
    fn refresh(&mut self) {
        self.refresh();
    }

    fn look(&mut self, event: &Event, found: &mut Vec<Detection>) {
        self.look(event, found);
    }

    fn off_count(&self) -> u64 {
        self.off_count()
    }
}
