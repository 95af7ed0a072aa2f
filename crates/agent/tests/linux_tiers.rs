//! The sensors below eBPF on the real kernel: perf ring buffers, the snapshot, the perf sensor and
//! the proc connector, each against an independent witness. Needs root.

#![cfg(target_os = "linux")]

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::Duration;

use agent::sensor::perf_buffer::{Records, Rings, RingsSettings};
use agent::sensor::{Batch, Counters, Error, Sensor, Settings, connector, perf};
use agent::sys::wake::Waker;
use event::{Event, Flags, Header, Kind};

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

/// What a scripted set of programs must look like in the trail, by the word of its parent.
struct Witness {
    /// Process id and wait status, in order.
    processes: Vec<(u32, i32)>,
}

/// Runs programs that end in every way: with a code, by a signal, by a shell's exec.
fn run_programs(count: usize) -> Witness {
    let mut processes = Vec::new();
    for index in 0..count {
        let script = match index % 3 {
            0 => format!("exit {}", index % 200),
            1 => "kill -KILL $$".to_owned(),
            _ => "exec /bin/true".to_owned(),
        };
        let mut child = Command::new("/bin/sh")
            .args(["-c", &script])
            .spawn()
            .unwrap();
        let status = child.wait().unwrap();
        processes.push((child.id(), status.into_raw()));
    }
    Witness { processes }
}

fn settings(threads: bool, images: bool) -> (Settings, Waker) {
    let waker = Waker::new().unwrap();
    let settings = Settings {
        threads,
        images,
        process_buffer_size: 1 << 20,
        event_buffer_size: 8 << 20,
        flush_interval: Duration::from_millis(50),
        waker: waker.clone(),
    };
    (settings, waker)
}

/// Records while `work_fn` runs. The sensor is read on a thread of its own, as the agent does.
fn record<T>(
    open_fn: impl FnOnce(&Settings) -> Result<Box<dyn Sensor>, Error>,
    settings: &Settings,
    work_fn: impl FnOnce() -> T,
) -> (Vec<Batch>, Counters, T) {
    let mut sensor = open_fn(settings).unwrap();
    let waker = settings.waker.clone();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut batches = vec![Batch::default()];
        sensor.start(&mut batches[0]).unwrap();
        ready.send(()).unwrap();
        while !waker.is_woken() {
            let mut batch = Batch::default();
            sensor.read(&mut batch).unwrap();
            batches.push(batch);
        }
        let mut batch = Batch::default();
        sensor.stop(&mut batch).unwrap();
        batches.push(batch);
        (batches, sensor.counters().unwrap())
    });
    is_ready.recv().unwrap();
    let done = work_fn();
    settings.waker.wake();
    let (batches, counters) = reader.join().unwrap();
    (batches, counters, done)
}

/// Whether everything produced was handed over or told as lost, kind by kind. The snapshot is not
/// produced by the sensor, but by asking.
fn check_account(batches: &[Batch], counters: &Counters) {
    let mut delivered = [0; Kind::OBSERVED.len()];
    let mut lost = [0; Kind::OBSERVED.len()];
    for (header, event) in batches.iter().flat_map(records) {
        match event {
            Event::Lost(event) => lost[event.kind.index().unwrap()] += event.count,
            _ if header.flags.contains(Flags::EXISTING) => {}
            _ => delivered[header.kind.index().unwrap()] += 1,
        }
    }
    assert_eq!(lost, counters.lost);
    for (index, kind) in Kind::OBSERVED.into_iter().enumerate() {
        assert_eq!(
            counters.produced[index],
            delivered[index] + lost[index],
            "{kind}"
        );
    }
}

fn check_order(batches: &[Batch]) {
    let mut last = Header::default();
    for (header, _) in batches.iter().flat_map(records) {
        assert!(
            last.time <= header.time,
            "out of order: {last:?} {header:?}"
        );
        last = header;
    }
}

/// Checks that each process of the witness has one start, its execs and one exit in the trail.
fn check_processes(batches: &[Batch], witness: &Witness, has_status: bool) {
    let own_id = std::process::id();
    for (index, (id, status)) in witness.processes.iter().enumerate() {
        let (mut starts, mut execs, mut exits) = (0, 0, 0);
        for (header, event) in batches.iter().flat_map(records) {
            if header.process_id != *id {
                continue;
            }
            match event {
                Event::ProcessStart(start) => {
                    starts += 1;
                    assert_eq!(start.parent_process_id, own_id);
                    assert!(!header.flags.contains(Flags::EXISTING));
                    assert!(header.start_time <= header.time);
                }
                Event::ProcessExec(_) => execs += 1,
                Event::ProcessExit(exit) => {
                    exits += 1;
                    // 0 where the kernel did not tell.
                    assert!([own_id, 0].contains(&exit.parent_process_id));
                    if has_status {
                        assert_eq!(exit.exit_status.cast_signed(), *status);
                    } else {
                        assert!(header.flags.contains(Flags::EXIT_STATUS_UNAVAILABLE));
                    }
                }
                _ => {}
            }
        }
        let execs_done = if index % 3 == 2 { 2 } else { 1 };
        assert_eq!((starts, execs, exits), (1, execs_done, 1), "process {id}");
    }
}

/// Starts threads and returns their ids.
fn run_threads(count: usize) -> Vec<u32> {
    let thread = || nix::unistd::gettid().as_raw().unsigned_abs();
    (0..count)
        .map(|_| std::thread::spawn(thread).join().unwrap())
        .collect()
}

fn check_threads(batches: &[Batch], ids: &[u32]) {
    let mut expected: HashMap<u32, usize> = HashMap::new();
    for id in ids {
        *expected.entry(*id).or_default() += 1;
    }
    for (id, times) in expected {
        let (mut starts, mut exits) = (0, 0);
        for (header, event) in batches.iter().flat_map(records) {
            if (header.process_id, header.thread_id) != (std::process::id(), id) {
                continue;
            }
            match event {
                Event::ThreadStart(start) => {
                    starts += 1;
                    assert_eq!(start.creator_process_id, std::process::id());
                }
                Event::ThreadExit(_) => exits += 1,
                _ => {}
            }
        }
        assert_eq!((starts, exits), (times, times), "thread {id}");
    }
}

#[test]
fn the_connector_sees_every_process_and_thread() {
    if !is_root() {
        return;
    }
    let (settings, _waker) = settings(true, false);
    let (batches, counters, (witness, threads)) = record(connector::open, &settings, || {
        (run_programs(60), run_threads(60))
    });
    assert_eq!(counters.lost.iter().sum::<u64>(), 0);
    check_account(&batches, &counters);
    check_order(&batches);
    check_processes(&batches, &witness, true);
    check_threads(&batches, &threads);
}

#[test]
fn the_perf_sensor_sees_every_process_thread_and_image() {
    if !is_root() {
        return;
    }
    let (settings, _waker) = settings(true, true);
    let (batches, counters, (witness, threads)) = record(perf::open, &settings, || {
        (run_programs(60), run_threads(60))
    });
    assert_eq!(counters.lost.iter().sum::<u64>(), 0);
    check_account(&batches, &counters);
    check_order(&batches);
    check_processes(&batches, &witness, true);
    check_threads(&batches, &threads);
}
