//! Reads that pend, and what completes them.

use crate::stream::{
    BATCH_SIZE, BUFFER_SIZE, BUFFER_TOO_SMALL, CANCELLED, FLUSH_MS, IS_THOROUGH, READ_ACCESS,
    SHARING_VIOLATION, batch, counters, flushed, losses, started, started_on, stop,
};
use event::control::{Batch, Code};
use event::{HEADER_SIZE, Kind};
use ntemu::{Caller, Machine, SYSTEM_PROCESS_ID, StartProcess};

fn exit_threads(machine: &Machine, count: u32) {
    for thread_id in 0..count {
        machine.exit_thread(SYSTEM_PROCESS_ID, thread_id);
    }
}

#[test]
fn an_idle_machine_sets_no_timer() {
    let (machine, file) = started();
    let request = file.read(BUFFER_SIZE);
    machine.advance_ms(10_000);
    assert!(request.is_pending());
    assert!(!machine.is_any_timer_set());
    request.cancel();
    drop(request);
    stop(machine, file);
}

#[test]
fn the_flush_interval_completes_a_read() {
    let (machine, file) = started();
    let request = file.read(BUFFER_SIZE);
    exit_threads(&machine, 3);
    machine.advance_ms(FLUSH_MS - 1);
    assert!(request.is_pending());
    machine.advance_ms(1);

    let (header, records) = batch(&request);
    assert_eq!((header.sequence, records.len()), (1, 3));
    assert!(!machine.is_any_timer_set());
    stop(machine, file);
}

/// A clock set back gave times that ran backwards, in which a process lived for no time or for an hour.
#[test]
fn who_sets_the_clock_moves_no_record_and_the_next_batch_says_by_how_much() {
    const HOUR_MS: i64 = 3_600_000;
    let (machine, file) = started();
    let mut told = Vec::new();
    for set_ahead_ms in [0, -HOUR_MS, 2 * HOUR_MS] {
        machine.set_clock_ahead_ms(set_ahead_ms);
        let request = file.read(BUFFER_SIZE);
        exit_threads(&machine, 1);
        machine.advance_ms(FLUSH_MS);
        let (header, records) = batch(&request);
        told.push((header.utc_offset, event::time_of(&records[0]).unwrap()));
    }
    let [(offset, time), (back, second), (ahead, third)] = told[..] else {
        panic!("{told:?}");
    };
    let flush_ns = FLUSH_MS.unsigned_abs() * 1_000_000;
    assert_eq!((second - time, third - second), (flush_ns, flush_ns));
    assert_eq!(offset - back, HOUR_MS * 1_000_000);
    assert_eq!(ahead - offset, HOUR_MS * 1_000_000);
    // 2026, by the offset, and a minute after the start, without it.
    assert!(
        (1_767_225_600..1_767_312_000).contains(&((offset + time.cast_signed()) / 1_000_000_000))
    );
    assert_eq!(time / 1_000_000_000, 60);
    stop(machine, file);
}

#[test]
fn a_full_batch_completes_a_read_before_the_interval_is_over() {
    let (machine, file) = started();
    let request = file.read(BUFFER_SIZE);
    // A thread exit takes 64 bytes of room.
    let due = BATCH_SIZE / 64;
    exit_threads(&machine, due - 1);
    assert!(request.is_pending());
    exit_threads(&machine, 1);

    assert_eq!(batch(&request).0.records, due);
    machine.advance_ms(FLUSH_MS);
    stop(machine, file);
}

#[test]
fn a_read_that_comes_late_is_served_at_once() {
    let (machine, file) = started();
    exit_threads(&machine, 5);
    machine.advance_ms(FLUSH_MS);
    assert_eq!(batch(&file.read(BUFFER_SIZE)).1.len(), 5);
    stop(machine, file);
}

