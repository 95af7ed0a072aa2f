//! The eBPF sensor against the real kernel.
#![cfg(target_os = "linux")]

use std::time::Duration;

use agent::sensor::{Batch, Sensor, Settings, ebpf};
use agent::sys::wake::Waker;

fn settings() -> Settings {
    Settings {
        threads: true,
        images: true,
        process_buffer_size: 4 << 20,
        event_buffer_size: 4 << 20,
        flush_interval: Duration::from_millis(50),
        waker: Waker::new().unwrap(),
    }
}

#[test]
fn sees_a_process_start_exec_and_exit() {
    let mut sensor = match ebpf::open(&settings()) {
        Ok(sensor) => sensor,
        Err(error) => panic!("{error:?}"),
    };
    let mut batch = Batch::default();
    sensor.start(&mut batch).unwrap();
    std::process::Command::new("/bin/true")
        .arg("hello")
        .status()
        .unwrap();
    std::thread::spawn(|| ()).join().unwrap();
    sensor.stop(&mut batch).unwrap();
    for record in batch.records() {
        println!("{:?}", event::read(record).unwrap());
    }
    println!("{:?}", sensor.counters().unwrap());
}
