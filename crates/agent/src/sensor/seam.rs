//! The seam: joins the snapshot and the stream, with no gap and no duplicate.
//!
//! The stream was switched on before the snapshot was taken, so what happened in between is in
//! both, or in the stream alone. [`join`] hands over, in this order: the processes that were there
//! when the stream began, by start time with parents before children; the images they had mapped;
//! the stream as it is. Its rules:
//!
//! - A process whose start is in the stream is not existing, whatever the snapshot says of it.
//! - A process the stream tells of, that is neither in the snapshot nor started in the stream,
//!   existed and ended meanwhile (or the snapshot may not see it). It is handed over as existing
//!   with nothing but its id.
//! - The dead that wait to be reaped existed only when the stream has their exit.
//! - The program of a process that execs in the stream is unavailable. The snapshot may have read
//!   the old one or the new one, and no time tells which: an exec changes `/proc` well before its
//!   record is written, as long as loading the program takes.
//! - An image the snapshot has and the stream loads at an overlapping address of the same process
//!   is the stream's, unless it was read clearly before that load.
//!
//! Start times are compared in ticks, because `/proc` has nothing finer, and one tick of
//! difference is none: a sensor that knows the start only from the time of an event may come to
//! the next tick. No id is used twice within two ticks.

use std::collections::HashMap;

use event::{Event, Extension, Flags, Header, image, process, wire};

use super::Batch;
use super::existing::{Existing, ExistingImage};
use crate::enrich::START_TICK_NS as TICK_NS;

/// Appends to `batch` what was there when the stream began, then the stream.
///
/// `stream` is in time order and holds everything that happened until the snapshot was complete.
/// `began` is when the stream was switched on.
pub fn join(
    snapshot: Vec<Existing>,
    stream: &Batch,
    began: u64,
    batch: &mut Batch,
) -> Result<(), wire::Invalid> {
    let told = Told::read(stream)?;
    let mut existing: Vec<Existing> = snapshot
        .into_iter()
        .filter(|process| !told.has_started(process))
        .collect();
    let missing = told.missing_from(&existing);
    existing.retain(|process| !process.has_ended || told.tells_of(process));
    existing.extend(missing);
    for process in &mut existing {
        told.correct(process);
    }
    sort_parents_first(&mut existing, began);
    write_processes(&existing, began, batch);
    write_images(&existing, began, batch);
    for record in stream.records() {
        batch.push(record)?;
    }
    Ok(())
}

/// What the stream tells of processes, by id.
struct Told(HashMap<u32, Vec<Life>>);

/// One process of an id, as the stream has it.
#[derive(Debug, Default)]
struct Life {
    /// When it started; 0 while no record says: a perf record of an image load does not.
    start_time: u64,
    /// Whether its start is in the stream.
    has_start: bool,
    parent_process_id: u32,
    has_exec: bool,
    /// Time, base and size of its image loads.
    loads: Vec<(u64, u64, u64)>,
}

impl Told {
    fn read(stream: &Batch) -> Result<Self, wire::Invalid> {
        let mut told = Self(HashMap::new());
        for record in stream.records() {
            let (header, event) = event::read(record)?;
            if header.kind.index().is_some() {
                told.add(&header, &event);
            }
        }
        Ok(told)
    }

    fn add(&mut self, header: &Header, event: &Event<'_>) {
        let lives = self.0.entry(header.process_id).or_default();
        let is_start = matches!(event, Event::ProcessStart(_));
        let is_next = lives.last().is_none_or(|life| {
            // Neighbouring records may be out of order, so a start need not come first.
            is_other(life.start_time, header.start_time)
                || (is_start && !is_same(life.start_time, header.start_time))
        });
        if is_next {
            lives.push(Life {
                start_time: header.start_time,
                ..Life::default()
            });
        }
        let Some(life) = lives.last_mut() else {
            return;
        };
        if life.start_time == 0 {
            life.start_time = header.start_time;
        }
        match event {
            Event::ProcessStart(_) => life.has_start = true,
            Event::ProcessExec(_) => life.has_exec = true,
            Event::ProcessExit(exit) => life.parent_process_id = exit.parent_process_id,
            Event::ImageLoad(load) => {
                life.loads
                    .push((header.time, load.image_base, load.image_size));
            }
            _ => {}
        }
    }

