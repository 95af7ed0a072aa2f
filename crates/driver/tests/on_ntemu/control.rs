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
            // A quarter of either ring.
            record_size_max: (132 * 1024).min(QUEUE_LIMIT / 8),
            batch_size: BATCH_SIZE,
            flush_interval_ms: 50,
            queue_limit: QUEUE_LIMIT,
            reads_max: 64,
        }
    );
    stop(machine, file);
}

/// What it says is the one thing an agent of another version understands, so it must not depend on
/// how much such an agent says, or has room for.
#[test]
fn an_agent_of_another_version_is_told_so_whatever_else_it_says() {
    let (machine, file) = started();
    for version in [0, 1, PROTOCOL_VERSION + 1, u32::MAX] {
        let mut hello = version.to_le_bytes().to_vec();
        for (more, room) in [(0, Welcome::SIZE), (0, 4), (60, 256), (0, 0)] {
            hello.resize(4 + more, 0xff);
            let refused = file.control(Code::HANDSHAKE.0, &hello, room);
            assert_eq!(refused, Err(REVISION_MISMATCH), "{version} {more} {room}");
        }
    }
    stop(machine, file);
}

#[test]
fn a_newer_agent_of_this_version_may_say_more_and_have_more_room() {
    let (machine, file) = started();
    let mut hello = PROTOCOL_VERSION.to_le_bytes().to_vec();
    hello.extend([7; 12]);
    let answer = file
        .control(Code::HANDSHAKE.0, &hello, Welcome::SIZE_MAX)
        .unwrap();
    assert_eq!(answer.len(), Welcome::SIZE);
    let answer = file
        .control(Code::COUNTERS.0, &[], Counters::SIZE_MAX)
        .unwrap();
    assert_eq!(answer.len(), Counters::SIZE);
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
    let version: &[u8] = &PROTOCOL_VERSION.to_le_bytes();
    let refused: [(u32, &[u8], usize, i32); 10] = [
        (Code::HANDSHAKE.0, &[], 24, INVALID_PARAMETER),
        (Code::HANDSHAKE.0, &[1, 0, 0], 24, INVALID_PARAMETER),
        (Code::HANDSHAKE.0, version, 23, INVALID_PARAMETER),
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
