//! What the seam promises.

use proptest::prelude::*;

use super::*;

const BEGAN: u64 = 1000 * START_TICK_NS;

fn process(process_id: u32, start_tick: u64) -> Existing {
    Existing {
        process_id,
        start_time: start_tick * START_TICK_NS,
        image: b"/old".to_vec(),
        read_from: BEGAN + 100 * START_TICK_NS,
        read_until: BEGAN + 101 * START_TICK_NS,
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
    join(snapshot, stream, BEGAN, &mut batch);
    in_parts(&batch)
}

fn in_parts(batch: &Batch) -> Joined {
    let mut joined = Joined {
        processes: Vec::new(),
        images: Vec::new(),
        stream: Vec::new(),
    };
    for record in batch.records() {
        let event::Record { header, event, .. } = event::read(record).unwrap();
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
    put(
        &mut stream,
        BEGAN + START_TICK_NS,
        5,
        BEGAN + START_TICK_NS,
        &start(),
    );
    let joined = joined(vec![process(5, 1000), process(4, 3)], &stream);
    assert_eq!(ids(&joined), [4]);
    assert_eq!(joined.stream.len(), 1);
}

#[test]
fn a_process_that_ended_before_it_was_read_existed() {
    let mut stream = Batch::default();
    put(&mut stream, BEGAN + 5, 9, 40 * START_TICK_NS + 3, &exit());
    put(&mut stream, BEGAN + 9, 9, BEGAN + 9, &start());
    let joined = joined(vec![process(9, 1000)], &stream);
    let [(header, _)] = joined.processes[..] else {
        panic!("one process existed: {:?}", joined.processes);
    };
    assert_eq!(header.start_time, 40 * START_TICK_NS + 3);
    assert!(header.flags.contains(Flags::ORIGIN_UNAVAILABLE));
    assert!(header.flags.contains(PROGRAM_UNAVAILABLE));
}

/// Its first record was an image load, which does not say when the process started; the exec
/// and the exit after it do, and were told of a process of another key.
#[test]
fn a_process_only_the_stream_knows_has_the_start_time_any_record_says() {
    let mut stream = Batch::default();
    put(&mut stream, BEGAN + 5, 9, 0, &load(0x1000, b"/new"));
    put(&mut stream, BEGAN + 6, 9, 40 * START_TICK_NS + 3, &exec());
    put(&mut stream, BEGAN + 7, 9, 40 * START_TICK_NS + 3, &exit());
    let joined = joined(Vec::new(), &stream);
    assert_eq!(ids(&joined), [9]);
    assert_eq!(joined.processes[0].0.start_time, 40 * START_TICK_NS + 3);
}

// Within two ticks they were one process, and whichever came second was not told.
#[test]
fn two_processes_with_one_id_in_one_tick_are_both_told() {
    let exact = 40 * START_TICK_NS + 3;
    let mut first = process(9, 40);
    first.start_time = exact;
    let mut stream = Batch::default();
    put(&mut stream, BEGAN + 5, 9, exact, &exit());
    put(&mut stream, BEGAN + 6, 9, exact + 50, &start());
    put(&mut stream, BEGAN + 7, 9, exact + 50, &exec());
    let told = joined(vec![first], &stream);
    assert_eq!(told.processes[0].0.start_time, exact);
    assert_eq!(told.processes[0].1, b"/old", "the exec is the second one's");
    // The snapshot has met the second.
    let mut second = process(9, 40);
    second.start_time = exact + 50;
    let told = joined(vec![second], &stream);
    assert_eq!(ids(&told), [9]);
    assert_eq!(told.processes[0].0.start_time, exact);
    assert_eq!(told.processes[0].1, b"");
}

#[test]
fn the_end_tells_two_processes_of_a_tick_apart_where_no_time_does() {
    let mut stream = Batch::default();
    put(&mut stream, BEGAN + 5, 9, 0, &exit());
    put(&mut stream, BEGAN + 6, 9, BEGAN, &start());
    put(&mut stream, BEGAN + 7, 9, 0, &exit());
    put(&mut stream, BEGAN + 8, 9, BEGAN, &start());
    assert_eq!(ids(&joined(Vec::new(), &stream)), [9]);
    assert_eq!(ids(&joined(vec![process(9, 1000)], &stream)), [9]);
}

#[test]
fn a_process_that_proc_alone_has_seen_starts_when_the_stream_says() {
    let mut stream = Batch::default();
    put(&mut stream, BEGAN + 5, 9, 40 * START_TICK_NS + 3, &exec());
    let told = joined(vec![process(9, 40)], &stream);
    assert_eq!(told.processes[0].0.start_time, 40 * START_TICK_NS + 3);
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
    let late = with_images.read_until + 5 * START_TICK_NS;
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
        let start_time = if self.stream_knows_starts || matches!(event, Event::ProcessStart(_)) {
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
        self.now += 3 * START_TICK_NS + 17;
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
                && live.start_time / START_TICK_NS == existing.start_time / START_TICK_NS
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
                start_time: live.start_time / START_TICK_NS * START_TICK_NS,
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
            now: START_TICK_NS,
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
    join(world.snapshot, &stream, u64::MAX, &mut batch);
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
