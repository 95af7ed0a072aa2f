//! The guided tour in the README does what it says: every command of it is run, in order, on a
//! recording made by its first one.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::TRAIL;

const README: &str = include_str!("../../../../README.md");

/// The lines after `$ ` of a section's console blocks.
fn commands(section: &str) -> Vec<&'static str> {
    let (_, after) = README.split_once(section).expect("the section");
    let text = after.split("\n## ").next().unwrap_or(after);
    let mut is_console = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        match line {
            "```console" => is_console = true,
            "```" => is_console = false,
            _ if is_console => commands.push(line.strip_prefix("$ ").expect("a command")),
            _ => {}
        }
    }
    commands
}

/// Runs a line of a document as a shell would, with this `systrail`.
pub(super) fn run(line: &str, directory: &Path) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_systrail"));
    let path = std::env::var("PATH").unwrap();
    let line = line
        .replace("sudo ", "")
        .replace("--duration 60s", "--duration 300ms");
    Command::new("sh")
        .args(["-c", &line])
        .env(
            "PATH",
            format!("{}:{path}", program.parent().unwrap().display()),
        )
        .env_remove("NOTIFY_SOCKET")
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn every_command_of_the_tour_works() {
    let directory = tempfile::tempdir().unwrap();
    let tour = commands("\n## Look back\n");
    assert!(tour.len() >= 7, "{tour:?}");
    for (index, line) in tour.iter().enumerate() {
        let output = run(line, directory.path());
        let said = String::from_utf8_lossy(&output.stderr);
        if index == 0 && output.status.code() == Some(4) {
            // Nothing records here; the rest is shown on a trail recorded elsewhere.
            let replay = format!("systrail replay {TRAIL} --store minute");
            assert!(run(&replay, directory.path()).status.success());
            continue;
        }
        assert_eq!(output.status.code(), Some(0), "{line}: {said}");
        if line.contains('>') {
            let (_, file) = line.rsplit_once("> ").unwrap();
            let text = fs::read_to_string(directory.path().join(file)).unwrap();
            assert!(text.lines().count() > 2, "{line}");
        } else if index > 0 {
            assert!(!output.stdout.is_empty(), "{line} prints nothing");
            // A busy machine may lose events, which is told.
            let is_loss = said.contains(" lost ") && said.lines().count() == 1;
            assert!(said.is_empty() || is_loss, "{line}: {said}");
        }
    }
}

#[test]
fn the_tree_that_is_shown_is_one_that_is_drawn() {
    let drawn = include_str!("tree.txt");
    let (_, shown) = README.split_once("```text\nPROCESS").expect("the tree");
    let shown = shown.split("```").next().unwrap();
    let shown = format!("PROCESS{shown}");
    assert!(shown.lines().count() > 5);
    for line in shown.lines() {
        // The README leaves out what stands under the shell besides.
        assert!(drawn.contains(line), "{line}");
    }
}
