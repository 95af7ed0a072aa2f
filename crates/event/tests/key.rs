//! The process key: scripts compute it too, so it can never change. `docs/EVENTS.md` describes it.

use std::collections::BTreeSet;

use event::ProcessKey;
use proptest::prelude::*;

/// 0, 1, 2 ... 15: in text form `00010203-0405-0607-0809-0a0b0c0d0e0f`.
const BOOT_ID: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

#[test]
fn is_what_it_was_when_scripts_were_written() {
    let vectors = [
        (([0; 16], 0, 0), "04c7154845f6e5a7"),
        ((BOOT_ID, 1, 0), "19fbcd70fa1ef1b0"),
        ((BOOT_ID, 4242, 123_456), "2829c2ff971349c8"),
        (([0xff; 16], u32::MAX, u64::MAX), "7b5856c40b3208bf"),
    ];
    for ((boot_id, process_id, start_tick), key) in vectors {
        let computed = ProcessKey::new(boot_id, process_id, start_tick);
        assert_eq!(computed.to_string(), key);
    }
}

#[test]
fn the_document_shows_a_true_example() {
    let document = include_str!("../../../docs/EVENTS.md");
    let example = document.split("Boot id `00010203-").nth(1).unwrap();
    assert!(example.contains("process id 4242, start tick 123456"));
    let tick = ProcessKey::new(BOOT_ID, 4242, 123_456);
    assert!(example.contains(&tick.to_string()));
    assert!(example.contains("1234567 ns"));
    assert!(example.contains(&tick.with_offset(1_234_567).to_string()));
}

#[test]
fn a_recycled_process_id_gets_another_key() {
    /// Miri is a hundred times slower.
    const COUNT: u32 = if cfg!(miri) { 20 } else { 300 };
    let keys: BTreeSet<ProcessKey> = (1..=COUNT)
        .flat_map(|process_id| {
            (0..u64::from(COUNT)).map(move |tick| ProcessKey::new(BOOT_ID, process_id, tick))
        })
        .collect();
    assert_eq!(keys.len() as u64, u64::from(COUNT).pow(2));
}

// Two processes with one id within a tick were one: anybody can choose the id of a child.
#[test]
fn an_id_that_is_used_again_within_the_tick_gets_another_key() {
    let tick = ProcessKey::new(BOOT_ID, 4242, 123_456);
    let (first, second) = (tick.with_offset(1_234_567), tick.with_offset(1_300_000));
    assert_ne!(first, second);
    assert_eq!(tick.with_offset(0), tick);
    assert_eq!(second.offset_from(tick), 1_300_000);
}

#[test]
fn who_knows_the_tick_alone_agrees_with_who_knows_more() {
    let tick = ProcessKey::new(BOOT_ID, 4242, 123_456);
    let exact = tick.with_offset(9_999_999);
    assert!(tick.agrees_with(exact) && exact.agrees_with(tick) && tick.agrees_with(tick));
    let (least, greatest) = tick.agreeing();
    assert!(least <= exact && exact <= greatest);
    assert!(!tick.agrees_with(ProcessKey::new(BOOT_ID, 4242, 123_457)));
    assert_eq!(exact.to_string()[..10], tick.to_string()[..10]);
}

proptest! {
    #[test]
    fn its_text_is_read_back(number in any::<u64>()) {
        let key = ProcessKey(number);
        let text = key.to_string();
        prop_assert_eq!(text.len(), 16);
        prop_assert_eq!(ProcessKey::from_hex(&text), Some(key));
    }

    #[test]
    fn no_other_text_is_a_key(text in "\\PC{0,20}") {
        let is_key = text.len() == 16 && text.chars().all(|digit| digit.is_ascii_hexdigit());
        prop_assert_eq!(ProcessKey::from_hex(&text).is_some(), is_key);
    }
}
