//! `docs/TOUR.md` prints what it says: every command of its console blocks is run in order, and what it
//! prints stands below it. `UPDATE_DOCS=1` writes that anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::readme::run;

const NIGHT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lookback/night.jsonl");
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/detect/rules/linux");

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/TOUR.md")
}

#[test]
fn every_command_prints_what_stands_below_it() {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(RULES, directory.path().join("rules")).unwrap();
    fs::copy(NIGHT, directory.path().join("night.jsonl")).unwrap();
    let text = fs::read_to_string(path()).unwrap();
    let mut told = String::new();
    let mut blocks = text.split("```console\n");
    told.push_str(blocks.next().unwrap());
    let mut count = 0;
    for block in blocks {
        let (commands, rest) = block.split_once("```").unwrap();
        told.push_str("```console\n");
        for command in commands.lines().filter_map(|line| line.strip_prefix("$ ")) {
            let output = run(command, directory.path());
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{command}: {said}");
            let printed = String::from_utf8(output.stdout).unwrap();
            let lines = printed.lines().map(|line| format!("{}\n", line.trim_end()));
            writeln!(told, "$ {command}").unwrap();
            told.extend(lines);
            count += 1;
        }
        told.push_str("```");
        told.push_str(rest);
    }
    assert!(count >= 7, "{count} commands");
    if told != text && std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path(), &told).unwrap();
    }
    assert_eq!(told, text, "UPDATE_DOCS=1 writes docs/TOUR.md anew");
}
