//! The sink that puts a job together while it is recorded.

use std::sync::{Arc, Mutex, PoisonError};

use super::Job;
use crate::sink::{Sink, Tally};
use crate::trail::{Body, Event};

/// Collects a job; clones are of the same one.
#[derive(Clone, Default)]
pub struct Collector {
    job: Arc<Mutex<Job>>,
    /// The process whose end is told, and to whom.
    ends: Option<(u32, Arc<dyn Fn() + Send + Sync>)>,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Collector").field(&self.job).finish()
    }
}

impl Collector {
    /// Has `ended_fn` called when a process with this id ends.
    #[must_use]
    pub fn when_ended(mut self, id: u32, ended_fn: impl Fn() + Send + Sync + 'static) -> Self {
        self.ends = Some((id, Arc::new(ended_fn)));
        self
    }

    /// What was collected so far. Call it when the recording has ended.
    pub fn take(&self) -> Job {
        std::mem::take(&mut *self.job.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Collector {
    fn name(&self) -> &'static str {
        "job"
    }

    fn write(&mut self, events: &[Event], tally: &Tally) {
        let mut job = self.job.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            job.add(event);
            if let (Some((id, ended_fn)), Body::ProcessExit(_)) = (&self.ends, &event.body)
                && *id == event.process_id
            {
                ended_fn();
            }
        }
        tally.add_written(u64::try_from(events.len()).unwrap_or(u64::MAX));
    }

    fn flush(&mut self, _tally: &Tally) {}

    fn close(&mut self, _tally: &Tally) {}
}
