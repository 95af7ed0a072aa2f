//! Which recording an event is of, and when the next one of the same machine began.
//!
//! Events say it with `run`; a filter may have left out any of them. Those of before there was a
//! `run` do not, and a `sensor_start` begins a recording of theirs.

use std::collections::HashMap;
use std::sync::Arc;

use crate::trail::{Body, Event, Origin, Time};

/// The recordings of a trail.
#[derive(Debug, Default)]
pub(super) struct Recordings {
    /// Of each, when the one after it began.
    next: Vec<Option<Time>>,
    by_run: HashMap<(Arc<str>, u64), usize>,
    /// The last recording of each machine.
    by_host: HashMap<Arc<str>, usize>,
    /// Where the event before came from.
    last: Option<(Arc<Origin>, usize)>,
}

impl Recordings {
    /// The recording an event is of.
    pub(super) fn of(&mut self, event: &Event) -> usize {
        let origin = &event.origin;
        let begins = origin.run.is_none() && matches!(event.body, Body::SensorStart(_));
        match &self.last {
            Some((last, index)) if !begins && Arc::ptr_eq(last, origin) => return *index,
            _ => {}
        }
        let host = origin.host_id.as_ref().unwrap_or(&origin.host);
        let known = match origin.run {
            Some(run) => self.by_run.get(&(Arc::clone(host), run)),
            None => self.by_host.get(host).filter(|_| !begins),
        };
        let index = known.copied().unwrap_or_else(|| {
            let index = self.begin(host, event);
            if let Some(run) = origin.run {
                self.by_run.insert((Arc::clone(host), run), index);
            }
            index
        });
        self.last = Some((Arc::clone(origin), index));
        index
    }

    /// When the recording after this one began; `None` when it is the last of its machine.
    pub(super) fn after(&self, index: usize) -> Option<Time> {
        *self.next.get(index)?
    }

    fn begin(&mut self, host: &Arc<str>, event: &Event) -> usize {
        let began = event.origin.run.and_then(|run| i64::try_from(run).ok());
        let began = began.map_or(event.time, Time);
        let index = self.next.len();
        self.next.push(None);
        if let Some(before) = self.by_host.insert(Arc::clone(host), index) {
            self.next[before] = Some(began);
        }
        index
    }
}
