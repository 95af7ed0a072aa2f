//! A second turn for an event whose program was busy.
//!
//! The kernel skips a program that runs on the processor already. Since Linux 7.0 a program on a
//! tracepoint can be preempted, and then whatever task comes next on that processor, and does the same, is
//! not told of. So where that can be, each of these programs is there twice, one behind the other: the
//! second tells what the first was skipped for. It has to know that the first was: it was if it is in the
//! middle of another event on this processor, and has not noted this one.

use event::Kind;

use crate::kernel::{RUNS_TWICE, Task};
use crate::maps;

/// Which of the two a program is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    First,
    Second,
}

/// One event, as the programs of both turns see it.
#[derive(Clone, Copy)]
pub(crate) struct Act {
    /// What the program tells, or the first of it.
    pub(crate) kind: Kind,
    pub(crate) task: Task,
    /// Tells apart what a task does several times.
    pub(crate) count: u32,
}

impl Turn {
    /// Whether it is this program's turn to tell of `act`. Whoever has told it says so with
    /// [`end`](Self::end), on every way: no closure, which would become a function of its own, and the
    /// verifier of older kernels does not get to the end of that.
    #[inline(always)]
    pub(crate) fn begin(self, act: Act) -> bool {
        if RUNS_TWICE.value() == 0 {
            return true;
        }
        let (Some(busy), Some(told)) = (maps::busy(act.kind), maps::told(act.id())) else {
            return false;
        };
        match self {
            Self::First => {
                busy.store(1);
                told.store(act.id());
                true
            }
            Self::Second => {
                let is_skipped = busy.load() != 0 && told.load() != act.id();
                if is_skipped {
                    maps::count_told_second(act.kind);
                }
                is_skipped
            }
        }
    }

    /// The act is told.
    #[inline(always)]
    pub(crate) fn end(self, act: Act) {
        if RUNS_TWICE.value() != 0
            && self == Self::First
            && let Some(busy) = maps::busy(act.kind)
        {
            busy.store(0);
        }
    }
}

impl Act {
    /// A number that is another one for any other event of the last moments.
    #[inline(always)]
    pub(crate) fn id(self) -> u64 {
        let task = self.task.start_time() ^ (u64::from(self.task.pid()) << 40);
        let act = (u64::from(self.count) << 8) | u64::from(self.kind.0);
        task ^ act.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}
