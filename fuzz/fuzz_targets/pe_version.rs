//! A PE file that says of itself what it wants: the search for its version resource must end after a few
//! reads, with texts that are not empty and no longer than they may be.

#![no_main]

use libfuzzer_sys::fuzz_target;
use systrail::image_hash::pe::{TEXT_SIZE_MAX, version};

fuzz_target!(|bytes: &[u8]| {
    let mut reads = 0;
    let found = version(|offset, buffer| {
        reads += 1;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = bytes.get(from..).unwrap_or_default();
        let size = rest.len().min(buffer.len());
        buffer[..size].copy_from_slice(&rest[..size]);
        Ok(size)
    });
    let found = found.expect("memory can always be read");
    assert!(reads <= 8, "{reads} reads");
    for (text, _) in found.iter().flat_map(|found| found.texts.iter().flatten()) {
        assert!((2..=TEXT_SIZE_MAX).contains(&text.len()) && text.len() % 2 == 0);
    }
});
