//! `systrail top` on a terminal: keys, signals, sizes, and that the terminal is given back as it was.
#![cfg(feature = "top")]

use std::env;
use std::ffi::OsStr;
use std::path::Path;

use systrail::top::Screen;

use crate::{output, run_script, said, systrail};

/// What the screen looks at: a recording that has ended.
fn store(directory: &Path) -> String {
    let store = directory.join("store");
    let store = store.to_str().expect("a name of text").to_owned();
    let log = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lookback/trail.jsonl");
    let replayed = output(["replay", log, "--store", &store]);
    assert!(replayed.status.success(), "{}", said(&replayed));
    store
}

#[test]
fn the_terminal_is_given_back_whatever_happens() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path());
    let test = env::current_exe().expect("this program");
    let program = OsStr::new(env!("CARGO_BIN_EXE_systrail"));
    run_script("screen.py", [program, store.as_ref(), test.as_ref()]);
}

/// What the test above runs on a terminal; by itself it does nothing.
#[test]
fn a_screen_in_which_somebody_panics() {
    let Ok(what) = env::var("SYSTRAIL_TEST_PANIC") else {
        return;
    };
    let mut screen = Screen::open().expect("a terminal");
    if what == "draw" {
        screen
            .draw(|_buffer| panic!("panicked in the draw"))
            .expect("a picture");
    }
    let thread = std::thread::spawn(|| panic!("panicked in the thread"));
    let _panicked = thread.join();
    panic!("after the other thread");
}

#[test]
fn without_a_store_it_says_how_to_get_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let nowhere = directory.path().join("none");
    let mut top = systrail();
    let output = top.arg("top").arg("--store").arg(&nowhere).output();
    let output = output.expect("the program");
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(text.contains("sudo systrail run --store"), "{text}");
    let stdin = crate::output(["top", "--log", "-"]);
    assert_eq!(stdin.status.code(), Some(2), "{}", said(&stdin));
    let both = crate::output(["top", "--log", "a", "--store", "b"]);
    assert_eq!(both.status.code(), Some(2));
    let no_log = crate::output(["top", "--log", "/nonexistent"]);
    assert_eq!(no_log.status.code(), Some(1), "{}", said(&no_log));
}
