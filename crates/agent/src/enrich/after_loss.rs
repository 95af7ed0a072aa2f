//! What is still known of the processes after starts and execs were lost.
//!
//! A process may run another program than the one it was told to run, and for another user. Nothing
//! is told of it then, and no rule that asks for it leaves anything out, until an exec tells what it
//! runs now, or a comparison with the system does: of each process when something is told of it, so
//! many in a second. Of what is told late nothing is compared: the process may have executed the next
//! program since, and tell of it later. So it may have in any case: another program than was known
//! counts only where it was seen before something happened, and is there still when that is told.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use event::Header;

use super::Enricher;
use super::process_cache::{Process, Seen};
use super::program::Program;
use super::token_bucket::TokenBucket;
use crate::sys::clock;
use crate::sys::processes;
use crate::trail::missing;

/// The most comparisons at once, and in a second. Each is a few files of `/proc`.
const COMPARISONS_MAX: u64 = 256;

/// How late something may be told to be compared with what is there now.
const LATE_NS: u64 = 500_000_000;

/// How many losses there were, and the comparisons that may still be made.
#[derive(Debug)]
pub(super) struct Losses {
    count: u32,
    comparisons: TokenBucket,
}

impl Default for Losses {
    fn default() -> Self {
        Self {
            count: 0,
            comparisons: TokenBucket::full(COMPARISONS_MAX, COMPARISONS_MAX, 0),
        }
    }
}

impl Losses {
    /// Whether what is said of `process` is from after the last loss.
    pub(super) const fn is_sure(&self, process: &Process) -> bool {
        process.losses == self.count
    }

    /// How many there were.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    fn may_compare(&mut self, now: u64) -> bool {
        let may = self.comparisons.left(now) > 0;
        self.comparisons.take(1);
        may
    }
}

impl Enricher {
    /// Starts or execs were lost: what processes are known to run they may run no more.
    pub fn programs_were_lost(&mut self) {
        if processes::PROGRAMS_ARE_REPLACED {
            self.losses.count = self.losses.count.wrapping_add(1);
        }
    }

    /// Compares what a process is known to run with what it runs, if that is not sure; `told` is the
    /// header of what is told of it or of its child.
    pub(super) fn compare(&mut self, process_id: u32, start_time: u64, told: &Header) {
        let Some(known) = self.processes.get(process_id, start_time) else {
            return;
        };
        let (known_start, now) = (known.start_time, clock::now().0);
        let is_late = now.saturating_sub(told.time) > LATE_NS;
        if self.losses.is_sure(known) || is_late || !self.losses.may_compare(now) {
            return;
        }
        let header = Header {
            process_id,
            start_time: known_start,
            ..*told
        };
        let found = self.programs.unknown(&header, &mut self.images);
        let program = number(&found);
        let until = clock::now().0;
        let Some(known) = self.processes.get_mut(process_id, start_time) else {
            return;
        };
        if !is_same(&known.program, &found) && !is_kernels(&known.program, process_id, now) {
            let seen = known.seen.filter(|seen| seen.program == program);
            if seen.is_none_or(|seen| told.time < seen.until) {
                known.seen = seen.or(Some(Seen { until, program }));
                return;
            }
            let mut program = found;
            if let Some((user_id, users)) = processes::user(process_id, known_start) {
                let extension = event::Extension::Users(users);
                self.programs
                    .set_user(&mut program, user_id, &extension, told.time);
            }
            self.remember_later(&header, None, program);
        } else if let Some(known) = self.processes.get_mut(process_id, start_time) {
            known.losses = self.losses.count;
        }
    }
}

/// A number of a program, by its path and command line.
fn number(program: &Program) -> u64 {
    let mut hasher = DefaultHasher::new();
    program.trail.image.hash(&mut hasher);
    program.trail.command_line.hash(&mut hasher);
    hasher.finish()
}

fn is_same(known: &Program, found: &Program) -> bool {
    let (known_trail, found_trail) = (&known.trail, &found.trail);
    found_trail.image.is_some()
        && known_trail.image == found_trail.image
        && (!known.is_whole() || known_trail.command_line == found_trail.command_line)
}

/// Whether it is, and was, of the kernel's own, which have no program.
fn is_kernels(known: &Program, process_id: u32, now: u64) -> bool {
    known.missing_reason("image").as_deref() == Some(missing::KERNEL_THREAD)
        && processes::is_kernel(process_id, now)
}
