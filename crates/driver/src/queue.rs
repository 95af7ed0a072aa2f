//! What waits for the agent: two rings, of which process events have one to themselves.
//!
//! A record that is reserved and not submitted hides all behind it in its ring, for as long as whoever
//! writes it is preempted. Process events wait for nobody but each other that way. Threads and images
//! wait for process events: what they are about would be told after them otherwise.

use event::{Kind, Subject};
use nt::pool::Region;
use ring_buffer::{Consumer, GRANULE_SIZE, Granule, LossCounter, Mark, Record, Ring, Word};

/// Process events have half of the room.
const PROCESS_DIVISOR: usize = 2;

/// The two rings.
#[derive(Debug)]
pub(crate) struct Queue<'m> {
    processes: Ring<'m>,
    others: Ring<'m>,
}

impl Queue<'static> {
    /// Allocates both, with `room` bytes together.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    pub(crate) fn place(region: &Region, room: usize) -> nt::Result<Self> {
        let count = room.checked_div(GRANULE_SIZE).unwrap_or(0);
        let of_processes = count.checked_div(PROCESS_DIVISOR).unwrap_or(0);
        let words = region.slice(count, Word::new)?;
        let granules = region.slice(count, Granule::new)?;
        let losses = &*region.slice(Kind::OBSERVED.len(), LossCounter::new)?;
        let split = words
            .split_at_mut_checked(of_processes)
            .zip(granules.split_at_mut_checked(of_processes));
        let Some(((words, other_words), (granules, other_granules))) = split else {
            return Err(nt::Status::INSUFFICIENT_RESOURCES);
        };
        let ring = |words, granules| {
            Ring::new(words, granules, losses, 0)
                .map_err(|_unusable| nt::Status::INSUFFICIENT_RESOURCES)
        };
        Ok(Self {
            processes: ring(words, granules)?,
            others: ring(other_words, other_granules)?,
        })
    }
}

impl<'m> Queue<'m> {
    /// The ring that events of this kind go into.
    #[inline]
    pub(crate) fn ring_of(&self, kind: Kind) -> &Ring<'m> {
        match kind.subject() {
            Some(Subject::Process) => &self.processes,
            _ => &self.others,
        }
    }

    /// The right to consume; `None` while somebody else has it.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub(crate) fn consumer(&self) -> Option<Merged<'_>> {
        let (processes, others) = self.processes.consumer().zip(self.others.consumer())?;
        Some(Merged {
            queue: self,
            processes,
            others,
            cleared: Mark::default(),
        })
    }

    /// How many records of the kind with that index were lost.
    pub(crate) fn lost(&self, index: usize) -> u64 {
        // The rings share these counters.
        self.processes.lost(index)
    }

    /// How many records were lost.
    pub(crate) fn lost_total(&self) -> u64 {
        self.processes
            .lost_total()
            .saturating_add(self.others.lost_total())
    }

    /// Bytes of room in use now.
    pub(crate) fn used_size(&self) -> usize {
        self.processes
            .used_size()
            .saturating_add(self.others.used_size())
    }

    /// The most bytes of room that were in use in each, together.
    pub(crate) fn peak_size(&self) -> usize {
        self.processes
            .peak_size()
            .saturating_add(self.others.peak_size())
    }

    /// Bytes of room there are.
    pub(crate) fn room_size(&self) -> usize {
        self.processes
            .room_size()
            .saturating_add(self.others.room_size())
    }

    /// Bytes of the largest record that either takes.
    pub(crate) fn record_size_max(&self) -> usize {
        self.processes
            .record_size_max()
            .min(self.others.record_size_max())
    }

    /// Whether a ring has stopped because it was overwritten from outside.
    pub(crate) fn is_corrupt(&self) -> bool {
        self.processes.is_corrupt() || self.others.is_corrupt()
    }
}

/// Both rings in the order of their records' times.
#[derive(Debug)]
pub(crate) struct Merged<'q> {
    queue: &'q Queue<'q>,
    processes: Consumer<'q>,
    others: Consumer<'q>,
    /// No process event was before those of the others that are before this, so they can be told,
    /// whatever was reserved since.
    cleared: Mark,
}

impl<'q> Merged<'q> {
    /// The oldest record, if it may be told yet. One that was seen stays until it is released.
    pub(crate) fn oldest(&mut self) -> Option<Record<'_>> {
        self.clear();
        let other = self.others.oldest();
        if let Some(other) = other {
            if other.is_before(self.cleared) {
                return Some(other);
            }
            let process = self.processes.oldest()?;
            return Some(if time(&other) < time(&process) {
                other
            } else {
                process
            });
        }
        self.processes.oldest()
    }

    /// The others alone, and up to where they can be told, while no process event waits.
    pub(crate) fn run_of_others(&mut self) -> Option<(&mut Consumer<'q>, Mark)> {
        let is_clear = self.clear();
        is_clear.then_some((&mut self.others, self.cleared))
    }

    /// Clears what there is by now, if no process event waits. A process whose thread or image is there
    /// has submitted its start before; so the mark is set first, and processes are looked for after.
    fn clear(&mut self) -> bool {
        let mark = self.others.mark();
        let is_clear = self.queue.processes.used_size() == 0;
        if is_clear {
            self.cleared = mark;
        }
        is_clear
    }
}

