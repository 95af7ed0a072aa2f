//! The processes that run now, as the system tells them, in the form of events.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use event::{Event as WireEvent, ProcessKey};

use super::{End, Process};

use crate::enrich::{Enricher, Limits};
use crate::rules::Rules;
use crate::sensor::{self, Batch, seam};
use crate::sys::{clock, host};
use crate::trail::{Event, Further, Origin, Time};

/// One `process_start` a process that runs now, parents before their children, as a recording that
/// began now would tell them.
pub fn events() -> io::Result<Vec<Event>> {
    let (began, clock) = clock::now();
    let taken = sensor::processes_now()?;
    let mut batch = Batch::default();
    seam::join(taken, &Batch::default(), began, &mut batch);
    let origin = Origin::of_host(host::name());
    let rules = Rules::new(&[], &[]).map_err(invalid)?;
    let mut enricher = Enricher::new(host::boot_id()?, rules, Limits::default());
    let mut events = Vec::new();
    for record in batch.records() {
        let record = event::read(record).map_err(invalid)?;
        if !matches!(record.event, WireEvent::ProcessStart(_)) {
            continue;
        }
        let Some(told) = enricher.enrich(&record) else {
            continue;
        };
        let Time(time) = clock.time(told.time);
        events.push(Event {
            sequence: u64::try_from(events.len()).map_or(u64::MAX, |count| count + 1),
            time: Time(time),
            origin: Arc::clone(&origin),
            process_id: told.process_id,
            process_key: told.process_key,
            body: told.body,
            kept_by: told.kept_by,
            truncated: told.truncated,
            missing: told.missing,
            further: Further::default(),
        });
    }
    Ok(events)
}

/// The processes that run now, to tell which of a trail's still do.
#[derive(Debug)]
pub struct Alive {
    /// By process id. The system tells ticks, so a trail's keys need only agree with them.
    keys: HashMap<u32, ProcessKey>,
    /// When the trail ended.
    end: Time,
}

impl Alive {
    /// Looks at what runs, for a trail that ended then. Of another machine, or another boot, there is
    /// nothing: keys are never used again.
    pub fn look(end: Time) -> Self {
        let events = events().unwrap_or_else(|error| {
            tracing::debug!(%error, "what runs now cannot be read");
            Vec::new()
        });
        let keys = events
            .iter()
            .map(|event| (event.process_id, event.process_key));
        let keys = keys.collect();
        Self { keys, end }
    }

    /// Says of a process that runs as far as the trail goes that it is known until then, unless it
    /// runs now.
    pub fn settle(&self, process: &mut Process) {
        let key = self.keys.get(&process.process_id);
        let is_alive = key.is_some_and(|key| key.agrees_with(process.process_key));
        if process.end == End::Running && !is_alive {
            process.known_until = Some(self.end);
        }
    }
}

/// What this crate wrote itself and cannot read: a defect, told as the system's would be.
fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    /// All of them were `[kernel]`.
    #[cfg(target_os = "linux")]
    #[test]
    fn kernel_threads_have_the_names_that_ps_shows() {
        let mut tree = Tree::default();
        for event in events().unwrap() {
            tree.add(&event).unwrap();
        }
        let mut kernel = tree.processes().iter().filter(|one| one.is_kernel);
        // A container has none.
        if let Some(first) = kernel.find(|one| one.process_id == 2) {
            assert_eq!(first.title(), "[kthreadd]");
        }
        let own = tree
            .processes()
            .iter()
            .find(|one| one.process_id == std::process::id());
        assert_eq!(own.unwrap().name, None);
    }

    #[test]
    fn this_process_stands_under_its_parent() {
        let mut tree = Tree::default();
        for event in events().unwrap() {
            tree.add(&event).unwrap();
        }
        let own = std::process::id();
        let this = tree.processes().iter().find(|one| one.process_id == own);
        let this = this.unwrap();
        #[cfg(unix)]
        let parent = tree.with_key(this.parent_process_key.unwrap()).unwrap();
        #[cfg(unix)]
        assert_eq!(parent.process_id, std::os::unix::process::parent_id());
        assert!(!this.title().is_empty());
        assert!(this.start_time.unwrap() <= crate::moment::now());
    }
}