    fn lives(&self, process_id: u32) -> &[Life] {
        self.0.get(&process_id).map_or(&[], Vec::as_slice)
    }

    fn has_started(&self, process: &Existing) -> bool {
        self.lives(process.process_id)
            .iter()
            .any(|life| life.has_start && is_same(life.start_time, process.start_time))
    }

    /// The life of a process that was there before the stream; at most one life of an id is.
    fn life_before(&self, process_id: u32) -> Option<&Life> {
        self.lives(process_id)
            .first()
            .filter(|life| !life.has_start)
    }

    fn life_of(&self, process: &Existing) -> Option<&Life> {
        self.life_before(process.process_id)
            .filter(|life| !is_other(life.start_time, process.start_time))
    }

    fn tells_of(&self, process: &Existing) -> bool {
        self.life_of(process).is_some()
    }

    /// The processes that only the stream knows, as far as it knows them.
    fn missing_from(&self, existing: &[Existing]) -> Vec<Existing> {
        let known: HashMap<u32, u64> = existing
            .iter()
            .map(|process| (process.process_id, process.start_time))
            .collect();
        self.0
            .iter()
            .filter_map(|(&process_id, _)| Some((process_id, self.life_before(process_id)?)))
            .filter(|(process_id, life)| {
                known
                    .get(process_id)
                    .is_none_or(|&start_time| is_other(life.start_time, start_time))
            })
            .map(|(process_id, life)| unseen(process_id, life))
            .collect()
    }

    /// Takes back what the snapshot may have read after the stream changed it.
    fn correct(&self, process: &mut Existing) {
        let Some(life) = self.life_of(process) else {
            return;
        };
        if life.has_exec {
            process.image.clear();
            process.command_line.clear();
            process.flags = process.flags.with(PROGRAM_UNAVAILABLE);
        }
        let read_until = process.read_until.saturating_add(LOAD_LATE_NS);
        process.images.retain(|image| {
            !life
                .loads
                .iter()
                .any(|&(time, base, size)| time <= read_until && overlaps(image, base, size))
        });
    }
}

/// How long after `/proc` shows a mapping its record may be written, at most.
const LOAD_LATE_NS: u64 = 10_000_000;

const PROGRAM_UNAVAILABLE: Flags = Flags::IMAGE_UNAVAILABLE.with(Flags::COMMAND_LINE_UNAVAILABLE);

fn unseen(process_id: u32, life: &Life) -> Existing {
    Existing {
        process_id,
        start_time: life.start_time,
        parent_process_id: life.parent_process_id,
        flags: PROGRAM_UNAVAILABLE.with(Flags::ORIGIN_UNAVAILABLE),
        // Nothing was read, so nothing the stream tells came before it was read.
        ..Existing::default()
    }
}

/// Whether both times are known and are of one process.
fn is_same(left: u64, right: u64) -> bool {
    left != 0 && right != 0 && (left / TICK_NS).abs_diff(right / TICK_NS) <= 1
}

/// Whether both times are known and are of two processes.
fn is_other(left: u64, right: u64) -> bool {
    left != 0 && right != 0 && !is_same(left, right)
}

fn overlaps(image: &ExistingImage, base: u64, size: u64) -> bool {
    image.base < base.saturating_add(size) && base < image.base.saturating_add(image.size)
}

/// Sorts by start time. Within a tick, where time does not tell, a parent comes before its
/// children.
fn sort_parents_first(existing: &mut [Existing], began: u64) {
    let tick_of = |process: &Existing| time_of(process, began) / TICK_NS;
    let by_id: HashMap<u32, (u64, u32)> = existing
        .iter()
        .map(|process| {
            let place = (tick_of(process), process.parent_process_id);
            (process.process_id, place)
        })
        .collect();
    existing.sort_by_cached_key(|process| {
        let tick = tick_of(process);
        let parent = by_id.get(&process.parent_process_id);
        // No chain of parents is longer than all processes, even if the snapshot, which is not of
        // one moment, has made it a circle.
        let depth = std::iter::successors(parent, |(_, parent)| by_id.get(parent))
            .take(by_id.len())
            .take_while(|(parent_tick, _)| *parent_tick == tick)
            .count();
        (tick, depth, process.process_id)
    });
}

