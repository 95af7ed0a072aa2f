//! First threads. A process's first thread is the process and has no events of its own, here as on
//! other systems; Windows' kernel tells of it like of any other, created by another process, which
//! in the trail would look like a thread that was put there from outside.

use std::collections::HashMap;

use event::{Event, Header, Kind};

use crate::sensor::existing::Existing;

/// Processes of which more is not remembered; the first threads of further ones are told.
const PROCESSES_MAX: usize = 1 << 16;

/// What is known of the processes that started under the sensor's eyes, and of those that were there.
#[derive(Debug, Default)]
pub(super) struct FirstThreads {
    /// Those whose first thread was not told yet, each with how many records had been lost when its
    /// start was stored.
    awaited: HashMap<u32, u64>,
    /// The first thread of those where it still runs.
    running: HashMap<u32, u32>,
}

impl FirstThreads {
    /// Takes the first threads of processes that were there, before the stream that tells of them.
    pub(super) fn remember(&mut self, snapshot: &[Existing]) {
        let running = snapshot
            .iter()
            .filter_map(|process| Some((process.process_id, process.first_thread?)));
        self.running
            .extend(running.take(PROCESSES_MAX - self.running.len()));
    }

    /// Takes a record in the order of the stream; whether it is about a first thread.
    pub(super) fn take(&mut self, header: &Header, record: &[u8]) -> bool {
        let (process, thread) = (header.process_id, header.thread_id);
        match header.kind {
            Kind::PROCESS_START => {
                self.running.remove(&process);
                if self.awaited.len() < PROCESSES_MAX {
                    self.awaited.insert(process, header.lost_before);
                }
                false
            }
            Kind::THREAD_START => {
                if !is_made_outside(process, record) {
                    return false;
                }
                // Where anything was lost since the start, that may have been the first thread, and
                // this one put there later: told once too often rather than hidden.
                let lost_before = self.awaited.remove(&process);
                let is_first = lost_before == Some(header.lost_before);
                if is_first && self.running.len() < PROCESSES_MAX {
                    self.running.insert(process, thread);
                }
                is_first
            }
            Kind::THREAD_EXIT => {
                let is_first = self.running.get(&process) == Some(&thread);
                if is_first {
                    self.running.remove(&process);
                }
                is_first
            }
            Kind::PROCESS_EXIT => {
                self.awaited.remove(&process);
                self.running.remove(&process);
                false
            }
            _ => false,
        }
    }
}

/// Whether another process made the thread, as is so of every first one. Where the record of the
/// first was lost, this keeps the second from being taken for it.
fn is_made_outside(process_id: u32, record: &[u8]) -> bool {
    matches!(
        event::read(record),
        Ok(event::Record { event: Event::ThreadStart(start), .. })
            if start.creator_process_id != process_id
    )
}
