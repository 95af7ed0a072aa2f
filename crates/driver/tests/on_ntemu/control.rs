//! Control requests, and requests that the device does not know.

use crate::stream::{
    BATCH_SIZE, FLUSH_MS, INVALID_DEVICE_REQUEST, INVALID_PARAMETER, QUEUE_LIMIT, counters,
    flushed, started, stop,
};
use event::Kind;
use event::control::{Code, Counters, PROTOCOL_VERSION, Welcome};
use event::wire::Reader;
use ntemu::{Caller, StartProcess};

const REVISION_MISMATCH: i32 = 0xc000_0059_u32.cast_signed();

#[test]
fn the_handshake_says_what_a_reader_must_know() {
    let (machine, file) = started();
    let hello = PROTOCOL_VERSION.to_le_bytes();
    let answer = file
        .control(Code::HANDSHAKE.0, &hello, Welcome::SIZE)
        .unwrap();
    assert_eq!(
        Welcome::read(&mut Reader::new(&answer)).unwrap(),
        Welcome {
            protocol_version: PROTOCOL_VERSION,
            record_size_max: (132 * 1024).min(QUEUE_LIMIT / 4),
            batch_size: BATCH_SIZE,
            flush_interval_ms: 50,
            queue_limit: QUEUE_LIMIT,
            reads_max: 64,
        }
    );
    let other = (PROTOCOL_VERSION + 1).to_le_bytes();
    let refused = file.control(Code::HANDSHAKE.0, &other, Welcome::SIZE);
    assert_eq!(refused, Err(REVISION_MISMATCH));
    stop(machine, file);
}

#[test]
fn the_counters_balance() {
    let (machine, file) = started();
    machine.start_process(&StartProcess::default());
    machine.exit_process(100, 104, 0);
    let before = counters(&file);
    let starts = before.kinds.get(Kind::PROCESS_START).unwrap();
    assert_eq!((starts.produced, starts.delivered), (1, 0));
    assert!(before.queue_used > 0);

    flushed(&machine, &file);
    let after = counters(&file);
    let starts = after.kinds.get(Kind::PROCESS_START).unwrap();
    assert_eq!((starts.produced, starts.delivered), (1, 1));
    assert_eq!((after.queue_used, after.batches), (0, 1));
    assert_eq!(after.queue_peak, before.queue_used);
    stop(machine, file);
}

#[test]
fn malformed_requests_are_refused() {
    let (machine, file) = started();
    let refused: [(u32, &[u8], usize, i32); 11] = [
        (Code::HANDSHAKE.0, &[], 24, INVALID_PARAMETER),
        (Code::HANDSHAKE.0, &[1, 0, 0], 24, INVALID_PARAMETER),
        (Code::HANDSHAKE.0, &[1, 0, 0, 0, 0], 24, INVALID_PARAMETER),
        (Code::HANDSHAKE.0, &[1, 0, 0, 0], 23, INVALID_PARAMETER),
        (Code::COUNTERS.0, &[1], Counters::SIZE, INVALID_PARAMETER),
        (Code::COUNTERS.0, &[], Counters::SIZE - 1, INVALID_PARAMETER),
        (Code::COUNTERS.0, &[], 0, INVALID_PARAMETER),
        (Code::FLUSH.0, &[1], 0, INVALID_PARAMETER),
        (Code::FLUSH.0, &[], 1, INVALID_PARAMETER),
        (0x0022_2800, &[], 0, INVALID_DEVICE_REQUEST),
        (0xffff_ffff, &[1], 1, INVALID_DEVICE_REQUEST),
    ];
    for (code, input, output_size, status) in refused {
        assert_eq!(
            file.control(code, input, output_size),
            Err(status),
            "{code:#x} {input:?} {output_size}"
        );
    }
    stop(machine, file);
}

#[test]
fn codes_of_another_method_reach_no_buffer() {
    let (machine, file) = started();
    for method in 1..=3 {
        let hello = PROTOCOL_VERSION.to_le_bytes();
        let answer = file.control(Code::HANDSHAKE.0 | method, &hello, Welcome::SIZE);
        assert_eq!(answer, Err(INVALID_DEVICE_REQUEST));
    }
    stop(machine, file);
}

#[test]
fn only_the_reader_may_flush() {
    let (machine, file) = started();
    let watcher = machine.open(Caller::Administrator, 0).unwrap();
    assert_eq!(
        watcher.control(Code::FLUSH.0, &[], 0),
        Err(INVALID_DEVICE_REQUEST)
    );
    drop(watcher);
    machine.advance_ms(FLUSH_MS);
    stop(machine, file);
}

#[test]
fn requests_of_other_kinds_are_refused() {
    let (machine, file) = started();
    for major in [0x01, 0x04, 0x05, 0x09, 0x0f, 0x1b] {
        assert_eq!(
            file.request(major),
            Err(INVALID_DEVICE_REQUEST),
            "{major:#x}"
        );
    }
    stop(machine, file);
}
