//! `systrail watch`: a line a process, or an event, of what is asked for.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{printed, said, systrail};

/// What is printed while `deed_fn` does something; `None` where no sensor runs.
fn watched(arguments: &[&str], deed_fn: impl FnOnce()) -> Option<String> {
    let mut watch = systrail();
    watch.arg("watch").args(arguments);
    watch.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = watch.spawn().expect("the program");
    let mut errors = BufReader::new(child.stderr.take().expect("standard error"));
    let mut text = String::new();
    while !text.ends_with("systrail: recording\n") {
        if errors.read_line(&mut text).expect("a line") == 0 {
            assert_eq!(child.wait().expect("an end").code(), Some(4), "{text}");
            return None;
        }
    }
    // What is printed must not fill the pipe while nobody reads.
    let mut out = child.stdout.take().expect("standard output");
    let reader = std::thread::spawn(move || {
        let mut printed = String::new();
        out.read_to_string(&mut printed).expect("text");
        printed
    });
    deed_fn();
    kill(
        Pid::from_raw(child.id().try_into().expect("an id")),
        Signal::SIGTERM,
    )
    .expect("a signal");
    errors.read_to_string(&mut text).expect("text");
    assert_eq!(child.wait().expect("an end").code(), Some(0), "{text}");
    Some(reader.join().expect("the reader"))
}

/// What is printed of what a script starts: other tests beside this one have children, too. The shell that
/// runs it waits until it is watched, and is not told of itself.
fn watched_below(arguments: &[&str], script: &str) -> Option<String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("read begin; {script}")]);
    let mut shell = shell.stdin(Stdio::piped()).spawn().expect("a shell");
    let id = shell.id().to_string();
    let arguments = [&["--under", &id], arguments].concat();
    let printed = watched(&arguments, || {
        drop(shell.stdin.take());
        shell.wait().expect("an end");
    });
    if printed.is_none() {
        drop(shell.stdin.take());
        shell.wait().expect("an end");
    }
    printed
}

#[test]
fn a_process_is_a_line_with_its_end() {
    let script = "/bin/sh -c 'exit 41'; /bin/sh -c 'exit 0'; /bin/sh -c 'kill -KILL $$'";
    let Some(text) = watched_below(&[], script) else {
        return;
    };
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("TIME (UTC) PROCESS USER"), "{text}");
    let ends = |how: &str| {
        lines
            .iter()
            .filter(|line| line[28..].starts_with(how))
            .count()
    };
    let counts = ["exit 41 ", "exit 0 ", "signal 9 "].map(ends);
    assert_eq!(counts, [1, 1, 1], "{text}");
    assert!(!text.contains("process_start"), "{text}");
    let failed = watched_below(&["--failed"], script).expect("a sensor");
    let failed: Vec<&str> = failed.lines().skip(1).collect();
    assert!(
        failed.iter().all(|line| !line[28..].starts_with("exit 0")),
        "{failed:?}"
    );
    assert_eq!(failed.len(), 2, "{failed:?}");
}

#[test]
fn events_of_a_kind_are_a_line_each() {
    let flags = ["--kind", "process_exec", "--image", "true"];
    let Some(text) = watched_below(&flags, "/bin/true; /bin/true; /bin/false") else {
        return;
    };
    let execs = text.lines().filter(|line| line.contains(" process_exec "));
    assert_eq!(execs.count(), 2, "{text}");
    let others = text
        .lines()
        .skip(1)
        .filter(|line| !line.contains(" process_exec "));
    assert!(
        others.clone().all(|line| line.contains(" sensor_")),
        "{text}"
    );
}

#[test]
fn what_is_there_already_is_told_where_it_is_asked_for() {
    let Some(text) = watched(&["--all"], || {}) else {
        return;
    };
    assert!(!text.contains("(existing)"), "{text}");
    let text = watched(&["--all", "--existing"], || {}).expect("a sensor");
    assert!(text.contains("(existing)"), "{text}");
}

#[test]
fn what_is_no_kind_pattern_or_process_is_refused() {
    let cases: [(&[&str], &str); 4] = [
        (
            &["--kind", "exec"],
            "there is no such kind; kinds are process_start",
        ),
        (&["--image", ""], "an empty pattern matches nothing"),
        (&["--under", "4194304"], "no process 4194304 runs now"),
        (&["--command-line", "[é]"], "ASCII"),
    ];
    for (arguments, wanted) in cases {
        let output = systrail()
            .arg("watch")
            .args(arguments)
            .output()
            .expect("the program");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            said(&output).contains(wanted),
            "{arguments:?}: {}",
            said(&output)
        );
        assert_eq!(printed(&output), "");
    }
}
