//! Any bytes as a line of the log: never a panic, and an event that is read is written as a line
//! that is the same event.

#![no_main]

use systrail::trail::json::{read_line, write_line};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    if let Ok(event) = read_line(line) {
        let mut written = Vec::new();
        write_line(&event, &mut written);
        let again = read_line(&written).expect("it was just written");
        assert_eq!(again, event);
        let mut written_again = Vec::new();
        write_line(&again, &mut written_again);
        assert_eq!(written_again, written);
    }
});