fn write_processes(existing: &[Existing], began: u64, batch: &mut Batch) {
    let start_times: HashMap<u32, u64> = existing
        .iter()
        .map(|process| (process.process_id, process.start_time))
        .collect();
    for process in existing {
        let start = process::Start {
            parent_process_id: process.parent_process_id,
            session_id: process.session_id,
            user_id: process.user_id,
            parent_start_time: parent_start_time(process, &start_times),
            image: &process.image,
            command_line: &process.command_line,
            ..process::Start::default()
        };
        let header = Header {
            flags: process.flags.with(Flags::EXISTING),
            time: time_of(process, began),
            process_id: process.process_id,
            thread_id: process.process_id,
            start_time: process.start_time,
            ..Header::default()
        };
        let extension = if process.user_sid.is_empty() {
            Extension::None
        } else {
            Extension::Token(process::Token {
                user_sid: &process.user_sid,
                ..process::Token::default()
            })
        };
        let written = batch.write_extended(header, &Event::ProcessStart(start), &extension);
        debug_assert!(written, "a path and a command line of limited size");
    }
}

/// When no process started: the parent's start where its id is another's now, so that this one's
/// key is not told as the parent's. Windows does not give children another parent when theirs ends.
const NOBODY_STARTED: u64 = TICK_NS;

fn parent_start_time(process: &Existing, start_times: &HashMap<u32, u64>) -> u64 {
    match start_times.get(&process.parent_process_id) {
        Some(&parent) if parent > process.start_time && process.start_time != 0 => NOBODY_STARTED,
        Some(&parent) => parent,
        None => 0,
    }
}

/// When an existing process is said to have started: never after the stream began.
fn time_of(process: &Existing, began: u64) -> u64 {
    match process.start_time {
        0 => began,
        time => time.min(began),
    }
}

fn write_images(existing: &[Existing], began: u64, batch: &mut Batch) {
    for process in existing {
        for image in &process.images {
            let header = Header {
                flags: image.flags.with(Flags::EXISTING),
                time: began,
                process_id: process.process_id,
                start_time: process.start_time,
                ..Header::default()
            };
            let load = image::Load {
                image_base: image.base,
                image_size: image.size,
                image: &image.path,
            };
            let written = batch.write(header, &Event::ImageLoad(load));
            debug_assert!(written, "a path of limited size");
        }
    }
}

