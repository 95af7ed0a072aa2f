//! From the connector's messages to records.

use std::collections::HashMap;

use event::{Event, Flags, Header, Kind, loss, process, thread};
use nix::time::{ClockId, clock_gettime};

use super::message::{Body, Message, Task};
use super::tasks::{Fact, Tasks, User};
use crate::sensor::proc::{self, TICK_NS};
use crate::sensor::snapshot::Existing;
use crate::sensor::{Batch, Counters};
use crate::sys::clock;

/// A fork message is sent less than this after the process's start time was taken.
const FORK_LATE_NS: u64 = 500_000;

/// The processor of a message that none has sent.
const NO_CPU: u32 = u32::MAX;

/// The messages that wait, and what is known of the tasks they tell of.
#[derive(Debug)]
pub(super) struct Stream {
    /// What was received and is not written yet.
    pub(super) messages: Vec<Message>,
    /// Messages of this thread's name end the recording on their processor.
    pub(super) ends_at_name_of: Option<u32>,
    pub(super) counters: Counters,
    /// When recording began. The socket hears messages from before where somebody else listens.
    pub(super) began: u64,
    threads: bool,
    tasks: Tasks,
    /// The number each processor's sequence goes on with; `None` after its end.
    sequences: HashMap<u32, Option<u32>>,
    has_lost: bool,
}

impl Stream {
    pub(super) fn new(threads: bool) -> Self {
        Self {
            messages: Vec::new(),
            ends_at_name_of: None,
            counters: Counters::default(),
            began: 0,
            threads,
            tasks: Tasks::default(),
            sequences: HashMap::new(),
            has_lost: false,
        }
    }

    /// Learns the processes of the snapshot with their threads.
    pub(super) fn know(&mut self, snapshot: &[Existing]) {
        for process in snapshot {
            if process.has_ended {
                continue;
            }
            let mut threads = Vec::new();
            if process.threads > 1
                && let Ok(process) = proc::Process::open(process.process_id)
            {
                // One that is gone by now has all its exits in the stream.
                threads = process.thread_ids().unwrap_or_default();
            }
            threads.retain(|id| *id != process.process_id);
            let user = User {
                user_id: process.user_id,
                session_id: process.session_id,
            };
            self.tasks
                .existing(process.process_id, threads, process.leader_has_ended, user);
        }
    }

    /// The answer to the request with this id, if it is there.
    pub(super) fn answer(&self, id: u32) -> Option<u32> {
        self.messages.iter().find_map(|message| match message.body {
            Body::Answer { request_id, error } if request_id == id => Some(error),
            _ => None,
        })
    }

    /// Writes the records of all messages that wait.
    pub(super) fn write(&mut self, batch: &mut Batch) {
        let messages = std::mem::take(&mut self.messages);
        let to_boot_time = Conversion::now();
        let last_execs: HashMap<u32, usize> = messages
            .iter()
            .enumerate()
            .filter_map(|(index, message)| match message.body {
                Body::Exec(task) => Some((task.process_id, index)),
                _ => None,
            })
            .collect();
        for (index, message) in messages.iter().enumerate() {
            let time = to_boot_time.apply(message.time);
            if !self.follow_sequence(message, time, batch) || time < self.began {
                continue;
            }
            let is_last_exec = match message.body {
                Body::Exec(task) => last_execs.get(&task.process_id) == Some(&index),
                _ => false,
            };
            let (threads, counters) = (self.threads, &mut self.counters);
            self.tasks.take(time, &message.body, &mut |time, fact| {
                if let Some(kind) = write_fact(time, &fact, threads, is_last_exec, batch) {
                    counters.add_produced(kind, 1);
                }
            });
        }
        self.messages = messages;
        self.messages.clear();
    }

    /// After a loss, forgets tasks that are not there any more.
    pub(super) fn heal(&mut self) {
        if std::mem::take(&mut self.has_lost) {
            self.tasks.heal(|id| proc::Process::open(id).is_ok());
        }
    }

