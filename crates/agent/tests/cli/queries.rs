//! `systrail query` without a query: on a terminal it asks for one after the other.
#![cfg(feature = "shell")]

use std::path::Path;

use crate::{output, run_script, said};

#[test]
fn queries_are_typed_completed_interrupted_and_remembered() {
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path().join("home");
    std::fs::create_dir(&home).expect("a home");
    let store = directory.path().join("store");
    let log = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lookback/trail.jsonl");
    let replayed = output(["replay", log, "--store", store.to_str().expect("a text")]);
    assert!(replayed.status.success(), "{}", said(&replayed));
    let program = Path::new(env!("CARGO_BIN_EXE_systrail"));
    run_script("queries.py", [program, &store, &home]);
}

/// A script that lost its query was asked for one, and waited for ever.
#[test]
fn without_a_terminal_a_query_has_to_be_given() {
    let none = output(["query"]);
    assert_eq!(none.status.code(), Some(2));
    let text = said(&none);
    assert!(
        text.contains("there is no query; give one in quotes"),
        "{text}"
    );
}
