//! Which process an id means at each moment of a trace. A trace is read twice, first to learn what is
//! told late; both readings come to the same processes, in the same order, each with a number.

use std::collections::{HashMap, VecDeque};

use etw::kernel::{Process, Teller};

/// Processes that are remembered; of more the one seen first is forgotten, and is another process if it
/// is told of again.
const PROCESSES_MAX: usize = 64 * 1024;
/// Bytes of a name that are compared.
pub(super) const NAME_SIZE_MAX: usize = 64;
/// Images that are remembered to be mapped in all processes together.
pub(super) const IMAGES_MAX: usize = 1 << 20;
/// The kernel logger and the provider tell one start within this time, nanoseconds.
const TOGETHER_NS: i64 = 1_000_000_000;

/// A process of the trace.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Among all of the trace, in the order of their first sight.
    pub(super) number: usize,
    /// When it was first told of.
    pub(super) seen: i64,
    /// When its start was told, where that was.
    pub(super) started: Option<i64>,
    /// Whether a start or a rundown told who it is.
    pub(super) is_described: bool,
    /// Whether the trail tells of its start.
    pub(super) is_told: bool,
    start_tellers: u8,
    exit_tellers: u8,
    /// Its first thread, which is told of as the process itself.
    pub(super) first_thread: Option<u32>,
    pub(super) has_threads: bool,
    parent_process_id: Option<u32>,
    /// The file's name, cut; empty where it is not known.
    pub(super) name: Vec<u8>,
    /// Where images are mapped in it, in order.
    images: Vec<u64>,
}

/// All that are remembered.
#[derive(Debug, Default)]
pub(super) struct Processes {
    by_id: HashMap<u32, Known, foldhash::fast::RandomState>,
    /// The order in which they were seen first.
    order: VecDeque<(u32, usize)>,
    next_number: usize,
    image_count: usize,
    /// Whether one had to be forgotten.
    pub(super) has_forgotten: bool,
}

impl Processes {
    /// The process with this id, which is seen now if it never was before.
    pub(super) fn at(&mut self, process_id: u32, time: i64) -> &mut Known {
        if !self.by_id.contains_key(&process_id) {
            self.replace(process_id, time);
        }
        self.by_id.entry(process_id).or_default()
    }

    /// The process with this id, where it is known who that is.
    pub(super) fn described(&self, process_id: u32) -> Option<&Known> {
        let known = self.by_id.get(&process_id);
        known.filter(|known| known.is_described)
    }

    /// A start: of another process than the one that had the id, unless the other teller told it just
    /// now. Its parent runs at that moment, whether it was told of or not.
    pub(super) fn start(&mut self, process: &Process<'_>, teller: Teller, time: i64) -> &mut Known {
        let process_id = process.process_id;
        if let Some(parent) = process.parent_process_id.filter(|id| *id != process_id) {
            self.at(parent, time);
        }
        let bit = bit_of(teller);
        let known = self.by_id.get(&process_id);
        let is_again = known.is_some_and(|known| {
            let is_near = |started: i64| time.saturating_sub(started) <= TOGETHER_NS;
            known.start_tellers & bit == 0 && known.started.is_some_and(is_near)
        });
        let known = if is_again {
            self.at(process_id, time)
        } else {
            self.replace(process_id, time)
        };
        known.started = known.started.or(Some(time));
        known.start_tellers |= bit;
        known.describe(process);
        known
    }

    /// A rundown: of the process that has the id, unless that is plainly another, whose exit was not
    /// told.
    pub(super) fn run_down(&mut self, process: &Process<'_>, time: i64) -> &mut Known {
        let known = self.at(process.process_id, time);
        let is_other = known.is_described && !known.is_same(process);
        let known = if is_other {
            self.replace(process.process_id, time)
        } else {
            self.at(process.process_id, time)
        };
        known.describe(process);
        known
    }

