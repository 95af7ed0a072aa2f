//! The proc connector beside perf events: exit status, user and session, which perf records lack.

use std::collections::{HashMap, VecDeque};

use crate::sensor::connector::listener::Listener;
use crate::sensor::connector::message::{Body, Message};
use crate::sensor::connector::stream::Conversion;
use crate::sensor::tasks::{Act, Task};
use crate::sensor::{Error, Settings};

/// Statuses that no perf record asked for are forgotten beyond this number.
const STATUSES_MAX: usize = 64 * 1024;

/// A listener that completes what perf tells.
#[derive(Debug)]
pub(super) struct Side {
    listener: Listener,
    messages: Vec<Message>,
    /// By thread: when it ended and with what status, not asked for yet.
    statuses: HashMap<u32, VecDeque<(u64, u32)>>,
    /// The number each processor's sequence goes on with.
    sequences: HashMap<u32, u32>,
    to_boot_time: Conversion,
}

impl Side {
    /// Checks that the connector answers. It is listened to only from [`listen`](Self::listen) on.
    pub(super) fn open(settings: &Settings) -> Result<Self, Error> {
        let size = usize::try_from(settings.event_buffer_size).unwrap_or(usize::MAX);
        let mut listener = Listener::open(size)?;
        listener.listen(&mut Vec::new())?;
        drop(listener);
        Ok(Self {
            listener: Listener::open(size)?,
            messages: Vec::new(),
            statuses: HashMap::new(),
            sequences: HashMap::new(),
            to_boot_time: Conversion::default(),
        })
    }

    pub(super) fn listen(&mut self) -> Result<(), Error> {
        self.listener.listen(&mut self.messages)
    }

    /// Takes what was sent: changes of user and session go to `acts`, statuses stay here. Says whether
    /// something was lost.
    pub(super) fn receive(&mut self, acts: &mut Vec<(u64, Act)>) -> Result<bool, Error> {
        let mut has_lost = false;
        self.listener
            .receive(&mut self.messages)
            .map_err(Error::io("reading the proc connector"))?;
        self.to_boot_time.follow();
        for message in self.messages.drain(..) {
            let time = self.to_boot_time.apply(message.time);
            let next = message.sequence.wrapping_add(1);
            let expected = self.sequences.insert(message.cpu, next);
            has_lost |= expected.is_some_and(|expected| {
                // A step backwards would be a message of before: no loss.
                let gap = message.sequence.wrapping_sub(expected);
                gap > 0 && gap < u32::MAX / 2
            });
            match message.body {
                Body::Act(Act::Exit {
                    task,
                    status: Some(status),
                    ..
                }) => {
                    let statuses = self.statuses.entry(task.thread_id).or_default();
                    statuses.push_back((time, status));
                }
                Body::Act(act @ (Act::User { .. } | Act::Session(_))) => acts.push((time, act)),
                Body::Act(_) | Body::Answer { .. } | Body::Name(_) | Body::Other => {}
            }
        }
        if self.statuses.len() > STATUSES_MAX {
            self.statuses.clear();
        }
        Ok(has_lost)
    }

    /// The status of a task that perf saw ending at `time`. The connector tells of it later, and of
    /// an earlier task with the same id before.
    pub(super) fn status(&mut self, task: Task, time: u64) -> Option<u32> {
        let statuses = self.statuses.get_mut(&task.thread_id)?;
        while let Some((told, status)) = statuses.pop_front() {
            if told >= time {
                if statuses.is_empty() {
                    self.statuses.remove(&task.thread_id);
                }
                return Some(status);
            }
        }
        self.statuses.remove(&task.thread_id);
        None
    }

    /// The greatest fill of the socket's buffer so far and its size, in bytes.
    pub(super) const fn peak(&self) -> (u64, u64) {
        self.listener.peak()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(thread_id: u32) -> Task {
        Task {
            thread_id,
            process_id: thread_id,
        }
    }

    #[test]
    fn each_exit_gets_its_own_status_though_ids_are_used_again() {
        let Ok(listener) = Listener::open(4096) else {
            // Where no netlink socket opens there is nothing to complete either.
            return;
        };
        let mut side = Side {
            listener,
            messages: Vec::new(),
            statuses: HashMap::from([(5, VecDeque::from([(10, 1), (20, 2), (30, 3)]))]),
            sequences: HashMap::new(),
            to_boot_time: Conversion::default(),
        };
        assert_eq!(side.status(task(5), 15), Some(2));
        assert_eq!(side.status(task(5), 25), Some(3));
        assert_eq!(side.status(task(5), 35), None);
        assert_eq!(side.status(task(6), 0), None);
    }
}
