//! The processes that are there, by process id: identity and program.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use event::ProcessKey;
use foldhash::HashMap;

use super::long_arguments::SHORT_SIZE;
use super::program::Program;
use crate::rules::Verdict;
use crate::sys::processes::{self, START_TICK_NS, start_tick};
use crate::trail::Text;

/// How long an exited process is remembered, on the sensor's clock: threads and mappings of a dying
/// process may be told a little after its exit.
const EXITED_AGE_MAX_NS: u64 = 2_000_000_000;

/// The most exited processes that are remembered.
const EXITED_COUNT_MAX: usize = 4_096;

/// The shortest time between two comparisons of the whole cache with `/proc`.
const HEAL_INTERVAL: Duration = Duration::from_secs(10);

/// Bytes of the programs' texts that are remembered. Any user can start thousands of processes with
/// arguments as long as an event has them.
const SIZE_MAX: usize = 48 << 20;

/// A process that was seen to start, or to exist.
#[derive(Debug)]
pub struct Process {
    /// Its identity.
    pub key: ProcessKey,
    /// When it started, on the sensor's clock: the tick where no more can be known.
    pub start_time: u64,
    /// The same for the time it ran: of a start that was seen, when it was seen.
    pub began: u64,
    /// Whether its exit was told.
    pub has_exited: bool,
    /// Its session, as it was told last.
    pub session_id: Option<u32>,
    /// Its parent as its start told it: id and start time.
    pub parent: Option<(u32, u64)>,
    /// What it runs.
    pub program: Program,
    /// The command line as its children are told it, where that is not the whole.
    pub short_line: Option<Text>,
    /// How many losses there were before that was known.
    pub losses: u32,
    /// The program that it is about to run, once its images are told and its exec is not.
    pub executing: Option<Executing>,
    /// How many losses of images there were before what it runs was told.
    pub image_losses: u32,
    /// Another program that it was seen to run since.
    pub seen: Option<Seen>,
    /// What the rules say of its events.
    pub verdict: Verdict,
    /// By which rules: how often they had been replaced.
    pub judged: u32,
    /// Bytes of its program, as the cache counts them.
    pub size: usize,
}

/// The program of an exec that is under way, where its path could be had.
#[derive(Clone, Debug)]
pub struct Executing(pub Option<Text>);

/// That a process was seen to run a program.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// By when, on the sensor's clock.
    pub until: u64,
    /// A number of the program: two programs have the same by chance alone.
    pub program: u64,
}

/// Processes by id.
///
/// # Invariants
/// At most `limit` processes, with `SIZE_MAX` bytes of texts beside their images. An entry goes when
/// its process has exited, when its id is used again, or, where the exit was lost, when
/// [`ProcessCache::heal`] finds the process gone.
#[derive(Debug)]
pub struct ProcessCache {
    processes: HashMap<u32, Process>,
    exited: VecDeque<Exited>,
    limit: usize,
    /// Bytes of their programs.
    size: usize,
    healed: Option<Instant>,
}

#[derive(Debug)]
struct Exited {
    process_id: u32,
    key: ProcessKey,
    time: u64,
}

impl ProcessCache {
    /// An empty cache of at most `limit` processes.
    pub fn new(limit: usize) -> Self {
        Self {
            processes: HashMap::default(),
            exited: VecDeque::new(),
            limit: limit.max(1),
            size: 0,
            healed: None,
        }
    }

    /// The process with this id that started at this time; with 0, which is a sensor's word for
    /// "not known", the one that has the id now.
    pub fn get(&self, process_id: u32, start_time: u64) -> Option<&Process> {
        let process = self.processes.get(&process_id)?;
        let same = start_time == 0 || is_same_start(process.start_time, start_time);
        same.then_some(process)
    }

    /// The same, to change what is known of it.
    pub fn get_mut(&mut self, process_id: u32, start_time: u64) -> Option<&mut Process> {
        let process = self.processes.get_mut(&process_id)?;
        let same = start_time == 0 || is_same_start(process.start_time, start_time);
        same.then_some(process)
    }

    /// The process that was the last to have this id.
    pub fn last(&self, process_id: u32) -> Option<&Process> {
        self.processes.get(&process_id)
    }

    /// Remembers a process, or what it runs now.
    pub fn insert(&mut self, process_id: u32, mut process: Process, now: u64) {
        self.forget_exited(now);
        if self.processes.len() >= self.limit && !self.processes.contains_key(&process_id) {
            self.make_room();
        }
        self.remove(process_id);
        process.short_line = process.program.short_command_line(SHORT_SIZE);
        process.size = size_of(&process);
        if self.size.saturating_add(process.size) > SIZE_MAX {
            process.program.forget_arguments();
            process.short_line = None;
            process.size = size_of(&process);
        }
        self.size = self.size.saturating_add(process.size);
        self.processes.insert(process_id, process);
    }

