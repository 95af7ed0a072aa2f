//! The machines whose records a log has; that of a collector has several. Each is a machine of the
//! trail: its events are numbered by themselves, from the first on, and its run began with that.

use std::collections::HashMap;
use std::sync::Arc;

use event::ProcessKey;
use sha2::{Digest as _, Sha256};

use super::record::Source;
use crate::account::{Account, Counts};
use crate::trail::{
    Body, Event, Further, Name, Origin, SensorStart, SensorStop, Time, Whence, missing,
};

/// The most machines of a log.
const HOSTS_MAX: usize = 4_096;

/// The machines, in the order in which the log first tells of them.
#[derive(Default)]
pub(super) struct Hosts {
    hosts: Vec<Host>,
    by_name: HashMap<Box<str>, usize>,
}

/// A machine.
pub(super) struct Host {
    origin: Arc<Origin>,
    /// What stands for the boot in keys of processes that nothing but id and time is known of.
    pub(super) id: [u8; 16],
    sequence: u64,
    sources: Vec<Told>,
}

/// What one source told of a machine.
struct Told {
    source: Source,
    first: Time,
    last: Time,
    counts: Counts,
}

/// An event as it is made of a record, before it has its place in the trail.
pub(super) struct Made {
    pub(super) time: Time,
    pub(super) process_id: u32,
    pub(super) process_key: ProcessKey,
    pub(super) body: Body,
    pub(super) missing: Vec<(Name, Name)>,
}

impl Hosts {
    /// The machine of that name, which begins with this time if it is new; `None` where there are too
    /// many.
    pub(super) fn index(&mut self, name: &str, time: Time) -> Option<usize> {
        if let Some(index) = self.by_name.get(name) {
            return Some(*index);
        }
        let index = self.hosts.len();
        if index >= HOSTS_MAX {
            return None;
        }
        self.hosts.push(Host::new(name, time));
        self.by_name.insert(name.into(), index);
        Some(index)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Host> {
        self.hosts.get_mut(index)
    }

    /// The last events of all machines: the accounts of what was told.
    pub(super) fn finish(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for host in &mut self.hosts {
            for told in std::mem::take(&mut host.sources) {
                let made = told.stop();
                events.push(host.event(made));
            }
        }
        events
    }
}

impl Host {
    fn new(name: &str, time: Time) -> Self {
        let digest = Sha256::digest(name.to_lowercase());
        let id = digest.first_chunk().copied().unwrap_or_default();
        let whence = Whence {
            host: name.into(),
            host_id: None,
            run: u64::try_from(time.0).ok(),
        };
        Self {
            origin: Arc::new(Origin::new(whence)),
            id,
            sequence: 0,
            sources: Vec::new(),
        }
    }

    /// The events of this trail that `made`, of that source, is; before the first of a source there is
    /// its start.
    pub(super) fn tell(&mut self, source: Source, made: Made, mut take_fn: impl FnMut(Event)) {
        let time = made.time;
        if self.sources.iter().all(|told| told.source != source) {
            take_fn(self.event(start_of(source, time)));
            self.sources.push(Told::new(source, time));
        }
        let mut sources = self.sources.iter_mut();
        if let Some(told) = sources.find(|told| told.source == source) {
            told.add(&made);
        }
        take_fn(self.event(made));
    }

    fn event(&mut self, made: Made) -> Event {
        self.sequence += 1;
        Event {
            sequence: self.sequence,
            time: made.time,
            origin: Arc::clone(&self.origin),
            process_id: made.process_id,
            process_key: made.process_key,
            body: made.body,
            kept_by: None,
            truncated: Vec::new(),
            missing: made.missing,
            further: Further::default(),
        }
    }
}

impl Told {
    fn new(source: Source, time: Time) -> Self {
        Self {
            source,
            first: time,
            last: time,
            counts: Counts::default(),
        }
    }

    fn add(&mut self, made: &Made) {
        self.first = self.first.min(made.time);
        self.last = self.last.max(made.time);
        if let Some(count) = self.counts.of(made.body.kind()) {
            count.produced += 1;
            count.delivered += 1;
        }
    }

    fn stop(self) -> Made {
        let account = Account {
            source: self.source.name().to_owned(),
            duration_ns: self.last.0.abs_diff(self.first.0),
            balanced: self.counts.is_balanced(),
            kinds: self.counts,
            ..Account::default()
        };
        mark(
            self.last,
            Body::from(SensorStop {
                source: self.source.name().into(),
                version: crate::VERSION.into(),
                account,
            }),
        )
    }
}

fn start_of(source: Source, time: Time) -> Made {
    mark(
        time,
        Body::from(SensorStart {
            source: source.name().into(),
            version: crate::VERSION.into(),
            system: Some("windows".into()),
        }),
    )
}

/// An event about the recording, of which no process is known.
fn mark(time: Time, body: Body) -> Made {
    let unavailable = |field: &'static str| (field.into(), missing::UNAVAILABLE.into());
    Made {
        time,
        process_id: 0,
        process_key: ProcessKey::default(),
        body,
        missing: ["process_id", "process_key"].map(unavailable).into(),
    }
}
