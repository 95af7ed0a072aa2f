//! What the kernel logger and the provider tell both, of threads and images: it is one event.

use std::collections::{HashMap, VecDeque};

use etw::kernel::{Act, Teller};

/// Both tell one event within this time, nanoseconds.
const TOGETHER_NS: i64 = 1_000_000_000;
/// Events that are remembered.
const COUNT_MAX: usize = 16 * 1024;

/// What an event is about, so that both mean the same by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// A thread of a process.
    Thread(Act, u32, u32),
    /// The image of a process at an address.
    Image(Act, u32, u64),
}

/// The events of the last second.
#[derive(Debug)]
pub(super) struct Doubles {
    /// Whether both tell such events in this trace.
    is_needed: bool,
    last: HashMap<Subject, (Teller, i64), foldhash::fast::RandomState>,
    order: VecDeque<(Subject, i64)>,
}

impl Doubles {
    /// None yet; there will be none unless `is_needed`.
    pub(super) fn new(is_needed: bool) -> Self {
        Self {
            is_needed,
            last: HashMap::default(),
            order: VecDeque::new(),
        }
    }

    /// Whether the other teller told the same event just now; it is remembered otherwise.
    pub(super) fn is_told(&mut self, subject: Subject, teller: Teller, time: i64) -> bool {
        if !self.is_needed {
            return false;
        }
        let other = self.last.get(&subject);
        let is_told = other.is_some_and(|(other, told)| {
            *other != teller && time.saturating_sub(*told) <= TOGETHER_NS
        });
        if is_told {
            self.last.remove(&subject);
            return true;
        }
        if self.order.len() >= COUNT_MAX
            && let Some((oldest, told)) = self.order.pop_front()
            && self
                .last
                .get(&oldest)
                .is_some_and(|(_, last)| *last == told)
        {
            self.last.remove(&oldest);
        }
        self.last.insert(subject, (teller, time));
        self.order.push_back((subject, time));
        false
    }
}
