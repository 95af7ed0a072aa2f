//! The rows of a recording by process, and the identity rules that hold for every recording.

use std::collections::{HashMap, HashSet};

use crate::recorder::{Kind, Recording, Row};

/// Everything a recording says about one process, in order.
#[derive(Clone, Debug)]
pub(crate) struct Life<'a> {
    pub(crate) start: &'a Row,
    pub(crate) execs: Vec<&'a Row>,
    pub(crate) exits: Vec<&'a Row>,
    pub(crate) thread_starts: Vec<&'a Row>,
    pub(crate) thread_exits: Vec<&'a Row>,
    pub(crate) images: Vec<&'a Row>,
}

impl<'a> Life<'a> {
    fn new(start: &'a Row) -> Self {
        Self {
            start,
            execs: Vec::new(),
            exits: Vec::new(),
            thread_starts: Vec::new(),
            thread_exits: Vec::new(),
            images: Vec::new(),
        }
    }

    /// The one exit.
    pub(crate) fn exit(&self) -> &'a Row {
        assert_eq!(self.exits.len(), 1, "{self:#?}");
        self.exits[0]
    }

    /// The one exec.
    pub(crate) fn exec(&self) -> &'a Row {
        assert_eq!(self.execs.len(), 1, "{self:#?}");
        self.execs[0]
    }

    /// The ids of threads in these rows, sorted.
    pub(crate) fn thread_ids(rows: &[&Row]) -> Vec<i32> {
        let mut ids: Vec<i32> = rows.iter().map(|row| row.thread_id.unwrap()).collect();
        ids.sort_unstable();
        ids
    }
}

/// What there is to find out why the start of a process is missing.
fn without_start(recording: &Recording, row: &Row) -> String {
    let of_process = recording
        .rows
        .iter()
        .filter(|other| other.process_id == row.process_id);
    let of_process: Vec<_> = of_process.collect();
    let count = recording.rows.len();
    format!("no start before {row:#?} of {count} in {of_process:#?}")
}

/// The lives of all processes of a recording that lost nothing.
#[derive(Debug)]
pub(crate) struct Lives<'a> {
    by_key: HashMap<u64, Life<'a>>,
}

impl<'a> Lives<'a> {
    /// Sorts the rows by process. Fails unless each process has one start, before everything else
    /// that is told of it, and no more than ends of threads after its exit.
    pub(crate) fn of(recording: &'a Recording) -> Self {
        recording.assert_nothing_lost();
        let mut by_key = HashMap::<u64, Life<'a>>::new();
        for row in &recording.rows {
            if row.kind == Kind::ProcessStart {
                let earlier = by_key.insert(row.process_key, Life::new(row));
                assert!(earlier.is_none(), "two starts: {earlier:?} {row:?}");
            } else if !matches!(row.kind, Kind::SensorStart | Kind::SensorStop) {
                let life = by_key.get_mut(&row.process_key);
                let life = life.unwrap_or_else(|| panic!("{}", without_start(recording, row)));
                assert_eq!(life.start.process_id, row.process_id, "{row:?}");
                // The kernel counts a thread as gone a little before it tells of it, so the last one
                // may be told, and the process with it, before one that was counted earlier.
                let may_follow = row.kind == Kind::ThreadExit;
                let is_alive = life.exits.is_empty();
                assert!(is_alive || may_follow, "{row:?} after {:?}", life.exits);
                match row.kind {
                    Kind::ProcessExec => life.execs.push(row),
                    Kind::ProcessExit => life.exits.push(row),
                    Kind::ThreadStart => life.thread_starts.push(row),
                    Kind::ThreadExit => life.thread_exits.push(row),
                    _image_load => life.images.push(row),
                }
            }
        }
        Self { by_key }
    }

    /// The processes that `creator` made while the recorder ran, in order.
    pub(crate) fn created_by(&self, creator: i32) -> Vec<&Life<'a>> {
        let mut lives: Vec<&Life<'a>> = self
            .by_key
            .values()
            .filter(|life| !life.start.existing && life.start.creator_process_id == Some(creator))
            .collect();
        lives.sort_by_key(|life| life.start.sequence);
        lives
    }

    /// The process with that id that `creator` made while the recorder ran.
    pub(crate) fn one(&self, creator: i32, process_id: i32) -> &Life<'a> {
        let mut lives = self.created_by(creator);
        lives.retain(|life| life.start.process_id == process_id);
        assert_eq!(lives.len(), 1, "{creator} made {process_id}: {lives:#?}");
        lives[0]
    }

    /// The process with that key.
    pub(crate) fn with_key(&self, key: u64) -> Option<&Life<'a>> {
        self.by_key.get(&key)
    }

    /// All processes.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Life<'a>> {
        self.by_key.values()
    }

    /// The processes made while the recorder ran by the one with `root`, by those it made, and so
    /// on; without that one itself.
    pub(crate) fn descendants(&self, root: i32) -> Vec<&Life<'a>> {
        let mut lives: Vec<&Life<'a>> = self
            .by_key
            .values()
            .filter(|life| !life.start.existing)
            .collect();
        lives.sort_by_key(|life| life.start.sequence);
        let mut family = HashSet::from([root]);
        lives.retain(|life| {
            let is_family = family.contains(&life.start.creator_process_id.unwrap());
            if is_family {
                family.insert(life.start.process_id);
            }
            is_family
        });
        lives
    }
}
