//! `--local`: the time of the place, shown and meant.

use std::process::Command;

use super::TRAIL;

/// An hour ahead of UTC in winter. No file of zones is needed for it.
const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

fn told(zone: &str, arguments: &[&str]) -> (String, String, Option<i32>) {
    let mut systrail = Command::new(env!("CARGO_BIN_EXE_systrail"));
    let output = systrail.args(arguments).env("TZ", zone).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code(),
    )
}

#[test]
fn times_are_shown_and_meant_as_the_clock_here_has_them() {
    // The shell of the trail started at ten to midnight, UTC.
    let (here, _, _) = told(BERLIN, &["tree", "--local", "--log", TRAIL]);
    assert!(
        here.starts_with("PROCESS USER     START (CET)  STATE"),
        "{here}"
    );
    assert!(here.contains("100 ada      00:50:00.000"), "{here}");
    let (utc, _, _) = told(BERLIN, &["tree", "--log", TRAIL]);
    assert!(utc.contains("100 ada      23:50:00.000"), "{utc}");

    let at = |zone_flag: &[&str], time: &str| {
        let arguments = ["tree", "--log", TRAIL, "--format", "jsonl", "--at", time];
        told(BERLIN, &[&arguments, zone_flag].concat()).0
    };
    let in_both = at(&["--local"], "2026-01-01 01:00:01.045");
    assert_eq!(in_both, at(&[], "2026-01-01 00:00:01.045"));
    // What a program reads is UTC, as in the log.
    assert!(in_both.contains("\"start_time_text\":\"2025-12-31T23:50:00.000000000Z\""));

    let (story, _, _) = told(BERLIN, &["show", "1000", "--local", "--log", TRAIL]);
    assert!(
        story.contains("2026-01-01 01:00:01.000000000 CET"),
        "{story}"
    );
}

#[test]
fn a_query_reads_and_prints_local_time() {
    let store = super::Store::small();
    let ask = |arguments: &[&str]| {
        let sql = "SELECT time_text, time FROM events WHERE time < '2026-01-01 01:00:01.011' \
                   AND kind = 'process_start' AND process_id = 1001";
        let arguments = [
            &["query", "--store", store.path(), "--format", "csv", sql],
            arguments,
        ]
        .concat();
        told(BERLIN, &arguments).0
    };
    let local = ask(&["--local"]);
    let row = "2026-01-01T01:00:01.010000000+01:00,1767225601010000000\n";
    assert_eq!(local, format!("time_text,time\n{row}"));
    // An hour later there are two of that id, told in UTC.
    assert!(ask(&[]).contains("2026-01-01T00:00:01.010000000Z,1767225601010000000\n"));
}

#[test]
fn without_a_zone_it_says_how_to_name_one() {
    let (out, said, code) = told("Nowhere/At_all", &["tree", "--local", "--log", TRAIL]);
    assert_eq!((out.as_str(), code), ("", Some(2)));
    assert!(said.contains("set TZ, as in TZ=Europe/Berlin"), "{said}");
}
