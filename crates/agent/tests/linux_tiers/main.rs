//! The sensors below eBPF on the real kernel: perf ring buffers, the snapshot, the perf sensor and
//! the proc connector, each against an independent witness. Needs root.
//!
//! `rings.rs` and `sensors.rs` are the tests; `recording.rs` records with a sensor, `witness.rs` does
//! what is recorded, and `stream.rs` checks what holds for every recording.

#![cfg(target_os = "linux")]

mod recording;
mod rights;
mod rings;
mod sensors;
mod stream;
mod witness;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test at a time: they count what happens on the whole machine.
static MACHINE: Mutex<()> = Mutex::new(());

/// The machine to one test alone; `None` where it cannot run. In CI it must.
#[expect(clippy::print_stderr, reason = "a test that does not run says why")]
fn machine() -> Option<MutexGuard<'static, ()>> {
    if nix::unistd::geteuid().is_root() {
        return Some(MACHINE.lock().unwrap_or_else(PoisonError::into_inner));
    }
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "these tests need root, and CI must run them"
    );
    eprintln!("not run: needs root");
    None
}
