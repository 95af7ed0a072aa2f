//! From the connector's messages to records.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use event::{Kind, loss};

use super::message::{Body, Message};
use crate::sensor::existing::Existing;
use crate::sensor::logins::Logins;
use crate::sensor::merge::PROGRAMS_MAX;
use crate::sensor::tasks::{Act, Tasks};
use crate::sensor::{Batch, Counters, task_record};
use crate::sys::offset::Offset;
use crate::sys::{clock, proc};

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
    /// From when until when it records: a cut at one time for all processors, so that no act is
    /// told without those that led to it.
    pub(super) recorded: RangeInclusive<u64>,
    /// A process was started by the messages written last.
    pub(super) expects_exec: bool,
    threads: bool,
    tasks: Tasks,
    logins: Logins,
    /// The number each processor's sequence goes on with; `None` after its end.
    sequences: HashMap<u32, Option<u32>>,
    has_lost: bool,
    to_boot_time: Conversion,
}

impl Stream {
    pub(super) fn new(threads: bool) -> Self {
        Self {
            messages: Vec::new(),
            ends_at_name_of: None,
            counters: Counters::default(),
            recorded: 0..=u64::MAX,
            expects_exec: false,
            threads,
            tasks: Tasks::default(),
            logins: Logins::default(),
            sequences: HashMap::new(),
            has_lost: false,
            to_boot_time: Conversion::default(),
        }
    }

    /// Learns the processes of the snapshot with their threads.
    pub(super) fn know(&mut self, snapshot: &[Existing]) {
        self.tasks.know(snapshot, true);
    }

    /// Learns from the messages that wait what the snapshot came too late for.
    pub(super) fn foresee(&mut self) {
        self.to_boot_time.follow();
        let (recorded, conversion) = (&self.recorded, self.to_boot_time);
        let acts = self.messages.iter().filter_map(|message| {
            let is_recorded = recorded.contains(&conversion.apply(message.time));
            match &message.body {
                Body::Act(act) if is_recorded => Some(act),
                _ => None,
            }
        });
        self.tasks.foresee(acts);
    }

    /// Writes the records of all messages that wait.
    pub(super) fn write(&mut self, batch: &mut Batch) {
        let messages = std::mem::take(&mut self.messages);
        self.expects_exec = false;
        self.logins.begin();
        self.to_boot_time.follow();
        // What an earlier exec of a process ran is not there any more.
        let mut last_execs: HashMap<u32, usize> = HashMap::new();
        for (index, message) in messages.iter().enumerate().rev() {
            if let Body::Act(Act::Exec(task)) = message.body
                && last_execs.len() < PROGRAMS_MAX
            {
                last_execs.entry(task.process_id).or_insert(index);
            }
        }
        for (index, message) in messages.iter().enumerate() {
            let time = self.to_boot_time.apply(message.time);
            if !self.follow_sequence(message, time, batch) || !self.recorded.contains(&time) {
                continue;
            }
            let Body::Act(act) = message.body else {
                continue;
            };
            let (threads, counters) = (self.threads, &mut self.counters);
            let (expects_exec, logins) = (&mut self.expects_exec, &mut self.logins);
            self.tasks.take(time, &act, &mut |time, fact| {
                if fact.is_of_thread() && !threads {
                    return;
                }
                task_record::write(time, &fact, batch, logins, &mut |process_id| {
                    let is_last = last_execs.get(&process_id) == Some(&index);
                    is_last.then(|| proc::program_as_of(process_id, time))?
                });
                counters.add_produced(fact.kind(), 1);
                *expects_exec |= fact.kind() == Kind::PROCESS_START;
            });
            for (process_id, login_user_id) in self.logins.learned() {
                self.tasks.learn_login(process_id, login_user_id);
            }
        }
        self.messages = messages;
        self.messages.clear();
    }

    /// After a loss, forgets tasks that are not there any more.
    pub(super) fn heal(&mut self) {
        if std::mem::take(&mut self.has_lost) {
            self.tasks.heal(true);
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
        self.tasks.forget_users();
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

/// From the connector's clock to the sensor's. They differ by the time the machine has slept, so a
/// machine that never slept keeps the default.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::sensor) struct Conversion(Offset);

impl Conversion {
    /// Takes in that the machine may have slept meanwhile.
    pub(in crate::sensor) fn follow(&mut self) {
        self.0 = self.0.updated(clock::slept());
    }

    /// The sensor's time of a message's.
    pub(in crate::sensor) const fn apply(self, time: u64) -> u64 {
        self.0.time(time).0.cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensor::tasks::Task;

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
        stream.counters.lost.sum()
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
        let exec = Body::Act(Act::Exec(Task {
            thread_id: 9,
            process_id: 9,
        }));
        let messages = [
            message(0, 1, name(5)),
            message(0, 9, exec),
            message(1, 1, exec),
        ];
        assert_eq!(lost(&mut stream, &messages), 0);
        assert_eq!(stream.counters.produced.sum(), 1);
    }

    #[test]
    fn the_slept_time_is_added_to_a_message() {
        assert_eq!(Conversion(Offset::new(5, 0, 0)).apply(7), 12);
    }
}
