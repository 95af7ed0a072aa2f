//! How many forks and exits of tasks went by on a processor.
//!
//! Whoever asks perf for mappings gets these as well (the kernel's `perf_event_task_match`), so in a ring
//! of image loads they take room, and a ring knows only how many records it lost, not of what. A second
//! event on the processor, which asks for tasks alone and has its output paused, counts every one of them
//! as its own loss. What the ring lost beyond the tasks it lost are image loads.

use std::io;

use crate::sys::perf::{PerfEvent, Ring, flag, page_size};

/// How often the ring is switched on at a moment when no task comes or goes.
const TRIES_MAX: usize = 16;

/// The count of one processor. The mapping goes before the event it belongs to.
#[derive(Debug)]
pub(super) struct TaskCount {
    /// An event without a buffer counts nothing.
    _ring: Ring,
    event: PerfEvent,
    /// The count when the ring of image loads was switched on.
    first: u64,
    /// The count when it was switched off, where it was.
    last: Option<u64>,
}

impl TaskCount {
    /// `None` where the kernel does not count what an event loses (before 6.0).
    pub(super) fn open(cpu: u32) -> io::Result<Option<Self>> {
        let event = PerfEvent::open(cpu, flag::TASK, u32::MAX)?;
        if event.lost()?.is_none() {
            return Ok(None);
        }
        let ring = Ring::map(&event, page_size())?;
        event.pause_output()?;
        Ok(Some(Self {
            _ring: ring,
            event,
            first: 0,
            last: None,
        }))
    }

    /// Switches `images` on, so that every task counted from then on is in its ring or lost in it.
    /// `discard_fn` takes what a try left in the ring.
    ///
    /// On a processor where tasks come and go all the time, which no machine that was tried does,
    /// those between two system calls are taken for image loads should they be lost.
    pub(super) fn enable(
        &mut self,
        images: &PerfEvent,
        discard_fn: &mut dyn FnMut(),
    ) -> io::Result<()> {
        self.event.enable()?;
        self.last = None;
        for try_number in 1..=TRIES_MAX {
            let before = self.count()?;
            images.enable()?;
            self.first = self.count()?;
            if self.first == before || try_number == TRIES_MAX {
                break;
            }
            images.disable()?;
            discard_fn();
        }
        Ok(())
    }

    /// Switches `images` off. Tasks that come or go within the system call may be taken for image
    /// loads should they have been lost.
    pub(super) fn disable(&mut self, images: &PerfEvent) -> io::Result<()> {
        let last = self.count()?;
        images.disable()?;
        self.last = Some(last);
        self.event.disable()
    }

    /// The tasks since the ring was switched on.
    pub(super) fn since_enabled(&self) -> io::Result<u64> {
        let count = match self.last {
            Some(last) => last,
            None => self.count()?,
        };
        Ok(count.saturating_sub(self.first))
    }

    fn count(&self) -> io::Result<u64> {
        Ok(self.event.lost()?.unwrap_or(0))
    }
}
