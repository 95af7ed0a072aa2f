//! Any control request to the unchanged driver on `ntemu`: any code, input and size of output. The
//! driver answers or refuses, keeps the kernel's contract, and serves the next good request.

#![no_main]

use driver::Driver;
use event::control::{Code, Counters};
use libfuzzer_sys::fuzz_target;
use ntemu::{Caller, Machine};

/// `FILE_READ_DATA`
const READ_ACCESS: u32 = 1;

/// A request: which code (or, from 3, the number itself), the input, bytes of output.
type Request<'a> = (u32, u16, &'a [u8]);

fuzz_target!(|requests: Vec<Request<'_>>| {
    let mut machine = Machine::new();
    machine.set_value("QueueLimit", 4, &(64_u32 * 1024).to_le_bytes());
    machine
        .load(nt::driver::entry::<Driver>)
        .expect("it starts");
    let file = machine
        .open(Caller::Administrator, READ_ACCESS)
        .expect("an administrator");
    for (code, output_size, input) in requests {
        let code = match code {
            0 => Code::HANDSHAKE.0,
            1 => Code::COUNTERS.0,
            2 => Code::FLUSH.0,
            other => other,
        };
        let size = usize::from(output_size);
        if let Ok(answer) = file.control(code, input, size) {
            assert!(answer.len() <= size);
        }
    }
    file.control(Code::COUNTERS.0, &[], Counters::SIZE)
        .expect("a good request is served");
    drop(file);
    machine.unload();
    // Dropping the machine asserts that the contract was kept.
});
