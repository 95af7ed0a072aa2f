//! Which process an id, or a GUID of Sysmon's, is.
//!
//! A GUID of Sysmon's is a process for all time, and so is the key made of it. The Security log has
//! ids alone, which are used again: the key of a process is of its machine, its id and its start; one
//! whose start the log has not is told from the first time it is named. Where both logs tell of one
//! start it is one process, with the key that the first of them gave it.

use std::collections::HashMap;

use event::ProcessKey;

use crate::trail::{Text, Time};

/// The most processes that are remembered; then all are forgotten, and parents of later processes are
/// told from the first time they are named.
const PROCESSES_MAX: usize = 262_144;

/// How far apart two logs may tell of one start.
const SAME_START_NS: u64 = 2_000_000_000;

/// A machine, by its index, and an id.
type Id = (usize, u32);

/// The processes that are known.
#[derive(Default)]
pub(super) struct Processes {
    by_id: HashMap<Id, Process>,
    /// GUIDs of processes whose keys are not made of them.
    by_guid: HashMap<[u8; 16], ProcessKey>,
}

/// A process that has not ended.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) key: ProcessKey,
    /// When it started; `None` where no start of it was told.
    pub(super) start: Option<Time>,
    /// Its program, in small letters.
    image: Option<Box<str>>,
}

/// The process of an event, as the event has it.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub(super) host: usize,
    pub(super) host_id: [u8; 16],
    pub(super) process_id: u32,
    pub(super) guid: Option<[u8; 16]>,
}

impl Processes {
    /// The key of a process that started now.
    pub(super) fn started(&mut self, named: Named, time: Time, image: Option<&Text>) -> ProcessKey {
        self.bound();
        let image: Option<Box<str>> = image.map(|image| image.shown().to_lowercase().into());
        let id = (named.host, named.process_id);
        let known = self.by_id.get(&id).filter(|known| {
            let is_near = |start: Time| start.0.abs_diff(time.0) <= SAME_START_NS;
            known.start.is_some_and(is_near) && known.image == image && image.is_some()
        });
        let key = match (known, named.guid) {
            (Some(known), Some(guid)) => {
                if known.key != of_guid(guid) {
                    self.by_guid.insert(guid, known.key);
                }
                known.key
            }
            (Some(known), None) => known.key,
            (None, Some(guid)) => self.of_guid(guid),
            (None, None) => ProcessKey::new(named.host_id, named.process_id, tick(time)),
        };
        self.by_id.insert(
            id,
            Process {
                key,
                start: Some(time),
                image,
            },
        );
        key
    }

    /// The key of a process that is named at this time.
    pub(super) fn key(&mut self, named: Named, time: Time) -> ProcessKey {
        if let Some(guid) = named.guid {
            return self.of_guid(guid);
        }
        self.bound();
        let known = self.by_id.entry((named.host, named.process_id));
        known
            .or_insert_with(|| Process {
                key: ProcessKey::new(named.host_id, named.process_id, tick(time)),
                start: None,
                image: None,
            })
            .key
    }

    /// The key of a process that ended at this time, and when it started, where that was told.
    pub(super) fn ended(&mut self, named: Named, time: Time) -> (ProcessKey, Option<Time>) {
        let key = self.key(named, time);
        let id = (named.host, named.process_id);
        match self.by_id.get(&id) {
            Some(known) if known.key == key => {
                let start = known.start;
                // Another log may tell of the same exit, and finds it by its GUID or not at all.
                if named.guid.is_none() {
                    self.by_id.remove(&id);
                }
                (key, start)
            }
            _ => (key, None),
        }
    }

    fn of_guid(&self, guid: [u8; 16]) -> ProcessKey {
        let alias = self.by_guid.get(&guid).copied();
        alias.unwrap_or_else(|| of_guid(guid))
    }

    fn bound(&mut self) {
        if self.by_id.len() >= PROCESSES_MAX {
            self.by_id.clear();
        }
        if self.by_guid.len() >= PROCESSES_MAX {
            self.by_guid.clear();
        }
    }
}

fn of_guid(guid: [u8; 16]) -> ProcessKey {
    ProcessKey::new(guid, 0, 0)
}

/// Windows tells start times in 100 ns.
const fn tick(time: Time) -> u64 {
    time.0.cast_unsigned() / 100
}
