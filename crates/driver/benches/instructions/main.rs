//! What `cargo xtask bench driver` counts the instructions of: the unchanged driver on `ntemu`, one
//! case a run, and the design of the book beside it.
//!
//! The driver's part of a case is what callgrind counts inside the routine that the kernel calls,
//! without what `ntemu`'s functions take. So nothing here is timed, and what a case does between
//! those calls does not matter.

#![expect(
    clippy::print_stdout,
    reason = "says how many events the instructions are of"
)]

mod book;

use driver::Driver;
use ntemu::{Answers, Caller, File, LoadImage, Machine, SYSTEM_PROCESS_ID, StartProcess};
use std::process::ExitCode;

/// `FILE_READ_DATA`
const READ_ACCESS: u32 = 1;

/// A read buffer that holds a round.
const BUFFER_SIZE: usize = 256 * 1024;

/// Milliseconds after which the driver delivers what is queued.
const FLUSH_MS: i64 = 50;

/// Each round delivers what it has queued.
const ROUNDS: u32 = 10;

/// Fewer than what makes a batch due, so that none is delivered inside a notify routine.
const EVENTS_A_ROUND: u32 = 50;

/// Characters of a path and of a command line.
const TEXT_LENGTH: usize = 200;

/// Characters of the path of a program's file.
const PATH_LENGTH: usize = 100;

/// A process that is there before the driver.
const PROCESS_ID: u32 = 100;

/// Plays the event of that number.
type Play = fn(&Machine, u32);

fn main() -> ExitCode {
    let case = std::env::args().nth(1);
    match case.as_deref() {
        Some("thread_start") => record(|machine, number| {
            machine.start_thread((PROCESS_ID, 8), PROCESS_ID, number, 0x7ff6_0000_1000);
        }),
        Some("remote_thread_start") => record(|machine, number| {
            let creator = (SYSTEM_PROCESS_ID, 8);
            machine.start_thread(creator, PROCESS_ID, number, 0x7ff6_0000_1000);
        }),
        Some("thread_exit") => record(|machine, number| machine.exit_thread(PROCESS_ID, number)),
        Some("process_start") => record(start_process),
        Some("process_exit") => record(|machine, number| machine.exit_process(number, 8, 0)),
        Some("image_load") => record(load_image),
        Some("book_thread_exit") => book::record::<0>(ROUNDS, EVENTS_A_ROUND),
        // The book takes the command line only, in UTF-16.
        Some("book_process_start") => {
            book::record::<{ 2 * TEXT_LENGTH }>(ROUNDS, EVENTS_A_ROUND);
        }
        _ => return ExitCode::FAILURE,
    }
    println!("{}", ROUNDS * EVENTS_A_ROUND);
    ExitCode::SUCCESS
}

/// Plays all rounds, with a read that takes each.
fn record(play_fn: Play) {
    let mut machine = Machine::new();
    // They are there before the driver, so that only what the case plays is seen.
    machine.start_process(&StartProcess {
        process_id: PROCESS_ID,
        ..StartProcess::default()
    });
    for number in numbers(0..ROUNDS) {
        machine.start_process(&StartProcess {
            process_id: number,
            ..StartProcess::default()
        });
    }
    machine.load(nt::driver::entry::<Driver>).unwrap();
    let file = machine.open(Caller::Administrator, READ_ACCESS).unwrap();
    for round in 0..ROUNDS {
        for number in numbers(round..round + 1) {
            play_fn(&machine, number);
        }
        take(&machine, &file);
    }
    drop(file);
    machine.unload();
}

/// The numbers of the events of these rounds: ids that nobody else has.
fn numbers(rounds: std::ops::Range<u32>) -> std::ops::Range<u32> {
    const FIRST: u32 = 1000;
    FIRST + rounds.start * EVENTS_A_ROUND..FIRST + rounds.end * EVENTS_A_ROUND
}

/// Takes a round from the driver, which must be all of it: a case that records nothing is cheap.
fn take(machine: &Machine, file: &File) {
    let read = file.read(BUFFER_SIZE);
    machine.advance_ms(FLUSH_MS);
    let (status, bytes) = read.outcome().unwrap();
    assert_eq!(status, 0);
    let batch = event::control::Batch::read(&mut event::wire::Reader::new(&bytes)).unwrap();
    assert_eq!(batch.records, EVENTS_A_ROUND);
}

fn start_process(machine: &Machine, number: u32) {
    let text = [0x0061; TEXT_LENGTH];
    machine.start_process(&StartProcess {
        process_id: number,
        image: Some(&text),
        command_line: Some(&text),
        answers: Answers {
            // Shorter, so that a round makes no batch due.
            image_path: Some(text[..PATH_LENGTH].to_vec()),
            ..Answers::default()
        },
        ..StartProcess::default()
    });
}

fn load_image(machine: &Machine, number: u32) {
    let text = [0x0061; TEXT_LENGTH];
    machine.load_image(&LoadImage {
        process_id: PROCESS_ID,
        name: Some(&text),
        base: 0x7ff6_0000_0000 + usize::try_from(number).unwrap() * 0x10000,
        size: 0x8000,
        properties: 0,
    });
}
