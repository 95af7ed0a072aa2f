//! `systrail query` without a query: on a terminal it asks for one after the other.
#![cfg(feature = "shell")]

use std::env;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::{output, printed, said};

#[test]
fn queries_are_typed_completed_interrupted_and_remembered() {
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path().join("home");
    std::fs::create_dir(&home).expect("a home");
    let store = directory.path().join("store");
    let log = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lookback/trail.jsonl");
    let replayed = output(["replay", log, "--store", store.to_str().expect("a text")]);
    assert!(replayed.status.success(), "{}", said(&replayed));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/queries.py");
    let output = Command::new("python3")
        .args([script, env!("CARGO_BIN_EXE_systrail")])
        .args([&store, &home])
        .stdin(Stdio::null())
        .output();
    let output = match output {
        // `cargo xtask setup` installs it.
        Err(error) if env::var_os("CI").is_none() => {
            writeln!(std::io::stderr(), "did not run: python3: {error}").expect("a line");
            return;
        }
        output => output.expect("python3"),
    };
    assert!(
        output.status.success(),
        "{}{}",
        printed(&output),
        said(&output)
    );
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
