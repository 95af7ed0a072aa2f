//! The eBPF sensor against the real kernel.
#![cfg(target_os = "linux")]

use std::time::Duration;

use agent::sensor::{Batch, Settings, ebpf};
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
    let t0 = std::time::Instant::now();
    let mut sensor = match ebpf::open(&settings()) {
        Ok(sensor) => sensor,
        Err(error) => panic!("{error:?}"),
    };
    println!("open {:?}", t0.elapsed());
    let t0 = std::time::Instant::now();
    let mut batch = Batch::default();
    sensor.start(&mut batch).unwrap();
    println!("start {:?}", t0.elapsed());
    std::process::Command::new("/bin/true")
        .arg("hello")
        .status()
        .unwrap();
    std::thread::spawn(|| ()).join().unwrap();
    let t0 = std::time::Instant::now();
    sensor.stop(&mut batch).unwrap();
    println!("stop {:?}", t0.elapsed());
    for record in batch.records() {
        let (h, e) = event::read(record).unwrap();
        let text = match e {
            event::Event::ProcessStart(s) => format!(
                "start {} {} {:?} {:?}",
                s.parent_process_id,
                s.session_id,
                String::from_utf8_lossy(s.image),
                String::from_utf8_lossy(s.command_line)
            ),
            event::Event::ProcessExec(s) => format!(
                "exec {:?} {:?}",
                String::from_utf8_lossy(s.image),
                String::from_utf8_lossy(s.command_line)
            ),
            event::Event::ImageLoad(s) => format!(
                "image {:?} {:x} {:x}",
                String::from_utf8_lossy(s.image),
                s.image_base,
                s.image_size
            ),
            e => format!("{e:?}"),
        };
        println!(
            "{} {}/{} {:x} {text}",
            h.time, h.process_id, h.thread_id, h.flags.0
        );
    }
    println!("{:?}", sensor.counters().unwrap());
}
