//! An intrusion that is staged: what rules find in it while it is recorded, and later in the record.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::Value;

use super::{RULES, found, lines_of_json, systrail};

/// What no sensor that can run here exits with.
const NO_SENSOR: i32 = 4;

/// Everything it does has the directory in its command line, by which it is told from what else runs. The
/// shell has nothing to connect to.
fn stage(directory: &Path) {
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    for name in ["dropped", "curl"] {
        fs::copy("/bin/true", path(name)).unwrap();
    }
    let mark = path("mark");
    let run = |command: &[&str]| {
        let mut process = Command::new(command[0]);
        let process = process.args(&command[1..]).stderr(Stdio::null());
        let _refused_by_the_port = process.status().unwrap();
    };
    run(&[&path("dropped"), &mark]);
    run(&[&path("curl"), "http://127.0.0.1/", "-o", &mark]);
    run(&["bash", "-c", "true\nexec 3<>/dev/tcp/127.0.0.1/9", &mark]);
    run(&["env", "LD_PRELOAD=/nothing.so", "true", &mark]);
    let job = path("cron.d/job");
    fs::create_dir(directory.join("cron.d")).unwrap();
    let line = format!("echo '* * * * * root {mark}' > {job}");
    run(&["bash", "-c", &line]);
    // Open to the child as well, which runs it.
    let memory = memfd_create(c"payload", MFdFlags::empty()).unwrap();
    let mut memory = fs::File::from(memory);
    std::io::copy(&mut fs::File::open("/bin/true").unwrap(), &mut memory).unwrap();
    run(&[&format!("/proc/self/fd/{}", memory.as_raw_fd()), &mark]);
    run(&["true", &mark]);
}

/// The program by the last part of its path, and the rule.
const EXPECTED: [(&str, &str); 7] = [
    (
        "dropped",
        "A program is run that everybody could have put there",
    ),
    (
        "curl",
        "A program is fetched into a directory that everybody can write",
    ),
    (
        "curl",
        "A program is run that everybody could have put there",
    ),
    ("bash", "A shell is connected with a port of a network"),
    ("env", "A library is put before all others"),
    ("bash", "A shell writes a table of cron"),
    ("memfd:payload", "A program is run from memory"),
];

/// Records until `stage_fn` is done; `None` where no sensor can run.
fn recorded(directory: &Path, stage_fn: impl FnOnce()) -> Option<Vec<Value>> {
    let (config, log) = (
        directory.join("systrail.toml"),
        directory.join("trail.jsonl"),
    );
    let told = directory.join("told");
    let command = format!(
        "[\"/bin/sh\", \"-c\", 'cat >> \"$0\"', \"{}\"]",
        told.display()
    );
    let text = format!("[detect]\nrules = \"{RULES}\"\n[alert]\ncommand = {command}\n");
    fs::write(&config, text).unwrap();
    let mut run = systrail();
    run.args(["run", "--no-store", "--events", "process", "--config"])
        .arg(config);
    run.arg("--log")
        .arg(&log)
        .stderr(Stdio::piped())
        .stdout(Stdio::null());
    let mut run = run.spawn().unwrap();
    if !is_recording(&mut run) {
        assert_eq!(run.wait().unwrap().code(), Some(NO_SENSOR));
        return None;
    }
    stage_fn();
    let id = run.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(run.wait().unwrap().code(), Some(0));
    Some(lines_of_json(&fs::read_to_string(log).unwrap()))
}

/// Reads what it says until it records, or ends; what it says later is read away.
fn is_recording(run: &mut Child) -> bool {
    let mut said = BufReader::new(run.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let is_recording = said.any(|line| line == "systrail: recording");
    std::thread::spawn(move || said.for_each(drop));
    is_recording
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "a test that did not run says so to who looks at it"
)]
fn what_is_found_while_it_happens_is_found_again_in_the_record() {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let path = directory.path();
    let Some(events) = recorded(path, || stage(path)) else {
        println!("did not run: no sensor can run here");
        return;
    };
    let mark = path.join("mark").to_str().unwrap().to_owned();
    let name = |event: &Value| {
        event["image"]
            .as_str()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap()
            .to_owned()
    };
    let staged: BTreeMap<u64, String> = events
        .iter()
        .filter(|event| event["kind"] == "process_exec")
        .filter(|event| {
            event["command_line"]
                .as_str()
                .is_some_and(|line| line.contains(&mark))
        })
        .map(|event| (event["sequence"].as_u64().unwrap(), name(event)))
        .collect();
    let by_rule = |rows: &[Value]| {
        let rows = rows.iter().filter_map(|row| {
            let program = staged.get(&row["matched_sequence"].as_u64()?)?;
            Some((program.clone(), row["rule_title"].as_str()?.to_owned()))
        });
        rows.collect::<Vec<_>>()
    };
    let live: Vec<Value> = events
        .iter()
        .filter(|event| event["kind"] == "detection")
        .cloned()
        .collect();
    let expected = EXPECTED.map(|(program, rule)| (program.to_owned(), rule.to_owned()));
    assert_eq!(by_rule(&live), expected, "{staged:?}");
    let told = lines_of_json(&fs::read_to_string(path.join("told")).unwrap());
    assert_eq!(by_rule(&told), expected);
    for told in told.chunks(2) {
        assert_eq!(told[0]["matched_sequence"], told[1]["sequence"]);
        assert!(
            live.contains(&told[0]) && events.contains(&told[1]),
            "{told:?}"
        );
    }
    assert_eq!(by_rule(&found(&path.join("trail.jsonl"))), expected);
    // A match stands behind what matched, with nothing but other matches of it between.
    for (before, event) in events.iter().zip(&events[1..]) {
        if event["kind"] == "detection" {
            let matched = &event["matched_sequence"];
            let follows = before["sequence"] == *matched || before["matched_sequence"] == *matched;
            assert!(follows, "{before} {event}");
            assert_eq!(event["process_key"], before["process_key"]);
        }
    }
}
