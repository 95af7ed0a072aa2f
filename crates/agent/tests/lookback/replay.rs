//! `systrail replay`: the same bytes, compressed or not, whatever the file is called.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use systrail::replay::{Events, compressed};
use systrail::tree::{Forest, Tree};

use super::{TRAIL, output, systrail};

fn trail() -> Vec<u8> {
    fs::read(TRAIL).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// What replaying these bytes writes, the exit code, and what was said.
fn replay(bytes: &[u8]) -> (Vec<u8>, Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let (log, copy) = (directory.path().join("log"), directory.path().join("copy"));
    fs::write(&log, bytes).unwrap();
    let output = output([Path::new("replay"), &log, Path::new("--log"), &copy]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        fs::read(&copy).unwrap_or_default(),
        output.status.code(),
        said,
    )
}

#[test]
fn a_log_replays_to_the_same_bytes() {
    let (copy, code, said) = replay(&trail());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(copy, trail());
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_log_compressed_or_not() {
    let marked = [b"\xef\xbb\xbf", &*trail()].concat();
    for bytes in [gzip(&marked), zstd(&marked), marked] {
        let (copy, code, said) = replay(&bytes);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(copy, trail(), "{said}");
    }
}

#[test]
fn compressed_logs_are_told_by_their_content() {
    let halves = trail();
    let middle = halves.len() / 2;
    let (first, second) = halves.split_at(middle);
    let skipped = [&[0x55, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
    let compressed = [
        gzip(&trail()),
        // What `cat a.gz b.gz` and `cat a.zst b.zst` make, with a frame to be skipped.
        [gzip(first), gzip(second)].concat(),
        zstd(&trail()),
        [skipped.clone(), zstd(first), skipped, zstd(second)].concat(),
    ];
    for bytes in compressed {
        let (copy, code, said) = replay(&bytes);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(copy, trail());
    }
}

#[test]
fn a_compressed_log_from_standard_input_is_read_too() {
    let mut child = systrail()
        .args(["replay", "-", "--log", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&gzip(&trail())).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, trail());
}

#[test]
fn a_compressed_log_that_is_cut_or_damaged_gives_what_can_be_read_and_fails() {
    for whole in [gzip(&trail()), zstd(&trail())] {
        for size in [5, whole.len() / 2, whole.len() - 1] {
            let (copy, code, said) = replay(&whole[..size]);
            assert_eq!(code, Some(1), "{size}: {said}");
            assert!(said.contains("cannot be read on"), "{said}");
            assert!(trail().starts_with(&copy));
        }
        let mut damaged = whole.clone();
        let last = damaged.len() - 3;
        damaged[last] ^= 0xff;
        let (_, code, said) = replay(&damaged);
        assert_eq!(code, Some(1), "a wrong checksum: {said}");
    }
}

#[test]
fn a_log_with_any_byte_changed_is_read_or_refused() {
    for whole in [trail(), gzip(&trail()), zstd(&trail())] {
        for index in (0..whole.len()).step_by(11) {
            let mut bytes = whole.clone();
            bytes[index] ^= 1 << (index % 8);
            let Ok(plain) = compressed::plain(Box::new(Cursor::new(bytes))) else {
                continue;
            };
            let mut tree = Tree::default();
            for event in Events::new(plain).flatten() {
                tree.add(&event).unwrap();
            }
            tree.finish();
            // Every process is in the tree once, whatever its parents have become.
            let forest = Forest::new(tree.processes(), |_| true);
            assert_eq!(forest.visits().count(), tree.processes().len());
        }
    }
}

#[test]
fn what_only_begins_like_a_compressed_log_is_refused_or_read_as_lines() {
    for bytes in [
        &b"\x1f\x8b"[..],
        b"\x28\xb5\x2f\xfd",
        b"\x28\xb5\x2f\xfd\xff\xff\xff",
    ] {
        assert_eq!(replay(bytes).1, Some(1), "{bytes:?}");
    }
    for bytes in [&b"{"[..], b"\x1f", b"\x28\xb5"] {
        let (_, code, said) = replay(bytes);
        assert_eq!(code, Some(1), "{bytes:?}");
        assert!(said.contains("of 1 line none is an event"), "{said}");
    }
    assert_eq!(replay(b"").1, Some(0));
}

#[test]
fn at_its_own_pace_it_takes_as_long_as_it_took() {
    let directory = tempfile::tempdir().unwrap();
    let line = |ms: u32| {
        format!(
            "{{\"sequence\":1,\"time\":\"2026-01-01T00:00:00.{ms:03}000000Z\",\
             \"kind\":\"thread_exit\",\"host\":\"h\",\"process_id\":7,\
             \"process_key\":\"00000000000000aa\",\"thread_id\":8}}"
        )
    };
    let lines: Vec<String> = [0, 100, 50, 250].into_iter().map(line).collect();
    let log = super::log_of(&directory, &lines);
    let began = std::time::Instant::now();
    let replayed = systrail()
        .arg("replay")
        .arg(&log)
        .args(["--pace", "--log", "-"])
        .output()
        .unwrap();
    assert!(began.elapsed().as_millis() >= 250);
    assert_eq!(replayed.stdout, fs::read(&log).unwrap());
}

#[test]
fn a_log_recorded_by_run_replays_to_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("recorded.jsonl");
    let mut command = systrail();
    command
        .args(["run", "--no-store", "--duration", "100ms", "--log"])
        .arg(&log);
    let recorded = command.output().unwrap();
    if recorded.status.code() == Some(4) {
        return;
    }
    let recorded = fs::read(&log).unwrap();
    assert!(recorded.len() > 1000, "a snapshot at least");
    let (copy, code, said) = replay(&recorded);
    assert_eq!(code, Some(0), "{said}");
    assert!(copy == recorded);
}

/// `tree --log /etc/passwd` was an empty tree, with exit code 0.
#[test]
fn what_has_no_event_at_all_is_no_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("passwd");
    fs::write(&path, "root:x:0:0::/root:/bin/sh\n".repeat(27)).unwrap();
    let path = path.to_str().unwrap();
    let commands: [&[&str]; 4] = [
        &["tree", "--log", path],
        &["show", "1", "--log", path],
        &["export", "--log", path],
        &["replay", path],
    ];
    for command in commands {
        let asked = output(command);
        let said = String::from_utf8_lossy(&asked.stderr);
        assert_eq!(asked.status.code(), Some(1), "{said}");
        assert!(
            said.contains("is no log: of 27 lines none is an event"),
            "{said}"
        );
    }
    fs::write(path, "\n").unwrap();
    let asked = output(["tree", "--log", path]);
    assert_eq!(asked.status.code(), Some(0));
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(said.contains("has no events"), "{said}");
}

/// Formats are told by their content, whatever the file is called and however it is compressed.
#[cfg(not(feature = "evtx"))]
#[test]
fn a_format_that_is_not_built_in_is_named_with_what_has_it() {
    let evtx = [b"ElfFile\0", &[0; 8192][..]].concat();
    for bytes in [gzip(&evtx), evtx[..9].to_vec(), evtx] {
        let (_copy, code, said) = replay(&bytes);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("is a Windows event log"), "{said}");
        assert!(said.contains("--features evtx"), "{said}");
    }
}
