//! Any bytes as a record: never a panic, and what is read can be written and is read the same.

#![no_main]

use event::Event;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &[u8]| {
    if let Ok(event::Record { header, event, .. }) = event::read(record)
        && event != Event::Unknown
    {
        let mut buffer = vec![0; record.len()];
        let written = event::write(header, &event, &mut buffer).expect("it was as large");
        let again = event::read(written).expect("it was just written").event;
        assert_eq!(again, event);
    }
});
