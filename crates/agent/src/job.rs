//! A command and everything below it, as a recording of it tells: what failed, what took how long, what
//! waited for what.
//!
//! A job is put together event by event while it runs ([`Job::add`]) and looked at when it is over: in
//! figures ([`Figures`]), in words for a person ([`tell()`]), as a page ([`page`]), and as a trace for a
//! viewer of such ([`trace`]). What it keeps is bounded; what is beyond that is counted, and told.

mod collector;
mod figures;
pub mod page;
mod tell;
pub mod trace;

use std::collections::{BTreeMap, HashMap, HashSet};

use event::ProcessKey;

pub use self::collector::Collector;
pub use self::figures::{Figures, Link, ProgramTime};
pub use self::tell::{Ended, tell};
use crate::shown::base_name;
use crate::trail::{Body, Event, Text, Time};
use crate::tree::{Losses, Process, Tree, is_of_system, short_of};

/// Programs that processes put in the place of others: what is kept of them, at most.
const EXECS_MAX: usize = 65_536;

/// Bytes of the paths of files that they loaded that are kept at most.
const LOADS_SIZE_MAX: usize = 16 << 20;

/// A command and everything below it.
#[derive(Debug)]
pub struct Job {
    tree: Tree,
    losses: Losses,
    execs: HashMap<ProcessKey, Vec<Exec>>,
    exec_count: usize,
    /// Nanoseconds of processor time of each process that ended, where the sensor tells it.
    cpu: HashMap<ProcessKey, u64>,
    /// Files that were loaded, each with the first process that did.
    loads: BTreeMap<String, ProcessKey>,
    /// Bytes of their paths.
    loads_size: usize,
    /// Events that were passed over because there was no more room.
    passed_over_count: u64,
}

/// A program that a process put in the place of another.
#[derive(Clone, Debug)]
struct Exec {
    time: Time,
    title: String,
}

impl Default for Job {
    /// Nothing yet. Its parent, which started it, is no part of it.
    fn default() -> Self {
        Self {
            tree: Tree::of_told_alone(),
            losses: Losses::default(),
            execs: HashMap::new(),
            exec_count: 0,
            cpu: HashMap::new(),
            loads: BTreeMap::new(),
            loads_size: 0,
            passed_over_count: 0,
        }
    }
}

impl Job {
    /// Takes an event of one of its processes, or of the recording.
    pub fn add(&mut self, event: &Event) {
        self.losses.add(event);
        if self.tree.add(event).is_err() {
            self.passed_over_count += 1;
            return;
        }
        match &event.body {
            Body::ProcessExec(exec) if self.exec_count < EXECS_MAX => {
                self.exec_count += 1;
                let title = short_of(&exec.program, None);
                let execs = self.execs.entry(event.process_key).or_default();
                let time = event.time;
                execs.push(Exec { time, title });
            }
            Body::ProcessExit(exit) => {
                let times = exit.usage.user_time_ns.zip(exit.usage.system_time_ns);
                if let Some((user, system)) = times {
                    let time = user.saturating_add(system);
                    self.cpu.insert(event.process_key, time);
                }
            }
            Body::ImageLoad(load) if !load.existing => {
                if let Some(image) = &load.image {
                    self.load(image.shown(), event.process_key);
                }
            }
            _ => {}
        }
    }

    fn load(&mut self, image: &str, by: ProcessKey) {
        if self.loads.contains_key(image) {
            return;
        }
        if self.loads_size < LOADS_SIZE_MAX {
            self.loads_size += image.len();
            self.loads.insert(image.to_owned(), by);
        } else {
            self.passed_over_count += 1;
        }
    }

    /// Its processes.
    pub fn processes(&self) -> &[Process] {
        self.tree.processes()
    }

    /// How many events found no more room: what is told of the job lacks them.
    pub const fn passed_over_count(&self) -> u64 {
        self.passed_over_count
    }

    /// What was lost meanwhile on the whole machine, in a sentence.
    pub fn lost(&self) -> Option<String> {
        self.losses.told(Time(i64::MIN), Time(i64::MAX))
    }

    /// Files that its processes loaded from elsewhere than where a system has its own, each with the
    /// first process that did; programs themselves are none of them.
    fn foreign_loads(&self) -> Vec<(&str, Option<&Process>)> {
        let programs: HashSet<&str> = self
            .processes()
            .iter()
            .filter_map(|process| process.program.image.as_ref().map(Text::shown))
            .collect();
        let loads = self.loads.iter();
        let loads = loads.map(|(image, by)| (image.as_str(), self.tree.with_key(*by)));
        loads
            .filter(|(image, _)| !is_of_system(image) && !programs.contains(image))
            .collect()
    }
}

/// The name of a process's program: what it runs, and of a script that.
fn program_name(process: &Process) -> String {
    let program = &process.program;
    let file = program.script.as_ref().or(program.image.as_ref());
    match file {
        Some(file) => base_name(file.shown()).to_owned(),
        None => process.title().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::trail::Program;

    pub(super) fn program(image: &str, arguments: &[&str]) -> Program {
        let arguments: Arc<[Text]> = arguments.iter().map(|text| Text::from(*text)).collect();
        Program {
            image: Some(Text::from(image)),
            arguments: Some(arguments),
            ..Program::default()
        }
    }
}