// The tests count in the ticks of Linux, which are longer than anything here takes.
#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEGAN: u64 = 1000 * TICK_NS;

    fn process(process_id: u32, start_tick: u64) -> Existing {
        Existing {
            process_id,
            start_time: start_tick * TICK_NS,
            image: b"/old".to_vec(),
            read_from: BEGAN + 100 * TICK_NS,
            read_until: BEGAN + 101 * TICK_NS,
            ..Existing::default()
        }
    }

    fn put(stream: &mut Batch, time: u64, process_id: u32, start_time: u64, event: &Event<'_>) {
        let header = Header {
            time,
            process_id,
            thread_id: process_id,
            start_time,
            ..Header::default()
        };
        assert!(stream.write(header, event));
    }

    fn start() -> Event<'static> {
        Event::ProcessStart(process::Start::default())
    }

    fn exec() -> Event<'static> {
        Event::ProcessExec(process::Exec::default())
    }

    fn exit() -> Event<'static> {
        Event::ProcessExit(process::Exit {
            exit_status: 0,
            parent_process_id: 77,
        })
    }

    fn load(image_base: u64, image: &[u8]) -> Event<'_> {
        Event::ImageLoad(image::Load {
            image_base,
            image_size: 0x1000,
            image,
        })
    }

    /// What was handed over: existing processes, existing images, stream.
    struct Joined {
        processes: Vec<(Header, Vec<u8>)>,
        images: Vec<(u32, u64, Vec<u8>)>,
        stream: Vec<Vec<u8>>,
    }

    fn joined(snapshot: Vec<Existing>, stream: &Batch) -> Joined {
        let mut batch = Batch::default();
        join(snapshot, stream, BEGAN, &mut batch).unwrap();
        in_parts(&batch)
    }

    fn in_parts(batch: &Batch) -> Joined {
        let mut joined = Joined {
            processes: Vec::new(),
            images: Vec::new(),
            stream: Vec::new(),
        };
        for record in batch.records() {
            let (header, event) = event::read(record).unwrap();
            match event {
                Event::ProcessStart(start) if header.flags.contains(Flags::EXISTING) => {
                    assert!(joined.images.is_empty() && joined.stream.is_empty());
                    joined.processes.push((header, start.image.to_vec()));
                }
                Event::ImageLoad(load) if header.flags.contains(Flags::EXISTING) => {
                    assert!(joined.stream.is_empty());
                    let image = (header.process_id, load.image_base, load.image.to_vec());
                    joined.images.push(image);
                }
                _ => joined.stream.push(record.to_vec()),
            }
        }
        joined
    }

    fn ids(joined: &Joined) -> Vec<u32> {
        joined
            .processes
            .iter()
            .map(|(header, _)| header.process_id)
            .collect()
    }

    #[test]
    fn a_process_whose_start_is_in_the_stream_is_not_existing() {
        let mut stream = Batch::default();
        // The stream knows the start only from the event, which came a tick later.
        put(&mut stream, BEGAN + TICK_NS, 5, BEGAN + TICK_NS, &start());
        let joined = joined(vec![process(5, 1000), process(4, 3)], &stream);
        assert_eq!(ids(&joined), [4]);
        assert_eq!(joined.stream.len(), 1);
    }

    #[test]
    fn a_process_that_ended_before_it_was_read_existed() {
        let mut stream = Batch::default();
        put(&mut stream, BEGAN + 5, 9, 40 * TICK_NS + 3, &exit());
        put(&mut stream, BEGAN + 9, 9, BEGAN + 9, &start());
        let joined = joined(vec![process(9, 1000)], &stream);
        let [(header, _)] = joined.processes[..] else {
            panic!("one process existed: {:?}", joined.processes);
        };
        assert_eq!(header.start_time, 40 * TICK_NS + 3);
        assert!(header.flags.contains(Flags::ORIGIN_UNAVAILABLE));
        assert!(header.flags.contains(PROGRAM_UNAVAILABLE));
    }

    /// Its first record was an image load, which does not say when the process started; the exec
    /// and the exit after it do, and were told of a process of another key.
    #[test]
    fn a_process_only_the_stream_knows_has_the_start_time_any_record_says() {
        let mut stream = Batch::default();
        put(&mut stream, BEGAN + 5, 9, 0, &load(0x1000, b"/new"));
        put(&mut stream, BEGAN + 6, 9, 40 * TICK_NS + 3, &exec());
        put(&mut stream, BEGAN + 7, 9, 40 * TICK_NS + 3, &exit());
        let joined = joined(Vec::new(), &stream);
        assert_eq!(ids(&joined), [9]);
        assert_eq!(joined.processes[0].0.start_time, 40 * TICK_NS + 3);
    }

    #[test]
    fn the_dead_exist_only_with_their_exit_in_the_stream() {
        let dead = |id| Existing {
            has_ended: true,
            ..process(id, 3)
        };
        let mut stream = Batch::default();
        put(&mut stream, BEGAN + 5, 9, 0, &exit());
        assert_eq!(ids(&joined(vec![dead(8), dead(9)], &stream)), [9]);
    }

    #[test]
    fn the_program_of_a_process_that_execs_meanwhile_is_unavailable() {
        let mut stream = Batch::default();
        put(&mut stream, BEGAN + 5, 9, 0, &exec());
        let joined = joined(vec![process(9, 3)], &stream);
        assert_eq!(joined.processes[0].1, b"");
        assert!(joined.processes[0].0.flags.contains(PROGRAM_UNAVAILABLE));
    }

    #[test]
    fn an_image_both_have_is_the_streams() {
        let mut with_images = process(9, 3);
        for base in [0x1000, 0x5000] {
            with_images.images.push(ExistingImage {
                base,
                size: 0x1000,
                path: b"/lib".to_vec(),
                ..ExistingImage::default()
            });
        }
        let mut stream = Batch::default();
        put(&mut stream, BEGAN + 5, 9, 0, &load(0x1000, b"/lib"));
        let late = with_images.read_until + 5 * TICK_NS;
        put(&mut stream, late, 9, 0, &load(0x5000, b"/lib"));
        let joined = joined(vec![with_images], &stream);
        assert_eq!(joined.images, [(9, 0x5000, b"/lib".to_vec())]);
    }

    #[test]
    fn parents_come_first_within_a_tick_and_a_circle_ends() {
        let child_of = |id, parent| Existing {
            parent_process_id: parent,
            ..process(id, 3)
        };
        let snapshot = vec![
            child_of(2, 30),
            child_of(30, 40),
            child_of(40, 1),
            process(1, 2),
        ];
        assert_eq!(ids(&joined(snapshot, &Batch::default())), [1, 40, 30, 2]);
        let circle = vec![child_of(2, 3), child_of(3, 2)];
        assert_eq!(ids(&joined(circle, &Batch::default())).len(), 2);
    }

    /// What may happen between two looks of the snapshot; the numbers choose among what there is.
    #[derive(Clone, Copy, Debug)]
    enum Act {
        Fork,
        Exec(usize),
        Load(usize, u64),
        Exit(usize),
        /// The snapshot goes on by one step of reading.
        Look,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            2 => Just(Act::Fork),
            2 => any::<usize>().prop_map(Act::Exec),
            2 => (any::<usize>(), 0_u64..4).prop_map(|(who, slot)| Act::Load(who, slot)),
            2 => any::<usize>().prop_map(Act::Exit),
            4 => Just(Act::Look),
        ]
    }

    #[derive(Clone, Debug, Default)]
    struct Live {
        id: u32,
        start_time: u64,
        program: Vec<u8>,
        images: Vec<ExistingImage>,
    }

    /// A machine with few process ids, so that they are used again, and the truth about it.
    struct World {
        now: u64,
        live: Vec<Live>,
        stream: Option<Batch>,
        stream_knows_starts: bool,
        named: u32,
        /// The snapshot under way: the next id to read, the step, what was read.
        next_id: u32,
        reading: Option<(usize, Existing)>,
        snapshot: Vec<Existing>,
    }

    const IDS: u32 = 5;

    impl World {
        fn tell(&mut self, live: &Live, event: &Event<'_>) {
            let start_time = if self.stream_knows_starts || matches!(event, Event::ProcessStart(_))
            {
                live.start_time
            } else {
                0
            };
            if let Some(stream) = &mut self.stream {
                put(stream, self.now, live.id, start_time, event);
            }
        }

        fn name(&mut self) -> Vec<u8> {
            self.named += 1;
            format!("/{}", self.named).into_bytes()
        }

        fn act(&mut self, act: Act) {
            // More than two ticks, so that no id is used again within them.
            self.now += 3 * TICK_NS + 17;
            match act {
                Act::Fork => self.fork(),
                Act::Look => self.look(),
                Act::Exec(who) => self.change(who, |world, live| {
                    live.program = world.name();
                    live.images.clear();
                    world.load(live, 0);
                    world.tell(live, &exec());
                }),
                Act::Load(who, slot) => self.change(who, |world, live| world.load(live, slot)),
                Act::Exit(who) if !self.live.is_empty() => {
                    let live = self.live.remove(who % self.live.len());
                    self.tell(&live, &exit());
                }
                Act::Exit(_) => {}
            }
        }

        fn change(&mut self, who: usize, change_fn: impl FnOnce(&mut Self, &mut Live)) {
            if self.live.is_empty() {
                return;
            }
            let index = who % self.live.len();
            let mut live = self.live[index].clone();
            change_fn(self, &mut live);
            self.live[index] = live;
        }

        fn fork(&mut self) {
            let free = (1..=IDS).find(|id| self.live.iter().all(|live| live.id != *id));
            let Some(id) = free else {
                return;
            };
            let live = Live {
                id,
                start_time: self.now,
                program: self.name(),
                images: Vec::new(),
            };
            self.tell(&live, &start());
            self.live.push(live);
        }

        fn load(&mut self, live: &mut Live, slot: u64) {
            let image = ExistingImage {
                base: slot * 0x800,
                size: 0x1000,
                path: self.name(),
                ..ExistingImage::default()
            };
            live.images
                .retain(|other| !overlaps(other, image.base, image.size));
            self.tell(live, &load(image.base, &image.path));
            live.images.push(image);
        }

        fn look(&mut self) {
            let Some((step, mut existing)) = self.reading.take() else {
                return self.open();
            };
            let live = self.live.iter().find(|live| {
                live.id == existing.process_id
                    && live.start_time / TICK_NS == existing.start_time / TICK_NS
            });
            match (step, live) {
                (0, Some(live)) => existing.image.clone_from(&live.program),
                (0, None) => existing.flags = Flags::IMAGE_UNAVAILABLE,
                (_, Some(live)) => existing.images.clone_from(&live.images),
                (_, None) => {}
            }
            existing.read_until = self.now;
            if step == 0 {
                self.reading = Some((1, existing));
            } else {
                self.snapshot.push(existing);
            }
        }

        fn open(&mut self) {
            self.next_id += 1;
            let id = self.next_id;
            let live = self.live.iter().find(|live| live.id == id);
            self.reading = live.map(|live| {
                let existing = Existing {
                    process_id: id,
                    start_time: live.start_time / TICK_NS * TICK_NS,
                    read_from: self.now,
                    read_until: self.now,
                    ..Existing::default()
                };
                (0, existing)
            });
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn whatever_happens_at_the_seam_there_is_no_gap_and_no_duplicate(
            before in proptest::collection::vec(act(), 0..30),
            meanwhile in proptest::collection::vec(act(), 0..60),
            stream_knows_starts in any::<bool>(),
        ) {
            let mut world = World {
                now: TICK_NS,
                live: Vec::new(),
                stream: None,
                stream_knows_starts,
                named: 0,
                next_id: 0,
                reading: None,
                snapshot: Vec::new(),
            };
            for act in before {
                if !matches!(act, Act::Look) {
                    world.act(act);
                }
            }
            let began = world.live.clone();
            world.stream = Some(Batch::default());
            for act in meanwhile {
                world.act(act);
            }
            while world.reading.is_some() || world.next_id <= IDS {
                world.act(Act::Look);
            }
            check(world, began)?;
        }
    }

    fn check(world: World, mut began: Vec<Live>) -> Result<(), TestCaseError> {
        let stream = world.stream.unwrap();
        let snapshot = world.snapshot.clone();
        let mut batch = Batch::default();
        join(world.snapshot, &stream, u64::MAX, &mut batch).unwrap();
        let handed = in_parts(&batch);

        // Every process that was there, once, and no other.
        let mut existing = ids(&handed);
        existing.sort_unstable();
        began.sort_by_key(|live| live.id);
        prop_assert_eq!(
            existing,
            began.iter().map(|live| live.id).collect::<Vec<_>>()
        );
        // The stream as it was.
        let told: Vec<&[u8]> = stream.records().collect();
        prop_assert_eq!(&handed.stream, &told);

        for (header, program) in &handed.processes {
            let live = began
                .iter()
                .find(|live| live.id == header.process_id)
                .unwrap();
            let unavailable = header.flags.contains(Flags::IMAGE_UNAVAILABLE);
            prop_assert!(unavailable || *program == live.program);
            prop_assert!(header.start_time == 0 || is_same(header.start_time, live.start_time));
        }
        for (id, base, path) in &handed.images {
            let live = began.iter().find(|live| live.id == *id).unwrap();
            let is_true = live
                .images
                .iter()
                .any(|image| image.base == *base && image.path == *path);
            prop_assert!(
                is_true,
                "{} at {:x} was not there",
                path.escape_ascii(),
                base
            );
        }
        // Every image that was there and was read is handed over once.
        for live in &began {
            let read = snapshot.iter().find(|process| {
                process.process_id == live.id && is_same(process.start_time, live.start_time)
            });
            for image in read.iter().flat_map(|process| &process.images) {
                let was_there = live.images.contains(image);
                let key = (live.id, image.base, image.path.clone());
                let times = handed.images.iter().filter(|other| **other == key).count();
                prop_assert_eq!(times, usize::from(was_there));
            }
        }
        Ok(())
    }
}