#[test]
fn reads_are_completed_in_order_with_as_many_whole_records_as_fit() {
    let (machine, file) = started();
    let size = Batch::SIZE + 2 * HEADER_SIZE + 20;
    let requests: Vec<_> = (0..3).map(|_turn| file.read(size.max(68))).collect();
    exit_threads(&machine, 5);
    machine.advance_ms(FLUSH_MS);

    let batches: Vec<_> = requests.iter().map(batch).collect();
    let shape = batches
        .iter()
        .map(|(header, records)| (header.sequence, records.len()));
    assert_eq!(shape.collect::<Vec<_>>(), [(1, 2), (2, 2), (3, 1)]);
    stop(machine, file);
}

#[test]
fn a_buffer_too_small_for_a_record_is_refused_and_loses_nothing() {
    let (machine, file) = started();
    assert_eq!(file.read(67).outcome(), Some((BUFFER_TOO_SMALL, vec![])));
    assert_eq!(file.read(0).outcome(), Some((BUFFER_TOO_SMALL, vec![])));

    let command_line = vec![0x41; 200];
    machine.start_process(&StartProcess {
        command_line: Some(&command_line),
        ..StartProcess::default()
    });
    let small = file.read(100);
    machine.advance_ms(FLUSH_MS);
    assert_eq!(small.outcome(), Some((BUFFER_TOO_SMALL, vec![])));
    assert_eq!(batch(&file.read(BUFFER_SIZE)).1.len(), 1);
    stop(machine, file);
}

#[test]
fn a_cancelled_read_is_completed_once_and_takes_nothing_with_it() {
    let (machine, file) = started();
    let requests: Vec<_> = (0..3).map(|_turn| file.read(BUFFER_SIZE)).collect();
    requests[1].cancel();
    requests[1].cancel();
    assert_eq!(requests[1].outcome(), Some((CANCELLED, vec![])));

    exit_threads(&machine, 1);
    machine.advance_ms(FLUSH_MS);
    assert_eq!(batch(&requests[0]).1.len(), 1);
    requests[0].cancel();
    assert!(requests[2].is_pending());
    requests[2].cancel();
    drop(requests);
    stop(machine, file);
}

#[test]
fn the_last_handle_completes_what_pends_and_lets_the_next_consumer_in() {
    let (machine, mut file) = started();
    let requests: Vec<_> = (0..3).map(|_turn| file.read(BUFFER_SIZE)).collect();
    file.clean_up();
    for request in &requests {
        assert_eq!(request.outcome(), Some((CANCELLED, vec![])));
    }
    let late = file.read(BUFFER_SIZE);
    assert_eq!(late.outcome(), Some((SHARING_VIOLATION, vec![])));
    exit_threads(&machine, 1);

    let next = machine.open(Caller::Administrator, READ_ACCESS).unwrap();
    assert_eq!(flushed(&machine, &next).len(), 1);
    drop(file);
    stop(machine, next);
}

#[test]
fn unloading_completes_what_pends() {
    let (mut machine, file) = started();
    let request = file.read(BUFFER_SIZE);
    exit_threads(&machine, 1);
    machine.unload();
    assert_eq!(request.outcome(), Some((CANCELLED, vec![])));
    file.abandon();
}

/// The flush routine queues itself when reads come as fast as it completes them. One that had decided
/// to while another processor unloaded the driver, and did so while that waited in
/// `KeFlushQueuedDpcs`, ran in memory that was freed: the flush need not wait for it.
#[test]
fn a_routine_that_is_queued_during_the_unload_runs_before_the_memory_goes() {
    let (machine, file) = started();
    let size = Batch::SIZE + HEADER_SIZE + event::loss::Lost::SIZE;
    let requests: Vec<_> = (0..64).map(|_| file.read(size)).collect();
    exit_threads(&machine, 65);
    machine.delay_next_dpc();
    machine.advance_ms(FLUSH_MS);
    assert!(requests.iter().all(|request| !request.is_pending()));
    assert!(machine.is_any_dpc_delayed());
    stop(machine, file);
}

