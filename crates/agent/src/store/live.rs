//! What is known of the processes that run now, so that a new segment can begin with it.

use std::sync::Arc;

use event::ProcessKey;
use foldhash::HashMap;

use crate::trail::{Body, Event, Origin, ProcessStart, Program, Time};

/// Processes that are carried over at most. What runs beyond that appears in a new segment without
/// its start; a machine has a few thousand.
const COUNT_MAX: usize = 32_768;

/// Bytes of the programs' texts that are carried over at most. What runs beyond that appears in a new
/// segment without its arguments.
const SIZE_MAX: usize = 32 << 20;

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
    /// Bytes of its program.
    size: usize,
}

impl Process {
    fn runs(&mut self, event: &Event, program: &Program) {
        self.start.program = program.clone();
        self.exec_count = self.exec_count.saturating_add(1);
        self.exec_time = Some(event.time);
    }

    /// Measures it, beside `others` bytes that are kept. Where there is no room its arguments go.
    fn fit(&mut self, others: usize) {
        self.size = self.start.program.size();
        if others.saturating_add(self.size) > SIZE_MAX {
            self.start.program.forget_arguments();
            self.size = self.start.program.size();
        }
    }
}

/// The processes that run now, by process id: who has the id now has ended who had it before.
#[derive(Debug, Default)]
pub struct Live {
    processes: HashMap<u32, Process>,
    /// Bytes of their programs.
    size: usize,
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
                self.remove(event.process_id);
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
        self.size = 0;
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
            // What is noted of a start stays with it: no column of what is carried over has it.
            start: ProcessStart {
                details: None,
                ..start.clone()
            },
            ..self.unseen(event)
        };
        self.insert(process);
    }

    fn exec(&mut self, event: &Event, program: &Program) {
        let known = self.processes.get_mut(&event.process_id);
        if let Some(process) = known.filter(|known| known.key == event.process_key) {
            process.runs(event, program);
            let others = self.size.saturating_sub(process.size);
            process.fit(others);
            self.size = others.saturating_add(process.size);
            return;
        }
        let mut process = self.unseen(event);
        process.runs(event, program);
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
            size: 0,
        }
    }

    fn insert(&mut self, mut process: Process) {
        let id = process.id;
        self.remove(id);
        if self.processes.len() >= COUNT_MAX {
            return;
        }
        process.fit(self.size);
        self.size = self.size.saturating_add(process.size);
        self.processes.insert(id, process);
    }

    fn remove(&mut self, id: u32) -> Option<Process> {
        let process = self.processes.remove(&id)?;
        self.size = self.size.saturating_sub(process.size);
        Some(process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::{Further, ProcessExit, Text};

    /// What any user's processes have for arguments was kept for each of 32,768 of them.
    #[test]
    fn arguments_are_carried_over_as_far_as_there_is_room() {
        let long = Text::from("a".repeat(1 << 20).as_str());
        let event = |process_id: u32, body| Event {
            sequence: process_id.into(),
            time: Time(1),
            origin: Origin::of_host("atlas"),
            process_id,
            process_key: ProcessKey(process_id.into()),
            body,
            kept_by: None,
            truncated: Vec::new(),
            missing: Vec::new(),
            further: Further::default(),
        };
        let start = ProcessStart {
            program: Program {
                command_line: Some(long),
                ..Program::default()
            },
            ..ProcessStart::default()
        };
        let start = Body::ProcessStart(Box::new(start));
        let mut live = Live::default();
        for id in 1..=40 {
            live.learn(&event(id, start.clone()));
        }
        let has_arguments = |live: &Live, id| live.processes[&id].start.program.size() > 0;
        assert_eq!(live.size, SIZE_MAX);
        assert!(has_arguments(&live, 32) && !has_arguments(&live, 33));
        live.learn(&event(1, Body::ProcessExit(ProcessExit::default())));
        live.learn(&event(33, start.clone()));
        assert!(has_arguments(&live, 33), "there is room again");
    }
}