    /// The ids of all.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.processes.keys().copied()
    }

    fn remove(&mut self, process_id: u32) {
        if let Some(process) = self.processes.remove(&process_id) {
            self.size = self.size.saturating_sub(process.size);
        }
    }

    /// Notes that a process exited at `time`. What it forked was told before, so that nobody asks for its
    /// long arguments any more: a thousand programs a second with 32 KiB each were 60 MiB.
    pub fn exited(&mut self, process_id: u32, start_time: u64, time: u64) {
        let mut freed = 0;
        if let Some(process) = self.get_mut(process_id, start_time) {
            process.has_exited = true;
            if process.short_line.is_some() {
                process.program.forget_arguments();
                let size = size_of(process);
                freed = std::mem::replace(&mut process.size, size).saturating_sub(size);
            }
            let exited = Exited {
                process_id,
                key: process.key,
                time,
            };
            self.exited.push_back(exited);
        }
        self.size = self.size.saturating_sub(freed);
        self.forget_exited(time);
    }

    /// Forgets processes that are gone although nobody told of their exit. Asks `/proc` for each,
    /// so it does nothing when it did so within `HEAL_INTERVAL`.
    pub fn heal(&mut self) {
        let now = Instant::now();
        if self
            .healed
            .is_some_and(|healed| now.duration_since(healed) < HEAL_INTERVAL)
        {
            return;
        }
        self.healed = Some(now);
        // What the system does not tell of need not be gone.
        if !processes::are_told() {
            return;
        }
        let before = self.processes.len();
        self.processes
            .retain(|id, process| start_tick(*id) == Some(tick(process.start_time)));
        let sizes = self.processes.values().map(|process| process.size);
        self.size = sizes.fold(0, usize::saturating_add);
        tracing::debug!(
            forgotten = before - self.processes.len(),
            "process cache healed"
        );
    }

    /// How many processes are remembered.
    pub fn count(&self) -> usize {
        self.processes.len()
    }

    /// The most that are.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    fn forget_exited(&mut self, now: u64) {
        while let Some(oldest) = self.exited.front() {
            let old = now.saturating_sub(oldest.time) > EXITED_AGE_MAX_NS;
            if !old && self.exited.len() <= EXITED_COUNT_MAX {
                return;
            }
            self.forget_oldest_exited();
        }
    }

    fn forget_oldest_exited(&mut self) {
        let Some(oldest) = self.exited.pop_front() else {
            return;
        };
        let same = |process: &Process| process.key == oldest.key;
        if self.processes.get(&oldest.process_id).is_some_and(same) {
            self.remove(oldest.process_id);
        }
    }

    /// Forgets the process that exited first; where none has, those that are gone; where none is,
    /// any one. Its later events then lack what only the cache knew, and say so.
    fn make_room(&mut self) {
        while self.processes.len() >= self.limit && !self.exited.is_empty() {
            self.forget_oldest_exited();
        }
        if self.processes.len() >= self.limit {
            self.heal();
        }
        if self.processes.len() >= self.limit
            && let Some(any) = self.processes.keys().next().copied()
        {
            self.remove(any);
        }
    }
}

/// Bytes of what is remembered of a process's program.
fn size_of(process: &Process) -> usize {
    let short = process.short_line.as_ref().map_or(0, Text::size);
    process.program.trail.size().saturating_add(short)
}

/// The tick of a time on the sensor's clock.
const fn tick(time: u64) -> u64 {
    time / START_TICK_NS
}

/// Whether both are the start of one process: the same, or, where one is the begin of a tick, in that
/// tick, as nobody knew more of it.
const fn is_same_start(left: u64, right: u64) -> bool {
    left == right || ((is_tick(left) || is_tick(right)) && tick(left) == tick(right))
}