/// When the record's event happened; 0 for a record that is none.
#[inline]
fn time(record: &Record<'_>) -> u64 {
    event::time_of(record.bytes()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    extern crate std;

    // The kernel's symbols.
    use ntemu as _;

    use super::*;
    use event::{Event, Header, process, thread};
    use ring_buffer::{Reservation, Room};
    use std::vec::Vec;

    fn made<T>(count: usize, make_fn: fn() -> T) -> Vec<T> {
        (0..count).map(|_| make_fn()).collect()
    }

    /// What two rings stand on.
    struct Memory {
        words: Vec<Word>,
        granules: Vec<Granule>,
        losses: Vec<LossCounter>,
    }

    impl Memory {
        fn new() -> Self {
            Self {
                words: made(128, Word::new),
                granules: made(128, Granule::new),
                losses: made(Kind::OBSERVED.len(), LossCounter::new),
            }
        }

        fn queue(&mut self) -> Queue<'_> {
            let (words, other_words) = self.words.split_at_mut(64);
            let (granules, other_granules) = self.granules.split_at_mut(64);
            let losses = &self.losses;
            Queue {
                processes: Ring::new(words, granules, losses, 0).unwrap(),
                others: Ring::new(other_words, other_granules, losses, 0).unwrap(),
            }
        }
    }

    fn start(time: u64) -> (Header, Event<'static>) {
        let header = Header {
            time,
            ..Header::default()
        };
        (header, Event::ProcessStart(process::Start::default()))
    }

    fn thread(time: u64) -> (Header, Event<'static>) {
        let header = Header {
            time,
            ..Header::default()
        };
        (header, Event::ThreadExit(thread::Exit))
    }

    /// Reserves a record and writes it, and does not submit it yet.
    fn reserve<'q>(queue: &'q Queue<'_>, (header, event): &(Header, Event<'_>)) -> Reservation<'q> {
        let (kind, size) = event::kind_and_size(event).unwrap();
        let index = kind.index().unwrap();
        let ring = queue.ring_of(kind);
        let mut reservation = ring.reserve(index, Room::Common, size).unwrap();
        event::write(*header, event, reservation.bytes_mut()).unwrap();
        reservation
    }

    /// The times of what can be told now.
    fn take(queue: &Queue<'_>) -> Vec<u64> {
        let mut merged = queue.consumer().unwrap();
        let mut times = Vec::new();
        while let Some(record) = merged.oldest() {
            times.push(time(&record));
            record.release();
        }
        times
    }

    /// One reservation that was not submitted hid the whole stream: a thread of low priority, preempted
    /// while it wrote its record, kept every process start from the agent.
    #[test]
    fn process_events_pass_a_reservation_of_another_kind_that_is_open() {
        let mut memory = Memory::new();
        let queue = memory.queue();
        let open = reserve(&queue, &thread(1));
        for time in [2, 3] {
            reserve(&queue, &start(time)).submit();
            reserve(&queue, &thread(time)).submit();
        }
        assert_eq!(take(&queue), [2, 3]);
        open.submit();
        assert_eq!(take(&queue), [1, 2, 3]);
    }

    /// Else a thread would be told before the process it is of.
    #[test]
    fn other_events_wait_for_a_process_event_that_is_open() {
        let mut memory = Memory::new();
        let queue = memory.queue();
        let open = reserve(&queue, &start(1));
        reserve(&queue, &start(2)).submit();
        reserve(&queue, &thread(3)).submit();
        assert!(take(&queue).is_empty());
        open.submit();
        assert_eq!(take(&queue), [1, 2, 3]);
    }

    /// A read that was taken for a record has no other use.
    #[test]
    fn a_record_that_was_seen_stays_whatever_is_reserved_since() {
        let mut memory = Memory::new();
        let queue = memory.queue();
        reserve(&queue, &thread(1)).submit();
        let mut merged = queue.consumer().unwrap();
        assert!(merged.oldest().is_some());
        let open = reserve(&queue, &start(2));
        reserve(&queue, &thread(3)).submit();
        merged.oldest().unwrap().release();
        assert!(merged.oldest().is_none(), "this one was not seen before");
        open.submit();
        drop(merged);
        assert_eq!(take(&queue), [2, 3]);
    }

    #[test]
    fn records_of_both_rings_come_in_the_order_of_their_times() {
        let mut memory = Memory::new();
        let queue = memory.queue();
        for time in [1, 4, 4, 6] {
            reserve(&queue, &thread(time)).submit();
        }
        for time in [2, 4, 5] {
            reserve(&queue, &start(time)).submit();
        }
        assert_eq!(take(&queue), [1, 2, 4, 4, 4, 5, 6]);
        assert_eq!(queue.used_size(), 0);
    }
}
