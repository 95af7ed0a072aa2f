//! The sensors below eBPF on the real kernel: perf ring buffers, the snapshot, the perf sensor and
//! the proc connector, each against an independent witness. Needs root.

#![cfg(target_os = "linux")]

use std::collections::HashMap;
use std::process::Command;

use agent::sensor::Batch;
use agent::sensor::perf_buffer::{Records, Rings, RingsSettings};
use event::{Event, Header, Kind};

/// Whether the test can run here. In CI it must.
#[expect(clippy::print_stderr, reason = "a test that does not run says why")]
fn is_root() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "these tests need root, and CI must run them"
    );
    eprintln!("not run: needs root");
    false
}

fn records(batch: &Batch) -> impl Iterator<Item = (Header, Event<'_>)> {
    batch.records().map(|record| event::read(record).unwrap())
}

fn lost_count(batch: &Batch) -> u64 {
    records(batch)
        .filter_map(|(_, event)| match event {
            Event::Lost(lost) => Some(lost.count),
            _ => None,
        })
        .sum()
}

fn image_rings(buffer_size: usize) -> Rings {
    Rings::open(RingsSettings {
        records: Records::Images,
        buffer_size,
        lost_kind: Kind::IMAGE_LOAD,
    })
    .unwrap()
}

#[test]
fn every_program_and_its_libraries_are_image_loads() {
    if !is_root() {
        return;
    }
    let mut rings = image_rings(4 << 20);
    rings.enable().unwrap();
    let ids: Vec<u32> = (0..20)
        .map(|_| {
            let mut child = Command::new("/bin/true").spawn().unwrap();
            child.wait().unwrap();
            child.id()
        })
        .collect();
    rings.disable().unwrap();
    let mut batch = Batch::default();
    rings.drain(&mut batch).unwrap();
    rings.settle(0, &mut batch).unwrap();

    assert_eq!(rings.lost(), 0);
    assert_eq!(rings.produced(), batch.count() as u64);
    let program = std::fs::canonicalize("/bin/true").unwrap();
    let mut images: HashMap<u32, Vec<String>> = HashMap::new();
    for (header, event) in records(&batch) {
        let Event::ImageLoad(load) = event else {
            panic!("only image loads are recorded");
        };
        assert!(load.image.starts_with(b"/"), "{load:?}");
        images
            .entry(header.process_id)
            .or_default()
            .push(String::from_utf8(load.image.to_vec()).unwrap());
    }
    for id in ids {
        let images = &images[&id];
        assert!(
            images
                .iter()
                .any(|image| *image == program.to_str().unwrap()),
            "{images:?}"
        );
        assert!(
            images.iter().any(|image| image.contains("ld-linux")),
            "{images:?}"
        );
        assert!(
            images.iter().any(|image| image.contains("libc.so")),
            "{images:?}"
        );
    }
}

#[test]
fn a_ring_nobody_drains_loses_exactly_what_it_says() {
    if !is_root() {
        return;
    }
    let mut witness = image_rings(8 << 20);
    let mut small = image_rings(0);
    // Both see the same programs: the wider window is cut to the narrower by what both record.
    small.enable().unwrap();
    witness.enable().unwrap();
    for _ in 0..200 {
        assert!(Command::new("/bin/true").status().unwrap().success());
    }
    witness.disable().unwrap();
    small.disable().unwrap();

    let (mut told, mut all) = (Batch::default(), Batch::default());
    let (mut stored_count, mut witness_count) = (0, 0);
    small
        .drain_with(&mut told, &mut |_, _| {
            stored_count += 1;
            1
        })
        .unwrap();
    small.settle(1, &mut told).unwrap();
    witness
        .drain_with(&mut all, &mut |_, _| {
            witness_count += 1;
            1
        })
        .unwrap();
    witness.settle(1, &mut all).unwrap();

    assert_eq!(witness.lost(), 0);
    assert!(small.lost() > 0, "the small rings did not overflow");
    assert_eq!(lost_count(&told), small.lost());
    assert_eq!(stored_count + small.lost(), small.produced());
    // Other programs of this machine may load an image between the two enables.
    assert!(
        small.produced().abs_diff(witness_count) <= 20,
        "{} {witness_count}",
        small.produced()
    );
}
