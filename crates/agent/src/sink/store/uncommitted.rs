//! What a store has taken and not committed.

use event::Kind;

use crate::sink::Tally;
use crate::sink::owed::Owed;
use crate::trail::Event;

/// The events of the open transaction, by kind, and those of them that must be told again when it
/// comes to nothing.
#[derive(Debug, Default)]
pub(super) struct Uncommitted {
    observed: [u64; Kind::OBSERVED.len()],
    other: u64,
    marks: Vec<Event>,
}

impl Uncommitted {
    pub(super) fn add(&mut self, event: &Event) {
        let kind = event.body.kind();
        let observed = kind.index().and_then(|index| self.observed.get_mut(index));
        if let Some(count) = observed {
            *count += 1;
        } else {
            self.other += 1;
            self.marks.push(event.clone());
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.observed.iter().sum::<u64>() + self.other
    }

    /// They are committed.
    pub(super) fn settle(&mut self, tally: &Tally) {
        tally.add_written(self.count());
        *self = Self::default();
    }

    /// They came to nothing: counts them as lost and says how many.
    pub(super) fn lose(&mut self, tally: &Tally, owed: &mut Owed) -> u64 {
        let lost_count = self.count();
        for (kind, count) in Kind::OBSERVED.into_iter().zip(self.observed) {
            for _event in 0..count {
                tally.add_lost(kind);
            }
        }
        for mark in &self.marks {
            tally.add_lost(mark.body.kind());
            owed.owe(mark);
        }
        *self = Self::default();
        lost_count
    }
}