#[test]
fn more_reads_than_the_limit_are_refused() {
    let (machine, file) = started();
    let requests: Vec<_> = (0..64).map(|_turn| file.read(100)).collect();
    let one_more = file.read(BUFFER_SIZE);
    assert_eq!(one_more.outcome(), Some((ntemu::INJECTED, vec![])));
    assert_eq!(counters(&file).reads_pended, 64);
    assert!(requests.iter().all(ntemu::Request::is_pending));
    let (mut file, machine) = (file, machine);
    file.clean_up();
    drop(requests);
    stop(machine, file);
}

/// A batch is copied at `DISPATCH_LEVEL`: a buffer of the size of the whole queue had one processor
/// copy 64 MiB there, and a larger one had it go on for as long as events came.
#[test]
fn a_huge_buffer_is_filled_no_further_than_the_processor_may_be_held() {
    const HUGE: usize = 8 << 20;
    const HELD_MAX: u32 = (1 << 20) + 132 * 1024;
    if !IS_THOROUGH {
        return;
    }
    let machine = Machine::new();
    machine.set_value("QueueLimit", 4, &(16_u32 << 20).to_le_bytes());
    let (machine, file) = started_on(machine);
    let produced = 100_000;
    exit_threads(&machine, produced);
    machine.advance_ms(FLUSH_MS);
    let requests: Vec<_> = (0..8).map(|_turn| file.read(HUGE)).collect();
    machine.advance_ms(FLUSH_MS);

    let complete = requests.iter().filter(|request| !request.is_pending());
    let batches: Vec<_> = complete.map(batch).collect();
    let records: u32 = batches.iter().map(|(header, _)| header.records).sum();
    assert_eq!(records, produced, "all come, in several batches");
    assert!(batches.iter().all(|(header, _)| header.size <= HELD_MAX));
    for request in &requests {
        request.cancel();
    }
    drop(requests);
    stop(machine, file);
}

#[test]
fn a_file_that_was_not_opened_for_reading_reads_nothing() {
    let (machine, file) = started();
    let watcher = machine.open(Caller::Administrator, 0).unwrap();
    assert_eq!(
        watcher.read(BUFFER_SIZE).outcome(),
        Some((SHARING_VIOLATION, vec![]))
    );
    drop(watcher);
    stop(machine, file);
}

#[test]
fn flush_completes_a_read_now() {
    let (machine, file) = started();
    let request = file.read(BUFFER_SIZE);
    exit_threads(&machine, 2);
    assert!(request.is_pending());
    file.control(Code::FLUSH.0, &[], 0).unwrap();
    assert_eq!(batch(&request).1.len(), 2);
    machine.advance_ms(FLUSH_MS);
    stop(machine, file);
}

#[test]
fn what_is_lost_is_told_in_the_stream_and_the_account_balances() {
    let machine = Machine::new();
    machine.set_value("QueueLimit", 4, &(64_u32 * 1024).to_le_bytes());
    let (machine, file) = started_on(machine);
    // More than the 768 that have room.
    let produced = if IS_THOROUGH { 3_000 } else { 900 };
    exit_threads(&machine, produced);

    let mut records = flushed(&machine, &file);
    let count = *counters(&file).kinds.get(Kind::THREAD_EXIT).unwrap();
    assert_eq!(losses(&records), [(Kind::THREAD_EXIT, count.lost)]);
    assert_eq!(count.produced, u64::from(produced));
    assert_eq!(count.delivered + count.lost, u64::from(produced));
    assert!(count.lost > 0);
    assert_eq!(records.len() - 1, usize::try_from(count.delivered).unwrap());

    // Told once, and what comes after carries on.
    exit_threads(&machine, 2);
    records = flushed(&machine, &file);
    assert_eq!((records.len(), losses(&records).len()), (2, 0));
    let header = event::read(&records[0]).unwrap().header;
    assert_eq!(header.lost_before, count.lost);
    stop(machine, file);
}
