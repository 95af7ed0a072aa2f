//! An ELF file that says of itself what it wants: the search for its build id must end, with hex digits or
//! none.

#![no_main]

use libfuzzer_sys::fuzz_target;
use systrail::image_hash::elf::build_id;

fuzz_target!(|bytes: &[u8]| {
    let mut reads = 0;
    let found = build_id(|offset, buffer| {
        reads += 1;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = bytes.get(from..).unwrap_or_default();
        let size = rest.len().min(buffer.len());
        buffer[..size].copy_from_slice(&rest[..size]);
        Ok(size)
    });
    let found = found.expect("memory can always be read");
    assert!(reads <= 1 + 2 * 64, "{reads} reads");
    if let Some(id) = found {
        let is_digit = |digit: char| matches!(digit, '0'..='9' | 'a'..='f');
        assert!(
            (2..=128).contains(&id.len()) && id.chars().all(is_digit),
            "{id}"
        );
    }
});
