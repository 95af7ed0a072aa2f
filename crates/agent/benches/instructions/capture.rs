//! Records what a program and its descendants do, as wire records in a file.

use event::{Event, Flags};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;
use systrail::sensor::{Batch, Settings, ebpf};
use systrail::sys::wake::Waker;

/// Runs `program` and writes its records, and its descendants', to `file`. What else the machine
/// does meanwhile is nobody's business and is left out, the snapshot included.
pub(crate) fn run(file: &str, program: &str, arguments: &[&str]) {
    let waker = Waker::new().unwrap();
    let settings = Settings {
        threads: true,
        images: true,
        failed_execs: false,
        stamps: false,
        environment: systrail::environment::Names::usual(),
        process_buffer_size: 4 << 20,
        event_buffer_size: 8 << 20,
        flush_interval: Duration::from_millis(50),
        waker: waker.clone(),
    };
    let mut sensor = ebpf::open(&settings).unwrap();
    let mut batch = Batch::default();
    sensor.start(&mut batch).unwrap();
    let reader = std::thread::spawn(move || {
        while !waker.is_woken() {
            sensor.read(&mut batch).unwrap();
        }
        sensor.stop(&mut batch).unwrap();
        batch
    });
    // With an environment of its own, as arguments and paths can tell of ours.
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .spawn()
        .unwrap();
    let root = child.id();
    assert!(child.wait().unwrap().success());
    settings.waker.wake();
    let batch = reader.join().unwrap();
    std::fs::write(file, of_descendants(&batch, root)).unwrap();
}

fn of_descendants(batch: &Batch, root: u32) -> Vec<u8> {
    let mut family = BTreeSet::from([root]);
    let mut trail = Vec::new();
    for record in batch.records() {
        let event::Record { header, event, .. } = event::read(record).unwrap();
        if let Event::ProcessStart(start) = event
            && family.contains(&start.creator_process_id)
        {
            family.insert(header.process_id);
        }
        let is_stream = !header.flags.contains(Flags::EXISTING);
        if is_stream && family.contains(&header.process_id) {
            trail.extend_from_slice(record);
        }
    }
    trail
}
