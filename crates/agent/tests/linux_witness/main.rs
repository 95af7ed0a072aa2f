//! The Linux recorder against the real kernel, seen from outside: each test starts `systrail run`,
//! does something, and compares what the log and the account say with a witness that does not know
//! the recorder: wait statuses, thread ids told by the threads themselves, `/proc`, `strace`.
//!
//! `recorder.rs` starts and stops the program and checks what holds for every recording; `lives.rs`
//! sorts its rows by process; `workload.rs` has the programs that are watched (this executable plays
//! them itself, so that a machine with nothing else installed can run the tests); `witness.rs` is
//! what they share. All other files are tests.
//!
//! Recording needs root. Without it the tests say so and pass, except under `CI`, where they fail.
//! `SYSTRAIL_BIN` names another executable to test, `SYSTRAIL_TEST_SCALE` (0.02) makes the large
//! counts smaller, `SYSTRAIL_VM=1` leaves out what needs programs of a whole system.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod cgroups;
mod clock;
mod contexts;
mod crash;
mod execs;
mod exits;
mod hashes;
mod images;
mod lives;
mod overflow;
mod pace;
mod parents;
mod paths;
mod processes;
mod raw;
mod real_build;
mod recorder;
mod seam;
mod store;
mod threads;
mod tree;
mod usage;
mod witness;
mod workload;
