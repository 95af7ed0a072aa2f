//! Any bytes as a log, compressed or not: never a panic, and whatever events it has make a tree that
//! is drawn and written.

#![no_main]

use std::io::Cursor;

use systrail::replay::{Events, compressed};
use systrail::tree::{Forest, Style, Tree, draw, write_dot, write_json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|log: &[u8]| {
    let Ok(plain) = compressed::plain(Box::new(Cursor::new(log.to_vec()))) else {
        return;
    };
    let mut tree = Tree::default();
    for event in Events::new(plain).flatten() {
        tree.add(&event).expect("less than a million");
    }
    tree.finish();
    let forest = Forest::new(tree.processes(), |_| true);
    draw(&forest, Style::default(), |_line| Ok(())).expect("nothing of it is on a disk");
    let now = tree.end().unwrap_or_default();
    let mut out = Vec::new();
    write_json(&forest, now, &mut out).expect("a Vec takes everything");
    write_dot(&forest, &mut out).expect("a Vec takes everything");
    assert_eq!(forest.visits().count(), tree.processes().len());
});