    /// Tells a gap in the sequence as a loss. Returns whether the message counts.
    fn follow_sequence(&mut self, message: &Message, time: u64, batch: &mut Batch) -> bool {
        if message.cpu == NO_CPU {
            return false;
        }
        let next = message.sequence.wrapping_add(1);
        let expected = self
            .sequences
            .entry(message.cpu)
            .or_insert(Some(message.sequence));
        let Some(number) = *expected else {
            return false;
        };
        let ends = match message.body {
            Body::Name(task) => self.ends_at_name_of == Some(task.thread_id),
            _ => false,
        };
        *expected = (!ends).then_some(next);
        let gap = message.sequence.wrapping_sub(number);
        // A step backwards would be a message of before: no loss.
        if gap > 0 && gap < u32::MAX / 2 {
            self.lose(time, u64::from(gap), batch);
        }
        true
    }

    fn lose(&mut self, time: u64, count: u64, batch: &mut Batch) {
        self.has_lost = true;
        self.counters.add_lost(Kind::PROCESS_START, count);
        batch.write_lost(
            time,
            loss::Lost {
                kind: Kind::PROCESS_START,
                reason: loss::Reason::BUFFER_FULL,
                count,
            },
        );
    }
}

/// Writes one fact and says what kind of event it is, or `None` where it is not wanted.
fn write_fact(
    time: u64,
    fact: &Fact,
    threads: bool,
    is_last_exec: bool,
    batch: &mut Batch,
) -> Option<Kind> {
    match *fact {
        Fact::ProcessStart {
            process_id,
            parent,
            user,
        } => write_start(time, process_id, parent, user, batch),
        Fact::ProcessExec { process_id, user } => {
            write_exec(time, process_id, user, is_last_exec, batch);
        }
        Fact::ProcessExit {
            process_id,
            thread_id,
            status,
            parent,
        } => {
            let mut header = header(time, thread_id, process_id);
            if status.is_none() {
                header.flags = Flags::EXIT_STATUS_UNAVAILABLE;
            }
            let exit = process::Exit {
                exit_status: status.unwrap_or(0),
                parent_process_id: parent.unwrap_or(0),
            };
            put(batch, header, &Event::ProcessExit(exit));
        }
        Fact::ThreadStart(_) | Fact::ThreadExit(_) if !threads => return None,
        Fact::ThreadStart(task) => {
            let start = thread::Start {
                // A thread is always made by one of its own process; which is not told.
                creator_process_id: task.process_id,
                ..thread::Start::default()
            };
            let header = header(time, task.thread_id, task.process_id);
            put(batch, header, &Event::ThreadStart(start));
        }
        Fact::ThreadExit(task) => {
            let header = header(time, task.thread_id, task.process_id);
            put(batch, header, &Event::ThreadExit(thread::Exit));
        }
    }
    Some(fact.kind())
}

fn write_start(time: u64, process_id: u32, parent: Task, user: Option<User>, batch: &mut Batch) {
    let mut header = header(time, process_id, process_id);
    header.start_time = start_time(process_id, time);
    if user.is_none() {
        header.flags = Flags::USER_UNAVAILABLE;
    }
    let user = user.unwrap_or_default();
    let start = process::Start {
        parent_process_id: parent.process_id,
        creator_process_id: parent.process_id,
        creator_thread_id: parent.thread_id,
        session_id: user.session_id,
        user_id: user.user_id,
        ..process::Start::default()
    };
    put(batch, header, &Event::ProcessStart(start));
}

/// The start time of a process whose fork was told at `time`: exact to the tick where the process
/// is still there or the time is clearly within one tick.
fn start_time(process_id: u32, time: u64) -> u64 {
    if time % TICK_NS >= FORK_LATE_NS {
        return time;
    }
    let told = proc::Process::open_as_of(process_id, time);
    let tick = told.map_or(time / TICK_NS, |(_, stat)| stat.start_tick);
    // Within the tick it started in, as late as can be.
    time.min((tick + 1) * TICK_NS - 1)
}

