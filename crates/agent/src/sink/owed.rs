//! What a sink owes its readers: events about the recording itself that it could not keep.

use crate::trail::{Body, Event};

/// Events that are owed at most. Losses of one kind and reason are one; more than these few do not
/// occur, and would be lost and counted like any other event.
const OWED_COUNT_MAX: usize = 256;

/// Events about the recording itself that could not be stored.
#[derive(Debug, Default)]
pub(super) struct Owed {
    events: Vec<Event>,
    /// How many of them are in the open transaction.
    written_count: usize,
}

impl Owed {
    /// Remembers a loss, or a sensor's start or stop; losses of one kind and reason are added up.
    pub(super) fn owe(&mut self, event: &Event) {
        if let Body::Lost(lost) = &event.body {
            // Not with one that may be committed with its present count any moment.
            let open = self.events.iter_mut().skip(self.written_count);
            for known in open {
                if let Body::Lost(sum) = &mut known.body
                    && sum.lost_kind == lost.lost_kind
                    && sum.lost_reason == lost.lost_reason
                {
                    sum.lost_count = sum.lost_count.saturating_add(lost.lost_count);
                    known.sequence = event.sequence;
                    known.time = event.time;
                    return;
                }
            }
        } else if event.body.kind().index().is_some() {
            return;
        }
        if self.events.len() < OWED_COUNT_MAX {
            self.events.push(event.clone());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// All that is owed, to be written before anything else.
    pub(super) fn events(&mut self) -> &[Event] {
        self.written_count = self.events.len();
        &self.events
    }

    /// They are written for good.
    pub(super) fn settle(&mut self) {
        self.settle_first(self.written_count);
    }

    /// The first of them are written for good, and the others came to nothing.
    pub(super) fn settle_first(&mut self, count: usize) {
        self.events.drain(..count.min(self.written_count));
        self.written_count = 0;
    }

    /// They came to nothing.
    pub(super) fn take_back(&mut self) {
        self.written_count = 0;
    }
}
