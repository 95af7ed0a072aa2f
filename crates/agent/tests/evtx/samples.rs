//! Real logs that nobody here made. They are not in the repository: `SYSTRAIL_SAMPLES` is a folder
//! whose folder `evtx` has them, some packed by `xz`. Where it is not set a test says that it did not
//! run.
//!
//! `count_events.py` counts the same events with a reader that others wrote.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use event::Kind;
use systrail::replay;
use systrail::trail::Body;

use crate::{finish, printed, said, systrail};

/// The logs, unpacked into `directory` where they are packed.
fn samples(directory: &Path) -> Option<Vec<PathBuf>> {
    let Some(folder) = env::var_os("SYSTRAIL_SAMPLES") else {
        did_not_run("SYSTRAIL_SAMPLES does not say where the samples are");
        return None;
    };
    let folder = Path::new(&folder).join("evtx");
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut samples: Vec<PathBuf> = entries
        .map(|entry| unpacked(&entry.unwrap().path(), directory))
        .collect();
    samples.sort();
    Some(samples)
}

#[expect(
    clippy::print_stdout,
    reason = "a test that did not run says so to who looks at it"
)]
fn did_not_run(why: &str) {
    println!("did not run: {why}");
}

fn unpacked(path: &Path, directory: &Path) -> PathBuf {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return path.to_path_buf();
    }
    let plain = directory.join(path.file_stem().unwrap());
    let file = fs::File::create(&plain).unwrap();
    let mut xz = Command::new("xz");
    let status = xz.arg("-dc").arg(path).stdout(file).status().unwrap();
    assert!(status.success(), "xz -dc {}", path.display());
    plain
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// What the script ends with where there is no reader.
const NO_READER: i32 = 77;

const DEBIANS: &str = "/usr/bin/python3";

/// How many events of the ids that are read each log has, as `count_events.py` says.
fn counted(samples: &[PathBuf]) -> Option<BTreeMap<(String, u32), u64>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/evtx/count_events.py");
    let python = env::var_os("SYSTRAIL_PYTHON").unwrap_or_else(|| "python3".into());
    // Debian's has the packages of Debian, whichever comes first in the path.
    let counted_by = |python: &OsStr| {
        let mut command = Command::new(python);
        let command = command.arg(script).args(samples);
        command.stderr(Stdio::inherit()).output().unwrap()
    };
    let mut output = counted_by(&python);
    if output.status.code() == Some(NO_READER) && Path::new(DEBIANS).exists() {
        output = counted_by(OsStr::new(DEBIANS));
    }
    if output.status.code() == Some(NO_READER) {
        let why = "Python has neither of the packages evtx and python-evtx";
        // `cargo xtask setup` installs one.
        assert!(env::var_os("CI").is_none(), "{why}");
        did_not_run(why);
        return None;
    }
    assert!(output.status.success());
    let lines = printed(&output);
    let counts = lines.lines().map(|line| {
        let [name, id, count] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        (
            (name.to_owned(), id.parse().unwrap()),
            count.parse().unwrap(),
        )
    });
    Some(counts.collect())
}

/// What `counted` says, of what we read.
fn ours(path: &Path) -> BTreeMap<(String, u32), u64> {
    let mut counts = BTreeMap::new();
    let read = finish(replay::open(path).unwrap());
    let mut of_security = false;
    for event in replay::open(path).unwrap().flatten() {
        if let Body::SensorStart(start) = &event.body {
            of_security = start.source == "security";
        }
    }
    for event in &read.events {
        let is_driver = matches!(
            &event.body,
            Body::ImageLoad(load) if load.kernel_image
        );
        let id = match event.body.kind() {
            Kind::PROCESS_START if of_security => 4688,
            Kind::PROCESS_EXIT if of_security => 4689,
            Kind::PROCESS_START => 1,
            Kind::PROCESS_EXIT => 5,
            Kind::IMAGE_LOAD if is_driver => 6,
            Kind::IMAGE_LOAD => 7,
            Kind::THREAD_START => 8,
            other => panic!("{other}"),
        };
        *counts.entry((name(path), id)).or_default() += 1;
    }
    counts
}

#[test]
fn every_event_that_another_reader_counts_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let Some(samples) = samples(directory.path()) else {
        return;
    };
    let ours: BTreeMap<_, _> = samples.iter().flat_map(|path| ours(path)).collect();
    assert!(ours.len() > 10, "{ours:?}");
    if let Some(theirs) = counted(&samples) {
        assert_eq!(ours, theirs);
    }
}

/// Who started whom in an attack, by the keys that the log gives.
#[test]
fn the_tree_shows_the_chain_of_an_attack() {
    let directory = tempfile::tempdir().unwrap();
    let Some(samples) = samples(directory.path()) else {
        return;
    };
    let chains = [
        (
            "rundll32_cmd_schtask.evtx",
            &["conf3234.dll", "cmd.exe", "schtasks "][..],
        ),
        (
            "sliver-security.evtx",
            &["cmd.exe /Q /c JOINT_BALL.exe", "JOINT_BALL.exe  "][..],
        ),
    ];
    for (wanted, chain) in chains {
        let Some(path) = samples.iter().find(|path| name(path) == wanted) else {
            did_not_run(&format!("{wanted} is not among the samples"));
            continue;
        };
        let output = systrail(&["tree", "--log", path.to_str().unwrap()]);
        assert!(output.status.success(), "{}", said(&output));
        let tree = printed(&output);
        // Each stands further right than the one before, whose child it is.
        let mut depth = None;
        let mut lines = tree.lines();
        for program in chain {
            let line = lines.find(|line| line.contains(program));
            let line = line.unwrap_or_else(|| panic!("{program} is not in\n{tree}"));
            let branch = line
                .chars()
                .position(|letter| letter == '└' || letter == '├');
            assert!(
                branch >= depth && (branch.is_some() || depth.is_none()),
                "{tree}"
            );
            depth = branch;
        }
        assert!(depth.is_some(), "{tree}");
    }
}
