//! Callbacks on many processors, pended reads, cancels, closes, and an unload at the end: the
//! account balances, records are whole and batches in sequence.

use crate::stream::{
    BUFFER_SIZE, CANCELLED, READ_ACCESS, SHARING_VIOLATION, SUCCESS, counters, split, started_on,
};
use event::control::Counters;
use event::{Event, Kind};
use ntemu::{Caller, File, LoadImage, Machine, SYSTEM_PROCESS_ID, StartProcess};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const PRODUCERS: u32 = 8;
/// A million events in all; a tenth where `ThreadSanitizer` looks at every access.
const ROUNDS: u32 = if cfg!(miri) {
    3
} else if cfg!(thread_sanitizer) {
    1_563
} else {
    15_625
};
/// Events a round, of which [`play`] is.
const EVENTS: u64 = 8;
const READS: usize = 4;
/// Small, so that it overflows.
const QUEUE_LIMIT: u32 = if cfg!(miri) { 64 } else { 256 } * 1024;

/// One process's life, and threads elsewhere.
fn play(machine: &Machine, producer: u32, round: u32) {
    let process_id = 1_000 * (producer + 1) + round % 900;
    machine.start_process(&StartProcess {
        process_id,
        command_line: Some(&[0x41; 60]),
        ..StartProcess::default()
    });
    machine.start_thread((SYSTEM_PROCESS_ID, producer), process_id, process_id, 1);
    machine.load_image(&LoadImage {
        process_id,
        name: Some(&[0x42; 40]),
        ..LoadImage::default()
    });
    for thread_id in 0..4 {
        machine.exit_thread(process_id, thread_id);
    }
    machine.exit_process(process_id, 1, 0);
}

/// What came out: events by kind, and losses by kind.
#[derive(Default)]
struct Received {
    delivered: BTreeMap<u16, u64>,
    lost: BTreeMap<u16, u64>,
    sequences: Vec<u64>,
}

impl Received {
    fn take(&mut self, bytes: &[u8]) {
        let (batch, records) = split(bytes);
        self.sequences.push(batch.sequence);
        for record in &records {
            let event::Record { header, event, .. } = event::read(record).unwrap();
            if let Event::Lost(lost) = event {
                *self.lost.entry(lost.kind.0).or_default() += lost.count;
            } else {
                *self.delivered.entry(header.kind.0).or_default() += 1;
            }
        }
    }

    fn count(map: &BTreeMap<u16, u64>, kind: Kind) -> u64 {
        map.get(&kind.0).copied().unwrap_or(0)
    }
}

/// Reads until all producers are done and the queue is empty. Now and then it cancels a read, and
/// now and then it closes the file with all its reads.
fn consume(machine: &Machine, file: File, done: &AtomicU64) -> (Received, File) {
    let mut received = Received::default();
    let mut file = file;
    for turn in 1_u64.. {
        let is_over = done.load(Ordering::SeqCst) == u64::from(PRODUCERS);
        let reads: Vec<_> = (0..READS).map(|_turn| file.read(BUFFER_SIZE)).collect();
        thread::yield_now();
        if turn % 3 == 0 {
            reads[1].cancel();
        }
        if turn % 5 == 0 {
            file.clean_up();
        } else {
            machine.advance_ms(50);
            reads.iter().for_each(ntemu::Request::cancel);
        }
        let mut taken = 0;
        for read in reads {
            // Another processor may be about to complete it.
            while read.is_pending() {
                thread::yield_now();
            }
            match read.outcome().unwrap() {
                (SUCCESS, bytes) => {
                    received.take(&bytes);
                    taken += 1;
                }
                (status, _bytes) => assert!([CANCELLED, SHARING_VIOLATION].contains(&status)),
            }
        }
        if turn % 5 == 0 {
            drop(file);
            file = machine.open(Caller::Administrator, READ_ACCESS).unwrap();
        }
        if is_over && taken == 0 && counters(&file).queue_used == 0 {
            break;
        }
    }
    (received, file)
}

#[test]
fn the_account_balances_with_callbacks_cancels_and_closes_at_once() {
    let machine = Machine::new();
    machine.set_value("QueueLimit", 4, &QUEUE_LIMIT.to_le_bytes());
    let (mut machine, file) = started_on(machine);
    let done = AtomicU64::new(0);

    let (received, file) = thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let (machine, done) = (&machine, &done);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    play(machine, producer, round);
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        let consumer = scope.spawn(|| consume(&machine, file, &done));
        consumer.join().unwrap()
    });

    let Counters { kinds, batches, .. } = counters(&file);
    let mut total = 0;
    for (kind, count) in kinds.iter() {
        assert_eq!(count.produced, count.delivered + count.lost, "{kind}");
        assert_eq!(
            count.delivered,
            Received::count(&received.delivered, kind),
            "{kind}"
        );
        assert_eq!(count.lost, Received::count(&received.lost, kind), "{kind}");
        total += count.produced;
    }
    assert_eq!(total, u64::from(PRODUCERS * ROUNDS) * EVENTS);
    let mut sequences = received.sequences;
    sequences.sort_unstable();
    assert!(
        sequences.into_iter().eq(1..=batches),
        "a batch is missing or came twice"
    );
    drop(file);
    machine.unload();
}
