//! Signals end a recording with its account, or not at all.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use systrail::account::Account;

use crate::run::{Recording, run};
use crate::{file, said};

/// The last event of a log.
fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap();
    text.lines().last().unwrap_or_default().to_owned()
}

/// Most signals ended it at once: the log was cut, no account was written, and a hang-up passed for an
/// end that was wanted, so that no service manager started it again.
#[test]
fn every_signal_that_ends_a_recording_leaves_its_account() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("trail.jsonl");
    let cases = [
        (Signal::SIGQUIT, 0),
        (Signal::SIGALRM, 1),
        (Signal::SIGVTALRM, 1),
        (Signal::SIGPROF, 1),
        (Signal::SIGIO, 1),
        (Signal::SIGXCPU, 1),
        (Signal::SIGPWR, 1),
        (Signal::SIGSTKFLT, 1),
    ];
    for (signal, wanted) in cases {
        let command = run(&["--log", log.to_str().unwrap()]);
        let Some(recording) = Recording::start(command) else {
            return;
        };
        recording.signal(signal);
        if wanted == 1 {
            // A terminal that goes away can send it twice, and the second request gives up.
            recording.signal(signal);
        }
        let (code, said) = recording.end();
        assert_eq!(code, Some(wanted), "{signal}: {said}");
        let is_told = said.contains(&format!("ended by {signal}, which is no request to stop"));
        assert_eq!(is_told, wanted == 1, "{said}");
        assert!(said.contains("balanced: produced"), "{signal}: {said}");
        let last = last_line(&log);
        assert!(
            last.contains("\"kind\":\"sensor_stop\""),
            "{signal}: {last}"
        );
    }
}

#[test]
fn a_signal_with_another_meaning_ends_no_recording() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("trail.jsonl");
    let command = run(&["--log", log.to_str().unwrap()]);
    let Some(recording) = Recording::start(command) else {
        return;
    };
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGXFSZ] {
        recording.signal(signal);
        recording.signal(signal);
    }
    recording.signal(Signal::SIGTERM);
    let (code, said) = recording.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(last_line(&log).contains("\"kind\":\"sensor_stop\""));
}

/// The limit's signal killed the recorder where it met it.
#[test]
fn a_limit_on_file_sizes_costs_the_sink_that_meets_it_what_it_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    let event = |sequence: u32| {
        format!(
            "{{\"sequence\":{sequence},\"time\":\"2026-01-01T00:00:00.000000000Z\",\
             \"kind\":\"thread_exit\",\"host\":\"h\",\"process_id\":7,\
             \"process_key\":\"00000000000000aa\",\"thread_id\":8}}\n"
        )
    };
    let events: String = (1..=1_000).map(event).collect();
    let log = file(directory.path(), "whole.jsonl", &events);
    let (copy, summary) = (
        directory.path().join("copy"),
        directory.path().join("account"),
    );
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 32; exec \"$@\"", "sh"])
        .args([env!("CARGO_BIN_EXE_systrail"), "replay"])
        .args([
            &log,
            Path::new("--log"),
            &copy,
            Path::new("--summary"),
            &summary,
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        said(&output).contains("log cannot be written"),
        "{}",
        said(&output)
    );
    let account: Account = serde_json::from_slice(&fs::read(&summary).unwrap()).unwrap();
    let sink = &account.sinks[0];
    assert!(sink.written > 0 && sink.lost > 0, "{sink:?}");
    let kept = fs::read_to_string(copy).unwrap();
    assert_eq!(u64::try_from(kept.lines().count()), Ok(sink.written));
    assert!(events.starts_with(&kept), "whole lines");
}
