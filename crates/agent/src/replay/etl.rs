//! Traces of Windows (`.etl`), made by `xperf`, `wpr`, `logman` or at a boot: what the kernel told of
//! processes, threads and images becomes a trail (`docs/TRACES.md`).
//!
//! A trace is read twice: what is told last, such as the path of a process that ran all the time, is
//! known when its first event is told.

#![expect(dead_code, reason = "what tells with it comes next")]

mod doubles;
mod paths;
mod processes;
mod survey;
