//! Traces of real machines, which are not part of the repository: `SYSTRAIL_SAMPLES` names the folder in
//! which `etl/` has them (`docs/TESTING.md`). Where it is not set the tests say so and pass.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use systrail::trail::Body;

use super::Replayed;

/// Walks a trace by itself, sharing nothing with what it checks.
const COUNT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traces/count.py");

/// A trace, unpacked; none where there are no samples. One that is missing there is a failure.
fn sample(name: &str, directory: &Path) -> Option<PathBuf> {
    let Some(folder) = env::var_os("SYSTRAIL_SAMPLES") else {
        let mut stderr = std::io::stderr();
        writeln!(
            stderr,
            "not run: SYSTRAIL_SAMPLES names no folder with etl/{name}"
        )
        .unwrap();
        return None;
    };
    let path = Path::new(&folder).join("etl").join(name);
    if path.extension() != Some(OsStr::new("xz")) {
        return Some(path);
    }
    let unpacked = Command::new("xz").arg("-dc").arg(&path).output().unwrap();
    assert!(
        unpacked.status.success(),
        "{} cannot be unpacked",
        path.display()
    );
    let plain = directory.join("trace");
    fs::write(&plain, unpacked.stdout).unwrap();
    Some(plain)
}

/// What the script finds, and what was replayed.
fn both(path: &Path) -> (Value, Replayed) {
    let counted = Command::new("python3")
        .arg(COUNT)
        .arg(path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&counted.stderr);
    assert!(counted.status.success(), "{said}");
    let counted = serde_json::from_slice(&counted.stdout).unwrap();
    (counted, Replayed::of_file(path))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// Whether counts by kind, every process with its parent, and every image are as the script finds them.
fn agrees(name: &str) -> Option<Replayed> {
    let directory = tempfile::tempdir().unwrap();
    let path = sample(name, directory.path())?;
    let (counted, replayed) = both(&path);
    let kinds = [
        "process_start",
        "process_exit",
        "thread_start",
        "thread_exit",
        "image_load",
        "image_unload",
    ];
    for kind in kinds {
        let expected = counted["counts"].get(kind).map_or(0, number);
        assert_eq!(replayed.count(kind) as u64, expected, "{name}: {kind}");
    }

    let mut keys = BTreeMap::new();
    let processes = replayed.starts();
    for ((event, start), expected) in processes.iter().zip(counted["parents"].as_array().unwrap()) {
        assert_eq!(u64::from(event.process_id), number(&expected[0]), "{name}");
        let parent = start.parent_process_id.map(u64::from);
        assert_eq!(parent, expected[1].as_u64(), "{name}: {expected}");
        let known = expected[2]
            .as_u64()
            .and_then(|parent| keys.get(&parent).copied());
        if start.existing {
            assert_eq!(start.parent_process_key, known, "{name}: {expected}");
        }
        keys.insert(u64::from(event.process_id), event.process_key);
    }

    let images = counted["images"].as_array().unwrap();
    for ((event, load), expected) in replayed.loads().iter().zip(images) {
        let told = (
            u64::from(event.process_id),
            load.image_base,
            load.image_size,
        );
        let found = (
            number(&expected[0]),
            number(&expected[1]),
            number(&expected[2]),
        );
        assert_eq!(told, found, "{name}");
        let (path, raw) = (
            load.image.as_ref().unwrap().shown(),
            expected[3].as_str().unwrap(),
        );
        let leaf = |path: &str| path.rsplit('\\').next().unwrap().to_owned();
        assert_eq!(leaf(path), leaf(raw), "{name}");
    }
    assert_eq!(
        replayed.passed_over_count(),
        0,
        "{name}: {:?}",
        replayed.remarks
    );
    Some(replayed)
}

#[test]
fn a_shutdown_is_told_as_an_independent_count_finds_it() {
    let Some(replayed) = agrees("shutdown-win10.etl") else {
        return;
    };
    for process_id in [516, 608] {
        let (_, start) = replayed.start(process_id);
        assert_eq!(start.parent_process_id, Some(496));
        assert_eq!(start.parent_process_key, None, "496 came later");
    }
    assert_eq!(replayed.count("lost"), 0);
    let (_, explorer) = replayed.start(3856);
    let image = explorer.program.image.as_ref().unwrap();
    assert_eq!(
        image.shown(),
        r"\Device\HarddiskVolume3\Windows\explorer.exe"
    );
}

#[test]
fn a_merged_trace_with_packed_buffers_is_told_as_an_independent_count_finds_it() {
    let Some(replayed) = agrees("perfview-net452-x86.etl.xz") else {
        return;
    };
    let (event, start) = replayed.start(3644);
    assert!(!start.existing);
    assert_eq!(&*event.origin.host, "BRIANROB-W8");
    let program = &start.program;
    let path = r"\\clrmain\public\PerfInvestigations\20-07-28.TestTraces\Test.x86.exe";
    assert_eq!(program.image.as_ref().unwrap().shown(), path);
    assert_eq!(
        program.command_line.as_ref().unwrap().shown(),
        "Test.x86.exe"
    );
    assert!(replayed.says("both told"));
}

#[test]
fn every_known_module_of_a_small_trace_is_told() {
    let known = [
        ("test_program.exe", 0x0116_0000, 0x19_e000),
        ("ntdll.dll", 0x76e1_0000, 0x12_7000),
        ("kernel32.dll", 0x7568_0000, 0xd_b000),
        ("WINMM.dll", 0x73cb_0000, 0x3_2000),
        ("msvcrt.dll", 0x76b0_0000, 0xa_a000),
        ("SHELL32.dll", 0x75ee_0000, 0xb1_0000),
    ];
    for name in ["image_data_32_v2.etl", "image_data_64_v2.etl"] {
        let directory = tempfile::tempdir().unwrap();
        let Some(path) = sample(name, directory.path()) else {
            return;
        };
        let replayed = Replayed::of_file(&path);
        assert_eq!(replayed.loads().len(), 25);
        assert_eq!(replayed.count("image_unload"), 1);
        for (leaf, base, size) in known {
            let loads = replayed.loads().into_iter();
            let mut of_name = loads.filter(|(_, load)| {
                let image = load.image.as_ref().unwrap().shown();
                image.rsplit('\\').next() == Some(leaf) && load.existing
            });
            let (event, load) = of_name.next().unwrap();
            assert_eq!(
                (load.image_base, load.image_size),
                (base, size),
                "{name}: {leaf}"
            );
            assert_eq!(event.process_id, 7644);
        }
    }
}

#[test]
fn every_known_process_of_a_small_trace_is_told() {
    for name in ["process_data_32_v2.etl", "process_data_64_v3.etl"] {
        let directory = tempfile::tempdir().unwrap();
        let Some(path) = sample(name, directory.path()) else {
            return;
        };
        let replayed = Replayed::of_file(&path);
        let processes = replayed.starts().into_iter().map(|(event, start)| {
            let name = start.name.as_ref().unwrap().shown();
            (
                event.process_id,
                start.parent_process_id,
                start.existing,
                name,
            )
        });
        let expected = [
            (0, Some(0), true, "Idle"),
            (4, Some(0), true, "System"),
            (264, Some(4), true, "smss.exe"),
            (1776, Some(988), false, "notepad.exe"),
        ];
        assert!(processes.eq(expected), "{name}");
        let (_, notepad) = replayed.start(1776);
        assert_eq!(notepad.session_id, Some(1));
        let command_line = notepad.program.command_line.as_ref().unwrap();
        assert_eq!(
            command_line.shown(),
            "\"C:\\Windows\\system32\\notepad.exe\" "
        );
        let exits = replayed.exits();
        assert_eq!(exits.len(), 1);
        assert_eq!(
            (exits[0].0.process_id, exits[0].1.exit_code),
            (1776, Some(0))
        );
        let stop = replayed.events.last().unwrap();
        assert!(matches!(stop.body, Body::SensorStop(_)));
    }
}
