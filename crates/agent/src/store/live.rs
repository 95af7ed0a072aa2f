//! What is known of the processes that run now, so that a new segment can begin with it.

use std::sync::Arc;

use event::ProcessKey;
use foldhash::HashMap;

use crate::trail::{Body, Event, Origin, ProcessStart, Program, Time};

/// Processes that are carried over at most. What runs beyond that appears in a new segment without
/// its start; a machine has a few thousand.
const COUNT_MAX: usize = 32_768;

/// A process that runs.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) id: u32,
    pub(super) key: ProcessKey,
    /// When it started; `None` when that was not seen.
    pub(super) time: Option<Time>,
    /// How it started, with the program it runs now.
    pub(super) start: ProcessStart,
    pub(super) exec_count: i64,
    pub(super) exec_time: Option<Time>,
    /// The run that told of it last.
    pub(super) run_began: Time,
}

/// The processes that run now, by process id: who has the id now has ended who had it before.
#[derive(Debug, Default)]
pub struct Live {
    processes: HashMap<u32, Process>,
    /// The first event's of the run, where it says of which run it is.
    run: Option<Arc<Origin>>,
    run_began: Option<Time>,
}

impl Live {
    /// Learns from an event.
    pub fn learn(&mut self, event: &Event) {
        self.learn_run(event);
        match &event.body {
            Body::ProcessStart(start) => self.start(event, start),
            Body::ProcessExec(exec) => self.exec(event, &exec.program),
            Body::ProcessExit(_) => {
                self.processes.remove(&event.process_id);
            }
            _ => {}
        }
    }

    /// Learns which run the event is of. An event that does not say it is of the one that the last
    /// `sensor_start` began.
    fn learn_run(&mut self, event: &Event) {
        let began = match (event.origin.run, &event.body) {
            (Some(_), _) if self.is_of_run(event) => return,
            (Some(run), _) => i64::try_from(run).map_or(event.time, Time),
            (None, Body::SensorStart(_)) => event.time,
            (None, _) => return,
        };
        self.run = Some(Arc::clone(&event.origin));
        self.run_began = Some(began);
        // The snapshot tells again of whatever still runs.
        self.processes.clear();
    }

    fn is_of_run(&self, event: &Event) -> bool {
        self.run.as_ref().is_some_and(|known| {
            Arc::ptr_eq(known, &event.origin)
                || (known.run == event.origin.run && known.host_id == event.origin.host_id)
        })
    }

    /// When the run began, where that was seen.
    pub(super) const fn run_began(&self) -> Option<Time> {
        self.run_began
    }

    /// Those that run, in the order of their ids.
    pub(super) fn processes(&self) -> Vec<&Process> {
        let mut processes: Vec<_> = self.processes.values().collect();
        processes.sort_unstable_by_key(|process| process.id);
        processes
    }

    fn start(&mut self, event: &Event, start: &ProcessStart) {
        let process = Process {
            time: Some(event.time),
            start: start.clone(),
            ..self.unseen(event)
        };
        self.insert(process);
    }

    fn exec(&mut self, event: &Event, program: &Program) {
        let known = self.processes.remove(&event.process_id);
        let mut process = known
            .filter(|known| known.key == event.process_key)
            .unwrap_or_else(|| self.unseen(event));
        process.start.program = program.clone();
        process.exec_count = process.exec_count.saturating_add(1);
        process.exec_time = Some(event.time);
        self.insert(process);
    }

    /// A process nothing is known of but that it is.
    fn unseen(&self, event: &Event) -> Process {
        Process {
            id: event.process_id,
            key: event.process_key,
            time: None,
            start: ProcessStart::default(),
            exec_count: 0,
            exec_time: None,
            run_began: self.run_began.unwrap_or(event.time),
        }
    }

    fn insert(&mut self, process: Process) {
        let id = process.id;
        if self.processes.len() < COUNT_MAX || self.processes.contains_key(&id) {
            self.processes.insert(id, process);
        }
    }
}
