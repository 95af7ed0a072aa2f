//! Windows event logs (`.evtx`) as logs: Sysmon's events of processes, threads and images, and the
//! starts and exits that the Security log audits, become events of the trail.
//!
//! [`file`] reads one log, [`merge`] several in the order of time, [`convert`] makes events of their
//! records; `docs/TRACES.md` says how each field is had. The format was worked out by others from the
//! outside (libevtx's documentation is the reference); records are decoded by the crate `evtx`.

#![expect(dead_code, reason = "what reads with it comes next")]

mod convert;
mod data;
mod file;
mod hosts;
mod others;
mod processes;
mod raw;
mod record;
mod security;
mod sysmon;