fn write_exec(time: u64, process_id: u32, user: Option<User>, is_last: bool, batch: &mut Batch) {
    let program = match proc::Process::open_as_of(process_id, time) {
        Ok((process, _)) if is_last => process.program(),
        _ => proc::Program::unavailable(),
    };
    let mut header = header(time, process_id, process_id);
    header.flags = program.flags;
    if user.is_none() {
        header.flags = header.flags.with(Flags::USER_UNAVAILABLE);
    }
    let user = user.unwrap_or_default();
    let exec = process::Exec {
        user_id: user.user_id,
        session_id: user.session_id,
        image: &program.image,
        command_line: &program.command_line,
        ..process::Exec::default()
    };
    put(batch, header, &Event::ProcessExec(exec));
}

fn header(time: u64, thread_id: u32, process_id: u32) -> Header {
    Header {
        time,
        process_id,
        thread_id,
        ..Header::default()
    }
}

fn put(batch: &mut Batch, header: Header, event: &Event<'_>) {
    let written = batch.write(header, event);
    debug_assert!(written, "texts of limited size");
}

/// From the connector's clock to the sensor's. They differ by the time the machine has slept.
#[derive(Clone, Copy)]
struct Conversion(u64);

impl Conversion {
    fn now() -> Self {
        let Ok(monotonic) = clock_gettime(ClockId::CLOCK_MONOTONIC) else {
            return Self(0);
        };
        let monotonic = std::time::Duration::from(monotonic).as_nanos();
        let monotonic = u64::try_from(monotonic).unwrap_or(u64::MAX);
        let offset = clock::now().0.saturating_sub(monotonic);
        // A machine that never slept has no offset; what is left is the time between the two
        // readings.
        Self(if offset < 1_000_000 { 0 } else { offset })
    }

    fn apply(self, time: u64) -> u64 {
        time.saturating_add(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(cpu: u32, sequence: u32, body: Body) -> Message {
        Message {
            sequence,
            cpu,
            time: 1,
            body,
        }
    }

    fn name(thread_id: u32) -> Body {
        Body::Name(Task {
            thread_id,
            process_id: thread_id,
        })
    }

    fn lost(stream: &mut Stream, messages: &[Message]) -> u64 {
        stream.messages.extend_from_slice(messages);
        stream.write(&mut Batch::default());
        stream.counters.lost.iter().sum()
    }

    #[test]
    fn a_gap_in_one_processors_sequence_is_a_loss() {
        let mut stream = Stream::new(true);
        let first = [message(0, 7, name(1)), message(1, 100, name(1))];
        assert_eq!(lost(&mut stream, &first), 0);
        let second = [message(0, 8, name(1)), message(1, 104, name(1))];
        assert_eq!(lost(&mut stream, &second), 3);
    }

    #[test]
    fn the_sequence_wraps_around_without_a_loss() {
        let mut stream = Stream::new(true);
        let wrap = [message(0, u32::MAX, name(1)), message(0, 0, name(1))];
        assert_eq!(lost(&mut stream, &wrap), 0);
    }

    #[test]
    fn nothing_counts_after_the_mark_of_the_end() {
        let mut stream = Stream::new(true);
        stream.ends_at_name_of = Some(5);
        let exec = Body::Exec(Task {
            thread_id: 9,
            process_id: 9,
        });
        let messages = [
            message(0, 1, name(5)),
            message(0, 9, exec),
            message(1, 1, exec),
        ];
        assert_eq!(lost(&mut stream, &messages), 0);
        assert_eq!(stream.counters.produced.iter().sum::<u64>(), 1);
    }

    #[test]
    fn the_slept_time_is_added_to_a_message() {
        assert_eq!(Conversion(5).apply(7), 12);
    }
}
