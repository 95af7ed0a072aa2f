//! Windows without a driver: the kernel's own events of processes, threads and images, through a session
//! of event tracing (ETW) that every administrator may start.

#![expect(dead_code, reason = "the sensor that tells of them comes next")]

mod lives;
mod rundown;
mod stream;