    /// An exit; tells whether it is the first that is told of it. Who has the id keeps it until another
    /// process gets it: his last threads may be told of later.
    pub(super) fn exit(
        &mut self,
        process_id: u32,
        teller: Teller,
        time: i64,
    ) -> (&mut Known, bool) {
        let bit = bit_of(teller);
        // The same teller tells no exit twice: it is another process, whose start was not told.
        if self.at(process_id, time).exit_tellers & bit != 0 {
            self.replace(process_id, time);
        }
        let known = self.at(process_id, time);
        let is_first = known.exit_tellers == 0;
        known.exit_tellers |= bit;
        let image_count = std::mem::take(&mut known.images).len();
        self.image_count = self.image_count.saturating_sub(image_count);
        (self.at(process_id, time), is_first)
    }

    /// Remembers that an image is mapped; tells whether it was not before, as far as is remembered.
    pub(super) fn map(&mut self, process_id: u32, time: i64, base: u64) -> bool {
        let is_full = self.image_count >= IMAGES_MAX;
        let images = &mut self.at(process_id, time).images;
        let Err(place) = images.binary_search(&base) else {
            return false;
        };
        if is_full {
            self.has_forgotten = true;
        } else {
            images.insert(place, base);
            self.image_count += 1;
        }
        true
    }

    /// Forgets that an image is mapped.
    pub(super) fn unmap(&mut self, process_id: u32, time: i64, base: u64) {
        let images = &mut self.at(process_id, time).images;
        if let Ok(place) = images.binary_search(&base) {
            images.remove(place);
            self.image_count -= 1;
        }
    }

    /// Gives the id to another process.
    fn replace(&mut self, process_id: u32, time: i64) -> &mut Known {
        while self.by_id.len() >= PROCESSES_MAX {
            let Some((oldest, number)) = self.order.pop_front() else {
                break;
            };
            let is_it = self
                .by_id
                .get(&oldest)
                .is_some_and(|known| known.number == number);
            if is_it && let Some(known) = self.by_id.remove(&oldest) {
                self.image_count = self.image_count.saturating_sub(known.images.len());
                self.has_forgotten = true;
            }
        }
        // Ids that are used again and again leave entries of which nothing is known any more.
        if self.order.len() >= 2 * PROCESSES_MAX {
            let by_id = &self.by_id;
            self.order.retain(|(process_id, number)| {
                by_id
                    .get(process_id)
                    .is_some_and(|known| known.number == *number)
            });
        }
        let number = self.next_number;
        self.next_number += 1;
        self.order.push_back((process_id, number));
        let known = Known {
            number,
            seen: time,
            ..Known::default()
        };
        let before = self.by_id.insert(process_id, known);
        let image_count = before.map_or(0, |before| before.images.len());
        self.image_count = self.image_count.saturating_sub(image_count);
        self.by_id.entry(process_id).or_default()
    }
}

impl Known {
    fn describe(&mut self, process: &Process<'_>) {
        self.is_described = true;
        if process.parent_process_id.is_some() {
            self.parent_process_id = process.parent_process_id;
        }
        if !process.name.is_empty() {
            self.name = cut(process.name).to_vec();
        }
    }

    /// Whether `process` can be this one: what is told of both is the same.
    fn is_same(&self, process: &Process<'_>) -> bool {
        let parents = (self.parent_process_id, process.parent_process_id);
        let is_other_parent = matches!(parents, (Some(one), Some(other)) if one != other);
        let is_other_name = !self.name.is_empty()
            && !process.name.is_empty()
            && !self.name.eq_ignore_ascii_case(cut(process.name));
        !is_other_parent && !is_other_name
    }
}

fn cut(name: &[u8]) -> &[u8] {
    name.get(..NAME_SIZE_MAX).unwrap_or(name)
}

const fn bit_of(teller: Teller) -> u8 {
    match teller {
        Teller::Logger => 1,
        Teller::Provider => 2,
    }
}
