//! Windows' event traces (ETW): the trace file, and what the kernel tells in it.
//!
//! [`mod@file`] walks a trace file (`.etl`) and gives its events in the order of their times, on any system
//! and in little memory. [`kernel`] knows no file: it takes who told an event, the version, the size of
//! a pointer and the bytes, from wherever they come, and says what happened to processes, threads and
//! images.
//!
//! Everything in a trace is a claim. No input panics, makes a loop, or takes more memory than the limits
//! that are named here; what cannot be read is counted.

#![forbid(unsafe_code)]

pub mod buffer;
pub mod clock;
pub mod delivered;
pub mod encode;
pub mod fields;
pub mod file;
pub mod guid;
pub mod header;
pub mod kernel;
pub mod log_file;
pub mod lzxpress;