/// Whether of a start time only the tick is known. One process in ten million starts so early in a
/// tick that it looks like that, and is found by its tick.
pub const fn is_tick(start_time: u64) -> bool {
    start_time.is_multiple_of(START_TICK_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(key: u64, start_time: u64) -> Process {
        Process {
            key: ProcessKey(key),
            start_time,
            began: start_time,
            has_exited: false,
            session_id: None,
            parent: None,
            program: Program::default(),
            short_line: None,
            losses: 0,
            executing: None,
            image_losses: 0,
            seen: None,
            verdict: Verdict::default(),
            judged: 0,
            size: 0,
        }
    }

    #[test]
    fn tells_two_users_of_one_id_apart() {
        let mut cache = ProcessCache::new(8);
        cache.insert(7, process(1, START_TICK_NS), 0);
        assert!(cache.get(7, START_TICK_NS).is_some());
        assert!(cache.get(7, 2 * START_TICK_NS).is_none());
        cache.insert(7, process(2, 2 * START_TICK_NS), 0);
        assert_eq!(
            cache.get(7, 0).map(|process| process.key),
            Some(ProcessKey(2))
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn tells_two_users_of_one_id_within_a_tick_apart() {
        let mut cache = ProcessCache::new(8);
        let (first, second) = (START_TICK_NS + 5, START_TICK_NS + 6);
        cache.insert(7, process(1, first), 0);
        assert!(cache.get(7, first).is_some());
        assert!(cache.get(7, second).is_none());
        assert!(cache.get(7, START_TICK_NS).is_some(), "who knows the tick");
        cache.insert(7, process(2, START_TICK_NS), 0);
        assert!(
            cache.get(7, second).is_some(),
            "the tick is all that is known"
        );
    }

    #[test]
    fn remembers_an_exited_process_for_a_while_only() {
        let mut cache = ProcessCache::new(8);
        cache.insert(7, process(1, START_TICK_NS), 0);
        cache.exited(7, START_TICK_NS, 100);
        assert!(
            cache.get(7, START_TICK_NS).is_some(),
            "its last threads are still told"
        );
        cache.insert(8, process(2, START_TICK_NS), EXITED_AGE_MAX_NS + 101);
        assert!(cache.get(7, START_TICK_NS).is_none());
    }

    #[test]
    fn keeps_a_reused_id_when_its_former_user_is_forgotten() {
        let mut cache = ProcessCache::new(8);
        cache.insert(7, process(1, START_TICK_NS), 0);
        cache.exited(7, START_TICK_NS, 100);
        cache.insert(7, process(2, 5 * START_TICK_NS), 200);
        cache.insert(8, process(3, START_TICK_NS), 2 * EXITED_AGE_MAX_NS);
        assert_eq!(
            cache.get(7, 0).map(|process| process.key),
            Some(ProcessKey(2))
        );
    }

    #[test]
    fn holds_its_limit_although_exits_are_lost() {
        let mut cache = ProcessCache::new(16);
        for id in 1..1_000 {
            cache.insert(id, process(u64::from(id), START_TICK_NS), 0);
            assert!(cache.count() <= 16);
            assert!(cache.get(id, 0).is_some(), "the newest is there");
        }
    }

    /// 65,536 processes with 30,000 bytes of arguments were two gigabytes.
    #[test]
    fn arguments_are_remembered_as_far_as_there_is_room() {
        let mut cache = ProcessCache::new(65_536);
        let long = Text::from("a".repeat(1 << 20).as_str());
        let with_arguments = |key| {
            let mut process = process(key, START_TICK_NS);
            process.program.trail.image = Some(Text::from("/bin/a"));
            process.program.trail.command_line = Some(long.clone());
            process
        };
        for id in 1..=100 {
            cache.insert(id, with_arguments(id.into()), 0);
        }
        assert!(cache.size <= SIZE_MAX + 100 * "/bin/a".len());
        let is_whole = |cache: &ProcessCache, id| cache.get(id, 0).unwrap().program.is_whole();
        assert!(is_whole(&cache, 1) && !is_whole(&cache, 100));
        assert!(cache.get(100, 0).unwrap().program.trail.image.is_some());
        for id in 1..=100 {
            cache.exited(id, 0, 1);
        }
        cache.insert(7, with_arguments(7), EXITED_AGE_MAX_NS + 2);
        assert!(is_whole(&cache, 7), "there is room again");
        assert_eq!(cache.count(), 1);
    }

    #[test]
    fn long_arguments_go_with_their_process() {
        let mut cache = ProcessCache::new(8);
        let line = |size: usize| Some(Text::from("a".repeat(size).as_str()));
        for (id, size) in [(1, 32 << 10), (2, 100)] {
            let mut process = process(id.into(), START_TICK_NS);
            process.program.trail.command_line = line(size);
            cache.insert(id, process, 0);
            cache.exited(id, START_TICK_NS, 1);
        }
        let long = cache.get(1, 0).unwrap();
        let short_line = long.short_line.as_ref().unwrap();
        assert!(!long.program.is_whole() && short_line.size() > 0);
        assert!(cache.get(2, 0).unwrap().program.is_whole());
        assert!(cache.size <= 2 * SHORT_SIZE + 100, "{}", cache.size);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn heals_when_exits_were_lost() {
        let mut cache = ProcessCache::new(16);
        let own = std::process::id();
        let own_start = start_tick(own).unwrap() * START_TICK_NS;
        cache.insert(own, process(1, own_start), 0);
        cache.insert(4_194_304, process(2, START_TICK_NS), 0);
        cache.heal();
        assert_eq!(cache.count(), 1);
        assert!(cache.get(own, own_start).is_some());
    }
}
