//! Any bytes as a trace file: read to an end, in bounded time and memory, and every event decoded or
//! refused.

#![no_main]

use std::io::Cursor;

use etw::fields::PointerSize;
use etw::file::{PEEK_SIZE, Trace};
use etw::kernel::{self, Input};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The begin without which nothing is read on: the shape of the first event.
    let mut file = bytes.to_vec();
    file.resize(bytes.len().max(PEEK_SIZE), 0);
    file[72..76].copy_from_slice(&[2, 0, 2, 0xc0]);
    file[78..80].fill(0);
    let Ok(mut trace) = Trace::open(Cursor::new(file)) else {
        return;
    };
    let mut told = 0;
    for _pass in 0..2 {
        let mut count = 0_u64;
        while let Some(event) = trace.next_event().expect("memory can be read") {
            let _any = kernel::decode(&Input::of_file(&event, PointerSize::Eight));
            count += 1;
        }
        told = if told == 0 { count } else { told };
        assert_eq!(told, count, "a second reading finds the same events");
        trace.rewind();
    }
});
