//! Thread start and exit.

use event::{Event, HEADER_SIZE, Header, Kind, thread};

use crate::kernel::{RECORD_THREADS, Task};
use crate::maps::Ring;
use crate::record::{Buffer, header};

/// A thread of an existing process was created by the current one.
#[inline(always)]
pub(crate) fn start(task: Task) {
    if !are_wanted() {
        return;
    }
    let creator = Task::current();
    let start = thread::Start {
        creator_process_id: creator.tgid(),
        creator_thread_id: creator.pid(),
        start_address: 0,
    };
    let ring = Ring::of(Kind::THREAD_START);
    let mut buffer = Buffer([0; HEADER_SIZE.wrapping_add(thread::Start::SIZE)]);
    let record = event::write(
        header(task, ring.lost()),
        &Event::ThreadStart(start),
        &mut buffer.0,
    );
    ring.store(Kind::THREAD_START, record);
}

/// The thread `thread_id` of `task`'s process ended.
#[inline(always)]
pub(crate) fn exit(task: Task, thread_id: u32) {
    if !are_wanted() {
        return;
    }
    let ring = Ring::of(Kind::THREAD_EXIT);
    let header = Header {
        thread_id,
        ..header(task, ring.lost())
    };
    let mut buffer = Buffer([0; HEADER_SIZE.wrapping_add(thread::Exit::SIZE)]);
    let record = event::write(header, &Event::ThreadExit(thread::Exit), &mut buffer.0);
    ring.store(Kind::THREAD_EXIT, record);
}

#[inline(always)]
fn are_wanted() -> bool {
    RECORD_THREADS.value() != 0
}
