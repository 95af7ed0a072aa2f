//! perf ring buffers alone: what they record, lose and wake for.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use event::loss::Reason;
use event::{Event, Kind, Place, Scope};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use systrail::sensor::Batch;
use systrail::sensor::perf_buffer::{Records, Rings, RingsSettings};
use systrail::sensor::perf_record::{Body, Record};

use crate::machine;
use crate::stream::{lost_count, records};

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
    let Some(_machine) = machine() else {
        return;
    };
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
        let (image, place) = Place::split(load.image).unwrap();
        if place.scope == Scope::HOST && !image.is_empty() {
            assert!(image.starts_with(b"/"), "{load:?}");
        }
        images
            .entry(header.process_id)
            .or_default()
            .push(String::from_utf8(image.to_vec()).unwrap());
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

/// Forks and exits of tasks come into the rings of image loads; 652,042 lost image loads were told once
/// where some 900 had happened, and the others were threads.
#[test]
fn a_ring_nobody_drains_loses_exactly_what_it_says() {
    const THREADS: usize = 5_000;
    let Some(_machine) = machine() else {
        return;
    };
    let now = || systrail::sys::clock::now().0;
    let mut witness = image_rings(8 << 20);
    let mut small = image_rings(0);
    witness.enable().unwrap();
    let enabling = now();
    small.enable().unwrap();
    let enabled = now();
    for _ in 0..200 {
        assert!(Command::new("/bin/true").status().unwrap().success());
    }
    // Each thread makes two records, in rings of a page a processor.
    for _ in 0..THREADS {
        std::thread::spawn(|| {}).join().unwrap();
    }
    let disabling = now();
    small.disable().unwrap();
    let disabled = now();
    witness.disable().unwrap();

    let (mut told, mut all) = (Batch::default(), Batch::default());
    let mut stored = 0;
    small
        .drain_with(&mut told, &mut |record, _| {
            let count = u64::from(is_mapping(record));
            stored += count;
            count
        })
        .unwrap();
    small.settle(1, &mut told).unwrap();
    // The small rings are switched on one after the other, so what happens meanwhile may be in
    // them or not. On a quiet machine both bounds are the same.
    let (mut at_least, mut at_edges) = (0, 0);
    witness
        .drain_with(&mut all, &mut |record, _| {
            // A task that ends while a ring is switched off may be taken for an image load.
            let is_during = (enabled..disabling).contains(&record.time);
            at_least += u64::from(is_during && is_mapping(record));
            let is_at_an_edge = !is_during && (enabling..disabled).contains(&record.time);
            at_edges += u64::from(is_at_an_edge);
            1
        })
        .unwrap();
    witness.settle(1, &mut all).unwrap();

    assert_eq!(witness.lost(), 0);
    assert!(small.lost() > 0, "the small rings did not overflow");
    assert_eq!(lost_count(&told), small.lost());
    assert_eq!(stored + small.lost(), small.produced());
    let produced = small.produced();
    assert!(
        (at_least..=at_least + at_edges).contains(&produced),
        "{produced} of {at_least} and {at_edges}"
    );
}

fn is_mapping(record: &Record<'_>) -> bool {
    matches!(record.body, Body::Mapping(_))
}

/// Waits until one of the rings wakes its reader; says whether one did.
fn wakes_within(rings: &Rings, timeout: Duration) -> bool {
    let mut fds: Vec<PollFd<'_>> = rings
        .fds()
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    poll(&mut fds, PollTimeout::try_from(timeout).unwrap()).unwrap() > 0
}

#[test]
fn an_armed_ring_wakes_at_the_first_image_and_a_disarmed_one_does_not() {
    let Some(_machine) = machine() else {
        return;
    };
    let mut rings = image_rings(8 << 20);
    rings.enable().unwrap();
    let run = || assert!(Command::new("/bin/true").status().unwrap().success());
    run();
    assert!(!wakes_within(&rings, Duration::ZERO), "nobody asked");
    for _ in 0..3 {
        // Another process may load an image in between; then the rings are not empty.
        while !rings.arm() {
            rings.drain(&mut Batch::default()).unwrap();
        }
        run();
        assert!(wakes_within(&rings, Duration::from_secs(10)));
        rings.disarm();
        while wakes_within(&rings, Duration::ZERO) {}
        run();
        assert!(!wakes_within(&rings, Duration::ZERO), "it was disarmed");
    }
}

#[test]
fn a_muted_ring_loses_nothing_and_wakes_again_when_armed() {
    let Some(_machine) = machine() else {
        return;
    };
    let mut rings = image_rings(8 << 20);
    rings.enable().unwrap();
    let run = || assert!(Command::new("/bin/true").status().unwrap().success());
    for _ in 0..3 {
        rings.mute();
        while wakes_within(&rings, Duration::ZERO) {}
        run();
        assert!(!wakes_within(&rings, Duration::ZERO), "it was muted");
        let mut batch = Batch::default();
        rings.drain(&mut batch).unwrap();
        // The program, the loader and the C library.
        assert!(batch.count() >= 3, "a muted ring records as before");
        while !rings.arm() {
            rings.drain(&mut Batch::default()).unwrap();
        }
        run();
        assert!(wakes_within(&rings, Duration::from_secs(10)));
    }
    assert_eq!(rings.lost(), 0);
}

/// Switches a processor off or on.
fn set_online(online: bool) {
    let file = "/sys/devices/system/cpu/cpu1/online";
    std::fs::write(file, if online { "1" } else { "0" }).unwrap();
}

/// A processor that went offline and came back between two looks was never recorded again, and
/// nothing said so. It disturbs the machine, so only one of our own is asked.
#[test]
fn a_processor_that_went_and_came_back_is_told_and_recorded_again() {
    let Some(_machine) = machine().filter(|_| std::env::var_os("SYSTRAIL_VM").is_some()) else {
        return;
    };
    let mut rings = image_rings(8 << 20);
    rings.enable().unwrap();
    let mut batch = Batch::default();
    // The first look sees how long each ring has lived.
    assert!(!rings.follow_cpus(1, &mut batch).unwrap());
    std::thread::sleep(Duration::from_millis(500));
    assert!(!rings.follow_cpus(2, &mut batch).unwrap());
    set_online(false);
    set_online(true);
    std::thread::sleep(Duration::from_millis(500));
    rings.drain(&mut batch).unwrap();
    let before = rings.lost();
    assert!(rings.follow_cpus(3, &mut batch).unwrap());
    assert!(rings.lost() > before);
    assert!(records(&batch).any(|(header, event)| {
        let is_blind = |lost: event::loss::Lost| lost.reason == Reason::BLIND;
        header.time == 3 && matches!(event, Event::Lost(lost) if is_blind(lost))
    }));

    let on_the_processor = || {
        let mut cpus = nix::sched::CpuSet::new();
        cpus.set(1).unwrap();
        nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cpus).unwrap();
        let mut child = Command::new("/bin/true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    };
    let id = std::thread::spawn(on_the_processor).join().unwrap();
    rings.disable().unwrap();
    let mut batch = Batch::default();
    rings.drain(&mut batch).unwrap();
    assert!(records(&batch).any(|(header, _)| header.process_id == id));
}
