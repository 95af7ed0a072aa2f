//! `systrail replay`, also of a log that a crash has torn.

use std::fs;

use event::Kind;
use systrail::account::Account;

use crate::{file, output, said, systrail};

/// A log as a crash leaves it: a loss, and a torn last line.
const TORN_LOG: &str = "\
{\"sequence\":1,\"time\":\"2026-01-01T00:00:00.000000000Z\",\"kind\":\"thread_exit\",\"host\":\"h\",\
\"process_id\":7,\"process_key\":\"00000000000000aa\",\"thread_id\":8}
{\"sequence\":2,\"time\":\"2026-01-01T00:00:00.000000001Z\",\"kind\":\"lost\",\"host\":\"h\",\
\"process_id\":7,\"process_key\":\"00000000000000aa\",\"lost_kind\":\"thread_exit\",\
\"lost_count\":3,\"lost_reason\":\"buffer_full\"}
{\"sequence\":3,\"time\":\"2026-01-01T00";

#[test]
fn replay_passes_over_what_is_no_event_and_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let log = file(directory.path(), "torn.jsonl", TORN_LOG);
    let copy = directory.path().join("copy.jsonl");
    let summary = directory.path().join("account.json");
    let output = systrail()
        .arg("replay")
        .arg(&log)
        .arg("--log")
        .arg(&copy)
        .arg("--summary")
        .arg(&summary)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        said(&output).contains("line 3 is passed over"),
        "{}",
        said(&output)
    );
    let whole: Vec<&str> = TORN_LOG.lines().take(2).collect();
    assert_eq!(
        fs::read_to_string(&copy)
            .unwrap()
            .lines()
            .collect::<Vec<_>>(),
        whole
    );
    let account: Account = serde_json::from_slice(&fs::read(&summary).unwrap()).unwrap();
    let count = account.kinds.get(Kind::THREAD_EXIT);
    assert_eq!((count.produced, count.delivered, count.lost), (4, 1, 3));
    assert_eq!(account.source, "replay");
}

#[test]
fn on_loss_fail_ends_with_3() {
    let directory = tempfile::tempdir().unwrap();
    let whole: Vec<&str> = TORN_LOG.lines().take(2).collect();
    let with_loss = file(directory.path(), "loss.jsonl", &whole.join("\n"));
    let torn = file(
        directory.path(),
        "torn.jsonl",
        &TORN_LOG.replace("thread_exit\",\"lost", "x"),
    );
    for log in [with_loss, torn] {
        let log = log.to_str().unwrap();
        assert_eq!(
            output(["replay", log, "--on-loss", "fail"]).status.code(),
            Some(3)
        );
        assert_eq!(
            output(["replay", log, "--on-loss", "log"]).status.code(),
            Some(0)
        );
    }
}

/// A newer version's log read as a damaged one.
#[test]
fn events_of_newer_kinds_are_told_in_one_sentence_and_fail_only_when_strict() {
    let directory = tempfile::tempdir().unwrap();
    let newer = "{\"sequence\":1,\"kind\":\"file_create\"}\n".repeat(3);
    let whole: Vec<&str> = TORN_LOG.lines().take(1).collect();
    let log = file(
        directory.path(),
        "newer.jsonl",
        &format!("{newer}{}\n", whole[0]),
    );
    let log = log.to_str().unwrap();
    let sentence = "systrail: 3 events of a kind this systrail does not know (\"file_create\") were \
                    passed over; a newer systrail reads them\n";
    let commands: [&[&str]; 4] = [
        &["replay", log, "--log", "-"],
        &["replay", log, "--log", "-", "--on-loss", "fail"],
        &["export", "--log", log],
        &["tree", "--log", log],
    ];
    for command in commands {
        let done = output(command);
        assert_eq!(done.status.code(), Some(0), "{command:?}: {}", said(&done));
        assert!(
            said(&done).contains(sentence),
            "{command:?}: {}",
            said(&done)
        );
        assert!(!said(&done).contains("no event"), "{}", said(&done));
        let strict = output([command, &["--strict"]].concat());
        assert_eq!(strict.status.code(), Some(1), "{command:?}");
        assert!(said(&strict).contains("--strict"), "{}", said(&strict));
    }
}

#[test]
fn a_whole_log_is_whole_to_the_strict_and_a_torn_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let whole: Vec<&str> = TORN_LOG.lines().take(2).collect();
    let whole = file(directory.path(), "whole.jsonl", &whole.join("\n"));
    let torn = file(directory.path(), "torn.jsonl", TORN_LOG);
    for (log, code) in [(whole, 0), (torn, 1)] {
        let log = log.to_str().unwrap();
        for command in [&["replay", log][..], &["export", "--log", log]] {
            let strict = output([command, &["--strict"]].concat());
            assert_eq!(strict.status.code(), Some(code), "{}", said(&strict));
        }
    }
}

#[test]
fn replay_of_nothing_ends_with_1() {
    let output = output(["replay", "/no/such/log.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("/no/such/log.jsonl"));
}

#[test]
fn a_log_is_not_replayed_into_itself() {
    let directory = tempfile::tempdir().unwrap();
    let log = file(directory.path(), "trail.jsonl", TORN_LOG);
    let path = log.to_str().unwrap();
    for flag in ["--log", "--summary"] {
        let output = output(["replay", path, flag, path]);
        assert_eq!(output.status.code(), Some(2), "{flag}");
        assert!(said(&output).contains("name another file"), "{flag}");
        assert_eq!(fs::read_to_string(&log).unwrap(), TORN_LOG, "{flag}");
    }
}

/// `/dev/stdout` is a link. It used to be replaced by a regular file, which every program of the
/// machine then wrote to.
#[test]
fn a_summary_on_standard_output_follows_the_log_and_leaves_the_link() {
    let directory = tempfile::tempdir().unwrap();
    let log = file(directory.path(), "trail.jsonl", TORN_LOG);
    let link = directory.path().join("stdout");
    std::os::unix::fs::symlink("/proc/self/fd/1", &link).unwrap();
    let printed = directory.path().join("printed");
    let mut command = systrail();
    command.arg("replay").arg(&log).args(["--log", "-"]);
    command.arg("--summary").arg(&link);
    command.stdout(fs::File::create(&printed).unwrap());
    assert_eq!(command.status().unwrap().code(), Some(0));
    assert!(link.is_symlink(), "it is for others too");
    let text = fs::read_to_string(&printed).unwrap();
    assert!(text.starts_with("{\"sequence\":"), "{text}");
    assert!(text.ends_with("\n}\n"), "{text}");
}
